"""Selection: `Select`, which copies chosen samples along every axis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from linconv.arguments import PerAxis
from linconv.arguments import shape as read_shape
from linconv.engines.arrays import Array, read_only
from linconv.errors import ShapeError
from linconv.matrix import selection_csr
from linconv.numpy_map import NumPyMap

__all__ = ["Select"]


class Select(NumPyMap):
    """Copy chosen samples along every axis, such as the nearest ones of a resampled grid.

    Parameters
    ----------
    input_shape : int or sequence of int
        All axes of one sample, channels included.
    sources : sequence of (array of int or None)
        For each axis, the input sample that each output sample copies; None keeps the axis.

    Raises
    ------
    ShapeError
        If a list is missing or empty, or names a sample that is not there.

    Notes
    -----
    dtype is float32, so that it widens nothing; cost is one copy per chosen axis. The transpose
    adds up what was copied.

    Examples
    --------
    >>> Select((3,), [[2, 0, 0]])([1.0, 2.0, 3.0])
    array([3., 1., 1.])
    """

    sources: tuple[Array | None, ...]

    def __init__(self, input_shape: PerAxis, sources: Sequence[Any]) -> None:
        given = read_shape("input_shape", input_shape)
        if len(sources) != len(given):
            raise ShapeError(
                f"sources must have one entry per axis of {given}; got {len(sources)}; use None "
                f"for an axis that is kept"
            )
        chosen = []
        for axis, (size, source) in enumerate(zip(given, sources, strict=True)):
            array = None if source is None else np.asarray(source, np.int64)
            if array is not None and (
                array.ndim != 1 or not array.size or array.min() < 0 or array.max() >= size
            ):
                raise ShapeError(
                    f"sources of axis {axis} must be a list of samples 0 to {size - 1}; got "
                    f"{source!r}; use None for an axis that is kept"
                )
            chosen.append(None if array is None else read_only(array))
        wanted = tuple(
            size if source is None else len(source)
            for size, source in zip(given, chosen, strict=True)
        )
        self._set(given, wanted, np.float32, sources=tuple(chosen))

    def _apply(self, x: Array) -> Array:
        for axis, source in enumerate(self.sources, start=1):
            if source is not None:
                x = np.take(x, source, axis=axis)
        return x

    def _apply_transpose(self, y: Array) -> Array:
        for axis, (size, source) in enumerate(
            zip(self.input_shape, self.sources, strict=True), start=1
        ):
            if source is not None:
                lines = np.moveaxis(y, axis, 0)
                x = np.zeros((size, *lines.shape[1:]), y.dtype)
                np.add.at(x, source, lines)
                y = np.moveaxis(x, 0, axis)
        return y

    def _sparse(self, max_bytes: int) -> Any:
        kept = [
            np.arange(size) if source is None else source
            for size, source in zip(self.input_shape, self.sources, strict=True)
        ]
        return selection_csr(kept, self.input_shape, self.dtype, max_bytes)

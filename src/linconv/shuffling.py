"""Shuffling: samples moved between channels and space, `DepthToSpace` and `SpaceToDepth`."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
import scipy

from linconv.arguments import PerAxis, choice, per_axis
from linconv.arguments import shape as read_shape
from linconv.engines.arrays import Array
from linconv.errors import ShapeError
from linconv.layout import DATA_FORMATS, Layout
from linconv.matrix import check_bytes
from linconv.numpy_map import NumPyMap

__all__ = ["CHANNEL_ORDERS", "DepthToSpace", "Shuffle", "SpaceToDepth"]

CHANNEL_ORDERS = ("CRD", "DCR")


class Shuffle(NumPyMap):
    """What `DepthToSpace` and `SpaceToDepth` share: a permutation, which widens nothing.

    Attributes
    ----------
    block : tuple of int
        One int per spatial axis.
    order : {"CRD", "DCR"}
        How the channels of the small image are numbered.
    layout : Layout
        Where the channels stand.
    """

    block: tuple[int, ...]
    order: str
    layout: Layout

    @property
    def data_format(self) -> str:
        """``"channels_last"`` or ``"channels_first"``."""
        return self.layout.data_format

    def _to_space(self, x: Array) -> Array:
        x = self.layout.arrays_first(x)
        n, channels, *size = x.shape
        ndim, left = len(self.block), channels // prod(self.block)
        crd = self.order == "CRD"
        x = x.reshape(n, *((left, *self.block) if crd else (*self.block, left)), *size)
        channel, place = (1, 2) if crd else (1 + ndim, 1)
        pairs = [axis for d in range(ndim) for axis in (2 + ndim + d, place + d)]
        x = x.transpose(0, channel, *pairs)
        grown = (s * b for s, b in zip(size, self.block, strict=True))
        back: Array = self.layout.arrays_back(x.reshape(n, left, *grown))
        return back

    def _to_depth(self, y: Array) -> Array:
        y = self.layout.arrays_first(y)
        n, channels, *size = y.shape
        ndim = len(self.block)
        small = [s // b for s, b in zip(size, self.block, strict=True)]
        pairs = (v for pair in zip(small, self.block, strict=True) for v in pair)
        y = y.reshape(n, channels, *pairs)
        spatial, places = range(2, 2 + 2 * ndim, 2), range(3, 3 + 2 * ndim, 2)
        order = (1, *places) if self.order == "CRD" else (*places, 1)
        y = y.transpose(0, *order, *spatial)
        back: Array = self.layout.arrays_back(y.reshape(n, channels * prod(self.block), *small))
        return back

    def _sparse(self, max_bytes: int) -> Any:
        count = self.shape[0]
        remedy = "apply the map, or raise the limit max_bytes"
        check_bytes("a sparse matrix", self.shape, 12 * count, max_bytes, remedy)
        columns = self._apply(np.arange(count).reshape(1, *self.input_shape)).ravel()
        ones = np.ones(count, np.float32)
        return scipy.sparse.csr_array((ones, columns, np.arange(count + 1)), shape=self.shape)

    def __repr__(self) -> str:
        name = type(self).__name__
        return f"{name}({self._shapes()}, {self.block}, {self.data_format!r}, {self.order!r})"


class DepthToSpace(Shuffle):
    """Move channels into space: every pixel becomes a block of pixels (PixelShuffle).

    Parameters
    ----------
    input_shape : sequence of int
        (channels, *size) or (*size, channels); the block's samples must divide the channels.
    block : int or sequence of int
        Output samples per input sample along each spatial axis.
    data_format : {"channels_last", "channels_first"}
        Where the channels stand.
    order : {"CRD", "DCR"}
        How an input channel is numbered: output channel first, then place in the block (PyTorch's
        `PixelShuffle`, ONNX's "CRD"), or place in the block first (TensorFlow's and ONNX's
        default). Places are numbered in C order.

    Raises
    ------
    ShapeError, GeometryError
        If the channels or the options do not fit.

    Notes
    -----
    A permutation: its transpose, `SpaceToDepth`, is its inverse. Cost is one copy.

    Examples
    --------
    >>> DepthToSpace((4, 1, 2), 2)(np.arange(8.0).reshape(4, 1, 2))
    array([[[0., 2., 1., 3.],
            [4., 6., 5., 7.]]])
    """

    def __init__(
        self,
        input_shape: PerAxis,
        block: PerAxis,
        *,
        data_format: str = "channels_first",
        order: str = "CRD",
    ) -> None:
        given, blocks, layout = _read(input_shape, block, data_format, order)
        size, channels = layout.split(given, 1)
        if channels % prod(blocks):
            raise ShapeError(
                f"the samples of a block must divide the channels; got {prod(blocks)} samples, "
                f"block {blocks}, and {channels} channels of {given} ({data_format}); use a "
                f"multiple of {prod(blocks)} channels"
            )
        grown = tuple(n * b for n, b in zip(size, blocks, strict=True))
        wanted = layout.join(grown, channels // prod(blocks))
        self._set(given, wanted, np.float32, block=blocks, layout=layout, order=order)

    def _apply(self, x: Array) -> Array:
        return self._to_space(x)

    def _apply_transpose(self, y: Array) -> Array:
        return self._to_depth(y)

    @property
    def T(self) -> SpaceToDepth:
        """The transpose, which is the inverse."""
        return SpaceToDepth(
            self.output_shape, self.block, data_format=self.data_format, order=self.order
        )


class SpaceToDepth(Shuffle):
    """Move space into channels: every block of pixels becomes one pixel (PixelUnshuffle).

    Parameters
    ----------
    input_shape : sequence of int
        (channels, *size) or (*size, channels); the block must divide the sizes.
    block, data_format, order
        As in `DepthToSpace`, which is its transpose and its inverse.

    Raises
    ------
    ShapeError, GeometryError
        If the sizes or the options do not fit.

    Examples
    --------
    >>> SpaceToDepth((1, 2, 2), 2)([[[1.0, 2.0], [3.0, 4.0]]]).ravel()
    array([1., 2., 3., 4.])
    """

    def __init__(
        self,
        input_shape: PerAxis,
        block: PerAxis,
        *,
        data_format: str = "channels_first",
        order: str = "CRD",
    ) -> None:
        given, blocks, layout = _read(input_shape, block, data_format, order)
        size, channels = layout.split(given, 1)
        for axis, (n, b) in enumerate(zip(size, blocks, strict=True)):
            if n % b:
                raise ShapeError(
                    f"the block must divide the size of each axis; got block {b} and size {n} at "
                    f"axis {axis} of {given} ({data_format}); crop or pad the axis to a multiple"
                )
        small = tuple(n // b for n, b in zip(size, blocks, strict=True))
        wanted = layout.join(small, channels * prod(blocks))
        self._set(given, wanted, np.float32, block=blocks, layout=layout, order=order)

    def _apply(self, x: Array) -> Array:
        return self._to_depth(x)

    def _apply_transpose(self, y: Array) -> Array:
        return self._to_space(y)

    @property
    def T(self) -> DepthToSpace:
        """The transpose, which is the inverse."""
        return DepthToSpace(
            self.output_shape, self.block, data_format=self.data_format, order=self.order
        )


def _read(
    input_shape: Any, block: Any, data_format: str, order: str
) -> tuple[tuple[int, ...], tuple[int, ...], Layout]:
    """Check what both directions take; return the shape, the block and the layout."""
    choice("data_format", data_format, DATA_FORMATS)
    choice("order", order, CHANNEL_ORDERS)
    given = read_shape("input_shape", input_shape)
    if len(given) < 2:
        raise ShapeError(
            f"input_shape must have a channel axis and at least one spatial axis; got {given}; "
            f"give (channels, *size) or (*size, channels)"
        )
    ndim = len(given) - 1
    blocks = per_axis("block", block, ndim, minimum=1)
    return given, blocks, Layout(ndim, data_format, bare=False)

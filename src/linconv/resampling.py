"""Resampling: `Resize` to another size, and `Diagonal`, one weight per sample.

Both are float32, so that they widen nothing; weights that float32 does not hold are kept in float64
and used in the dtype of the array.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from math import prod
from typing import Any

import numpy as np
import scipy

from linconv.arguments import PerAxis, choice
from linconv.arguments import shape as read_shape
from linconv.engines.arrays import Array, finite_real, read_only
from linconv.errors import GeometryError, ShapeError
from linconv.matrix import check_bytes
from linconv.numpy_map import NumPyMap

__all__ = ["COORDINATES", "METHODS", "Diagonal", "Resize"]

METHODS = ("nearest", "linear")
COORDINATES = ("half_pixel", "align_corners", "asymmetric")

_REMEDY = "apply the map, or raise the limit max_bytes"


class Resize(NumPyMap):
    """Resample every axis to another size, by the nearest sample or linearly between two.

    Parameters
    ----------
    input_shape, output_shape : int or sequence of int
        All axes of one sample, channels included; an axis that keeps its size (and has no other
        `scale`) is left alone.
    method : {"nearest", "linear"}
        Linear along each axis: bilinear over two, trilinear over three.
    coordinates : {"half_pixel", "align_corners", "asymmetric"}
        Where output sample o stands on the input's axis, with s input samples per output sample:
        ``(o + 0.5) * s - 0.5`` (samples are areas; Keras, PyTorch's default), ``o * (in - 1) /
        (out - 1)`` (first and last samples fall together) or ``o * s``. Nearest takes the sample
        at or before it for ``"asymmetric"`` (PyTorch's, Keras' nearest), else the closest one,
        the later of two (PyTorch's ``"nearest-exact"``).
    scale : sequence of (float or None), optional
        Input samples per output sample of each axis; default, and for None, input size / output
        size, in whole numbers where that decides which sample is nearest. A `numpy.float32` is
        computed with in float32, as PyTorch does for nearest.

    Raises
    ------
    GeometryError, ShapeError
        If a name is unknown, or the two shapes have different numbers of axes.

    Notes
    -----
    One small sparse matrix per resampled axis; cost is at most two multiplications per output
    sample and axis. Positions beyond the ends are moved to them.

    Examples
    --------
    >>> Resize((2,), (4,), "linear")([0.0, 4.0])
    array([0., 1., 3., 4.])
    >>> Resize((2,), (4,), "linear", coordinates="align_corners")([0.0, 3.0])
    array([0., 1., 2., 3.])
    """

    method: str
    coordinates: str
    scale: tuple[Any, ...]
    _matrices: tuple[Any, ...]

    def __init__(
        self,
        input_shape: PerAxis,
        output_shape: PerAxis,
        method: str = "nearest",
        *,
        coordinates: str | None = None,
        scale: Sequence[Any] | None = None,
    ) -> None:
        given, wanted = (
            read_shape(name, value)
            for name, value in (("input_shape", input_shape), ("output_shape", output_shape))
        )
        choice("method", method, METHODS)
        if coordinates is None:
            coordinates = "asymmetric" if method == "nearest" else "half_pixel"
        choice("coordinates", coordinates, COORDINATES)
        steps = (None,) * len(given) if scale is None else tuple(scale)
        if not len(given) == len(wanted) == len(steps):
            raise ShapeError(
                f"input_shape, output_shape and scale must have as many axes; got {given}, "
                f"{wanted} and {len(steps)} scales; give one entry per axis, channels included"
            )
        for axis, step in enumerate(steps):
            if step is not None and not (np.isfinite(step) and step > 0):
                raise GeometryError(
                    f"scale must be a positive number of input samples per output sample; got "
                    f"{step} at axis {axis}; use input size / output size"
                )
        matrices = tuple(
            None if n == o and s is None else _axis_matrix(n, o, s, method, coordinates)
            for n, o, s in zip(given, wanted, steps, strict=True)
        )
        self._set(
            given,
            wanted,
            np.float32,
            method=method,
            coordinates=coordinates,
            scale=steps,
            _matrices=matrices,
        )

    def axis_matrix(self, axis: int) -> Array:
        """Return the dense matrix of one axis, shape (output size, input size), float64."""
        matrix = self._matrices[axis]
        return np.eye(self.input_shape[axis]) if matrix is None else np.asarray(matrix.toarray())

    def places(self, axis: int) -> Array:
        """Return where each output sample is read on the input's axis, float64."""
        matrix, ramp = self._matrices[axis], np.arange(float(self.input_shape[axis]))
        return ramp if matrix is None else np.asarray(matrix @ ramp)

    def _apply(self, x: Array) -> Array:
        return _along_axes(self._matrices, x)

    def _apply_transpose(self, y: Array) -> Array:
        return _along_axes([None if m is None else m.T for m in self._matrices], y)

    def _sparse(self, max_bytes: int) -> Any:
        factors = [
            scipy.sparse.eye_array(n, format="csr") if m is None else m
            for n, m in zip(self.input_shape, self._matrices, strict=True)
        ]
        needed = 12 * prod(m.nnz for m in factors)
        check_bytes("a sparse matrix", self.shape, needed, max_bytes, _REMEDY)
        return reduce(lambda a, b: scipy.sparse.kron(a, b, format="csr"), factors).tocsr()

    def __repr__(self) -> str:
        return f"Resize({self._shapes()}, {self.method!r}, coordinates={self.coordinates!r})"


def _axis_matrix(size: int, out: int, scale: Any, method: str, coordinates: str) -> Any:
    """Return the CSR matrix of one axis."""
    rows = np.arange(out)
    if method == "nearest":
        first = np.minimum(_nearest(rows, size, out, scale, coordinates), size - 1)
        ones = np.ones(out)
        return scipy.sparse.csr_array((ones, (rows, first)), shape=(out, size))
    step = size / out if scale is None else float(scale)
    position = {
        "half_pixel": (rows + 0.5) * step - 0.5,
        "align_corners": rows * ((size - 1) / max(1, out - 1)),
        "asymmetric": rows * step,
    }[coordinates]
    position = np.clip(position, 0, size - 1)
    first = np.minimum(position.astype(np.int64), max(0, size - 2))
    after = position - first
    both = np.concatenate([rows, rows]), np.concatenate([first, np.minimum(first + 1, size - 1)])
    matrix = scipy.sparse.csr_array((np.concatenate([1 - after, after]), both), shape=(out, size))
    matrix.sum_duplicates()
    matrix.eliminate_zeros()
    return matrix


def _nearest(rows: Array, size: int, out: int, scale: Any, coordinates: str) -> Array:
    """Return the input sample that each output sample copies, before those beyond the end."""
    if coordinates == "align_corners":  # round half up, in whole numbers
        return (2 * rows * (size - 1) + max(1, out - 1)) // (2 * max(1, out - 1))
    if scale is None:
        if coordinates == "asymmetric":
            return rows * size // out
        return (2 * rows + 1) * size // (2 * out)
    kind: Any = np.float32 if isinstance(scale, np.float32) else np.float64
    position = rows.astype(kind) + kind(0 if coordinates == "asymmetric" else 0.5)
    nearest: Array = np.floor(position * kind(scale)).astype(np.int64)
    return nearest


def _along_axes(matrices: Sequence[Any], x: Array) -> Array:
    """Multiply every axis of a batch by its matrix, None being the identity."""
    for axis, matrix in enumerate(matrices, start=1):
        if matrix is not None:
            lines = np.moveaxis(x, axis, 0)
            product = matrix.astype(x.dtype) @ lines.reshape(len(lines), -1)
            x = np.moveaxis(product.reshape(-1, *lines.shape[1:]), 0, axis)
    return x


class Diagonal(NumPyMap):
    """Multiply every sample by its own weight.

    Parameters
    ----------
    shape : int or sequence of int
        All axes of one sample.
    weights : array
        Real, and broadcasts to `shape`.

    Raises
    ------
    ShapeError, DTypeError, LinconvError
        If the weights do not broadcast, are complex or not finite.

    Examples
    --------
    >>> Diagonal((3,), [1.0, 0.5, 1.0])([2.0, 2.0, 2.0])
    array([2., 1., 2.])
    """

    weights: Array

    def __init__(self, shape: PerAxis, weights: Any) -> None:
        given = read_shape("shape", shape)
        array = finite_real("weights", weights)
        try:
            array = np.broadcast_to(array, given)
        except ValueError:
            raise ShapeError(
                f"weights must broadcast to the shape {given}; got shape {array.shape}; "
                f"give one weight per sample"
            ) from None
        self._set(given, given, np.float32, weights=read_only(np.array(array)))

    def _apply(self, x: Array) -> Array:
        product: Array = x * self.weights.astype(x.dtype)
        return product

    def _apply_transpose(self, y: Array) -> Array:
        return self._apply(y)

    def _sparse(self, max_bytes: int) -> Any:
        needed = 16 * self.shape[0]
        check_bytes("a sparse matrix", self.shape, needed, max_bytes, _REMEDY)
        return scipy.sparse.diags_array(self.weights.ravel(), format="csr")

    @property
    def T(self) -> Diagonal:
        """The map itself."""
        return self

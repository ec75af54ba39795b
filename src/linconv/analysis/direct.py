"""Direct least squares: what every solver in closed form has, and the dense one."""

from __future__ import annotations

from math import prod
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from linconv.linear_map import LinearMap
from linconv.matrix import SPARSE_LIMIT, check_bytes

__all__ = ["EPS", "DenseSolver", "Direct", "double_sparse", "gains", "rounding", "times_axes"]

Array = NDArray[Any]

DENSE_BYTES = 2**29
EPS = float(np.finfo(np.float64).eps)


class Direct(Protocol):
    """The solution of ``min ||op(x) - y||^2 + ridge ||x||^2`` for any y, prepared once.

    Attributes
    ----------
    method : str
    how : str
        What a user should know of how it was found.
    norm : float
        Largest singular value of the map, or a bound above it.
    smallest : float or None
        Smallest singular value, of the ``min(op.shape)`` that there are.
    rank : int or None
        Singular values above the cutoff, None where they are not known.
    """

    method: str
    how: str
    norm: float
    smallest: float | None
    rank: int | None

    def solve(self, y: Array) -> Array:
        """Return the solutions (n, *input_shape) of outputs (n, *output_shape), in double."""


def double_sparse(op: LinearMap) -> Any:
    """Return the CSR array of a map in double precision: products and sums are not rounded."""
    wide = np.result_type(op.dtype, np.float64)
    return op._sparse(SPARSE_LIMIT).astype(wide, copy=False)


def rounding(op: LinearMap, largest: float) -> float:
    """Return how far rounding may move a singular value: those up to it count as zero.

    ``max(op.shape)`` units in the last place of the largest, as in `numpy.linalg.matrix_rank`: the
    one rule for ranks, condition numbers, null spaces and inverses, whatever the method.
    """
    return max(op.shape) * EPS * largest


def gains(values: Array, ridge: float, cutoff: float) -> Array:
    """Return ``s / (s^2 + ridge)`` of singular values s, and 0 for those up to the cutoff.

    With a ridge nothing is cut off: what is lost comes out as nothing by itself.
    """
    if ridge > 0:
        scale = np.hypot(values, np.sqrt(ridge))  # no square overflows
        return np.asarray(values / scale / scale)
    found = np.zeros_like(values)
    np.divide(1.0, values, out=found, where=values > cutoff)
    return found


def times_axes(matrices: list[Array], arrays: Array) -> Array:
    """Multiply every axis of arrays (n, ...) by its matrix: a Kronecker product, applied."""
    for axis, matrix in enumerate(matrices, start=1):
        moved = np.moveaxis(arrays, axis, -1)
        arrays = np.moveaxis(moved @ matrix.T, -1, axis)
    return arrays


class DenseSolver:
    """By the singular value decomposition of the dense matrix."""

    method = "dense"
    how = "the singular value decomposition of the dense matrix"

    def __init__(self, op: LinearMap, ridge: float) -> None:
        needed = op.shape[0] * op.shape[1] * np.result_type(op.dtype, np.float64).itemsize
        check_bytes("a dense matrix", op.shape, needed, DENSE_BYTES, "use method='auto' or 'cg'")
        matrix = double_sparse(op).toarray()
        self._shape = op.input_shape
        left, values, right = np.linalg.svd(matrix, full_matrices=False)
        self.norm = float(values[0])
        self.smallest: float | None = float(values[-1])
        cutoff = rounding(op, self.norm)
        self.rank: int | None = int((values > cutoff).sum())
        self._left = left
        self._right = right.conj() * gains(values, ridge, cutoff)[:, None]

    def solve(self, y: Array) -> Array:
        """Return the solutions (n, *input_shape)."""
        flat = y.reshape(len(y), prod(y.shape[1:]))
        found: Array = (flat @ self._left.conj()) @ self._right
        return found.reshape(len(y), *self._shape)

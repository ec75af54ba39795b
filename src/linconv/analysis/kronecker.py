"""Maps that act on every axis by itself: Kronecker products, and their least squares."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from linconv.analysis.direct import EPS, gains, rounding, times_axes
from linconv.analysis.separable import axis_matrix, outer_factors
from linconv.convolution import Conv, ConvTranspose
from linconv.factors import Correlate, Decimate, Pad
from linconv.identity import Identity
from linconv.linear_map import LinearMap, Product, Scaled, Transpose

__all__ = ["SeparableSolver", "axis_matrices", "is_separable"]

Array = NDArray[Any]

OPERATIONS = 1e12  # of the decompositions of all axes, at most
REFINEMENTS = 4
SAME = 8.0  # roundings of the largest entry up to which two matrices are one


def is_separable(op: LinearMap, *, strictly: bool = False) -> bool:
    """Whether a map is a Kronecker product over two axes or more, of sizes that can be solved.

    A kernel counts as an outer product if it is one to the rounding of its own dtype or, strictly,
    to that of double precision.
    """
    parts = op.maps if isinstance(op, Product) else (op,)
    sizes = [m.output_shape for m in parts] + [op.input_shape]
    if len({len(size) for size in sizes}) != 1:
        return False
    longest = [max(axis) for axis in zip(*sizes, strict=True)]
    if len(longest) < 2 or sum(20.0 * n**3 for n in longest) > OPERATIONS:
        return False
    return all(_splits(part, strictly) for part in parts)


def _splits(op: LinearMap, strictly: bool) -> bool:
    if isinstance(op, ConvTranspose | Transpose):
        return _splits(op.T, strictly)
    if isinstance(op, Scaled):
        return _splits(op.of, strictly)
    if isinstance(op, Product):
        return all(_splits(part, strictly) for part in op.maps)
    if isinstance(op, Conv | Correlate):
        return _factors(op, strictly) is not None
    return isinstance(op, Identity | Pad | Decimate)


def _factors(op: Conv | Correlate, strictly: bool = False) -> list[Array] | None:
    eps = EPS if strictly else float(np.finfo(op.dtype).eps)
    return outer_factors(op.layout.kernels_first(op.kernel), eps)


def axis_matrices(op: LinearMap) -> list[Array]:
    """Return the matrix of every axis of a separable map: their Kronecker product is its own."""
    if isinstance(op, ConvTranspose | Transpose):
        return [m.T for m in axis_matrices(op.T)]
    if isinstance(op, Scaled):
        first, *others = axis_matrices(op.of)
        return [op.factor * first, *others]
    if isinstance(op, Product):
        product = axis_matrices(op.maps[0])
        for part in op.maps[1:]:
            product = [a @ b for a, b in zip(product, axis_matrices(part), strict=True)]
        return product
    if isinstance(op, Conv | Correlate):
        found = _factors(op)
        assert found is not None  # `is_separable` has seen to it
        mixing, *vectors = found
        g = op.geometry
        wide = np.zeros((g.out_channels, g.in_channels), mixing.dtype)
        outs, per_group = g.out_channels // g.groups, g.in_channels // g.groups
        for group in range(g.groups):
            rows = slice(group * outs, (group + 1) * outs)
            wide[rows, group * per_group : (group + 1) * per_group] = mixing[rows]
        spatial = [axis_matrix(g, axis, vector).toarray() for axis, vector in enumerate(vectors)]
        if op.layout.bare:
            spatial[0] = spatial[0] * wide[0, 0]
        return list(op.layout.join(spatial, wide))
    if isinstance(op, Pad | Decimate):
        g, one = op.geometry, np.ones(1)
        return [axis_matrix(g, axis, one).toarray() for axis in range(g.ndim)]
    return [np.eye(n) for n in op.input_shape]


class SeparableSolver:
    """By one singular value decomposition per axis: exact for any border.

    Of a kernel that is an outer product to no more than single precision the product alone is
    decomposed, and what is found is refined.
    """

    method = "separable"
    how = "one singular value decomposition per axis"

    def __init__(self, op: LinearMap, ridge: float) -> None:
        parts = _decomposed_once(axis_matrices(op))
        self.norm = prod(float(values.max()) for _, values, _ in parts)
        self.smallest: float | None = prod(float(values.min()) for _, values, _ in parts)
        cutoff = rounding(op, self.norm)
        lines = [values for _, values, _ in parts]
        table = lines[0]
        for line in lines[1:]:
            table = np.multiply.outer(table, line)
        self.rank: int | None = int((table > cutoff).sum())
        self._gains = gains(table, ridge, cutoff)
        self._refines = None if is_separable(op, strictly=True) else op
        if self._refines is not None:
            self.how += " of the nearest outer product, refined"
            self._ridge = ridge
            self._shrinks = (
                gains(np.hypot(table, np.sqrt(ridge)), 0.0, 0.0) ** 2
            )  # 1 / (s^2 + ridge)
        self._left = [left.conj().T for left, _, _ in parts]
        self._right = [right.conj().T for _, _, right in parts]

    def solve(self, y: Array) -> Array:
        """Return the solutions (n, *input_shape)."""
        found = times_axes(self._right, times_axes(self._left, y) * self._gains)
        return found if self._refines is None else self._refined(found, y, self._refines)

    def _refined(self, found: Array, y: Array, op: LinearMap) -> Array:
        """Return solutions of the map itself, as near as its outer product lets them come."""
        smallest = np.linalg.norm(found.reshape(len(y), -1), axis=1)
        adjoint, forward = op.H, [right.conj().T for right in self._right]
        for _ in range(REFINEMENTS):
            left = y - op._apply(found)
            if self._ridge:
                gradient = adjoint._apply(left) - self._ridge * found
                modes = times_axes(forward, gradient) * self._shrinks
            else:
                modes = times_axes(self._left, left) * self._gains
            size = np.linalg.norm(modes.reshape(len(y), -1), axis=1)
            better = size < smallest / 2  # or it would not get nearer
            if not better.any():
                break
            smallest = np.where(better, size, smallest)
            step = times_axes(self._right, modes)
            found = found + step * better.reshape(-1, *(1,) * (step.ndim - 1))
        return found


def _decomposed_once(matrices: list[Array]) -> list[tuple[Array, Array, Array]]:
    """Return the decomposition of every matrix; those that are multiples of another share it.

    A kernel that is the same along two axes gives two matrices that differ by a factor and by its
    rounding, which is less than that of the decomposition.
    """
    parts: list[tuple[Array, Array, Array]] = []
    for number, matrix in enumerate(matrices):
        for (left, values, right), other in zip(parts, matrices[:number], strict=True):
            factor = _multiple(matrix, other)
            if factor is not None:
                size = abs(factor)
                parts.append((left * (factor / size), values * size, right))
                break
        else:
            parts.append(_decomposed(matrix))
    return parts


def _multiple(a: Array, b: Array) -> Any:
    """Return the number that makes b equal a, to a few roundings of the largest, or None."""
    if a.shape != b.shape or not a.size:
        return None
    where = np.unravel_index(np.abs(b).argmax(), b.shape)
    if not a[where] or not b[where]:
        return None
    factor = a[where] / b[where]
    return factor if _equal(a, factor * b) else None


def _equal(a: Array, b: Array) -> bool:
    return bool(np.abs(a - b).max(initial=0.0) <= SAME * EPS * np.abs(a).max(initial=0.0))


def _decomposed(matrix: Array) -> tuple[Array, Array, Array]:
    """Return the economic SVD; of a Hermitian matrix by its eigenvectors, in a tenth of the time.

    Those come from the matrix itself, not from its square, so that no digits are lost; the
    singular values are in the order of the eigenvalues.
    """
    if matrix.shape[0] == matrix.shape[1] and _equal(matrix, matrix.conj().T):
        eigenvalues, vectors = np.linalg.eigh((matrix + matrix.conj().T) / 2)
        signs = np.where(eigenvalues < 0, -1.0, 1.0)
        return vectors * signs, np.abs(eigenvalues), vectors.conj().T
    left, values, right = np.linalg.svd(matrix, full_matrices=False)
    return left, values, right

"""Separable convolutions: the matrix as a Kronecker product, its singular values as products."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from math import inf, prod
from typing import Any

import numpy as np
import scipy

from linconv.convolution import Conv
from linconv.engines.arrays import Array
from linconv.geometry import Geometry
from linconv.layout import Layout
from linconv.matrix import convolution_csr

__all__ = ["Separable", "axis_matrix", "band_values", "band_work", "outer_factors", "separable"]

_DENSE = 1200  # rows and columns of a 1-D matrix up to which it is decomposed as it is
_EPS = float(np.finfo(np.float64).eps)


@dataclass(frozen=True, eq=False)
class Separable:
    """A convolution as a Kronecker product, one factor per array axis, in the arrays' order.

    Attributes
    ----------
    factors : tuple of sparse or dense matrix
        ``op.matrix() == kron(factors[0], factors[1], ...)`` up to rounding.
    """

    factors: tuple[Any, ...]

    @property
    def work(self) -> float:
        """Multiplications that the decompositions take, about."""
        return float(sum(4.0 * min(f.shape) ** 2 * max(f.shape) for f in self.factors))

    def values(self) -> Array:
        """Return all singular values, descending: the min(rows, columns) largest products."""
        sides = [band_values(factor) for factor in self.factors]
        products: Array = reduce(np.multiply.outer, sides).ravel()
        shape = (prod(f.shape[0] for f in self.factors), prod(f.shape[1] for f in self.factors))
        full = np.zeros(min(shape))
        full[: len(products)] = np.sort(products)[::-1]
        return full

    def decomposed(self) -> list[tuple[Array, Array, Array]]:
        """Return the full singular value decomposition of every factor: u, values, vh."""
        return [scipy.linalg.svd(_dense(factor)) for factor in self.factors]

    def space(self, tolerance: float, *, null: bool) -> Array:
        """Return an orthonormal basis of the null space or range, (n, *one axis per factor)."""
        parts = self.decomposed()
        bases = [vh.conj().T if null else u for u, _, vh in parts]
        values = []
        for base, (_, found, _) in zip(bases, parts, strict=True):
            padded = np.zeros(base.shape[1])
            padded[: len(found)] = found
            values.append(padded)
        products = reduce(np.multiply.outer, values)
        chosen = products <= tolerance if null else products > tolerance
        columns = np.argwhere(chosen)
        shape = tuple(len(base) for base in bases)
        basis = np.empty((len(columns), *shape), np.result_type(*bases))
        for row, numbers in enumerate(columns):
            waves = [base[:, n] for base, n in zip(bases, numbers, strict=True)]
            basis[row] = reduce(np.multiply.outer, waves)
        return basis

    def pair(self, number: int) -> tuple[Array, Array]:
        """Return the singular vectors of the n-th largest product, as arrays."""
        parts = self.decomposed()
        products = reduce(np.multiply.outer, [values for _, values, _ in parts])
        order = np.argsort(-products, axis=None, kind="stable")
        sides = []
        for bases in ([u for u, _, _ in parts], [vh.conj().T for _, _, vh in parts]):
            if number < len(order):
                where = np.unravel_index(order[number], products.shape)
            else:  # a zero beyond all products: columns of the bases that no product pairs
                sizes = [base.shape[1] for base in bases]
                unpaired = np.ones(sizes, bool)
                unpaired[tuple(slice(0, n) for n in products.shape)] = False
                where = tuple(np.argwhere(unpaired)[number - len(order)])
            columns = [base[:, n] for base, n in zip(bases, where, strict=True)]
            sides.append(reduce(np.multiply.outer, columns))
        return sides[0], sides[1]


def separable(op: Conv) -> Separable | None:
    """Return a convolution with one group as a Kronecker product, or None if it is none.

    The kernel must be an outer product of one vector per axis and a matrix of channels, up to
    rounding; padding modes, strides and dilations may be any.
    """
    g, layout = op.geometry, op.layout
    if g.groups > 1:
        return None
    found = outer_factors(layout.kernels_first(op.kernel), _EPS)
    if found is None:
        return None
    across, *taps = found
    matrices = [axis_matrix(g, axis, tap) for axis, tap in enumerate(taps)]
    if layout.bare:
        return Separable((matrices[0] * across[0, 0], *matrices[1:]))
    return Separable(layout.join(matrices, across))


def outer_factors(kernel: Array, eps: float) -> list[Array] | None:
    """Return the factors of a kernel (out, in/groups, *size) that is an outer product, or None.

    Parameters
    ----------
    kernel : array, shape (out, in/groups, *size)
    eps : float
        One rounding; as many as eight of the largest entry are let pass.

    Returns
    -------
    list of array or None
        A matrix (out, in/groups) and one vector per spatial axis.
    """
    rest = kernel.astype(np.result_type(kernel.dtype, np.float64))
    channels, vectors = rest.shape[:2], []
    rest = rest.reshape(-1, *rest.shape[2:])
    scale = float(np.abs(rest).max())
    if not np.isfinite(scale):
        return None
    for _ in range(kernel.ndim - 2):
        unfolded = rest.reshape(-1, rest.shape[-1])
        if not scale:
            vectors.append(np.zeros(rest.shape[-1]))
            rest = rest[..., 0]
            continue
        # The largest row is the vector: what is an outer product to the last bit stays one.
        row = unfolded[np.abs(unfolded).max(axis=1).argmax()]
        vector = row / row[np.abs(row).argmax()]
        along = unfolded @ vector.conj() / np.vdot(vector, vector).real
        if np.abs(unfolded - np.multiply.outer(along, vector)).max() > 8 * eps * scale:
            return None
        vectors.append(vector)
        rest = along.reshape(rest.shape[:-1])
    return [rest.reshape(channels), *reversed(vectors)]


def axis_matrix(geometry: Geometry, axis: int, taps: Array) -> Any:
    """Return the sparse matrix of one axis of a convolution."""
    line = Geometry(
        geometry.input_size[axis],
        geometry.kernel_size[axis],
        stride=geometry.stride[axis],
        padding=(geometry.padding[axis],),
        padding_mode=geometry.padding_mode[axis],
        dilation=geometry.dilation[axis],
    )
    return convolution_csr(line, Layout(1, "channels_first", True), taps)


def band_values(matrix: Any) -> Array:
    """Return all singular values of a matrix, descending, by its band where that is less work.

    A banded matrix A is not squared: the eigenvalues of ``[[0, A], [Aᴴ, 0]]``, whose rows and
    columns, shuffled like cards, form a band as well, are plus and minus its singular values, and
    the smallest are as accurate as the largest, to rounding of the largest.
    """
    if band_work(matrix) == inf:
        return np.linalg.svd(_dense(matrix), compute_uv=False)
    band = _shuffled_band(matrix)
    eigenvalues = scipy.linalg.eigvals_banded(band, lower=True, check_finite=False)
    values: Array = np.maximum(eigenvalues[::-1][: min(matrix.shape)], 0)
    return values


def band_work(matrix: Any) -> float:
    """Return the multiplications that `band_values` takes, about; inf where it takes no band."""
    if max(matrix.shape) <= _DENSE or not scipy.sparse.issparse(matrix):
        return inf
    low, high, _ = _shuffled(matrix)
    width = int((high - low).max(initial=0)) + 1
    return inf if 8 * width > min(matrix.shape) else float(sum(matrix.shape)) ** 2 * width


def _shuffled_band(matrix: Any) -> Array:
    """Return ``[[0, A], [Aᴴ, 0]]``, rows and columns shuffled, in LAPACK's lower band storage."""
    low, high, values = _shuffled(matrix)
    band = np.zeros((int((high - low).max(initial=0)) + 1, sum(matrix.shape)), values.dtype)
    np.add.at(band, (high - low, low), values)
    return band


def _shuffled(matrix: Any) -> tuple[Array, Array, Array]:
    """Return the lower triangle of that matrix: the column, row and value of every entry."""
    rows, columns = matrix.shape
    entries = matrix.tocoo()
    place = np.empty(rows + columns, np.int64)
    # along the diagonal of A: row i stands at i / rows, column j at j / columns
    position = np.concatenate(
        [(np.arange(rows) + 0.5) / rows, (np.arange(columns) + 0.5) / columns]
    )
    place[np.argsort(position, kind="stable")] = np.arange(rows + columns)
    a, b = place[entries.row], place[rows + entries.col]
    low, high = np.minimum(a, b), np.maximum(a, b)
    return low, high, np.where(a > b, entries.data, entries.data.conj())


def _dense(matrix: Any) -> Array:
    return matrix.toarray() if scipy.sparse.issparse(matrix) else np.asarray(matrix)

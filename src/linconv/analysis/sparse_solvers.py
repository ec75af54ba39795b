"""Least squares by factorisations of sparse matrices: banded Cholesky, and LU."""

from __future__ import annotations

from collections.abc import Callable
from math import ceil, inf, prod
from typing import Any

import numpy as np
import scipy
from numpy.typing import NDArray

from linconv.analysis.direct import EPS, double_sparse, rounding
from linconv.convolution import Conv, ConvTranspose
from linconv.errors import LinconvError
from linconv.linear_map import LinearMap

__all__ = [
    "BandedSolver",
    "SingularError",
    "SparseSolver",
    "band_fits",
    "least_band",
    "with_kernel",
]

Array = NDArray[Any]

BAND_BYTES = 2**30
TINY = 1e-200
CONDITION = 1e10  # of normal equations, up to which six digits are left


class SingularError(LinconvError):
    """A factorisation that does not exist, or that holds no digits."""


def with_kernel(op: LinearMap, change: Callable[[Array], Array]) -> Conv | ConvTranspose | None:
    """Return a convolution, or its transpose, with another kernel of the same shape, or None."""
    if isinstance(op, ConvTranspose):
        twin = with_kernel(op.T, change)
        return None if twin is None else twin.T
    if not isinstance(op, Conv):
        return None
    kernel = np.asarray(change(np.asarray(op.kernel)))
    wide = kernel.astype(np.result_type(kernel, np.float64), copy=False)
    return Conv.of(wide, op.layout, op.geometry)


def least_band(op: LinearMap, enough: float = inf) -> int:
    """Return a lower bound of the band of a convolution's normal equations, in any order.

    No matrix is formed. Within r steps, each from an unknown to those that a window holds beside
    it, an unknown of a band w wide meets at most ``2 r w`` others: the local density of Chvatal
    (Chinn, Chvatalova, Dewdney and Gibbs, "The bandwidth problem for graphs and matrices", J. Graph
    Theory 6, 1982), here around the middle of the input, for as many steps as it grows, or until
    it is above `enough`. Products that cancel are counted. 0 for what is no convolution.
    """
    pattern = with_kernel(op, lambda kernel: kernel != 0)
    if pattern is None or 0 in op.shape:
        return 0
    adjoint, found, radius, still = pattern.T, 0, 0, 0
    ball = np.zeros((1, *op.input_shape))
    ball[(0, *(n // 2 for n in op.input_shape))] = 1
    while still < 3 and found <= enough:
        radius += 1
        ball = (adjoint._apply(pattern._apply(ball)) > 0.5).astype(np.float64)
        density = ceil((np.count_nonzero(ball) - 1) / (2 * radius))
        still = 0 if density > found else still + 1
        found = max(found, density)
    return found


def band_fits(op: LinearMap) -> bool:
    """Whether the band of the normal equations may fit, as far as `least_band` tells."""
    return least_band(op, _widest(op)) <= _widest(op)


def _widest(op: LinearMap) -> float:
    itemsize = np.result_type(op.dtype, np.float64).itemsize
    return BAND_BYTES / max(1, op.shape[1] * itemsize) - 1


def _check_band(op: LinearMap, width: int, about: str) -> None:
    if width > _widest(op):
        raise SingularError(
            f"the band of the normal equations must fit in {BAND_BYTES / 2**30:g} GiB; it is "
            f"{about}{width + 1} wide for {op.shape[1]} unknowns; use method='cg'"
        )


def _columns(flat: Array, solve: Any, real: bool) -> Array:
    """Solve for the rows of `flat`; a real factor takes the two parts of complex ones."""
    if real and flat.dtype.kind == "c":
        return np.asarray(solve(flat.real.T) + 1j * solve(flat.imag.T)).T
    return np.asarray(solve(np.ascontiguousarray(flat.T))).T


class BandedSolver:
    """By the banded Cholesky factor of the normal equations, and two steps of refinement."""

    method = "banded"
    how = "the banded Cholesky factor of the normal equations"
    smallest: float | None = None
    rank: int | None = None

    def __init__(self, op: LinearMap, ridge: float) -> None:
        _check_band(op, least_band(op, _widest(op)), "at least ")  # before any memory is taken
        matrix = double_sparse(op)
        columns = op.shape[1]
        normal = (matrix.conj().T @ matrix + ridge * scipy.sparse.eye_array(columns)).tocsr()
        order = scipy.sparse.csgraph.reverse_cuthill_mckee(normal, symmetric_mode=True)
        entries = normal[order][:, order].tocoo()
        width = int(np.abs(entries.row - entries.col).max(initial=0))
        _check_band(op, width, "")
        band = np.zeros((width + 1, columns), entries.data.dtype)
        lower = entries.row >= entries.col
        row, column = entries.row[lower], entries.col[lower]
        band[row - column, column] = entries.data[lower]
        self.norm = float(np.sqrt(abs(normal).sum(axis=0).max()))
        try:
            self._factor = scipy.linalg.cholesky_banded(band, lower=True, check_finite=False)
        except np.linalg.LinAlgError:
            raise SingularError(
                f"method 'banded' needs normal equations that are positive definite to rounding; "
                f"these, with ridge={ridge:g}, are not; use a larger ridge, or method='auto'"
            ) from None
        self._matrix, self._normal, self._order = matrix, normal, order
        self._shape = op.input_shape
        condition = float(abs(normal).sum(axis=0).max()) * self._inverse_norm(columns)
        if not condition < CONDITION:
            raise SingularError(
                f"method 'banded' needs normal equations that hold some digits, of condition below "
                f"{CONDITION:.0e}; these, with ridge={ridge:g}, have about {condition:.1e}; use a "
                f"larger ridge, or method='auto'"
            )

    def _inverse_norm(self, columns: int) -> float:
        """Estimate the 1-norm of the normal equations' inverse (Higham and Tisseur, 2000)."""

        def solve(vectors: Array) -> Array:
            return self._by_factor(np.atleast_2d(vectors.T)).T.reshape(vectors.shape)

        inverse = scipy.sparse.linalg.LinearOperator(
            (columns, columns),
            solve,
            rmatvec=solve,
            matmat=solve,
            rmatmat=solve,
            dtype=self._factor.dtype,
        )
        if columns <= 4:  # too few for the estimate
            return float(np.abs(solve(np.eye(columns))).sum(axis=0).max())
        return float(scipy.sparse.linalg.onenormest(inverse))

    def _by_factor(self, flat: Array) -> Array:
        def solve(columns: Array) -> Array:
            return np.asarray(scipy.linalg.cho_solve_banded((self._factor, True), columns))

        found = np.empty(flat.shape, np.result_type(flat, self._factor))
        found[:, self._order] = _columns(flat[:, self._order], solve, np.isrealobj(self._factor))
        # What is too small to be divided by its own size; inverses of bands decay so far.
        found[np.abs(found) < TINY * np.abs(found).max(initial=0.0)] = 0
        return found

    def solve(self, y: Array) -> Array:
        """Return the solutions (n, *input_shape)."""
        flat = y.reshape(len(y), prod(y.shape[1:]))
        right = np.asarray((self._matrix.conj().T @ flat.T).T)
        found = self._by_factor(right)
        for _ in range(2):
            found = found + self._by_factor(right - np.asarray((self._normal @ found.T).T))
        return found.reshape(len(y), *self._shape)


class SparseSolver:
    """By the LU factors of the matrix, or with a ridge of the augmented system.

    The augmented system ``[a I, A; Aᴴ, -a I]`` with ``a^2 = ridge`` holds residual and solution,
    and its condition is not squared (Björck, "Numerical Methods for Least Squares Problems"
    (1996)).
    """

    method = "sparse"
    rank: int | None = None
    smallest: float | None = None

    def __init__(self, op: LinearMap, ridge: float) -> None:
        rows, columns = op.shape
        if not ridge and rows != columns:
            raise SingularError(
                f"method 'sparse' needs as many outputs as inputs, or a ridge; got a matrix of "
                f"shape {op.shape} and ridge=0; use method='auto'"
            )
        matrix = double_sparse(op)
        self.norm = float(scipy.sparse.linalg.norm(matrix))
        self._scale = float(np.sqrt(ridge))
        self.how = "sparse LU factors"
        if ridge:
            self.how += " of the augmented system"
            a = self._scale
            left, right = scipy.sparse.eye_array(rows) * a, scipy.sparse.eye_array(columns) * -a
            system = scipy.sparse.block_array([[left, matrix], [matrix.conj().T, right]])
        else:
            system = matrix
        try:
            self._factor = scipy.sparse.linalg.splu(system.tocsc())
        except RuntimeError:
            raise SingularError(
                f"method 'sparse' needs an invertible matrix; this one, of shape {op.shape}, is "
                f"singular; use a ridge, or method='auto'"
            ) from None
        pivots = np.abs(self._factor.U.diagonal())
        if pivots.min() < EPS * columns * pivots.max():
            raise SingularError(
                f"method 'sparse' needs an invertible matrix; the pivots of this one span "
                f"{pivots.max() / pivots.min():.1e}, it is singular to rounding; use a ridge, or "
                f"method='auto'"
            )
        self._system, self._shape, self._rows = system.tocsr(), op.input_shape, rows
        if not ridge:
            self.find_extremes(op, steps=8)

    def find_extremes(self, op: LinearMap, steps: int) -> None:
        """Find the extreme singular values by power iteration, the smallest from above.

        So that of a map that is refused here, the rank is not full for `rank` either.
        """
        matrix, solve = self._system, self._factor.solve
        adjoint = matrix.conj().T.tocsr()
        self.norm = _largest(lambda v: matrix @ v, lambda v: adjoint @ v, matrix, steps)
        self.smallest = 1 / _largest(solve, lambda v: solve(v, "H"), matrix, steps)
        if self.smallest <= rounding(op, self.norm):
            raise SingularError(
                f"method 'sparse' needs an invertible matrix; of this one the smallest singular "
                f"value, {self.smallest:.1e}, is zero to rounding; use a ridge, or method='auto'"
            )
        self.rank = op.shape[1]

    def undo(self, columns: Array, trans: str = "N") -> Array:
        """Return the product of columns with the system's inverse, or with its adjoint ("H")."""
        return np.asarray(self._factor.solve(columns.astype(self._system.dtype), trans))

    def solve(self, y: Array) -> Array:
        """Return the solutions (n, *input_shape), refined once."""
        flat = y.reshape(len(y), prod(y.shape[1:]))
        if self._scale:
            flat = np.concatenate([flat, np.zeros((len(y), prod(self._shape)), y.dtype)], axis=1)
        real = self._system.dtype.kind != "c"
        if not real:
            flat = flat.astype(np.complex128, copy=False)
        found = _columns(flat, self._factor.solve, real)
        left = flat - np.asarray((self._system @ found.T).T)
        found = found + _columns(left, self._factor.solve, real)
        if self._scale:
            found = found[:, self._rows :]
        return found.reshape(len(y), *self._shape)


def _largest(apply: Any, adjoint: Any, matrix: Any, steps: int) -> float:
    """Return the largest singular value of a product, from below."""
    x = np.random.default_rng(0).standard_normal(matrix.shape[1]).astype(matrix.dtype)
    value = 0.0
    for _ in range(steps):
        y = apply(x / np.linalg.norm(x))
        value = float(np.linalg.norm(y))
        x = adjoint(y)
    return value

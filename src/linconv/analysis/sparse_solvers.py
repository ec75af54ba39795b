"""Least squares by factorisations of sparse matrices: banded Cholesky, and LU."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
import scipy
from numpy.typing import NDArray

from linconv.analysis.direct import EPS
from linconv.errors import LinconvError
from linconv.linear_map import LinearMap

__all__ = ["BandedSolver", "SingularError", "SparseSolver"]

Array = NDArray[Any]

BAND_BYTES = 2**30
CONDITION = 1e10  # of normal equations, up to which six digits are left


class SingularError(LinconvError):
    """A factorisation that does not exist, or that holds no digits."""


def _double(op: LinearMap) -> Any:
    return op.sparse().astype(np.result_type(op.dtype, np.float64))


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
        matrix = _double(op)
        columns = op.shape[1]
        normal = (matrix.conj().T @ matrix + ridge * scipy.sparse.eye_array(columns)).tocsr()
        order = scipy.sparse.csgraph.reverse_cuthill_mckee(normal, symmetric_mode=True)
        entries = normal[order][:, order].tocoo()
        width = int(np.abs(entries.row - entries.col).max(initial=0))
        if (width + 1) * columns * entries.data.itemsize > BAND_BYTES:
            raise SingularError(
                f"the band of the normal equations must fit in {BAND_BYTES / 2**30:g} GiB; it is "
                f"{width + 1} wide for {columns} unknowns; use method='cg'"
            )
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
        matrix = _double(op)
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
            self.rank = columns

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

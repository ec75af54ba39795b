"""Linear least squares with any number of rows: a mergeable accumulator that keeps only R."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy
from numpy.typing import NDArray

__all__ = ["LeastSquares", "Solution", "solve_shared"]

Array = NDArray[Any]

_GUARD = 1e-13  # directions below this part of their columns are not divided by in `_triangle`
_GROWTH = 1e6  # rows may exceed those before in any direction by this in square, or lose accuracy
_SKEEL = 1e5  # up to which a triangle is inverted: what is lost is rounding times this number
_SHIFT = 1e-14  # keeps the Cholesky factor of a whitened, singular Gram matrix defined


@dataclass(frozen=True)
class Solution:
    """A least-squares solution: of least norm where the unknowns are not determined.

    Attributes
    ----------
    unknowns : array, shape (unknowns, targets)
    residual : float
        Sum of squares of what is left, over all targets (without the ridge's part).
    rank : int
    condition : float
        Ratio of the largest singular value to the smallest that counts towards the rank.
    """

    unknowns: Array
    residual: float
    rank: int
    condition: float


class LeastSquares:
    """Rows ``[A | B]`` of a least-squares problem, kept as the R of their QR factorisation.

    R holds all that the solution needs, in ``(unknowns + targets)^2`` numbers, without squaring
    the condition as normal equations do. Two accumulators of the same columns add up.

    Parameters
    ----------
    unknowns, targets : int
        Number of columns of A and of B.

    Notes
    -----
    New rows are multiplied by the inverse of the R so far, which makes their Gram matrix well
    conditioned, so that its Cholesky factor, times that R, is the R of the rows to rounding: the
    preconditioned Cholesky QR of Fukaya, Kannan, Nakatsukasa, Yamamoto and Yanagisawa, "Shifted
    Cholesky QR for computing the QR factorization of ill-conditioned matrices" (SIAM J. Sci.
    Comput. 42, 2020). It runs at the speed of a matrix product; rows for which it would not be
    accurate go through Householder's QR. Cost: about ``4 * rows * columns^2`` operations.
    """

    def __init__(self, unknowns: int, targets: int) -> None:
        self.unknowns = unknowns
        self.targets = targets
        self.rows = 0
        self.triangle: Array = np.zeros((0, unknowns + targets))

    def add(self, rows: Array) -> LeastSquares:
        """Add rows ``[A | B]``, shape (rows, unknowns + targets), float64; return self."""
        fresh = _triangle(rows, self.triangle, self.rows)
        self.triangle = _stacked(self.triangle, fresh)
        self.rows += len(rows)
        return self

    def __add__(self, other: LeastSquares) -> LeastSquares:
        """Return the accumulator of both sets of rows."""
        total = LeastSquares(self.unknowns, self.targets)
        total.rows = self.rows + other.rows
        total.triangle = _stacked(self.triangle, other.triangle)
        return total


def solve_shared(
    blocks: list[tuple[LeastSquares, Array]],
    unknowns: int,
    ridge: Array,
) -> Solution:
    """Solve for `unknowns` shared by several accumulators.

    Parameters
    ----------
    blocks : list of (LeastSquares, ndarray of int)
        Each accumulator, and which of the shared unknowns its own are.
    unknowns : int
    ridge : array, shape (unknowns,)
        Weight of each unknown's square in the sum that is minimised.
    """
    targets = blocks[0][0].targets
    rows = []
    for accumulator, which in blocks:
        wide = np.zeros((len(accumulator.triangle), unknowns + targets))
        wide[:, which] = accumulator.triangle[:, : accumulator.unknowns]
        wide[:, unknowns:] = accumulator.triangle[:, accumulator.unknowns :]
        rows.append(wide)
    penalised = np.flatnonzero(ridge)
    weights = np.zeros((len(penalised), unknowns + targets))
    weights[np.arange(len(penalised)), penalised] = np.sqrt(ridge[penalised])
    data = np.concatenate(rows)
    system = np.concatenate([data, weights])
    left, right = system[:, :unknowns], system[:, unknowns:]
    u, s, vh = np.linalg.svd(left, full_matrices=False)
    cutoff = s[0] * np.finfo(float).eps * max(system.shape) if s.size else 0.0
    rank = int((s > cutoff).sum())
    found: Array = vh[:rank].T @ ((u[:, :rank].T @ right) / s[:rank, None])
    left_over = data[:, unknowns:] - data[:, :unknowns] @ found
    condition = float(s[0] / s[rank - 1]) if rank else float("inf")
    return Solution(found, float((left_over**2).sum()), rank, condition)


def _stacked(a: Array, b: Array) -> Array:
    if not len(a) or not len(b):
        return a if len(a) else b
    return _householder(np.concatenate([a, b]))


def _householder(rows: Array) -> Array:
    return np.asarray(np.linalg.qr(rows, mode="r"))


def _triangle(rows: Array, guess: Array, guess_rows: int) -> Array:
    """Return an upper-triangular R with RᵀR = rowsᵀ rows, accurate to the rows' rounding."""
    columns = rows.shape[1]
    if len(rows) < 8 * columns:
        return _householder(rows)
    if len(guess) < columns:
        sample = rows[:: len(rows) // (4 * columns)]
        guess, guess_rows = _householder(sample), len(sample)
    live = guess.any(axis=0)
    if live.any() and not live.all() and not rows[:, ~live].any():
        narrow = _triangle(rows[:, live], guess[:, live], guess_rows)
        wide = np.zeros((len(narrow), columns))
        wide[:, live] = narrow
        return wide
    guard = _GUARD * np.linalg.norm(guess, axis=0)  # of each column, whatever those beside it
    if not (guard > 0).all():
        return _householder(rows)
    whitener = _householder(np.concatenate([guess, np.diag(guard)]))
    white = _divided(rows, whitener)
    gram = white.T @ white
    expected = len(rows) / guess_rows
    if not gram.diagonal().max() < _GROWTH * expected:
        return _householder(rows)
    gram[np.diag_indices(columns)] += _SHIFT * expected
    try:
        product: Array = np.linalg.cholesky(gram).T @ whitener
    except np.linalg.LinAlgError:  # rows of another kind than those before: rounding outweighs them
        return _householder(rows)
    return product


def _divided(rows: Array, triangle: Array) -> Array:
    """Return ``rows @ inv(triangle)``: by the inverse where Skeel's condition number allows it.

    A triangular solve is accurate whatever the triangle, and takes three times as long.
    """
    inverse = np.linalg.inv(triangle)
    if (np.abs(inverse) @ np.abs(triangle)).sum(axis=1).max() <= _SKEEL:
        return rows @ inverse
    solved: Array = scipy.linalg.solve_triangular(triangle, rows.T, trans="T", check_finite=False).T
    return solved

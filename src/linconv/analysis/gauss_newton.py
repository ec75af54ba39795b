"""Damped Gauss-Newton for one output channel of a decoder that ends in an activation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from linconv.analysis.activations import Activation
from linconv.analysis.design import Block, shared_columns

__all__ = ["Fit", "Problem", "minimise"]

Array = NDArray[Any]

KEPT_BYTES = 2**29
PASS_BYTES = 2**20  # of the design matrix at a time: what stays in a core's cache


@dataclass(frozen=True, eq=False)
class Problem:
    """Least squares of ``activation(A u) - t`` plus ``ridge * |u|^2``, given in batches.

    `batches` holds pairs of features (n, channels of the group, *size) and targets
    (n, 1, *image_size); the unknowns u are the kernel's samples and, if `bias`, the bias. The
    rows of A are kept if they take at most `KEPT_BYTES`, and made anew at each pass otherwise.
    """

    blocks: Sequence[Block]
    batches: Sequence[tuple[Array, Array]]
    activation: Activation
    unknowns: int
    bias: bool
    ridge: Array

    def columns(self, number: int) -> NDArray[np.int64]:
        """Which of the unknowns the columns of a block's rows are."""
        return shared_columns(self.blocks[number], self.unknowns, self.bias)

    def rows(self, keep: bool = True) -> Iterator[tuple[int, Array, Array]]:
        """Yield (number of the block, rows of A, targets), a piece at a time."""
        yield from (self._kept if keep else ()) or self._made()

    def _made(self) -> Iterator[tuple[int, Array, Array]]:
        for features, targets in self.batches:
            for number, block in enumerate(self.blocks):
                for part, lines in block.cuts(len(features), PASS_BYTES):
                    rows = block.rows(features[part], self.bias, lines=lines)
                    yield number, rows, block.targets(targets[part], lines)[:, 0]

    @cached_property
    def _kept(self) -> list[tuple[int, Array, Array]]:
        images = sum(len(targets) for _, targets in self.batches)
        entries = sum(b.samples * (len(b.columns) + self.bias) for b in self.blocks)
        return list(self._made()) if 8 * images * entries <= KEPT_BYTES else []


@dataclass(frozen=True)
class Fit:
    """Where the iteration ended, and the figures of the last linearisation."""

    u: Array
    loss: float
    iterations: int
    converged: bool
    reason: str
    rank: int
    condition: float


@dataclass(frozen=True)
class _Linearisation:
    """Loss at u, descent direction Jᵀr, Gauss-Newton matrix JᵀJ, and ``|J| |r|``."""

    u: Array
    loss: float
    descent: Array
    matrix: Array
    norms: float

    @property
    def relative_gradient(self) -> float:
        return float(np.linalg.norm(self.descent)) / max(self.norms, np.finfo(float).tiny)


def minimise(
    problem: Problem, starts: Sequence[Array], *, tolerance: float, max_iterations: int
) -> Fit:
    """Minimise by Gauss-Newton with Levenberg's damping, from the best of the starts.

    It ends when the gradient is at most `tolerance` relative to the product of the norms of
    Jacobian and residual, when no damped step lowers the sum of squares any more, or after
    `max_iterations` steps. It never returns more than the best start.

    Notes
    -----
    Nocedal and Wright, Numerical Optimization (2006), section 10.3. One pass over the data for
    each step that is tried, ``2 * rows * columns^2`` operations. Rank and condition come from
    the eigenvalues of JᵀJ, and so are lower bounds where the condition exceeds about 1e7.
    """
    now = _linearise(problem, min(starts, key=lambda start: _loss(problem, start)))
    damping, steps = 1e-9, 0
    while now.relative_gradient > tolerance and steps < max_iterations:
        scale = np.maximum(now.matrix.diagonal(), 1e-12 * now.matrix.diagonal().max(initial=0.0))
        damped = now.matrix + np.diag(problem.ridge + damping * scale)
        trial = _linearise(problem, now.u + np.linalg.lstsq(damped, now.descent)[0])
        steps += 1
        if trial.loss < now.loss:
            now, damping = trial, max(damping / 10, 1e-15)
        elif (damping := 100 * damping) > 1e9:
            return _ended(problem, now, steps, True, "no step lowers the error any more")
    converged = now.relative_gradient <= tolerance
    how = (
        f"relative gradient at most {tolerance:g}" if converged else f"stopped after {steps} steps"
    )
    return _ended(problem, now, steps, converged, how)


def _loss(problem: Problem, u: Array) -> float:
    """Return the sum of squares at u, with the ridge's part."""
    loss = float(problem.ridge @ u**2)
    columns = [problem.columns(number) for number in range(len(problem.blocks))]
    for number, rows, targets in problem.rows():
        residual = targets - problem.activation.apply(rows @ u[columns[number]])
        loss += float(residual @ residual)
    return loss


def _linearise(problem: Problem, u: Array) -> _Linearisation:
    matrix = np.zeros((len(u), len(u)))
    descent = -problem.ridge * u
    loss, jacobian, residuals = float(problem.ridge @ u**2), 0.0, 0.0
    columns = [problem.columns(number) for number in range(len(problem.blocks))]
    for number, rows, targets in problem.rows():
        which = columns[number]
        values = problem.activation.apply(rows @ u[which])
        residual = targets - values
        weighted = rows * problem.activation.slope(values)[:, None]
        square = weighted.T @ weighted
        matrix[np.ix_(which, which)] += square
        descent[which] += residual @ weighted
        jacobian += float(square.trace())
        residuals += float(residual @ residual)
    return _Linearisation(u, loss + residuals, descent, matrix, (jacobian * residuals) ** 0.5)


def _ended(problem: Problem, at: _Linearisation, steps: int, converged: bool, reason: str) -> Fit:
    values = np.linalg.eigvalsh(at.matrix + np.diag(problem.ridge))[::-1]
    rank = int((values > values[0] * np.finfo(float).eps * len(values)).sum())
    condition = float(np.sqrt(values[0] / values[rank - 1])) if rank else float("inf")
    return Fit(at.u, at.loss, steps, converged, reason, rank, condition)

"""Damped Gauss-Newton: where it ends is a minimum, by formulas written out and by SciPy."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from scipy.optimize import least_squares

from linconv.analysis import gauss_newton
from linconv.analysis.activations import activation
from linconv.analysis.gauss_newton import Problem, minimise

UNKNOWNS = 5
CURVED = pytest.mark.parametrize("name", ["tanh", "sigmoid"])


@dataclass(frozen=True)
class Rows:
    """A block given by its rows: the features of an image are the rows of all blocks."""

    columns: np.ndarray
    number: int
    samples: int = 1

    def rows(
        self, features: np.ndarray, bias: bool, targets: int = 0, lines: slice = slice(None)
    ) -> np.ndarray:
        extra = np.ones((len(features), bias + targets))
        return np.hstack([features[:, self.number, self.columns], extra])

    def targets(self, images: np.ndarray, lines: slice) -> np.ndarray:
        return images[:, self.number, None]

    def cuts(self, images: int, limit: int) -> Iterator[tuple[slice, slice]]:
        yield slice(0, images), slice(None)


@dataclass(frozen=True)
class Example:
    """A problem, and the same as one dense matrix, its targets and its ridge."""

    problem: Problem
    matrix: np.ndarray
    targets: np.ndarray

    def residuals(self, u: np.ndarray) -> np.ndarray:
        """Those of the data, then those of the ridge."""
        values = self.problem.activation.apply(self.matrix @ u)
        return np.concatenate([values - self.targets, np.sqrt(self.problem.ridge) * u])

    def loss(self, u: np.ndarray) -> float:
        return float((self.residuals(u) ** 2).sum())

    def gradient(self, u: np.ndarray) -> np.ndarray:
        """By differences of the loss: nothing of the code under test but the activation."""
        step = 1e-6
        units = step * np.eye(len(u))
        return np.array([(self.loss(u + e) - self.loss(u - e)) / (2 * step) for e in units])

    def best_of_scipy(self, start: np.ndarray) -> float:
        found = least_squares(self.residuals, start, xtol=1e-15, ftol=1e-15, gtol=1e-15)
        return 2 * found.cost


def example(
    name: str, *, bias: bool = True, ridge: float = 0.0, seed: int = 0, noise: float = 0.3
) -> Example:
    """Two blocks that share unknowns, in three batches; the bias is the last unknown."""
    rng = np.random.default_rng([seed, bias])
    count = UNKNOWNS + bias
    parts = [np.array([0, 2, 3]), np.array([1, 4, 3])]
    blocks: list[Any] = [Rows(columns, number) for number, columns in enumerate(parts)]
    features = rng.standard_normal((40, 2, UNKNOWNS))
    shape = activation(name)
    matrix = np.zeros((40, 2, count))
    for number, columns in enumerate(parts):
        matrix[:, number, columns] = features[:, number, columns]
    matrix[..., UNKNOWNS:] = 1
    true = rng.standard_normal(count)
    targets = shape.apply(matrix @ true) + noise * rng.standard_normal((40, 2))
    penalty = np.full(count, ridge)
    penalty[UNKNOWNS:] = 0
    cuts = (slice(0, 15), slice(15, 16), slice(16, 40))
    problem = Problem(
        blocks, [(features[c], targets[c]) for c in cuts], shape, count, bias, penalty
    )
    return Example(problem, matrix.reshape(-1, count), targets.ravel())


def fitted(given: Example, *starts: np.ndarray, tolerance: float = 1e-8, limit: int = 50):
    first = starts or (np.zeros(given.problem.unknowns),)
    return minimise(given.problem, first, tolerance=tolerance, max_iterations=limit)


EVERY = [
    pytest.param(name, bias, ridge, seed, id=f"{name}-{bias=}-{ridge=}-{seed}")
    for name in ("tanh", "sigmoid")
    for bias in (True, False)
    for ridge in (0.0, 0.7)
    for seed in (1, 2)
]


@pytest.mark.parametrize(("name", "bias", "ridge", "seed"), EVERY)
def test_the_gradient_is_zero_at_the_end(name, bias, ridge, seed):
    given = example(name, bias=bias, ridge=ridge, seed=seed)
    fit = fitted(given)
    assert fit.converged
    assert fit.reason == "relative gradient at most 1e-08"
    start = np.linalg.norm(given.gradient(np.zeros(len(fit.u))))
    assert np.linalg.norm(given.gradient(fit.u)) < 1e-6 * start
    assert fit.loss == pytest.approx(given.loss(fit.u), rel=1e-12)
    assert fit.rank == len(fit.u)


@pytest.mark.parametrize(("name", "bias", "ridge", "seed"), EVERY)
def test_the_minimum_is_that_of_scipy(name, bias, ridge, seed):
    given = example(name, bias=bias, ridge=ridge, seed=seed)
    fit = fitted(given)
    assert fit.loss == pytest.approx(given.best_of_scipy(np.zeros(len(fit.u))), rel=1e-9)
    assert fit.loss <= given.best_of_scipy(fit.u) * (1 + 1e-12)


def test_linear_activation_needs_one_step_from_anywhere():
    """Then Gauss-Newton is Newton: the dense least squares at once (but for the damping)."""
    given = example("linear", seed=3)
    want, *_ = np.linalg.lstsq(given.matrix, given.targets)
    fit = fitted(given, np.full(len(want), 7.0))
    assert fit.iterations <= 2
    np.testing.assert_allclose(fit.u, want, rtol=0, atol=1e-8)
    values = np.linalg.svd(given.matrix, compute_uv=False)
    assert fit.condition == pytest.approx(values[0] / values[-1], rel=1e-6)


@CURVED
def test_never_worse_than_any_start(name):
    given = example(name, seed=4)
    rng = np.random.default_rng(5)
    starts = [scale * rng.standard_normal(UNKNOWNS + 1) for scale in (0.1, 1, 10, 100)]
    least = min(map(given.loss, starts))
    for limit in (0, 1, 3, 50):
        fit = fitted(given, *starts, limit=limit)
        assert fit.loss <= least * (1 + 1e-14)
        assert fit.iterations <= limit
    assert fitted(given, *starts, limit=0).loss == pytest.approx(least, rel=1e-12)


@CURVED
def test_from_the_saturated_end_of_the_activation(name):
    """Slopes of 1e-20 and less: it stays where it is rather than return something worse."""
    given = example(name, seed=6)
    far = np.full(UNKNOWNS + 1, 60.0)
    fit = fitted(given, far)
    assert fit.loss <= given.loss(far)
    assert np.isfinite(fit.u).all()


@CURVED
def test_max_iterations_are_honoured(name):
    given = example(name, seed=7)
    whole = fitted(given)
    assert 2 < whole.iterations < 50
    losses = []
    for limit in range(whole.iterations):
        fit = fitted(given, limit=limit)
        assert (fit.iterations, fit.converged) == (limit, False)
        assert fit.reason == f"stopped after {limit} steps"
        losses.append(fit.loss)
    assert losses == sorted(losses, reverse=True)
    assert whole.loss < losses[0]


@CURVED
def test_tolerance_is_honoured(name):
    """The measure itself: the gradient relative to the norms of Jacobian and residual."""
    given = example(name, seed=8)
    shape = given.problem.activation
    for tolerance in (1e-1, 1e-3, 1e-7):
        fit = fitted(given, tolerance=tolerance)
        values = shape.apply(given.matrix @ fit.u)
        jacobian = given.matrix * shape.slope(values)[:, None]
        residual = given.targets - values
        norms = np.linalg.norm(jacobian) * np.linalg.norm(residual)
        assert np.linalg.norm(jacobian.T @ residual) <= tolerance * norms * (1 + 1e-6)
        assert fit.converged
    assert fitted(given, tolerance=1e-1).iterations < fitted(given, tolerance=1e-7).iterations


@CURVED
def test_what_an_activation_made_is_found_again(name):
    given = example(name, noise=0.0, seed=9)
    fit = fitted(given, limit=100)
    assert fit.converged
    assert fit.loss < 1e-20
    rng = np.random.default_rng([9, True])
    rng.standard_normal((40, 2, UNKNOWNS))
    np.testing.assert_allclose(fit.u, rng.standard_normal(UNKNOWNS + 1), rtol=0, atol=1e-8)


@CURVED
def test_rows_made_anew_at_each_pass_give_the_same(name, monkeypatch):
    kept = fitted(example(name, seed=10))
    monkeypatch.setattr(gauss_newton, "KEPT_BYTES", 0)
    made = fitted(example(name, seed=10))
    np.testing.assert_array_equal(kept.u, made.u)
    assert (kept.loss, kept.iterations) == (made.loss, made.iterations)


@CURVED
def test_targets_beyond_the_limits_can_only_be_approached(name):
    given = example(name, seed=11)
    high = given.problem.activation.high
    beyond = [
        (features, np.full_like(targets, high + 1)) for features, targets in given.problem.batches
    ]
    problem = Problem(
        *(given.problem.blocks, beyond, given.problem.activation, UNKNOWNS + 1, True),
        np.zeros(UNKNOWNS + 1),
    )
    fit = minimise(problem, [np.zeros(UNKNOWNS + 1)], tolerance=1e-8, max_iterations=200)
    assert np.isfinite(fit.u).all()
    assert 80 <= fit.loss < 80.1


@CURVED
def test_unknowns_that_no_row_sees(name):
    given = example(name, seed=12)
    blind = [(0 * features, targets) for features, targets in given.problem.batches]
    problem = Problem(
        *(given.problem.blocks, blind, given.problem.activation, UNKNOWNS + 1, True),
        np.zeros(UNKNOWNS + 1),
    )
    fit = minimise(problem, [np.zeros(UNKNOWNS + 1)], tolerance=1e-8, max_iterations=50)
    assert fit.rank == 1
    assert fit.condition == pytest.approx(1)
    assert not fit.u[:-1].any()
    mean = float(given.targets.mean())
    assert given.problem.activation.apply(fit.u[-1]) == pytest.approx(mean, rel=1e-6)

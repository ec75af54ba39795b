"""Iterative least squares: conjugate gradients on the normal equations, and SciPy's LSMR."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import hypot, prod
from typing import Any

import numpy as np
import scipy
from numpy.typing import NDArray

from linconv.linear_map import LinearMap

__all__ = ["Callback", "Limits", "Outcome", "conjugate_gradients", "lsmr", "references"]

Array = NDArray[Any]
Callback = Callable[[int, float], Any]

STALE = 100  # iterations without progress after which there is none to come
PROGRESS = 1e-13
SLOPE = 1e-2


@dataclass(frozen=True)
class Limits:
    """When an iteration ends: a relative residual of the normal equations, or too many steps."""

    rtol: float
    max_iterations: int


@dataclass(frozen=True)
class Outcome:
    """What an iteration found: solutions (n, *input_shape), steps, why it ended, its residuals."""

    x: Array
    iterations: int
    reason: str
    history: tuple[float, ...]


def references(op: LinearMap, y: Array, x: Array, ridge: float) -> Array:
    """Return what the residuals of the normal equations are relative to, one of each output.

    The norm of ``op.H(y)``; where that is zero, for zero is a solution, the norm of what random
    numbers as large as the start `x` leave: the start itself may leave nothing but rounding.
    """
    right = _norms(op.H._apply(y))
    if right.all() or not x.any():
        return right
    probe = np.random.default_rng(0).standard_normal((1, *x.shape[1:]))
    left = op.H._apply(op._apply(probe)) + ridge * probe
    return np.where(right > 0, right, _norms(x) * (_norms(left) / _norms(probe)))


def conjugate_gradients(
    op: LinearMap,
    y: Array,
    x: Array,
    ridge: float,
    limits: Limits,
    precondition: Callable[[Array], Array] | None,
    callback: Callback | None,
) -> Outcome:
    """Minimise ``||op(x) - y||^2 + ridge ||x||^2`` for a batch at once, from the start `x`.

    Preconditioned CGLS (Björck, "Numerical Methods for Least Squares Problems" (1996)), with the
    ridge as further rows. Its history is the root of what is minimised, relative
    to ``||y||``, the largest of the batch: it never rises.
    """
    adjoint = op.H
    r = y - op._apply(x)
    scale = _norms(y)
    right = references(op, y, x, ridge)
    x, search, gamma = x.copy(), None, None
    history: list[float] = []
    scratch: Array = np.empty(x.shape, np.result_type(x, r))  # new memory costs as much as a sum
    scratch_out: Array = np.empty(r.shape, scratch.dtype)
    best, least, stale, steps, replaced = np.inf, np.inf, 0, 0, -2
    while True:
        s = adjoint._apply(r)
        if ridge:
            s -= np.multiply(x, ridge, out=scratch)
        objective = float(_ratio(np.hypot(_norms(r), np.sqrt(ridge) * _norms(x)), scale).max())
        history.append(objective)
        if callback is not None and steps:
            callback(steps, objective)
        relative = _ratio(_norms(s), right)
        worst = float(relative.max())
        if not np.isfinite(worst):
            return Outcome(x, steps, "the iteration left the finite numbers", tuple(history))
        active = relative > limits.rtol
        if not active.any():
            if replaced in (steps, steps - 1):
                return Outcome(x, steps, "", tuple(history))
            replaced = steps  # what was carried along may have drifted: look, and go on if it has
            r = y - op._apply(x)
            s = adjoint._apply(r) - ridge * x
            active = _ratio(_norms(s), right) > limits.rtol
            search = None
            if not active.any():
                return Outcome(x, steps, "", tuple(history))
        if steps >= limits.max_iterations:
            return Outcome(x, steps, "max_iterations", tuple(history))
        # Near the minimum its value stands still long before its gradient does.
        fell = objective < best * (1 - PROGRESS) or worst < least * (1 - SLOPE)
        stale = 0 if fell else stale + 1
        best, least = min(best, objective), min(least, worst)
        if stale >= STALE:
            return Outcome(x, steps, "rounding", tuple(history))
        z = s if precondition is None else precondition(s)
        fresh = _dots(s, z)
        if search is None or gamma is None:
            search = z.copy()
        else:
            search *= _along(_ratio(fresh, gamma), search)
            search += z
        gamma = fresh
        q = op._apply(search)
        curvature = _norms(q) ** 2 + ridge * _norms(search) ** 2
        step = np.where(active, _ratio(gamma, curvature), 0.0)
        x += np.multiply(search, _along(step, search), out=scratch)
        r -= np.multiply(q, _along(step, q), out=scratch_out)
        steps += 1


def lsmr(
    op: LinearMap,
    y: Array,
    x: Array,
    ridge: float,
    limits: Limits,
    callback: Callback | None,
) -> Outcome:
    """Minimise the same by SciPy's LSMR, one output of the batch after the other.

    LSMR (Fong and Saunders, SIAM J. Sci. Comput. 33, 2011) stops by the residual relative to the
    norms of map and solution; where that leaves the normal equations above the tolerance asked
    for, it goes on from there with a smaller one. Its history is the residual of the normal
    equations, relative to that of nothing, of the first output: it never rises within a run.
    """
    solutions = np.empty(x.shape, np.result_type(x, y, op.dtype, np.float64))
    history: tuple[float, ...] = ()
    most, failed = 0, ""
    for index in range(len(y)):
        watched = _Watched(op, ridge, callback)
        right = float(references(op, y[index : index + 1], x[index : index + 1], ridge)[0])
        found, reason = _one(watched, y[index], x[index], right, limits)
        solutions[index] = found.reshape(x.shape[1:])
        most, failed = max(most, watched.steps), failed or reason
        history = history or tuple(watched.history)
    return Outcome(solutions, most, failed, history)


def _one(watched: _Watched, y: Array, x: Array, right: float, limits: Limits) -> tuple[Array, str]:
    """Return one solution, and why it is not to the tolerance, or an empty string."""
    target = np.concatenate([y.ravel(), np.zeros(watched.shape[0] - y.size, y.dtype)])
    found, tolerance = x.ravel(), limits.rtol
    for _ in range(4):
        left = target - watched.matvec(found)
        watched.restart(left, right)
        if np.linalg.norm(watched.gradient(left)) <= limits.rtol * right:
            return found, ""
        if watched.steps >= limits.max_iterations:
            return found, "max_iterations"
        step = scipy.sparse.linalg.lsmr(
            watched,
            target if target.any() else left,  # SciPy leaves any start for zero if y is zero
            atol=tolerance,
            btol=tolerance,
            conlim=0,
            maxiter=limits.max_iterations - watched.steps,
            x0=found if target.any() else None,
        )[0]
        found = step if target.any() else found + step
        if not np.isfinite(found).all():
            return found, "the iteration left the finite numbers"
        tolerance /= 100
    watched.stop()
    done = np.linalg.norm(watched.gradient(target - watched.matvec(found))) <= limits.rtol * right
    return found, "" if done else "rounding"


class _Watched:
    """A map over the ridge's rows, as LSMR sees it, which follows the bidiagonalisation.

    From its coefficients the residual of the normal equations is known at every step, as LSMR
    itself knows it, without any further product.
    """

    def __init__(self, op: LinearMap, ridge: float, callback: Callback | None) -> None:
        self._op, self._adjoint, self._callback = op, op.H, callback
        self._root = float(np.sqrt(ridge))
        self._rows, columns = op.shape
        self.shape = (self._rows + (columns if ridge else 0), columns)
        self.dtype = np.result_type(op.dtype, np.float64)
        self.steps = 0
        self.history: list[float] = []
        self._following = False

    def restart(self, left: Array, right: float) -> None:
        """Begin a run with a residual; `right` is what residuals are relative to."""
        self._beta, self._right = float(np.linalg.norm(left)), right
        self._following, self._begun = True, False
        self._asked: tuple[Array, Array] | None = None

    def stop(self) -> None:
        """Follow no further products."""
        self._following = False

    def gradient(self, left: Array) -> Array:
        """Return the adjoint of a residual, unwatched."""
        before, self._following = self._following, False
        result = self.rmatvec(left)
        self._following = before
        return result

    def matvec(self, v: Array) -> Array:
        """Return the map and the ridge's rows times a vector."""
        x = v.reshape(1, *self._op.input_shape)
        result: Array = self._op._apply(x).ravel()
        if self._root:
            result = np.concatenate([result, self._root * v.ravel()])
        if self._following and self._begun:
            self._asked = v.copy(), result
        return result

    def rmatvec(self, u: Array) -> Array:
        """Return the adjoint times a vector."""
        y = u[: self._rows].reshape(1, *self._op.output_shape)
        result: Array = self._adjoint._apply(y).ravel()
        if self._root:
            result = result + self._root * u[self._rows :]
        if self._following:
            self._follow(u, result)
        return result

    def _follow(self, u: Array, result: Array) -> None:
        if not self._begun or self._asked is None:
            self._alpha = float(np.linalg.norm(result))
            self._u, self._begun = u.copy(), True
            self._alphabar, self._zetabar = self._alpha, self._alpha * self._beta
            self._cbar, self._sbar = 1.0, 0.0
            return
        v, product = self._asked
        beta = float(np.linalg.norm(product - self._alpha * self._u))
        alpha = float(np.linalg.norm(result - beta * v))
        rho = hypot(self._alphabar, beta)
        c, s = (self._alphabar / rho, beta / rho) if rho else (1.0, 0.0)
        theta, self._alphabar = s * alpha, c * alpha
        rhobar = hypot(self._cbar * rho, theta)
        self._cbar, self._sbar = (
            (self._cbar * rho / rhobar, theta / rhobar) if rhobar else (1.0, 0.0)
        )
        self._zetabar *= -self._sbar
        self._alpha, self._u = alpha, u.copy()
        self.steps += 1
        relative = abs(self._zetabar) / self._right if self._right else 0.0
        self.history.append(relative)
        if self._callback is not None:
            self._callback(self.steps, relative)


def _norms(arrays: Array) -> Array:
    return np.asarray(np.sqrt(_dots(arrays, arrays)))


def _dots(a: Array, b: Array) -> Array:
    """Return the real inner products of two batches."""
    dtype = np.result_type(a, b)
    parts = (np.ascontiguousarray(array, dtype).view(dtype.type(0).real.dtype) for array in (a, b))
    lines = (part.reshape(len(part), prod(part.shape[1:])) for part in parts)
    return np.asarray(np.einsum("ij,ij->i", *lines))  # no temporary, as many threads as one


def _ratio(values: Array, whole: Array) -> Array:
    """Return quotients, 0 where there is nothing to divide."""
    return np.divide(values, whole, out=np.zeros_like(values), where=(whole > 0) & (values != 0))


def _along(values: Array, arrays: Array) -> Array:
    """Return one number per item of a batch, shaped to multiply its arrays."""
    return values.reshape(-1, *(1,) * (arrays.ndim - 1))

"""solve: what went into a map, from what came out, in least squares."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from linconv.analysis.balance import balanced
from linconv.analysis.differentiable import first_tensor
from linconv.analysis.direct import EPS, Direct
from linconv.analysis.krylov import (
    Callback,
    Limits,
    Outcome,
    conjugate_gradients,
    lsmr,
    references,
)
from linconv.analysis.methods import METHODS, direct_solver
from linconv.analysis.preconditioner import circulant_preconditioner
from linconv.arguments import choice, finite_number, integer
from linconv.engines.arrays import as_array, cast_back, computed_in
from linconv.engines.kinds import kind
from linconv.errors import DTypeError, LinconvError, ShapeError
from linconv.linear_map import LinearMap

__all__ = ["Solution", "check_map", "read_map", "solve"]

Array = NDArray[Any]

BATCH_BYTES = 2**28  # of one array of an iteration's working set
BACKWARD = 1e-11
SLACK = 2.0  # what is computed anew may be above what an iteration carries along


@dataclass(frozen=True, eq=False)
class Solution:
    """The least-squares solution of ``op(x) = y``, and how good it is.

    Attributes
    ----------
    x : array, shape (*batch, *op.input_shape)
    residual : float or array, shape (*batch)
        ``||op(x) - y||`` of each output.
    normal_residual : float
        Residual of the normal equations, ``||op.H(y - op(x)) - ridge x|| / ||op.H(y)||``, the
        largest of the batch: zero at the minimum. Computed anew from `x`. Where ``op.H(y)`` is
        zero, it is relative to what a start as large as `x0` leaves.
    iterations : int
        0 for a direct method.
    converged : bool
        Whether `normal_residual` is at most the tolerance, or as small as rounding lets it be.
    reason : str
        Why it ended, and what a user should know of the solution.
    seconds : float
    method : str
        What was used: "fft", "separable", "dense", "banded", "sparse", "cg" or "lsmr".
    exact : bool
        Whether it is in closed form, to rounding, rather than to the tolerance.
    rank : int or None
        Of the map, where the method tells.
    history : tuple of float
        Of an iteration, from its start. "cg": the root of what is minimised over ``||y||``, the
        largest of the batch (where that is too large to be taken at once, of its first part);
        "lsmr": the relative residual of the normal equations of the first output. Neither ever
        rises.
    """

    x: Array
    residual: Any
    normal_residual: float
    iterations: int
    converged: bool
    reason: str
    seconds: float
    method: str
    exact: bool
    rank: int | None
    history: tuple[float, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return everything but `x` as plain lists and numbers."""
        plain = {k: getattr(self, k) for k in self.__dataclass_fields__ if k != "x"}
        return {
            **plain,
            "residual": np.asarray(self.residual).tolist(),
            "history": list(self.history),
        }


def solve(
    op: LinearMap,
    y: Any,
    *,
    method: str = "auto",
    ridge: float = 0.0,
    x0: Any = None,
    rtol: float = 1e-8,
    max_iterations: int | None = None,
    callback: Callback | None = None,
) -> Solution:
    """Find what a map was applied to: minimise ``||op(x) - y||^2 + ridge ||x||^2``.

    Parameters
    ----------
    op : LinearMap
        Any map: convolutions, transposes, products, sums.
    y : array, shape (*batch, *op.output_shape)
        Finite. A batch is solved at once.
    method : str
        "auto" takes the first that fits: "fft" (periodic maps, any stride), "separable" (a kernel
        that is an outer product, any border), "dense" (small), "banded" (one axis, with a
        ridge), "sparse" (square, without a ridge), all direct; otherwise "cg", conjugate gradients
        on the normal equations. "lsmr" is SciPy's.
    ridge : float
        Weight of the solution's sum of squares. Without one, of all minimisers the one of least
        norm.
    x0 : array, shape (*batch, *op.input_shape) or (*op.input_shape), optional
        Where an iteration starts; direct methods need none. Without a ridge, of all minimisers
        the one nearest to `x0`.
    rtol : float
        Where an iteration ends: residual of the normal equations, relative to ``||op.H(y)||``,
        or where that is zero, to what a start as large as `x0` leaves.
    max_iterations : int, optional
        By default 10 per unknown, at least 100 and at most 2000.
    callback : callable, optional
        ``callback(iteration, relative_residual)`` after every iteration, with the entry of
        `Solution.history`. "lsmr" takes one output after the other, and "cg" as many at once as
        fit in 256 MiB: the iterations count from 1 for each of these, and the history is that of
        the first.

    Returns
    -------
    Solution

    Raises
    ------
    ShapeError, DTypeError
        If `y` or `x0` do not fit the map, or it has a kernel that is a tensor or a JAX array.
    GeometryError
        If `ridge`, `rtol` or `max_iterations` are no such numbers, or the method is unknown.
    LinconvError
        If the map, `y` or `x0` hold NaN or infinity, or the method named cannot solve this map.

    Notes
    -----
    Computed in double precision, and returned in the dtype of ``op(x)``; complex, too, where an
    iteration starts from a complex `x0`. What exceeds that dtype comes out infinite, with
    `converged` false. Maps of a scale above 1e60 or below 1e-60 are solved as a multiple that is
    not, so that no square of theirs overflows. What a method costs:

    - "fft": a singular value decomposition per frequency (a division, for one channel and stride
      1), then two FFTs per output. Exact also with stride, for every block couples the
      frequencies that the stride folds.
    - "separable": a decomposition per axis, ``20 n^3``, then ``4 n`` per sample. The minimum
      norm solution and the ridge are exact, whatever the border.
    - "dense": ``20 rows columns min(rows, columns)`` operations.
    - "banded": ``unknowns * width^2`` for the Cholesky factor of the normal equations; taken if the
      ridge is at least 1e-8 of the squared norm.
    - "sparse": what SuperLU fills in.
    - "cg": two applications a step. With a ridge it is preconditioned by the same convolution with
      a border that wraps around (Strang's circulant); without one it is not, so that it finds the
      solution of least norm.

    Examples
    --------
    >>> image = np.random.default_rng(0).random((32, 32))
    >>> from linconv import Conv
    >>> blur = Conv(np.outer([1, 2, 1], [1, 2, 1]) / 16, (32, 32), padding="same")
    >>> found = solve(blur, blur(image))
    >>> found.method, found.rank, bool(np.allclose(found.x, image))
    ('separable', 1024, True)
    """
    start = perf_counter()
    read_map(op)
    outputs, given = _finite("y", y, op.output_shape, op)
    method = choice("method", method, METHODS)
    ridge = finite_number("ridge", ridge, "0.0")
    limits = _limits(op, rtol, max_iterations)
    batch = outputs.shape[: outputs.ndim - len(op.output_shape)]
    flat = outputs.reshape(prod(batch), *op.output_shape)
    starts = _starts(op, x0, batch, flat)
    result = np.result_type(op.dtype, given)
    even = balanced(op, ridge, check_map(op))
    op, ridge, unit = even.op, even.ridge, even.unit
    starts = starts / unit if unit != 1 else starts
    direct = None if method in ("cg", "lsmr") else direct_solver(op, ridge, method)
    if direct is not None:
        found = _directly(direct, op, flat, ridge)
    else:
        found = _iterated(op, flat, starts, ridge, limits, method, callback)
        if starts.dtype.kind == "c":
            result = np.result_type(result, np.complex64)
    judged = _judged(found, op, flat, starts, ridge, limits, direct)
    with np.errstate(over="ignore"):
        x = judged.x * unit if unit != 1 else judged.x
        x = cast_back(x.astype(result, copy=False), as_array("y", y).dtype)
    if np.isfinite(judged.x).all() and not np.isfinite(x).all():
        reason = f"{judged.reason}; the solution exceeds {x.dtype}: "
        reason += "scale y down" if x.dtype.char in "dD" else "give y in double precision"
        judged = replace(judged, converged=False, reason=reason)
    residual = np.asarray(judged.residual).reshape(batch)
    return replace(
        judged,
        x=x.reshape(*batch, *op.input_shape),
        residual=residual if batch else float(residual),
        seconds=perf_counter() - start,
    )


def read_map(op: Any) -> None:
    """Raise `DTypeError` unless `op` is a map with NumPy kernels."""
    if not isinstance(op, LinearMap):
        raise DTypeError(
            f"what is solved must be a map of linconv; got {type(op).__name__}; use e.g. "
            f"lc.Conv(kernel, input_shape)"
        )
    tensor = first_tensor(op)
    if tensor is not None:
        raise DTypeError(
            f"what is solved must be a map with NumPy kernels; got a kernel of {kind(tensor)}; "
            f"convert it with numpy.asarray"
        )


def _finite(
    name: str, value: Any, shape: tuple[int, ...], op: LinearMap
) -> tuple[Array, np.dtype[Any]]:
    array = as_array(name, value)
    if array.shape[max(0, array.ndim - len(shape)) :] != shape:
        raise ShapeError(
            f"{name} must have shape (*batch, {', '.join(map(str, shape))}); got {array.shape}; "
            f"reshape it, or make the map for that shape"
        )
    working = computed_in(op.dtype, array)
    double = working.astype(np.result_type(working, np.float64), copy=False)
    if bad := int(double.size - np.isfinite(double).sum()):
        raise LinconvError(
            f"{name} must be finite; got {bad} NaN or infinite values of {double.size}; "
            f"remove them first"
        )
    return double, working.dtype


def check_map(op: LinearMap) -> float:
    """Raise `LinconvError` if a map turns finite numbers into others.

    Returns the largest magnitude that its transpose turns ones into.
    """
    probe = np.ones((1, *op.output_shape), np.result_type(op.dtype, np.float64))
    with np.errstate(invalid="ignore", over="ignore"):
        seen = op.T._apply(probe) if 0 not in op.output_shape else probe
    if bad := int(seen.size - np.isfinite(seen).sum()):
        raise LinconvError(
            f"the map must have finite entries; its transpose turns ones into {bad} NaN or "
            f"infinite values of {seen.size}; check its kernel, or the array it is made of"
        )
    return float(np.abs(seen).max(initial=0.0))


def _limits(op: LinearMap, rtol: Any, max_iterations: Any) -> Limits:
    most = min(2000, max(100, 10 * min(op.shape)))
    if max_iterations is not None:
        most = integer("max_iterations", max_iterations, minimum=0)
    return Limits(finite_number("rtol", rtol, "e.g. 1e-8"), most)


def _starts(op: LinearMap, x0: Any, batch: tuple[int, ...], y: Array) -> Array:
    """Return where an iteration starts, shape (n, *input_shape)."""
    whole = (*batch, *op.input_shape)
    if x0 is None:
        return np.zeros((prod(batch), *op.input_shape), y.dtype)
    array, _ = _finite("x0", x0, op.input_shape, op)
    if array.shape not in (whole, op.input_shape):
        raise ShapeError(
            f"x0 must have shape {op.input_shape}, or {whole} as y has batch axes {batch}; got "
            f"{array.shape}; give one start, or one for each output"
        )
    full = np.broadcast_to(array, whole).reshape(prod(batch), *op.input_shape)
    return full.astype(np.result_type(array, y))


def _directly(direct: Direct, op: LinearMap, y: Array, ridge: float) -> Solution:
    x = np.zeros((0, *op.input_shape)) if not len(y) else direct.solve(y)
    reason = f"direct: {direct.how}"
    full = min(op.shape)
    if direct.rank is not None and direct.rank < full:
        reason += f"; the map has rank {direct.rank} of {full}"
        reason += ", what it loses comes out as zero" if ridge else ", this is the least norm"
    return Solution(x, 0.0, 0.0, 0, True, reason, 0.0, direct.method, True, direct.rank, ())


def _iterated(
    op: LinearMap,
    y: Array,
    x: Array,
    ridge: float,
    limits: Limits,
    method: str,
    callback: Callback | None,
) -> Solution:
    name = "lsmr" if method == "lsmr" else "cg"
    scale = _scales(y)
    factor = scale.reshape(-1, *(1,) * (y.ndim - 1))
    back = scale.reshape(-1, *(1,) * (x.ndim - 1))
    outcomes: list[Outcome] = []
    precondition = circulant_preconditioner(op, ridge) if ridge and name == "cg" else None
    piece = max(1, BATCH_BYTES // (16 * max(op.shape)))
    for first in range(0, len(y), piece):
        part = slice(first, first + piece)
        start = x[part] / back[part]
        if name == "lsmr":
            found = lsmr(op, y[part] / factor[part], start, ridge, limits, callback)
        else:
            found = conjugate_gradients(
                op, y[part] / factor[part], start, ridge, limits, precondition, callback
            )
        outcomes.append(found)
    joined = np.concatenate([o.x for o in outcomes]) * back if outcomes else x
    steps = max((o.iterations for o in outcomes), default=0)
    reason = next((o.reason for o in outcomes if o.reason), "")
    history = outcomes[0].history if outcomes else ()
    return Solution(joined, 0.0, 0.0, steps, not reason, reason, 0.0, name, False, None, history)


def _scales(y: Array) -> Array:
    """Return the largest magnitude of each output, 1 for those that are zero."""
    found = np.abs(y).max(axis=tuple(range(1, y.ndim)), initial=0.0)
    return np.where(found > 0, found, 1.0)


def _judged(
    found: Solution,
    op: LinearMap,
    y: Array,
    starts: Array,
    ridge: float,
    limits: Limits,
    direct: Direct | None,
) -> Solution:
    """Measure the residuals of what was found, and tell whether it is a solution."""
    adjoint = op.H
    residuals, worst, backward = np.zeros(len(y)), 0.0, True
    for index, scale in enumerate(_scales(y)):  # so that no square overflows
        x, output = found.x[index : index + 1] / scale, y[index : index + 1] / scale
        left = output - op._apply(x)
        gradient = adjoint._apply(left) - ridge * x
        right = float(np.linalg.norm(adjoint._apply(output)))
        if not right and direct is None:
            right = float(references(op, output, starts[index : index + 1] / scale, ridge)[0])
        residuals[index] = scale * np.linalg.norm(left)
        off = float(np.linalg.norm(gradient))
        relative = off / right if right else (0.0 if off <= EPS else np.inf)
        worst = max(worst, relative) if np.isfinite(relative) else np.inf
        if direct is not None:
            reached = direct.norm * (
                np.linalg.norm(left) + np.linalg.norm(output) + direct.norm * np.linalg.norm(x)
            )
            backward = bool(backward and off <= BACKWARD * reached)
    good = worst <= SLACK * limits.rtol or (direct is not None and backward)
    reason = _reason(found, worst, limits, good)
    return replace(found, residual=residuals, normal_residual=worst, converged=good, reason=reason)


def _reason(found: Solution, worst: float, limits: Limits, good: bool) -> str:
    if found.exact:
        if good:
            return found.reason
        return (
            f"{found.reason}; a relative residual of {worst:.1e} is left in the normal equations, "
            f"for the map is singular to rounding: use a ridge"
        )
    measured = f"relative residual of the normal equations {worst:.1e}"
    if good:
        return f"{measured}, rtol={limits.rtol:g} reached after {found.iterations} iterations"
    why = {
        "max_iterations": f"stopped by max_iterations={limits.max_iterations}",
        "rounding": f"no progress any more after {found.iterations} iterations",
        "": f"stopped after {found.iterations} iterations",
    }.get(found.reason, found.reason)
    return (
        f"{why}: {measured}, above rtol={limits.rtol:g}; use a ridge, a larger rtol, or more "
        f"iterations"
    )

"""Checks for linear maps: the dot test, sameness of maps, and the tolerances they use.

They raise `AssertionError`, so that they serve in any test; use them on maps of your own.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from linconv.engines.arrays import Array
from linconv.linear_map import LinearMap

__all__ = ["TOLERANCES", "assert_same_map", "dot_test"]

TOLERANCES = {"float16": 2e-3, "float32": 2e-5, "complex64": 2e-5}
"""Relative tolerance by dtype name; float64 and complex128 use 1e-11."""


def tolerance(dtype: Any) -> float:
    """Return the relative tolerance of the checks for a dtype."""
    return TOLERANCES.get(np.dtype(dtype).name, 1e-11)


def dot_test(op: LinearMap, *, trials: int = 3, seed: int = 0, rtol: float | None = None) -> None:
    """Assert that `op.H` is the adjoint of `op`: ⟨A x, y⟩ = ⟨x, Aᴴ y⟩ for random x and y.

    Parameters
    ----------
    op : LinearMap
        Any map, of linconv's or of one's own.
    trials : int
        Number of random pairs.
    seed : int
        Of the standard normal (complex where the map is) arrays.
    rtol : float, optional
        Relative to ``‖A x‖ ‖y‖``; default by the map's dtype, see `TOLERANCES`. Added to it is
        what rounding leaves where both products are zero.

    Raises
    ------
    AssertionError
        With both products and the tolerance.

    Examples
    --------
    >>> from linconv import Conv
    >>> dot_test(Conv([1.0, -2.0, 1.0], (8,), stride=2, padding="same"))
    """
    rng = np.random.default_rng(seed)
    limit = tolerance(op.dtype) if rtol is None else rtol
    for trial in range(trials):
        x = _random(rng, op.input_shape, op.dtype)
        y = _random(rng, op.output_shape, op.dtype)
        forward, backward = op(x), op.H(y)
        left, right = complex(np.vdot(y, forward)), complex(np.vdot(backward, x))
        norms = [float(np.linalg.norm(v)) for v in (x, y, forward, backward)]
        allowed = limit * max(norms[2] * norms[1], norms[3] * norms[0])
        # What rounding alone leaves of a zero product is no difference.
        allowed += 16 * float(np.finfo(x.dtype).eps) * norms[0] * norms[1]
        if not abs(left - right) <= allowed:
            raise AssertionError(
                f"{op!r} fails the dot test: <Ax, y> = {left}, <x, A^H y> = {right}, difference "
                f"{abs(left - right):.3g} > {allowed:.3g} (trial {trial}, seed {seed})"
            )


def assert_same_map(
    a: LinearMap, b: LinearMap, *, trials: int = 3, seed: int = 0, rtol: float | None = None
) -> None:
    """Assert that two maps have the same shapes and agree, with their transposes, on random input.

    Parameters
    ----------
    a, b : LinearMap
        The two maps, which need not be of one class.
    trials, seed : int
        As in `dot_test`.
    rtol : float, optional
        Relative to the largest value; default by the coarser of the two dtypes.

    Raises
    ------
    AssertionError
        With the shapes, or the largest deviation and where it is.

    Examples
    --------
    >>> from linconv import Conv
    >>> op = Conv([1.0, -2.0, 1.0], (8,), stride=2, padding="same")
    >>> decimate, correlate, pad = op.factors()
    >>> assert_same_map(op, decimate @ correlate @ pad)
    """
    shapes = [(m.input_shape, m.output_shape) for m in (a, b)]
    if shapes[0] != shapes[1]:
        raise AssertionError(f"the maps have different shapes: {a!r} and {b!r}")
    rng = np.random.default_rng(seed)
    dtype = np.result_type(a.dtype, b.dtype)
    limit = max(tolerance(a.dtype), tolerance(b.dtype)) if rtol is None else rtol
    for _ in range(trials):
        _assert_close(a, b, _random(rng, a.input_shape, dtype), limit, "")
        _assert_close(a.T, b.T, _random(rng, a.output_shape, dtype), limit, " transposed")


def _assert_close(a: LinearMap, b: LinearMap, x: Array, limit: float, which: str) -> None:
    ours, theirs = a(x), b(x)
    deviation = np.abs(ours - theirs)
    # What rounding alone leaves where the result is zero is no difference.
    rounding = 16 * float(np.finfo(x.dtype).eps) * float(np.abs(x).max())
    allowed = limit * float(max(np.abs(ours).max(), np.abs(theirs).max())) + rounding
    if not deviation.max() <= allowed:
        where = np.unravel_index(int(np.argmax(deviation)), deviation.shape)
        place = tuple(int(i) for i in where)
        raise AssertionError(
            f"the maps{which} differ: deviation {deviation.max():.3g} > {allowed:.3g} at "
            f"output {place}, {ours[place]} and {theirs[place]}: {a!r} and {b!r}"
        )


def _random(rng: np.random.Generator, shape: tuple[int, ...], dtype: Any) -> Array:
    values: Array = rng.standard_normal(shape)
    if np.dtype(dtype).kind == "c":
        values = values + 1j * rng.standard_normal(shape)
    return values.astype(dtype)

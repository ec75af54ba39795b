"""Maps of extreme scale, brought near to one, so that squares of their values stay finite."""

from __future__ import annotations

from dataclasses import dataclass
from math import frexp, inf
from typing import Any

import numpy as np
from numpy.typing import NDArray

from linconv.analysis.sparse_solvers import with_kernel
from linconv.linear_map import LinearMap, Scaled

__all__ = ["Balanced", "balanced"]

Array = NDArray[Any]

ORDINARY = 2.0**200  # magnitudes from its inverse up to here are left as they are
RIDGES = 1e-100, 1e100  # relative to the squared scale: beyond these one term outweighs the other
EXPONENTS = 1000  # powers of two of both signs that are finite, with room


@dataclass(frozen=True, eq=False)
class Balanced:
    """A map of ordinary scale, whose least squares are those of another up to a factor.

    Attributes
    ----------
    op : LinearMap
    ridge : float
    unit : float
        What the solutions of `op` and `ridge` are multiplied by; 1 for a map that is ordinary.
    """

    op: LinearMap
    ridge: float
    unit: float


def balanced(op: LinearMap, ridge: float = 0.0, seen: float | None = None) -> Balanced:
    """Divide a map by a power of two near its scale, unless that is ordinary, and adapt the ridge.

    With ``op = scale * even``, what minimises ``||op(x) - y||^2 + ridge ||x||^2`` is ``z / scale``,
    where z minimises ``||even(z) - y||^2 + ridge / scale^2 ||z||^2``. With a ridge beyond 1e100 of
    the squared scale it is ``op.H(y) / ridge`` to rounding, and 1e100 does as well. `seen` is the
    largest magnitude of the transpose of ones, where it is known.
    """
    if seen is None:
        seen = _magnitude(op, np.ones((1, *op.output_shape)))
    if not 1 / ORDINARY <= seen <= ORDINARY:  # ones may cancel
        seen = _magnitude(op, np.random.default_rng(0).standard_normal((1, *op.output_shape)))
    if 1 / ORDINARY <= seen <= ORDINARY or not 0 < seen < inf:
        return Balanced(op, ridge, 1.0)
    exponent = max(-EXPONENTS, min(EXPONENTS, frexp(seen)[1]))
    scale = 2.0**exponent
    even = with_kernel(op, lambda kernel: kernel * (1 / scale)) or Scaled(1 / scale, op)
    if not ridge:
        return Balanced(even, 0.0, 1 / scale)
    with np.errstate(over="ignore", under="ignore"):
        relative = float(np.float64(ridge) / scale / scale)
    least, most = RIDGES
    if relative > most:
        return Balanced(even, most, most / ridge * scale)
    return Balanced(even, max(relative, least), 1 / scale)


def _magnitude(op: LinearMap, probe: Array) -> float:
    """Return the largest value of the transpose of an array."""
    if 0 in op.shape:
        return 0.0
    wide = probe.astype(np.result_type(op.dtype, np.float64))
    return float(np.abs(op.T._apply(wide)).max())

"""The supremum of a convolution's symbol over all frequencies: proven, from a grid.

Let f be a real trigonometric polynomial of degree n in one variable (whole or half numbers count as
degrees) with maximum modulus M. Where it is attained, f falls off no faster than ``M cos(n t)``
(M. Riesz, 1914; from it Ehlich and Zeller, Schwankung von Polynomen zwischen Gitterpunkten, Math.
Zeitschrift 86, 1964, pages 41 to 44), so that on N > 2n equally spaced points, the nearest no
further than pi / N, ``M <= max on the grid / cos(pi n / N)``.

Here the quadratic forms ``p(t) = uᴴ B(t) B(t)ᴴ u`` of the blocks B, |u| = 1, are polynomials of
some degree d with 0 <= p <= sigma², sigma their supremum over u and t. Applied to
``p - sigma² / 2``, of modulus at most ``sigma² / 2``: ``p >= sigma² cos²(d t / 2)`` at a distance t
from where p is sigma².
Hence along each axis, one after the other, ``sigma <= max on the grid / cos(pi d / 2 N)``.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import acos, ceil, cos, pi, prod

import numpy as np

from linconv.analysis.symbol import gram_degrees
from linconv.analysis.waves import convolution_blocks
from linconv.engines.arrays import Array
from linconv.geometry import Geometry

__all__ = ["Supremum", "proof_grid", "symbol_supremum"]

_STRETCH = 2**25
_PEAKS, _LOOKED_AT = 3, 64
_EPS = float(np.finfo(np.float64).eps)


@dataclass(frozen=True)
class Supremum:
    """Bounds of the largest singular value of a symbol over all frequencies.

    Attributes
    ----------
    lower, upper : float
        Attained on the grid, and proven everywhere, rounding included.
    peaks : tuple of tuple of float
        Points of the grid, radians per output sample and axis: where the lower bound is attained,
        then the next best, no two of them neighbours.
    blocks : int
        Number of blocks that were decomposed.
    """

    lower: float
    upper: float
    peaks: tuple[tuple[float, ...], ...]
    blocks: int


def proof_grid(degrees: tuple[int, ...], spare: float) -> tuple[tuple[int, ...], float]:
    """Return points per axis, and the factor from the maximum on them to the supremum."""
    axes = max(1, sum(d > 0 for d in degrees))
    angle = acos(spare ** (-1 / axes))
    grid = tuple(max(2 * d + 1, ceil(pi * d / (2 * angle))) for d in degrees)
    factor = prod(1 / cos(pi * d / (2 * n)) for d, n in zip(degrees, grid, strict=True))
    return grid, factor


def symbol_supremum(kernel: Array, geometry: Geometry, spare: float = 1.006) -> Supremum:
    """Return bounds of the symbol's norm over all frequencies.

    Parameters
    ----------
    kernel : array, shape (out, in/groups, *taps)
    geometry : Geometry
        Its stride, dilation, groups and first pad; its sizes play no part.
    spare : float
        By which factor the upper bound may exceed the lower one.

    Notes
    -----
    The norm of the convolution on the infinite grid, and so an upper bound for zero padding at any
    size. Cost: one singular value decomposition per point of `proof_grid` and group, half as many
    for a real kernel.
    """
    grid, factor = proof_grid(gram_degrees(geometry), spare)
    kept = [np.arange(n, dtype=np.int64) for n in grid]
    if kernel.dtype.kind != "c":
        kept[-1] = kept[-1][: grid[-1] // 2 + 1]
    g = geometry
    size = (g.out_channels // g.groups) * (g.in_channels // g.groups) * prod(g.stride) * g.groups
    step = max(1, _STRETCH // (16 * size * prod(len(k) for k in kept[1:])))
    stretches = []
    for first in range(0, len(kept[0]), step):
        places = [kept[0][first : first + step], *kept[1:]]
        blocks = convolution_blocks(kernel, g, grid, places, True, (1,) * g.ndim)
        stretches.append(np.linalg.svd(blocks, compute_uv=False)[..., 0].max(axis=-1))
    tops = np.concatenate(stretches)
    best = float(tops.max())
    margin = 1 + 64 * _EPS * max(g.out_channels, g.in_channels * prod(g.stride))
    count = prod(len(k) for k in kept) * g.groups
    return Supremum(best / margin, best * factor * margin, _peaks(tops, grid), count)


def _peaks(tops: Array, grid: tuple[int, ...]) -> tuple[tuple[float, ...], ...]:
    """Return the angles of the highest points of a grid, no two of them neighbours."""
    places = np.stack(np.unravel_index(np.argsort(-tops, axis=None)[:_LOOKED_AT], tops.shape), 1)
    chosen: list[Array] = []
    for place in places:
        apart = [abs(place - other) for other in chosen]
        if all((np.minimum(d, np.asarray(grid) - d) > 1).any() for d in apart):
            chosen.append(place)
    turns = np.asarray(chosen[:_PEAKS]) / np.asarray(grid)
    return tuple(tuple(float(2 * pi * turn) for turn in point) for point in turns)

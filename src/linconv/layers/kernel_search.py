"""The search among convolutions: what was done to one so that it became the other layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from linconv.engines.arrays import Array
from linconv.layers.plain import Plain, Variant, fitting, mode_choices, variants
from linconv.layers.sides import Side, centred, close

__all__ = ["Located", "by_kernel"]


@dataclass(frozen=True, eq=False)
class Located:
    """A convolution that does what the other layer does: exactly, or away from the border."""

    variant: Variant
    lows: tuple[int, ...]
    fit: Plain | None


def by_kernel(
    given: Plain, other: Side, x: Array, y: Array, rng: np.random.Generator, tolerance: float
) -> Located | None:
    """Find what was done to one convolution so that it became the other layer.

    Parameters
    ----------
    given : Plain
        The layer that is known as a convolution.
    other : Side
        The layer to be explained.
    x, y : array, shape (n, channels, *size)
        A random input, not zero at the border, and what `other` makes of it.
    """
    g = given.geometry
    channels = g.in_channels if given.transposed else g.out_channels
    if y.shape[1] != channels:
        return None
    reach = [max(g.effective_kernel_size)] * g.ndim
    inside: Located | None = None
    probe = centred(rng, given.op.input_shape, reach)
    seen = other.linear(probe)[0]
    out = y.shape[2:]
    for variant in variants(given):
        for lows in _lows(given, variant, probe, seen, tolerance):
            for modes in mode_choices(g.padding_mode):
                fit = fitting(given, variant, lows, out, modes)
                if fit is not None and close(fit.op(x), y, tolerance):
                    return Located(variant, lows, fit)
            inside = inside or Located(variant, lows, None)
    return inside


def _lows(
    given: Plain, variant: Variant, probe: Array, seen: Array, tolerance: float
) -> list[tuple[int, ...]]:
    """Return where a variant's windows may begin so that it makes `seen` of `probe`, nearest first.

    The correlation is computed once, at every position: strides and beginnings are slices of it.
    """
    g, out = given.geometry, seen.shape[1:]
    kernel, dilation = variant.kernel, variant.dilation
    reach = [(k - 1) * d + 1 for k, d in zip(kernel.shape[2:], dilation, strict=True)]
    least, most = [-k for k in reach], [2 * k for k in reach]
    count = [high - low + 1 for low, high in zip(least, most, strict=True)]
    steps = [1] * g.ndim if given.transposed else list(variant.stride)
    length = [s * (o - 1) + t for s, o, t in zip(steps, out, count, strict=True)]
    stride = variant.stride if given.transposed else (1,) * g.ndim
    start = least if given.transposed else most
    everywhere = fitting(
        given,
        Variant((), "", {}, kernel, stride, dilation),
        tuple(start),
        tuple(length),
        "zeros",
    )
    if everywhere is None:
        return []
    values = everywhere.op(probe)[0]
    scale = float(np.abs(seen).max())
    if scale == 0.0 or values.shape[0] != seen.shape[0]:
        return []
    strongest = [int(j) for j in np.unravel_index(np.abs(seen).max(axis=0).argmax(), out)]
    block: tuple[Any, ...] = tuple(
        slice(s * j, s * j + t) for s, j, t in zip(steps, strongest, count, strict=True)
    )
    allowed = tolerance * scale
    at: tuple[Any, ...] = (slice(None), *strongest)
    picked = seen[at].reshape(-1, *(1,) * g.ndim)
    hits = np.argwhere(np.abs(values[(slice(None), *block)] - picked).max(axis=0) <= allowed)
    found = []
    for hit in hits:
        whole = tuple(
            slice(t, t + s * (o - 1) + 1, s) for t, s, o in zip(hit, steps, out, strict=True)
        )
        if np.abs(values[(slice(None), *whole)] - seen).max() <= allowed:
            ends = zip(hit.tolist(), least, most, strict=True)
            found.append(tuple(low + t if given.transposed else high - t for t, low, high in ends))
    own = given.lows
    return sorted(found, key=lambda lows: sum(abs(x - y) for x, y in zip(lows, own, strict=True)))

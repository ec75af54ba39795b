"""Padding: what each convention's names mean in samples, and which sample a padded one copies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, SupportsIndex

import numpy as np
from numpy.typing import NDArray

from linconv.arguments import choice, integer, per_axis, several
from linconv.errors import GeometryError

__all__ = [
    "PADDINGS",
    "PADDING_MODES",
    "Padding",
    "Pairs",
    "check_border",
    "explicit_pairs",
    "padded_sources",
    "resolve_modes",
    "resolve_output_padding",
    "resolve_padding",
    "resolve_transposed",
]

PADDINGS = ("valid", "same", "same_lower", "full", "causal")
PADDING_MODES = ("zeros", "circular", "reflect", "replicate", "symmetric")

Padding = str | SupportsIndex | Sequence[SupportsIndex | Sequence[SupportsIndex]]
Pairs = tuple[tuple[int, int], ...]


def padded_sources(size: int, low: int, high: int, mode: str) -> NDArray[np.int64]:
    """Return which sample of an axis each sample of the padded axis copies, -1 for a zero."""
    position = np.arange(-low, size + high)
    if mode == "zeros":
        return np.where((position >= 0) & (position < size), position, -1)
    if mode == "circular":
        return position % size
    if mode == "reflect":
        period = max(1, 2 * (size - 1))
        return np.minimum(position % period, -position % period)
    if mode == "symmetric":
        return np.minimum(position % (2 * size), (-1 - position) % (2 * size))
    return np.clip(position, 0, size - 1)


def resolve_modes(mode: str | Sequence[str], ndim: int) -> tuple[str, ...]:
    """Resolve one padding mode for all axes, or one per axis, to one per axis."""
    modes = (mode,) * ndim if not several(mode) else mode
    modes = tuple(modes)
    if len(modes) != ndim:
        raise GeometryError(
            f"padding_mode must be one name or one per spatial axis; got {len(modes)} names "
            f"{modes} for {ndim} axes; use {ndim}"
        )
    return tuple(choice("padding_mode", m, PADDING_MODES) for m in modes)


def check_border(size: tuple[int, ...], padding: Pairs, modes: tuple[str, ...]) -> None:
    """Raise `GeometryError` where mirrored padding would need more samples than there are."""
    for axis, (n, pair, mode) in enumerate(zip(size, padding, modes, strict=True)):
        most = {"reflect": n - 1, "symmetric": n}.get(mode)
        if most is not None and max(pair) > most:
            raise GeometryError(
                f"{mode} padding must be at most {most} on an axis of size {n}; got {pair} at "
                f"axis {axis}; use less padding or another padding_mode"
            )


def explicit_pairs(padding: Any, ndim: int) -> Pairs:
    """Resolve explicit padding to one (low, high) pair per axis."""
    if not several(padding):
        amount = integer("padding", padding)
        return ((amount, amount),) * ndim
    values = tuple(padding)
    if len(values) != ndim:
        raise GeometryError(
            f"padding must be a name, one int, one int per axis or one (low, high) pair per axis; "
            f"got {len(values)} entries {values} for {ndim} axes; for the same pair on every axis "
            f"write it {ndim} times, as in ((1, 2),) for one axis"
        )
    pairs = []
    for axis, value in enumerate(values):
        sides = tuple(value) if several(value) else (value, value)
        if len(sides) != 2:
            raise GeometryError(
                f"padding of an axis must be an int or a (low, high) pair; got {value!r} at axis "
                f"{axis}; use two ints"
            )
        low, high = (integer(f"padding of axis {axis}", side) for side in sides)
        pairs.append((low, high))
    return tuple(pairs)


def resolve_padding(
    padding: Any, size: tuple[int, ...], reach: tuple[int, ...], stride: tuple[int, ...]
) -> Pairs:
    """Resolve a name, ints or pairs for a convolution with effective kernel size `reach`."""
    if not isinstance(padding, str):
        return explicit_pairs(padding, len(size))
    name = known_name(padding)
    if not name.startswith("same"):
        return tuple(_fixed_pair(name, k) for k in reach)
    totals = [
        max(0, (-(-n // s) - 1) * s + k - n) for n, k, s in zip(size, reach, stride, strict=True)
    ]
    return tuple(_halves(total, name) for total in totals)


def known_name(name: str) -> str:
    """Return `name` if it is a padding's; otherwise raise, naming the nearest."""
    return choice("padding", name, PADDINGS, instead=", an int, ints or (low, high) pairs")


def _fixed_pair(name: str, reach: int) -> tuple[int, int]:
    """Resolve a padding name that does not depend on the input size."""
    return {"valid": (0, 0), "full": (reach - 1, reach - 1), "causal": (reach - 1, 0)}[name]


def _halves(total: int, name: str) -> tuple[int, int]:
    """Share `total` samples between both sides, the odd one at the side that `name` tells."""
    small, large = max(0, total // 2), total - max(0, total // 2)
    return (large, small) if name == "same_lower" and total > 0 else (small, large)


def resolve_output_padding(
    value: Any, stride: tuple[int, ...], dilation: tuple[int, ...]
) -> tuple[int, ...] | None:
    """Check `output_padding`; None stays None."""
    if value is None:
        return None
    extra = per_axis("output_padding", value, len(stride))
    for axis, (op, s, d) in enumerate(zip(extra, stride, dilation, strict=True)):
        if not 0 <= op < max(s, d):
            raise GeometryError(
                f"output_padding must be at least 0 and less than the larger of stride and "
                f"dilation; got {op} at axis {axis} with stride {s}, dilation {d}; "
                f"use 0 to {max(s, d) - 1}"
            )
    return extra


def resolve_transposed(
    padding: Any,
    size: tuple[int, ...],
    reach: tuple[int, ...],
    stride: tuple[int, ...],
    extra: tuple[int, ...] | None,
) -> tuple[tuple[int, ...], Pairs]:
    """Return the output size of a transposed convolution and the padding that it transposes.

    What that padding leaves unread at the end stays below one stride, as `Geometry.leftover`;
    samples beyond that are cropped by a negative padding.
    """
    rules: Any = explicit_pairs(padding, len(size)) if not isinstance(padding, str) else None
    if rules is None:
        rules = (known_name(padding),) * len(size)
    outs, pairs = [], []
    for axis, (n, k, s, rule) in enumerate(zip(size, reach, stride, rules, strict=True)):
        out, pair = _transposed_axis(n, k, s, rule, None if extra is None else extra[axis])
        if out < 1:
            raise GeometryError(
                f"the output of a transposed convolution must have at least 1 sample; got {out} "
                f"at axis {axis} (input {n}, padding {pair}, effective kernel {k}); use less "
                f"padding or a larger input"
            )
        outs.append(out)
        pairs.append(pair)
    return tuple(outs), tuple(pairs)


def _transposed_axis(
    n: int, k: int, s: int, rule: str | tuple[int, int], op: int | None
) -> tuple[int, tuple[int, int]]:
    if isinstance(rule, str) and rule.startswith("same"):
        out = n * s if op is None else (n - 1) * s + k % 2 + op
        low, high = _halves((n - 1) * s + k - out, rule)
        spare = min(max(0, -high), s - 1)
    else:
        low, high = _fixed_pair(rule, k) if isinstance(rule, str) else rule
        if op is None:
            op = max(k, s) - k if rule == "valid" else 0
        out = (n - 1) * s - low - high + k + op
        high, spare = high - op, op % s
    return out, (low, high + spare)

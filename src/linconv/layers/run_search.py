"""The search by running alone: hypotheses that need no knowledge of what either layer is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import combinations, permutations, product
from math import prod
from typing import Any

import numpy as np

from linconv.engines.arrays import Array
from linconv.layers.sides import Side, centred, close

__all__ = ["WORK", "Found", "by_channels", "by_factor", "by_running"]

WORK = 1 << 23
"""Input samples that a search by running may take, in all."""


@dataclass(frozen=True)
class Found:
    """A hypothesis that held, in words."""

    causes: tuple[str, ...]
    words: str
    details: dict[str, Any] = field(default_factory=dict)


def by_factor(ours: Array, theirs: Array, tolerance: float) -> Found | None:
    """Find one number, or one per output channel, by which b's result is a multiple of a's."""
    if ours.shape != theirs.shape:
        return None
    axes = tuple(axis for axis in range(ours.ndim) if axis != 1)
    square = (np.abs(ours) ** 2).sum(axis=axes)
    inner = (ours.conj() * theirs).sum(axis=axes)
    if not square.sum() or not np.abs(inner).sum():
        return None
    factor = inner.sum() / square.sum()
    # a kernel stored in single precision has been rounded after it was multiplied
    rounded = max(tolerance, 1e-6) if abs(factor - 1) > 1e-4 else tolerance
    if close(factor * ours, theirs, rounded):
        number = factor.item()
        return Found(("scale",), f"b's result is {number:.6g} times a's", {"factor": number})
    factors = np.divide(inner, square, out=np.ones_like(inner), where=square > 0)
    rounded = max(tolerance, 1e-6) if np.abs(factors - 1).max() > 1e-4 else tolerance
    if close(factors.reshape(1, -1, *(1,) * (ours.ndim - 2)) * ours, theirs, rounded):
        words = "b's result is a's times one number per output channel"
        return Found(("scale",), words, {"factors": factors.tolist()})
    return None


def by_channels(
    a: Side, b: Side, rng: np.random.Generator, x: Array, y: Array, tolerance: float
) -> Found | None:
    """Find an order of the input channels, of the output channels, or of both."""
    if a.output_shape != b.output_shape:
        return None
    channels, size = a.input_shape[0], a.input_shape[1:]
    if channels * channels * prod(size) > WORK:
        return None
    pattern = rng.standard_normal(size)
    one_each = np.zeros((channels, channels, *size))
    one_each[np.arange(channels), np.arange(channels)] = pattern
    ours, theirs = a.linear(one_each), b.linear(one_each)
    scale = float(np.abs(ours).max())
    by_in = [_sorted_norms(v, axis=1) for v in (ours, theirs)]
    by_out = [_sorted_norms(v, axis=0) for v in (ours, theirs)]
    same_out, same_in = np.arange(ours.shape[1]), np.arange(channels)
    # each output channel by its responses to all input channels, and the other way round
    plans = (
        (same_in, _matched(ours.swapaxes(0, 1), theirs.swapaxes(0, 1), tolerance * scale)),
        (_matched(ours, theirs, tolerance * scale), same_out),
        (
            _matched(by_in[0], by_in[1], 10 * tolerance * scale),
            _matched(by_out[0], by_out[1], 10 * tolerance * scale),
        ),
    )
    for inputs, outputs in plans:
        if inputs is None or outputs is None:
            continue
        # b(x)[o] == a(x with channel i holding what b calls inputs⁻¹(i))[outputs[o]]
        moved = np.empty_like(x)
        moved[:, inputs] = x
        if close(a.linear(moved)[:, outputs], y, tolerance):
            return _channels_found(inputs, outputs)
    return None


def _sorted_norms(responses: Array, axis: int) -> Array:
    """Return what tells a channel apart whatever the order of the others."""
    norms = np.sqrt((np.abs(responses) ** 2).sum(axis=tuple(range(2, responses.ndim))))
    return np.sort(norms, axis=axis).T if axis == 0 else np.sort(norms, axis=axis)


def _matched(ours: Array, theirs: Array, allowed: float) -> Array | None:
    """Return for each row of `theirs` the row of `ours` that equals it, None unless one to one."""
    left, right = ours.reshape(len(ours), -1), theirs.reshape(len(theirs), -1)
    free = np.ones(len(left), bool)
    order = []
    for index, row in enumerate(right):
        hits = np.flatnonzero(free & (np.abs(left - row).max(axis=1) <= allowed))
        if not hits.size:
            return None
        chosen = index if index in hits else int(hits[0])
        free[chosen] = False
        order.append(chosen)
    return np.array(order)


def _channels_found(inputs: Array, outputs: Array) -> Found | None:
    words, details = [], {}
    for name, order in (("input", inputs), ("output", outputs)):
        plainly = np.arange(len(order))
        if np.array_equal(order, plainly):
            continue
        details[f"{name}_order"] = tuple(order.tolist())
        groups = _as_groups(order)
        if np.array_equal(order, plainly[::-1]):
            how = "reversed"
        elif groups is not None:
            how = f"interleaved, read as ({groups}, {len(order) // groups}) transposed"
        else:
            how = f"{tuple(order.tolist()[:8])}{' ...' if len(order) > 8 else ''}"
        words.append(f"b's {name} channels are a's in another order: {how}")
    if not words:
        return None
    grouped = any(_as_groups(np.array(order)) for order in details.values())
    reverse = any(order == tuple(range(len(order)))[::-1] for order in details.values())
    return Found(("groups" if grouped and not reverse else "channels",), "; ".join(words), details)


def _as_groups(order: Array) -> int | None:
    """Return how many groups an order interleaves, None if it is not of this kind."""
    for first in range(2, len(order)):
        if len(order) % first == 0 and np.array_equal(
            order, np.arange(len(order)).reshape(first, -1).T.ravel()
        ):
            return first
    return None


def by_running(
    a: Side, b: Side, rng: np.random.Generator, tolerance: float
) -> tuple[Found, bool] | None:
    """Find a shift, flip or exchange of axes of two layers that nobody can read, by running both.

    The input is zero near the border, so that moving it does not meet the padding. What is moved
    is the input, by whole samples; where the output is finer, the output.

    Returns
    -------
    (Found, bool) or None
        True if nothing at all differs away from the border.
    """
    if a.output_shape != b.output_shape or len(a.output_shape) != len(a.input_shape):
        return None
    size, out = a.input_shape[1:], a.output_shape[1:]
    margin = tuple(min(4, (n - 1) // 2) for n in size)
    probe = centred(rng, a.input_shape, margin)
    again = centred(rng, a.input_shape, margin)
    seen, seen_again = b.linear(probe), b.linear(again)
    if not np.abs(seen).max():
        return None
    finer = prod(out) > prod(size)
    radius = [min(m, 3) for m in margin]
    while prod(2 * r + 1 for r in radius) * prod(a.input_shape) > WORK and max(radius):
        radius = [max(0, r - 1) for r in radius]
    moves = sorted(product(*(range(-r, r + 1) for r in radius)), key=lambda d: sum(map(abs, d)))
    for order, flips in _arrangements(size, out):
        for shift in _shifts(a, probe, seen, moves, order, flips, finer, tolerance):
            check = _rearranged(a, again, shift, order, flips, finer)
            if close(check, seen_again, tolerance):
                return _arrangement_found(order, flips, shift, finer)
    return None


def _arrangements(size: Any, out: Any) -> Iterator[tuple[tuple[int, ...], tuple[int, ...]]]:
    axes = tuple(range(len(size)))
    every = [
        (order, flips)
        for order in permutations(axes)
        if all(size[o] == size[i] and out[o] == out[i] for i, o in enumerate(order))
        for count in range(len(axes) + 1)
        for flips in combinations(axes, count)
    ]
    yield from sorted(every, key=lambda p: (p[0] != axes) + bool(p[1]))


def _arranged(x: Array, order: tuple[int, ...], flips: tuple[int, ...]) -> Array:
    turned = x.transpose(0, 1, *(2 + axis for axis in order))
    return np.flip(turned, tuple(2 + axis for axis in flips))


def _back(y: Array, order: tuple[int, ...], flips: tuple[int, ...]) -> Array:
    turned = np.flip(y, tuple(2 + axis for axis in flips))
    return turned.transpose(0, 1, *(2 + int(axis) for axis in np.argsort(order)))


def _rearranged(
    a: Side, x: Array, shift: tuple[int, ...], order: Any, flips: Any, finer: bool
) -> Array:
    axes = tuple(range(2, x.ndim))
    moved = x if finer else np.roll(x, shift, axes)
    result = _back(a.linear(_arranged(moved, order, flips)), order, flips)
    return np.roll(result, shift, axes) if finer else result


def _shifts(
    a: Side,
    probe: Array,
    seen: Array,
    moves: list[tuple[int, ...]],
    order: Any,
    flips: Any,
    finer: bool,
    tolerance: float,
) -> Iterator[tuple[int, ...]]:
    axes = tuple(range(2, probe.ndim))
    if finer:
        image = _rearranged(a, probe, (0,) * len(axes), order, flips, finer)
        results = np.concatenate([np.roll(image, move, axes) for move in moves])
    else:
        batch = np.concatenate([np.roll(probe, move, axes) for move in moves])
        results = _back(a.linear(_arranged(batch, order, flips)), order, flips)
    for move, result in zip(moves, results, strict=True):
        if close(result[None], seen, tolerance):
            yield move


def _arrangement_found(order: Any, flips: Any, shift: Any, finer: bool) -> tuple[Found, bool]:
    causes: tuple[str, ...] = ()
    words, details = [], {}
    if order != tuple(range(len(order))):
        causes += ("axes",)
        words.append(f"b does to the spatial axes {order} what a does to theirs")
        details["axes"] = order
    if flips:
        causes += ("flip",)
        words.append(f"b is a mirrored along the spatial axes {flips}")
        details["flipped"] = flips
    if any(shift):
        causes += ("shift",)
        side = "output" if finer else "input"
        words.append(f"b's result is a's, moved by {shift} pixels of the {side}")
        details |= {"shift": shift, "shift_in": side}
    return Found(causes, "; ".join(words), details), not causes

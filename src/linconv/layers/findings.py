"""Findings: what about a layer deserves a warning, in words, with what to do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import gcd

import numpy as np

from linconv.analysis.artifacts import remove_checkerboard
from linconv.convolution import Conv, ConvTranspose
from linconv.geometry import Geometry

__all__ = ["CHECKS", "Finding", "clean_sizes", "findings"]

CHECKS = {
    "checkerboard": "a transposed convolution whose kernel makes a checkerboard of a flat region",
    "leftover": "input samples at the end that no window reaches",
    "skipped": "input samples between the windows that none reads",
    "half_pixel": "an even kernel whose output is shifted by half a pixel",
    "asymmetric": '"same" padding that PyTorch and ONNX place one sample earlier',
}
"""The kinds of findings, and what each is."""

VISIBLE = 0.01
"""Smallest checkerboard of the real kernel that is a finding: 1 % of the mean gain."""


@dataclass(frozen=True)
class Finding:
    """A warning about one layer.

    Attributes
    ----------
    check : str
        Which of `CHECKS`.
    text : str
        In words, with numbers and what to do.
    """

    check: str
    text: str


def findings(
    op: Conv | ConvTranspose,
    checkerboard: float,
    overlap: float,
    padded: Sequence[int] | None = None,
) -> list[Finding]:
    """Return what is to be said of a convolution, given its checkerboard and overlap ratio.

    `padded` counts the samples at the end of each axis that a layer before it added: no loss if
    nothing reads them.
    """
    if isinstance(op, ConvTranspose):
        found = [_checkerboard(op, checkerboard, overlap), _asymmetric(op.geometry, "cropping")]
    else:
        g = op.geometry
        found = [_leftover(g, padded), _skipped(g), _half_pixel(g), _asymmetric(g, "padding")]
    return [finding for finding in found if finding is not None]


def clean_sizes(kernel: int, stride: int, dilation: int = 1) -> tuple[int, ...]:
    """Return the kernel sizes nearest to `kernel` with even overlap: multiples of the stride.

    One below and one above, or the size itself; none where stride and dilation share a factor.
    """
    if gcd(stride, dilation) > 1:
        return ()
    below = kernel // stride * stride
    return tuple(sorted({size for size in (below, -(-kernel // stride) * stride) if size > 0}))


def _checkerboard(op: ConvTranspose, value: float, overlap: float) -> Finding | None:
    g = op.geometry
    if overlap == 1 or not value > VISIBLE:
        return None
    advice: dict[str, list[int]] = {}
    for axis, (k, s, d) in enumerate(_axes(g)):
        sizes = sorted(clean_sizes(k, s, d), key=lambda size: (abs(size - k), -size))
        if not sizes:
            words = f"a dilation that shares no factor with the stride {s}"
        elif sizes == [k]:
            continue
        else:
            words = f"kernel size {' or '.join(str(size) for size in sizes)}"
        advice.setdefault(words, []).append(axis)
    remedy = " and ".join(f"{words} on {_named(axes)}" for words, axes in advice.items())
    if all(gcd(s, d) == 1 and k >= s for k, s, d in _axes(g)):
        kernel = op.kernel.astype(np.float64, copy=False)
        clean = remove_checkerboard(
            kernel, g.stride, dilation=g.dilation, data_format=op.data_format
        )
        share = float(np.linalg.norm(clean - kernel) / np.linalg.norm(kernel))
        remedy += (
            f", or the nearest kernel without it (lc.remove_checkerboard), "
            f"{100 * share:.2g} % from this one"
        )
    return Finding(
        "checkerboard",
        f"checkerboard risk: kernel {_sizes(g.kernel_size)} with stride {_sizes(g.stride)} "
        f"overlaps unevenly (ratio {overlap:.3g}), and this kernel's phases differ by up to "
        f"{value:.3g} of their mean gain; use {remedy}",
    )


def _axes(g: Geometry) -> list[tuple[int, int, int]]:
    return list(zip(g.kernel_size, g.stride, g.dilation, strict=True))


def _leftover(g: Geometry, padded: Sequence[int] | None) -> Finding | None:
    """Tell of samples of the input itself that remain after the last window."""
    before = padded or (0,) * g.ndim
    lost = [
        max(0, left - max(0, high) - added)
        for left, (_, high), added in zip(g.leftover, g.padding, before, strict=True)
    ]
    if not any(lost):
        return None
    better = [
        f"{n - extra} or {n + s - left}"
        for n, extra, left, s in zip(g.input_size, lost, g.leftover, g.stride, strict=True)
    ]
    axes = [axis for axis, extra in enumerate(lost) if extra]
    where = "; ".join(
        f"{lost[axis]} of {g.input_size[axis]} at the end of axis {axis} (use an input of "
        f"{better[axis]}, or padding there)"
        for axis in axes
    )
    return Finding("leftover", f"input samples that no window reaches: {where}")


def _skipped(g: Geometry) -> Finding | None:
    """Tell of samples between windows, where a stride is longer than the kernel."""
    gaps = [
        (axis, k, s)
        for axis, (k, s) in enumerate(zip(g.effective_kernel_size, g.stride, strict=True))
        if s > k
    ]
    if not gaps:
        return None
    read = float(np.prod([np.count_nonzero(counts) / len(counts) for counts in g.overlap()]))
    which = ", ".join(f"stride {s} > kernel {k} on axis {axis}" for axis, k, s in gaps)
    return Finding(
        "skipped",
        f"{100 * (1 - read):.3g} % of the input is never read ({which}); use a kernel of at least "
        f"the stride, or average before it",
    )


def _half_pixel(g: Geometry) -> Finding | None:
    """Tell of even kernels that keep the size: the output lies half a sample beside the input."""
    shifted = [
        (axis, k, pair)
        for axis, (k, s, pair) in enumerate(
            zip(g.effective_kernel_size, g.stride, g.padding, strict=True)
        )
        if s == 1 and k % 2 == 0 and sum(pair) == k - 1 and abs(pair[0] - pair[1]) == 1
    ]
    if not shifted:
        return None
    _, k, (low, high) = shifted[0]
    axes = _named([axis for axis, *_ in shifted])
    sign = "+" if high > low else "-"
    return Finding(
        "half_pixel",
        f"even kernel (effective size {k}) keeps the size with padding {low} before, {high} after: "
        f"output sample o is centred on input o {sign} 0.5 along {axes}; use kernel size "
        f"{k - 1} or {k + 1}",
    )


def _asymmetric(g: Geometry, verb: str) -> Finding | None:
    """Tell of zero padding of a strided layer with one sample more at the end, as "same" has it.

    With one more at the start, padding both sides alike only adds what no window reads.
    """
    uneven = [
        (axis, pair)
        for axis, (s, pair, mode) in enumerate(
            zip(g.stride, g.padding, g.padding_mode, strict=True)
        )
        if s > 1 and pair[1] - pair[0] == 1 and pair[0] >= 0 and mode == "zeros"
    ]
    if not uneven:
        return None
    _, (low, high) = uneven[0]
    axes = _named([axis for axis, _ in uneven])
    return Finding(
        "asymmetric",
        f"{verb} {low} before, {high} after on {axes}: padding={high} on both sides, as "
        f"PyTorch has it, gives the same shape with every window one sample earlier; move the "
        f"layer with explicit pads (lc.to_layer writes them)",
    )


def _named(axes: Sequence[int]) -> str:
    word = "axis" if len(axes) == 1 else "axes"
    return f"{word} {' and '.join(str(axis) for axis in axes)}"


def _sizes(values: tuple[int, ...]) -> str:
    return " x ".join(str(value) for value in values)

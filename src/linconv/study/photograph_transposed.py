"""The photograph's transposed convolutions: stride 1 and 2, by hand, as ordinary convolutions."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from linconv.convolution import Conv
from linconv.study.by_hand import convolve_tap_by_tap, transpose_tap_by_tap
from linconv.study.photograph_maps import PhotographMaps, size_of
from linconv.study.presenting import best_multiple, deviation
from linconv.study.results import Panel, Part, Picture, Section, Table
from linconv.study.verdicts import Verdict

__all__ = ["stride_2", "transpose"]

Array = NDArray[Any]


def transpose(p: PhotographMaps) -> Part:
    """Apply the transpose three ways; it is no inverse."""
    up = p.conv.T
    back = up(p.y)
    parts = up.as_conv()
    deviations = {
        "by hand, shifted copies": p.deviation(
            transpose_tap_by_tap(p.y, p.kernel, back.shape), back, p.y
        ),
        "as a convolution of the padded input": p.deviation(parts(p.y), back, p.y),
    }
    factor, error = best_multiple(back, p.pixels)
    missed = np.abs(factor * back - p.pixels)
    top = float(np.quantile(missed, 0.99))
    rng = np.random.default_rng(p.seed)
    x, y = rng.standard_normal(p.conv.input_shape), rng.standard_normal(p.y.shape)
    left, right = float(np.vdot(p.conv(x), y)), float(np.vdot(x, up(y)))
    products = abs(left - right) / (np.linalg.norm(p.conv(x)) * np.linalg.norm(y) or 1.0)
    deviations["dot test ⟨Ax, y⟩ = ⟨x, Aᵀy⟩, random x and y"] = float(products)
    padded = parts.prepared(p.y).shape
    text = (
        f"The transposed convolution brings the {size_of(p.y)} values back to "
        f"{size_of(back)}. It is computed in three ways: by the operator, by adding up shifted "
        f"copies, and as an ordinary convolution of the input, padded to {padded[0]} × "
        f"{padded[1]}, with the turned kernel. All agree to rounding.",
        "It has the shape of the photograph, but it is not the photograph: even times the best "
        f"factor ({factor:.3g}) it leaves a relative error of {100 * error:.0f} %. After the "
        "convolution, the transpose weighs every frequency with the square of what the kernel "
        "does to it; an inverse would have to divide.",
    )
    picture = Picture(
        "photograph-3-transpose",
        "The photograph, and the transpose of its convolution, scaled as well as possible.",
        f"The photograph {p.image.name} beside the transposed convolution of its "
        "convolution, and their difference.",
        (
            (
                Panel(p.pixels, "photograph", limits=(0.0, 1.0)),
                Panel(factor * back, "transpose, best multiple", limits=(0.0, 1.0)),
                Panel(missed, "difference", "error", (0.0, top or 1.0), colour_bar=True),
            ),
        ),
    )
    table = Table(
        "Agreement, relative to the largest value possible",
        ("computed", "deviation"),
        tuple((name, deviation(value)) for name, value in deviations.items()),
    )
    numbers = {
        "relative_deviations": deviations,
        "best_factor": factor,
        "relative_error_with_best_factor": error,
    }
    title = "The transpose, as a convolution, and why it is no inverse"
    section = Section(p.chapter, title, text, (table,), (picture,), numbers)
    worst = max(deviations.values())
    return Part(section, (Verdict.rounding("photograph: transposed", worst),))


def stride_2(p: PhotographMaps) -> Part:
    """Convolve with stride 2, and transpose that."""
    conv = Conv(p.kernel, p.pixels.shape, stride=2)
    half = conv(p.pixels)
    up = conv.T
    back, parts = up(half), up.as_conv()
    prepared = parts.prepared(half)
    deviations = {
        "convolution, by hand": p.deviation(
            convolve_tap_by_tap(p.pixels, p.kernel, 2), half, p.pixels
        ),
        "transpose, by hand": p.deviation(
            transpose_tap_by_tap(half, p.kernel, back.shape, 2), back, half
        ),
        "transpose, as a convolution of the dilated, padded input": p.deviation(
            parts.conv(prepared), back, half
        ),
    }
    flat = up(np.ones_like(half))
    middle = _middle(back.shape, 64)
    zoom = _middle(prepared.shape, 12)
    sampled = parts.prepared(np.ones_like(half))[zoom] != 0
    text = (
        f"With stride 2 the convolution keeps {size_of(half)} values, a quarter. Its transpose "
        "is a convolution of the dilated input: one zero between all samples, zeros around, the "
        f"turned kernel. That input has {size_of(prepared)} values, of which about three quarters "
        "are the inserted zeros.",
        "Each pixel of the result meets the kernel's weights of its own phase only: those "
        "that fall on samples and not on inserted zeros. Where the four phases of the kernel "
        "have different sums, even a uniform input gives a checkerboard: an input of ones "
        f"gives values from {_inner(flat, p.kernel).min():.4g} to "
        f"{_inner(flat, p.kernel).max():.4g} here.",
    )
    picture = Picture(
        "photograph-4-stride-2",
        "A piece of the dilated input (inserted zeros pale), and the middle of the transpose "
        "of the stride-2 convolution, next to that part of the photograph.",
        "Samples standing apart with zeros between them; the middle of the transposed "
        "convolution with a pattern that repeats every two pixels; the same part of the "
        "photograph.",
        (
            (
                Panel(prepared[zoom], "dilated input, 12 × 12", inserted=~sampled),
                Panel(back[middle], "transpose, middle"),
                Panel(p.pixels[middle], "photograph, middle", limits=(0.0, 1.0)),
            ),
        ),
    )
    table = Table(
        "Agreement, relative to the largest value possible",
        ("computed", "deviation"),
        tuple((name, deviation(value)) for name, value in deviations.items()),
    )
    numbers = {"output_shape": half.shape, "relative_deviations": deviations}
    section = Section(p.chapter, "Stride 2", text, (table,), (picture,), numbers)
    worst = max(deviations.values())
    return Part(section, (Verdict.rounding("photograph: stride 2", worst),))


def _inner(flat: Array, kernel: Array) -> Array:
    """Return the samples that no border affects, or all where there is none such."""
    height, width = kernel.shape
    inner = flat[height : flat.shape[0] - height, width : flat.shape[1] - width]
    return inner if inner.size else flat


def _middle(shape: tuple[int, ...], most: int) -> tuple[slice, ...]:
    """Return the middle of an array, at most so many samples along each axis."""
    starts = [max(0, (n - most) // 2) for n in shape]
    return tuple(slice(start, start + most) for start in starts)

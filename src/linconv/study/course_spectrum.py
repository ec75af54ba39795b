"""The padded convolution of the course, undone: its singular values, its exact inverse.

With padding the 4 × 4 image becomes 4 × 4 again, and the matrix is square. Whether it can be
undone, how safely, and how near one small kernel comes to it.
"""

from __future__ import annotations

import numpy as np

from linconv.analysis.inverse_curve import InverseCurve, inverse_kernel_curve
from linconv.analysis.solve import solve
from linconv.analysis.spectrum import condition, rank, svdvals
from linconv.convolution import Conv
from linconv.study.published import CHAPTER, IMAGE, KERNEL, SPECTRUM, SPECTRUM_SOURCE
from linconv.study.results import Curves, Panel, Part, Picture, Section, Table
from linconv.study.verdicts import Verdict

__all__ = ["error_by_size", "exact_inverse", "spectrum"]

SMALL_SIZES = (3, 5, 7)
SIDE = 12
"""Of the larger image on which inverse kernels of every size are tried."""


def padded() -> Conv:
    """Return the course's convolution with padding, from 4 × 4 to 4 × 4."""
    return Conv(KERNEL, IMAGE.shape, padding="same")


def spectrum() -> Part:
    """Show the singular values of the 16 × 16 matrix: what it keeps, and how safely."""
    op = padded()
    values, ratio, full = svdvals(op), float(condition(op)), int(rank(op))
    largest, smallest = float(values.values[0]), float(values.values[-1])
    text = (
        "With padding the matrix has 16 rows and 16 columns. It turns the unit sphere of all "
        "images into an ellipsoid; the singular values (`lc.svdvals`) are its half axes: how much "
        "the convolution amplifies each of 16 patterns.",
        f"None of them is zero: the rank is {full}, and nothing is lost. But the largest, "
        f"{largest:.4f}, is {ratio:.1f} times the smallest, {smallest:.6f} (`lc.condition`). So "
        "many times may a relative error of the output grow when the convolution is undone. The "
        f"largest is also the most by which it can lengthen an image (`lc.norm`). All are "
        f"{values.kind}: the matrix is small enough for a complete decomposition.",
    )
    picture = Picture(
        "course-8-singular-values",
        "The 16 singular values of the padded convolution, from the largest to the smallest.",
        f"A falling curve of 16 points on a logarithmic scale, from {largest:.1f} to "
        f"{smallest:.3f}.",
        (Curves({"singular value": values.values}, {}, "number", "amplification"),),
    )
    verdicts = (
        Verdict.close("padded: rank", full, SPECTRUM.rank, 0, SPECTRUM_SOURCE),
        Verdict.close("padded: condition", ratio, SPECTRUM.condition, 5e-4, SPECTRUM_SOURCE),
        Verdict.close("padded: largest", largest, SPECTRUM.largest, 5e-5, SPECTRUM_SOURCE),
        Verdict.close("padded: smallest", smallest, SPECTRUM.smallest, 5e-7, SPECTRUM_SOURCE),
    )
    numbers = {
        "singular_values": values.values,
        "rank": full,
        "condition": ratio,
        "kind": values.kind,
        "method": values.method,
    }
    section = Section(
        CHAPTER, "The singular values of the padded convolution", text, (), (picture,), numbers
    )
    return Part(section, verdicts)


def exact_inverse() -> Part:
    """Get the image back from the output of the padded convolution, in full."""
    op, image = padded(), IMAGE.astype(np.float64)
    features = op(image)
    found = solve(op, features)
    deviation = float(np.abs(found.x - image).max() / image.max())
    text = (
        f"A matrix of rank 16 can be inverted. `lc.solve` finds the image from its convolution, "
        f"here by the method {found.method!r}, with a largest error of {deviation:.1e} of the "
        "largest pixel: rounding, times the condition number at most. The 3 × 3 kernel that the "
        "course trained, and the best one, both leave an error above 1, for a kernel does the same "
        "at every pixel; the inverse matrix does not.",
    )
    picture = Picture(
        "course-9-exact-inverse",
        "The image, its padded convolution, and what solving the linear system gives back.",
        "The 4 by 4 image, its 4 by 4 convolution, and the solution, equal to the image.",
        (
            (
                Panel(image, "image", digits=0, after="→"),
                Panel(features, "convolution", digits=0, after="→"),
                Panel(found.x, "solved", digits=0),
            ),
        ),
    )
    numbers = {
        "x": found.x,
        "method": found.method,
        "residual": found.residual,
        "largest_relative_error": deviation,
    }
    section = Section(CHAPTER, "Undone exactly", text, (), (picture,), numbers)
    return Part(section, (Verdict.rounding("padded: undone exactly", deviation),))


def error_by_size() -> Part:
    """Show how the error of the best inverse kernel falls with its size, to the exact inverse."""
    small = inverse_kernel_curve(padded(), SMALL_SIZES)
    sizes = tuple(range(3, SIDE + 1))
    curves = {
        border: inverse_kernel_curve(
            Conv(KERNEL, (SIDE, SIDE), padding="same", padding_mode=mode), sizes
        )
        for border, mode in (("zeros outside", "zeros"), ("border wraps around", "circular"))
    }
    wrapped = curves["border wraps around"]
    plateau = curves["zeros outside"].mse[-1]
    exact = wrapped.exact_from
    text = (
        "The kernels above were the best for one image. Here are the best for white images, whose "
        "pixels are independent and of variance 1 (`lc.inverse_kernel_curve`): their error is what "
        "the kernel leaves of the identity matrix, whatever the picture.",
        f"On the 4 × 4 image it falls from {small.mse[0]:.3f} at 3 × 3 to {small.mse[-1]:.3f} at "
        "7 × 7, which reaches from every pixel to every other: a larger kernel gains nothing. "
        "What is left is the border. The exact inverse has other weights at every pixel, and one "
        "kernel has not.",
        f"Where the border wraps around, every pixel is like every other, and the exact inverse is "
        f"one kernel as large as the image. On {SIDE} × {SIDE} pixels the error falls to rounding "
        + (f"at {exact} × {exact}" if exact else "at no size")
        + f", and with zeros outside it stays at {plateau:.3f}.",
    )
    picture = Picture(
        "course-10-error-by-size",
        f"Mean squared error of the best inverse kernel for white images of {SIDE} × {SIDE} pixels "
        "against its size.",
        f"Two falling curves from 3 to {SIDE}: the one of the border that wraps around ends at 0, "
        f"the one with zeros outside at {plateau:.2f}.",
        (_falling(curves, sizes[0]),),
    )
    rows = tuple(_row("4 × 4, zeros outside", k, e) for k, e in _pairs(small))
    for border, curve in curves.items():
        rows += tuple(_row(f"{SIDE} × {SIDE}, {border}", k, e) for k, e in _pairs(curve))
    rows += (("4 × 4, zeros outside", "inverse matrix", 0.0),)
    table = Table(
        "Error of the best inverse kernel by its size", ("image", "kernel", "error"), rows
    )
    numbers = {"4x4": small, **{f"{SIDE}x{SIDE}, {name}": c for name, c in curves.items()}}
    section = Section(
        CHAPTER, "From a small kernel to the exact inverse", text, (table,), (picture,), numbers
    )
    verdict = Verdict.rounding(f"wrapped: {SIDE} × {SIDE} kernel, error", abs(wrapped.mse[-1]))
    return Part(section, (verdict,))


def _falling(curves: dict[str, InverseCurve], first: int) -> Curves:
    """Return the curves over the kernel's size; before the first size there is nothing to draw."""
    nothing = np.full(first - 1, np.nan)
    series = {name: np.concatenate([nothing, curve.mse]) for name, curve in curves.items()}
    return Curves(series, {}, "side of the inverse kernel", "mean squared error", log=False)


def _pairs(curve: InverseCurve) -> list[tuple[int, float]]:
    return list(zip(curve.sizes, curve.mse, strict=True))


def _row(image: str, size: int, error: float) -> tuple[str, str, float]:
    return image, f"{size} × {size}", float(f"{error:.6g}")

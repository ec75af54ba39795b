"""The course's transposed convolutions: stride 1 and 2, by hand, and as ordinary convolutions."""

from __future__ import annotations

import numpy as np

from linconv.convolution import ConvTranspose
from linconv.study.by_hand import transpose_pixel_by_pixel
from linconv.study.course_figures import CourseFigures
from linconv.study.presenting import best_multiple
from linconv.study.published import CHAPTER, KERNEL
from linconv.study.results import Panel, Part, Picture, Section
from linconv.study.verdicts import Verdict

__all__ = ["as_convolution", "stride_2", "transpose"]


def transpose(figures: CourseFigures) -> Part:
    """Apply the transpose, and show that it is no inverse."""
    back = figures.found["transposed_convolution_stride_1"]
    matrix = figures.found["convolution_matrix"]
    rank = int(np.linalg.matrix_rank(matrix))
    factor, error = best_multiple(back, figures.image)
    picture = Picture(
        "course-4-transpose",
        "Back from four numbers to 4 × 4, and the image that it should be if the transpose "
        "were an inverse.",
        "The 2 by 2 convolution, its 4 by 4 transposed convolution with values from "
        f"{back.min():.0f} to {back.max():.0f}, and the image with values from "
        f"{figures.image.min():.0f} to {figures.image.max():.0f}.",
        (
            (
                Panel(figures.y, "convolution", digits=0, after="→"),
                Panel(back, "transposed convolution", digits=0, after="≠"),
                Panel(figures.image, "image", digits=0),
            ),
        ),
    )
    text = (
        "The transposed convolution multiplies with the transposed matrix. It leads from four "
        "numbers back to 4 × 4: every number lays a copy of the kernel, times itself, onto "
        "the result, and overlapping copies add up.",
        f"The transpose is not the inverse: the shape is that of the image, the values run "
        f"from {back.min():.0f} to {back.max():.0f} instead of {figures.image.min():.0f} to "
        f"{figures.image.max():.0f}. Even when scaled as well as possible (times {factor:.3g}) it "
        f"leaves a relative error of {100 * error:.0f} %.",
        f"Nothing could invert this map: its matrix has rank {rank}, so that "
        f"{matrix.shape[1] - rank} of {matrix.shape[1]} dimensions of the image are lost.",
    )
    numbers = {
        "transposed": back,
        "rank": rank,
        "best_factor": factor,
        "relative_error_with_best_factor": error,
    }
    section = Section(
        CHAPTER, "The transpose, and why it is no inverse", text, (), (picture,), numbers
    )
    return Part(section)


def as_convolution(figures: CourseFigures) -> Part:
    """Compute the transpose as a convolution of the padded input."""
    text = (
        "The same numbers come from an ordinary convolution: put k − 1 = 2 rings of zeros "
        "around the input, turn the kernel by 180 degrees, and convolve with stride 1. This is "
        "what `op.T.as_conv()` is made of.",
    )
    return _equivalent(figures, 1, "The transpose as a convolution", text)


def stride_2(figures: CourseFigures) -> Part:
    """Compute the transpose of a convolution with stride 2, and as a convolution."""
    copies = ConvTranspose(np.ones_like(KERNEL), figures.y.shape, stride=2)(np.ones_like(figures.y))
    text = (
        "A convolution with stride 2 moves its window by two pixels, and its transpose lays "
        "the copies of the kernel two pixels apart: from 2 × 2 to 5 × 5. As an ordinary "
        "convolution: put stride − 1 = 1 zero between the samples (dilate), two rings of zeros "
        "around them (pad), and convolve with the turned kernel. The stride of the transpose "
        "is a dilation of its input.",
        f"A pixel of the result receives from {copies.min():.0f} to {copies.max():.0f} copies, "
        "in a pattern that repeats with the stride. Where a trained kernel does not balance "
        "it, this pattern is seen as a checkerboard.",
    )
    return _equivalent(figures, 2, "Stride 2: a dilated input", text)


def _equivalent(figures: CourseFigures, stride: int, title: str, text: tuple[str, ...]) -> Part:
    """Show a transposed convolution as an ordinary convolution of its prepared input."""
    ups = [m.conv.T if stride == 1 else m.up2 for m in figures.both]
    what = "padded input" if stride == 1 else "dilated, padded input"
    name = "transposed" if stride == 1 else "stride 2"
    key = f"transposed_convolution_stride_{stride}"
    prepared_key = f"{what.replace(', ', '_').replace(' ', '_')}_stride_{stride}"
    parts = ups[0].as_conv()
    prepared, result = figures.found[prepared_key], figures.found[key]
    features = [m.conv(m.image) for m in figures.both]
    float64, float32 = (up.as_conv()(y) for up, y in zip(ups, features, strict=True))
    sampled = parts.prepared(np.ones_like(figures.y)) != 0
    picture = Picture(
        "course-5-as-convolution" if stride == 1 else "course-6-stride-2",
        f"The {what} (inserted zeros pale), the turned kernel, and their convolution.",
        f"The {what} with {prepared.shape[0]} by {prepared.shape[1]} values, the kernel turned "
        f"by 180 degrees, and the {result.shape[0]} by {result.shape[1]} result.",
        (
            (
                Panel(prepared, what, digits=0, inserted=~sampled, after="∗"),
                Panel(parts.conv.kernel, "turned kernel", "signed", digits=0, after="="),
                Panel(float64, "transposed convolution", digits=0),
            ),
        ),
    )
    verdicts = (
        figures.verdict(prepared_key),
        figures.verdict(key, f"{name} as convolution", (float64, float32)),
    )
    numbers = {"prepared_input": prepared, "result": float64}
    section = Section(CHAPTER, title, text, (), (picture,), numbers)
    return Part(section, (*_by_hand(figures, key, name, stride), *verdicts))


def _by_hand(figures: CourseFigures, key: str, name: str, stride: int) -> tuple[Verdict, ...]:
    """Judge a transposed convolution by the operator and by loops over pixels."""
    float64, float32 = (
        transpose_pixel_by_pixel(m.conv(m.image), m.conv.kernel, stride) for m in figures.both
    )
    return figures.verdict(key), figures.verdict(key, f"{name}, by hand", (float64, float32))

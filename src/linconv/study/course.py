"""The course's experiment on its own 4 × 4 image: every published figure, met and explained.

Here the convolution itself, by the operator, by hand and as a matrix; `course_transposed`,
`inverse_filter` and `course_spectrum` hold the rest.
"""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import NDArray

from linconv.convolution import Conv
from linconv.forms import compare
from linconv.study.by_hand import convolve_pixel_by_pixel
from linconv.study.course_figures import CourseFigures
from linconv.study.course_spectrum import error_by_size, exact_inverse, spectrum
from linconv.study.course_transposed import as_convolution, stride_2, transpose
from linconv.study.inverse_filter import inverse_filter
from linconv.study.presenting import forms_table, heat_map, signed
from linconv.study.published import CHAPTER, IMAGE, KERNEL
from linconv.study.results import Panel, Part, Picture, Section, Step
from linconv.study.values import shown

__all__ = ["course_steps"]


def course_steps() -> tuple[Step, ...]:
    """Return the steps of the experiment in order, each with what it does."""
    figures = CourseFigures()
    return (
        ("the convolution", partial(convolution, figures)),
        ("the matrix", partial(matrix, figures)),
        ("heat maps", partial(heat_maps, figures)),
        ("the transpose", partial(transpose, figures)),
        ("the transpose as a convolution", partial(as_convolution, figures)),
        ("stride 2", partial(stride_2, figures)),
        ("the best inverse kernels", inverse_filter),
        ("the singular values", spectrum),
        ("the exact inverse", exact_inverse),
        ("inverse kernels of every size", error_by_size),
        ("all forms", partial(forms, figures)),
    )


def convolution(figures: CourseFigures) -> Part:
    """Convolve by the operator and by hand."""
    by_hand = [convolve_pixel_by_pixel(m.image, m.conv.kernel) for m in figures.both]
    window = figures.image[:3, :3]
    pairs = zip(window.ravel(), KERNEL.ravel(), strict=True)
    terms = " + ".join(f"{pixel:.0f}·{signed(weight)}" for pixel, weight in pairs)
    picture = Picture(
        "course-1-convolution",
        "The image, the kernel, and what the convolution makes of them.",
        f"The 4 by 4 image, the 3 by 3 kernel, and their 2 by 2 convolution {shown(figures.y)}.",
        (
            (
                Panel(figures.image, "image", digits=0, after="∗"),
                Panel(KERNEL, "kernel", "signed", digits=0, after="="),
                Panel(figures.y, "convolution", digits=0),
            ),
        ),
    )
    text = (
        "The kernel is laid onto the image wherever it fits: here at 2 × 2 places. At each, "
        "the nine products of pixel and weight are added. At the first place this is "
        f"{terms} = {figures.y[0, 0]:.0f}.",
        "The operator `Conv(kernel, (4, 4))` and loops over all pixels, written by hand, give "
        "the same four numbers. As in every deep-learning framework the kernel is not turned "
        "around first; mathematicians call that a cross-correlation.",
    )
    verdicts = (
        figures.verdict("valid_convolution"),
        figures.verdict("valid_convolution", "convolution by hand", (by_hand[0], by_hand[1])),
    )
    numbers = {"image": figures.image, "kernel": KERNEL, "convolution": figures.y}
    section = Section(CHAPTER, "The convolution", text, (), (picture,), numbers)
    return Part(section, verdicts)


def matrix(figures: CourseFigures) -> Part:
    """Multiply the flattened image with the convolution matrix."""
    matrix, flat = figures.found["convolution_matrix"], figures.image.ravel()
    products = [
        (f["convolution_matrix"] @ m.image.ravel()).reshape(f["valid_convolution"].shape)
        for f, m in zip((figures.found, figures.found32), figures.both, strict=True)
    ]
    empty = ~_stored()
    picture = Picture(
        "course-2-matrix",
        "The convolution as a matrix times the flattened image. Pale cells are entries that no "
        "weight of the kernel stands on.",
        "A 4 by 16 matrix times a column of 16 pixels gives a column of 4 numbers: "
        f"{', '.join(f'{v:.0f}' for v in products[0].ravel())}.",
        (
            (
                Panel(matrix, "convolution matrix", "signed", None, 0, empty, after="×"),
                Panel(flat[:, None], "image", digits=0, after="="),
                Panel(products[0].reshape(-1, 1), "result", digits=0),
            ),
        ),
    )
    text = (
        "Each of the four results is a weighted sum of the 16 pixels, so a convolution is a "
        "matrix with 4 rows and 16 columns, applied to the image written as one column, row "
        "after row. A row of the matrix holds the nine weights where the window covers the "
        "image, and zeros elsewhere: the three rows of the kernel stand apart by the width of "
        "the image.",
        "The matrix is assembled from the sizes alone (`op.matrix()`); no convolution is "
        "applied to find it. Times the image it gives the same four numbers.",
    )
    verdicts = (
        figures.verdict("convolution_matrix"),
        figures.verdict(
            "valid_convolution", "matrix × flattened image", (products[0], products[1])
        ),
    )
    numbers = {"matrix": matrix, "product": products[0]}
    section = Section(CHAPTER, "The convolution as a matrix", text, (), (picture,), numbers)
    return Part(section, verdicts)


def heat_maps(figures: CourseFigures) -> Part:
    """Show kernel and matrix as heat maps."""
    matrix = figures.found["convolution_matrix"]
    weights, entries = KERNEL.size, int(_stored().sum())
    top = float(np.abs(KERNEL).max())
    picture = Picture(
        "course-3-heat-maps",
        "Kernel and convolution matrix on the same scale of colours: red is positive, blue "
        "negative, white zero.",
        "Heat maps of the 3 by 3 kernel and of the 4 by 16 matrix, in which the kernel's rows "
        "repeat along diagonals.",
        (
            (
                heat_map(KERNEL, "kernel", top),
                heat_map(matrix, "convolution matrix", top),
            ),
        ),
    )
    text = (
        f"Of the {matrix.size} entries only {entries} hold a weight, and all of them are the "
        f"same {weights} weights again: every row is the row above, moved along by one pixel, "
        "or by a whole line of the image where the window starts a new one. Few numbers, much "
        "repeated: that is what makes a convolution layer small, and its matrix sparse.",
    )
    numbers = {"entries": matrix.size, "entries_with_a_weight": entries}
    return Part(Section(CHAPTER, "Kernel and matrix as pictures", text, (), (picture,), numbers))


def forms(figures: CourseFigures) -> Part:
    """Compare every form of the convolution and of its transpose with stride 2."""
    comparisons = {
        "convolution": compare(figures.maps.conv, figures.image),
        "transposed convolution, stride 2": compare(figures.maps.up2, figures.y),
    }
    text = (
        "One linear map, many ways to compute it. Each way below is an operator of its own "
        "(`linconv.forms`), applied to the same array and held against the sparse matrix in "
        "float64. The deviations are rounding, or nothing; the times are those of so small an "
        "array, on which the cost of a call decides.",
    )
    tables = tuple(forms_table(name, found) for name, found in comparisons.items())
    return Part(Section(CHAPTER, "All forms, compared", text, tables, (), comparisons))


def _stored() -> NDArray[np.bool_]:
    """Where the matrix holds a weight of the kernel, zero or not."""
    stored: NDArray[np.bool_] = Conv(np.ones_like(KERNEL), IMAGE.shape).matrix() != 0
    return stored

"""The course's inverse filter: the best small kernel that undoes a convolution, and a trained one.

The course froze a 3 × 3 convolution and trained a 3 × 3 transposed convolution for 10,000 epochs
to undo it. The best one is the solution of a linear least-squares problem.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from linconv.analysis.inverse import InverseKernel, inverse_kernel
from linconv.convolution import Conv, ConvTranspose
from linconv.study.presenting import psnr
from linconv.study.published import CHAPTER, IMAGE, KERNEL, NOTEBOOK, OPTIMUM, PUBLISHED
from linconv.study.results import Panel, Part, Picture, Section, Table
from linconv.study.values import shown
from linconv.study.verdicts import Verdict

__all__ = ["SIZES", "inverse_filter", "photograph_inverse"]

SIZES = (3, 5, 7)
"""Sizes of the inverse kernels that a study tries."""

Array = NDArray[Any]


def inverse_filter() -> Part:
    """Find the best inverse kernels of the course's convolution, beside its trained one."""
    image = IMAGE.astype(np.float64)
    op = Conv(KERNEL, image.shape, padding="same")
    features = op(image)
    best = {size: inverse_kernel(op, size, image) for size in SIZES}
    rebuilt = {size: inverse.reconstruct(features) for size, inverse in best.items()}
    published = PUBLISHED.trained_reconstruction
    trained = ConvTranspose(PUBLISHED.trained_kernel, op.output_shape, padding="same")(features)
    # The notebook prints the trained kernel without its bias: what its reconstruction has on top.
    bias = float((published - trained).mean())
    trained_mse = float(np.mean((published - image) ** 2))
    verdicts = (
        # The published kernel has 8 decimals and meets features of about 1000.
        Verdict.close("trained 3 × 3, output", trained + bias, published, 2e-5, NOTEBOOK),
        Verdict.close("trained 3 × 3, error", trained_mse, PUBLISHED.trained_mse, 5e-6, NOTEBOOK),
        Verdict.lower("best 3 × 3 beats trained", best[3].mse, PUBLISHED.trained_mse, NOTEBOOK),
        Verdict.close("best 3 × 3, error", best[3].mse, PUBLISHED.optimum_mse, 5e-6, OPTIMUM),
        Verdict.close(
            "best 3 × 3, bias",
            best[3].bias[0],
            PUBLISHED.optimum_bias,
            1e-6,
            OPTIMUM,
        ),
        *(Verdict.unpublished(f"best {k} × {k}, error", best[k].mse, "linconv") for k in SIZES[1:]),
    )
    section = Section(
        CHAPTER,
        "The best inverse kernel, in closed form",
        _text(best, trained_mse),
        (_table(best, bias, trained_mse),),
        (_kernels(best), _reconstructions(image, rebuilt, best, trained_mse)),
        {
            "trained": {"kernel": PUBLISHED.trained_kernel, "bias": bias, "mse": trained_mse},
            "best": {f"{k}x{k}": inverse for k, inverse in best.items()},
            "reconstructions": {f"{k}x{k}": array for k, array in rebuilt.items()},
        },
    )
    return Part(section, verdicts)


def photograph_inverse(pixels: Array, kernel: Array, chapter: str) -> Part:
    """Find the best inverse kernels of a convolution for a whole photograph in [0, 1]."""
    op = Conv(kernel, pixels.shape, padding="same")
    features = op(pixels)
    best = {size: inverse_kernel(op, size, pixels) for size in SIZES}
    rebuilt = {size: inverse.reconstruct(features) for size, inverse in best.items()}
    ratios = {size: psnr(inverse.mse) for size, inverse in best.items()}
    last = SIZES[-1]
    text = (
        f"The best kernels again, now for {pixels.size:,} pixels at once; {best[last].unknowns} "
        "unknowns cannot know them by heart. The least-squares problem has one row for each pixel, "
        "and is solved without storing it.",
        "From "
        + " to ".join(f"{k} × {k}" for k in (SIZES[0], last))
        + f" the mean squared error goes from {best[SIZES[0]].mse:.3g} to {best[last].mse:.3g} "
        f"(PSNR {shown(_rounded(ratios[SIZES[0]]))} to {shown(_rounded(ratios[last]))} dB). What a "
        "larger kernel cannot bring back either is what the convolution weakened below the reach "
        "of so few weights.",
    )
    rows = tuple(
        (f"{k} × {k}", b.unknowns, float(f"{b.mse:.6g}"), _rounded(ratios[k]), b.rank)
        for k, b in best.items()
    )
    columns = ("kernel", "unknowns", "mean squared error", "PSNR, dB", "rank")
    missed = {size: np.abs(array - pixels) for size, array in rebuilt.items()}
    # Single pixels miss by far more than all others, and would leave the rest without contrast.
    top = float(np.quantile(missed[SIZES[0]], 0.99))
    kernels = Picture(
        "photograph-5-inverse-kernels",
        "The best inverse kernels for the photograph, each on its own scale.",
        "Heat maps of the inverse kernels of 3 by 3, 5 by 5 and 7 by 7.",
        (
            tuple(
                Panel(b.kernel, f"best {k} × {k}", "signed", height=k / last, colour_bar=True)
                for k, b in best.items()
            ),
        ),
    )
    images = tuple(
        Panel(array, f"{k} × {k}: {shown(_rounded(ratios[k]))} dB", limits=(0.0, 1.0))
        for k, array in rebuilt.items()
    )
    errors = tuple(
        Panel(array, f"{k} × {k}: error", "error", (0.0, top or 1.0)) for k, array in missed.items()
    )
    pictures = Picture(
        "photograph-5-reconstructions",
        f"What each kernel rebuilds, and how far from the photograph (white 0, dark red {top:.2g} "
        "or more).",
        "Above, the photograph as rebuilt by the 3 by 3, 5 by 5 and 7 by 7 inverse kernels; below, "
        "the absolute errors, smaller for larger kernels.",
        (images, errors),
    )
    section = Section(
        chapter,
        "The best inverse kernels",
        text,
        (Table("Inverse kernels for the photograph", columns, rows),),
        (kernels, pictures),
        {f"{k}x{k}": {**b.to_dict(), "psnr": ratios[k]} for k, b in best.items()},
    )
    verdicts = tuple(
        Verdict.unpublished(
            f"photograph: {k} × {k}, dB", np.inf if ratio is None else ratio, "linconv"
        )
        for k, ratio in ratios.items()
    )
    return Part(section, verdicts)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 2)


def _text(best: Mapping[int, InverseKernel], trained_mse: float) -> tuple[str, ...]:
    exact = [size for size, inverse in best.items() if inverse.mse < 1e-12]
    text = [
        "The course kept the convolution (now with padding, from 4 × 4 to 4 × 4) and trained a "
        "3 × 3 transposed convolution with bias to rebuild the image from its output: 10,000 "
        f"epochs of Adam, down to a mean squared error of {trained_mse:.5f}.",
        "No training is needed. The reconstruction is linear in the nine weights and the bias, so "
        "the best ones solve a linear least-squares problem: `linconv.inverse_kernel` finds them "
        f"at once, with an error of {best[3].mse:.5f}. No 3 × 3 kernel does better, on this image. "
        f"The problem's condition number is {best[3].condition:.0f}: long, narrow valleys, "
        "which is why plain training is slow.",
    ]
    if exact:
        names = " and ".join(f"{k} × {k}" for k in exact)
        text.append(
            f"With {names} the error vanishes, which proves little: "
            f"{' or '.join(str(best[k].unknowns) for k in exact)} unknowns are fitted to 16 "
            "pixels. They know this image by heart. The photograph below, with far more pixels "
            "than unknowns, is the honest test."
        )
    return tuple(text)


def _table(best: Mapping[int, InverseKernel], bias: float, trained_mse: float) -> Table:
    columns = ("kernel", "unknowns", "mean squared error", "bias", "rank", "condition")
    trained = ("3 × 3, trained", 10, trained_mse, bias, None, None)
    rows = tuple(
        (f"{k} × {k}, best", b.unknowns, b.mse, float(b.bias[0]), b.rank, b.condition)
        for k, b in best.items()
    )
    return Table("Inverse kernels of the course's convolution", columns, (trained, *rows))


def _kernels(best: Mapping[int, InverseKernel]) -> Picture:
    trained = Panel(1e3 * PUBLISHED.trained_kernel, "trained 3 × 3", "signed", digits=1)
    panels = [Panel(1e3 * b.kernel, f"best {k} × {k}", "signed", digits=1) for k, b in best.items()]
    return Picture(
        "course-7-inverse-kernels",
        "The inverse kernels, all values times 1000, each on its own scale of colours.",
        "Four kernels as coloured cells with numbers: the trained 3 by 3 kernel and the best ones "
        "of 3 by 3, 5 by 5 and 7 by 7.",
        ((trained, *panels),),
    )


def _reconstructions(
    image: Array,
    rebuilt: Mapping[int, Array],
    best: Mapping[int, InverseKernel],
    trained_mse: float,
) -> Picture:
    limits = (0.0, 9.0)
    panels = [
        Panel(image, "image", limits=limits, digits=0),
        Panel(
            PUBLISHED.trained_reconstruction,
            f"trained 3 × 3\nerror {trained_mse:.3f}",
            limits=limits,
            digits=1,
        ),
        *(
            Panel(array, f"best {k} × {k}\nerror {best[k].mse:.3f}", limits=limits, digits=1)
            for k, array in rebuilt.items()
        ),
    ]
    return Picture(
        "course-7-reconstructions",
        "The image and what each kernel rebuilds, all on one grey scale.",
        "Five arrays of 4 by 4 grey cells with numbers: the image, the reconstruction by the "
        "trained kernel, and those by the best kernels of 3 by 3, 5 by 5 and 7 by 7.",
        (tuple(panels),),
    )

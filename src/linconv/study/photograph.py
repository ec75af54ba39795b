"""The same experiment on a photograph: the sizes of real layers, where no matrix fits a page."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from linconv.forms import compare
from linconv.study.by_hand import convolve_tap_by_tap
from linconv.study.images import Image
from linconv.study.inverse_filter import photograph_inverse
from linconv.study.photograph_maps import PhotographMaps, size_of
from linconv.study.photograph_restored import restored
from linconv.study.photograph_transposed import stride_2, transpose
from linconv.study.presenting import forms_table, heat_map
from linconv.study.results import Panel, Part, Picture, Section, Step
from linconv.study.verdicts import Verdict

__all__ = ["photograph_steps"]

Array = NDArray[Any]

MATRIX_CORNER = 20
"""Rows of the matrix that are shown, and columns around each row of the kernel."""


def photograph_steps(image: Image, kernel: Array, kernel_name: str, seed: int) -> tuple[Step, ...]:
    """Return the steps on one picture with one kernel, each with what it does.

    Raises
    ------
    InputError
        If the picture is smaller than the kernel.
    """
    p = PhotographMaps(image, kernel, kernel_name, seed)
    return (
        ("the photograph convolved", partial(convolution, p)),
        ("its matrix", partial(matrix, p)),
        ("its transpose", partial(transpose, p)),
        ("its transpose with stride 2", partial(stride_2, p)),
        ("its best inverse kernels", partial(photograph_inverse, p.pixels, kernel, p.chapter)),
        ("blurred and restored", partial(restored, p)),
        ("all its forms", partial(forms, p)),
    )


def convolution(p: PhotographMaps) -> Part:
    """Convolve by the operator and by shifted copies."""
    by_hand = convolve_tap_by_tap(p.pixels, p.kernel)
    deviation = p.deviation(p.y, by_hand, p.pixels)
    taps, size = p.kernel.size, size_of(p.kernel)
    source = f" ({p.image.note})" if p.image.note else ""
    text = (
        f"The picture is {p.image.name}, {size_of(p.pixels)} pixels in [0, 1]{source}; the "
        f"kernel is {p.kernel_name}, {size}. Their convolution has {size_of(p.y)} values, "
        f"from {p.y.min():.4g} to {p.y.max():.4g}.",
        f"By hand: {taps} copies of the picture, each moved by one place of the kernel and "
        "multiplied with its weight, are added up. Operator and hand differ by "
        f"{deviation:.1e} of the largest value possible: rounding.",
    )
    picture = Picture(
        "photograph-1-convolution",
        "The photograph, the kernel, and their convolution.",
        f"The photograph {p.image.name}, the {size} kernel as a heat map, and the filtered "
        "photograph.",
        (
            (
                Panel(p.pixels, "photograph", limits=(0.0, 1.0)),
                Panel(p.kernel, "kernel", "signed", height=0.42, colour_bar=True),
                Panel(p.y, "convolution", colour_bar=True),
            ),
        ),
    )
    numbers = {
        "image": p.image.to_dict(),
        "kernel": p.kernel,
        "output_shape": p.y.shape,
        "relative_deviation_from_by_hand": deviation,
    }
    section = Section(p.chapter, "The convolution", text, (), (picture,), numbers)
    verdict = Verdict.rounding("photograph: convolution", deviation)
    return Part(section, (verdict,))


def matrix(p: PhotographMaps) -> Part:
    """Assemble the sparse matrix, multiply, and show its corner."""
    sparse = p.conv.sparse()
    product = (sparse @ p.pixels.ravel()).reshape(p.y.shape)
    deviation = p.deviation(product, p.y, p.pixels)
    rows, columns = sparse.shape
    dense_gib = rows * columns * 8 / 2**30
    text = (
        f"The matrix of this convolution has {rows:,} rows and {columns:,} columns. Written "
        f"out it would take {dense_gib:,.1f} GiB; but only {sparse.nnz:,} of its entries hold "
        f"a weight, {sparse.nnz / rows:.0f} in each row: one in "
        f"{columns * rows // sparse.nnz:,}. Stored as a sparse matrix (`op.sparse()`) it takes "
        f"{_bytes(sparse) / 2**20:.0f} MiB, and times the flattened photograph it gives the "
        f"convolution, to {deviation:.1e} of the largest value possible.",
        "The corner shows the pattern of the 4 × 4 example again: one band for each row of the "
        "kernel, and between the bands the width of the photograph, left out here.",
    )
    corner, inserted, ticks = _corner(p, sparse)
    top = float(np.abs(p.kernel).max()) or 1.0
    panel = Panel(
        corner,
        "upper left corner of the matrix",
        "signed",
        (-top, top),
        inserted=inserted,
        colour_bar=True,
        columns_at=ticks,
        rows_at={0.0: "0", float(len(corner) - 1): str(len(corner) - 1)},
    )
    picture = Picture(
        "photograph-2-matrix",
        "The kernel, and the first rows of the matrix. Columns are numbered; the pale strips "
        "stand for the columns left out, in which these rows are zero.",
        "Heat maps of the kernel and of a corner of the matrix with one diagonal band for each "
        "row of the kernel.",
        ((heat_map(p.kernel, "kernel", top, height=0.55), panel),),
    )
    numbers = {
        "rows": rows,
        "columns": columns,
        "stored_entries": int(sparse.nnz),
        "relative_deviation_of_product": deviation,
    }
    return Part(Section(p.chapter, "The matrix", text, (), (picture,), numbers))


def _corner(p: PhotographMaps, sparse: Any) -> tuple[Array, NDArray[np.bool_], dict[float, str]]:
    """Return a corner of the matrix, a strip of columns for each row of the kernel."""
    height, width = p.kernel.shape
    rows = min(MATRIX_CORNER, p.y.shape[1])
    wide, line = rows + width - 1, p.pixels.shape[1]
    strips = min(height, max(1, 80 // wide))
    blocks, gaps, ticks, at = [], [], {}, 0
    for strip in range(strips):
        blocks.append(sparse[:rows, strip * line : strip * line + wide].toarray())
        gaps.append(np.zeros((rows, wide), bool))
        ticks[float(at)] = f"{strip * line:,}"
        at += wide
        if strip + 1 < strips:
            blocks.append(np.zeros((rows, 2)))
            gaps.append(np.ones((rows, 2), bool))
            at += 2
    return np.hstack(blocks), np.hstack(gaps), ticks


def forms(p: PhotographMaps) -> Part:
    """Compare every form of the convolution and of its transpose."""
    comparisons = {
        "convolution": compare(p.conv, p.pixels),
        "transposed convolution": compare(p.conv.T, p.y),
    }
    text = "The same forms as above, where arithmetic and memory decide the time."
    if any("matrix" in found.skipped for found in comparisons.values()):
        text += " The dense matrix is left out: it would not fit."
    tables = tuple(forms_table(name, found) for name, found in comparisons.items())
    return Part(Section(p.chapter, "All forms, compared", (text,), tables, (), comparisons))


def _bytes(sparse: Any) -> int:
    return int(sparse.data.nbytes + sparse.indices.nbytes + sparse.indptr.nbytes)

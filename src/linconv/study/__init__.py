"""The study: a convolution shown as the linear map that it is, and held against published figures.

`study` is the whole of it; the other files say what it reads, computes, draws and writes.
"""

from __future__ import annotations

import os
import platform
import shlex
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from importlib import metadata, util
from math import isqrt
from pathlib import Path
from time import perf_counter

import linconv
from linconv.arguments import integer
from linconv.files import StrPath, missing
from linconv.study.course import course_steps
from linconv.study.figures import draw, png
from linconv.study.folder import prepare_folder
from linconv.study.images import load_image
from linconv.study.kernels import KERNELS, load_kernel
from linconv.study.photograph import photograph_steps
from linconv.study.report import write_report
from linconv.study.results import Picture, StudyResults

__all__ = ["Progress", "study"]

Progress = Callable[[float, str], None]
"""Called before each step with the share of the study that is done, 0 to 1, and what is next."""

MAX_SIDE = 512
"""Longest side of the photograph, in pixels, unless the kernel is large."""

_MAX_ENTRIES = 7_000_000
_DRAWING_STARTS = 0.5


def study(
    image: StrPath | None = None,
    kernel: StrPath | None = None,
    *,
    out: StrPath | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> StudyResults:
    """Show a convolution as the linear map that it is, on 16 pixels and on a photograph.

    On the course's 4 × 4 image, where figures are published, and on a photograph: the convolution
    by the operator and by hand, its matrix, its transpose with strides 1 and 2 and as a
    convolution, the best inverse kernels, and all forms compared.

    Parameters
    ----------
    image : str or path, optional
        A PNG, JPEG, TIFF or NPY file, or the name of a photograph that scikit-image bundles; by
        default ``"camera"``.
    kernel : str or path, optional
        For the photograph: a name such as ``"gaussian5"``, or a NPY, JSON, CSV or text file; by
        default the course's 3 × 3 kernel.
    out : str or path, optional
        A folder for ``report.html``, ``results.json`` and ``figures``; made if need be, files of
        an earlier study in it are replaced. Nothing is written without it.
    seed : int
        Of the random arrays that the transpose is tested with.
    progress : callable, optional
        Called with the share done and what is next.

    Returns
    -------
    StudyResults
        Verdicts, sections and complete numbers; ``passed`` tells whether every published figure
        is met.

    Raises
    ------
    InputError
        If the image or the kernel cannot be read.
    OutputError
        If `out` cannot be written: said before any work.
    MissingPackageError
        If a package of ``linconv[study]`` is absent.

    Notes
    -----
    A few seconds on two cores, half of them for drawing. A picture with a side over 512 pixels
    is reduced, and more for kernels so large that the matrix would have over 7 million entries.

    Examples
    --------
    >>> results = linconv.study("coins", "sharpen", out="coins-study")  # doctest: +SKIP
    >>> results.headline()  # doctest: +SKIP
    'All 17 published figures are met.'
    """
    started = perf_counter()
    report = progress or _silent
    seed = integer("seed", seed, minimum=0)
    folder = None
    if out is not None:
        for package in ("matplotlib", "jinja2"):
            if util.find_spec(package) is None:
                raise missing(package, "writing the report")
        folder = prepare_folder(out)
    taps = load_kernel("course" if kernel is None else kernel)
    picture = load_image(image, max_side=_max_side(taps.shape, taps.size))
    steps = (*course_steps(), *photograph_steps(picture, taps, _kernel_name(kernel), seed))
    parts = []
    for index, (what, step) in enumerate(steps):
        report(_DRAWING_STARTS * index / len(steps), what)
        parts.append(step())
    computed = perf_counter()
    results = StudyResults(
        tuple(verdict for part in parts for verdict in part.verdicts),
        tuple(part.section for part in parts),
        _settings(image, kernel, out, seed),
        _versions(),
        {"experiments": computed - started},
    )
    if folder is None:
        return results
    pictures = dict(_drawn(results.pictures, report))
    drawn = perf_counter()
    seconds = {**results.seconds, "pictures": drawn - computed, "together": drawn - started}
    results = replace(results, seconds=seconds)
    report(1.0, "the report")
    write_report(results, pictures, folder)
    return results


def _silent(share: float, what: str) -> None:
    """Report no progress."""


def _drawn(pictures: tuple[Picture, ...], report: Progress) -> Iterator[tuple[str, bytes]]:
    for index, picture in enumerate(pictures):
        report(_DRAWING_STARTS + (1 - _DRAWING_STARTS) * index / len(pictures), "pictures")
        yield picture.name, png(draw(picture))


def _max_side(kernel_shape: tuple[int, ...], taps: int) -> int:
    """Return the longest side with which the matrix stays within its number of entries."""
    return min(MAX_SIDE, isqrt(_MAX_ENTRIES // taps) + max(kernel_shape) - 1)


def _kernel_name(kernel: StrPath | None) -> str:
    if kernel is None:
        return "that of the course"
    return f"`{kernel}`" if kernel in KERNELS else f"`{Path(kernel).name}`"


def _settings(
    image: StrPath | None, kernel: StrPath | None, out: StrPath | None, seed: int
) -> Mapping[str, str | int | None]:
    """Return what was asked for, and the command that asks for it again."""
    paths = {"image": image, "kernel": kernel, "out": out}
    given = {name: os.fspath(path) for name, path in paths.items() if path is not None}
    options = [word for name, path in given.items() for word in (f"--{name}", path)]
    command = shlex.join(["linconv", "study", *options, "--seed", str(seed)])
    return {**{name: given.get(name) for name in paths}, "seed": seed, "command": command}


def _versions() -> Mapping[str, str]:
    packages = ("numpy", "scipy", "matplotlib", "pillow", "scikit-image", "jinja2")
    installed = {}
    for name in packages:
        try:
            installed[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return {
        "linconv": linconv.__version__,
        "python": platform.python_version(),
        **installed,
        "system": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
    }

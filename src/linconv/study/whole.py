"""The study: a convolution shown as the linear map that it is, and held against published figures.

`study` is the whole of it; the other files say what it reads, computes, draws and writes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from importlib import util
from math import isqrt
from pathlib import Path
from time import perf_counter

from linconv.arguments import integer
from linconv.files import StrPath, missing
from linconv.study.course import course_steps
from linconv.study.figures import draw, png
from linconv.study.folder import prepare_folder
from linconv.study.frozen_sections import frozen_steps
from linconv.study.frozen_study import prepare
from linconv.study.images import load_image
from linconv.study.interrupts import deferred_interrupt
from linconv.study.kernels import KERNELS, load_kernel
from linconv.study.photograph import photograph_steps
from linconv.study.progress import Pace, Progress
from linconv.study.report import write_report
from linconv.study.results import Picture, StudyResults
from linconv.study.settings import settings, versions
from linconv.study.threads import one_blas_thread

__all__ = ["Progress", "study"]

MAX_SIDE = 512
"""Longest side of the photograph, in pixels, unless the kernel is large."""

STAGES = {
    "Keras": 2.0,
    "16 pixels": 1.0,
    "the photograph": 2.0,
    "frozen encoders": 25.0,
    "pictures": 5.0,
}
"""About how long each stage takes, in seconds."""

FROZEN_STAGES = {"Keras", "frozen encoders"}

_MAX_ENTRIES = 7_000_000


@one_blas_thread()
def study(
    image: StrPath | None = None,
    kernel: StrPath | None = None,
    *,
    out: StrPath | None = None,
    seed: int = 0,
    data: StrPath | None = None,
    epochs: int = 20,
    models: str | Iterable[str] | None = None,
    training: bool | None = None,
    progress: Progress | None = None,
) -> StudyResults:
    """Show a convolution as the linear map that it is, and how well one is undone.

    On the course's 4 × 4 image, where figures are published, and on a photograph: the convolution
    by the operator and by hand, its matrix, its transpose with strides 1 and 2 and as a
    convolution, the best inverse kernels, and all forms compared. Then, on many small images, the
    course's frozen encoders: the decoder that Adam trains with Keras, the best ones in closed
    form, and their artifacts.

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
        Of everything random: the arrays that the transpose is tested with, the bundled images
        and those shown, the encoders' weights, the training.
    data : str or path, optional
        The small images: an HDF5, NPZ or NPY file, a folder of pictures, or ``"cifar10"``, of
        which 1000 are used; by default 32 × 32 patches of bundled photographs.
    epochs : int
        Of the training.
    models : str or iterable of str, optional
        The encoders ``"A1"``, ``"A10"``, ``"A20"``, ``"B"`` and ``"B2"``, or ``"none"``; by
        default all of them.
    training : bool, optional
        Whether to train decoders; by default if Keras and JAX are installed. The best ones need
        no training.
    progress : callable, optional
        Called with the share done and what is next.

    Returns
    -------
    StudyResults
        Verdicts, sections and complete numbers; ``passed`` tells whether every published figure
        is met. After Ctrl-C among the frozen encoders: with what was trained so far, and no more.

    Raises
    ------
    InputError
        If the image, the kernel or the data cannot be read, the image is smaller than the kernel,
        or a model is unknown.
    OutputError
        If `out` cannot be written: said before any work.
    MissingPackageError
        If a package of ``linconv[study]`` is absent; Keras and JAX only if `training` is True.

    Notes
    -----
    Less than a minute on two cores, most of it for training; without models a few seconds, half
    of them for drawing. A picture with a side over 512 pixels is reduced, and more for kernels so
    large that the matrix would have over 7 million entries. While it runs, BLAS uses one thread.

    Examples
    --------
    >>> import linconv as lc
    >>> results = lc.study("coins", "sharpen", out="coins-study")  # doctest: +SKIP
    >>> results.headline()  # doctest: +SKIP
    'All 16 published figures are met.'
    """
    started = perf_counter()
    seed = integer("seed", seed, minimum=0)
    if not (models is None or isinstance(models, str)):
        models = tuple(models)
    folder = None
    if out is not None:
        for package in ("matplotlib", "jinja2"):
            if util.find_spec(package) is None:
                raise missing(package, "writing the report")
        folder = prepare_folder(out)
    taps = load_kernel("course" if kernel is None else kernel)
    picture = load_image(image, max_side=_max_side(taps.shape, taps.size))
    on_photograph = photograph_steps(picture, taps, _kernel_name(kernel), seed)
    frozen = prepare(data, models, epochs, seed)
    stages = {name: w for name, w in STAGES.items() if frozen or name not in FROZEN_STAGES}
    pace = Pace(progress or _silent, stages)
    if frozen and training is not False:
        load = partial(frozen.begin_training, required=training is True)
        pace.run("Keras", [("loading Keras", load)])
    parts = pace.run("16 pixels", course_steps()) + pace.run("the photograph", on_photograph)
    if frozen:
        with deferred_interrupt() as frozen.stop:
            parts += pace.run("frozen encoders", frozen_steps(frozen, pace.within))
    paths = {"image": image, "kernel": kernel, "out": out, "data": data}
    results = StudyResults(
        tuple(verdict for part in parts for verdict in part.verdicts),
        tuple(part.section for part in parts),
        settings(paths, seed, models, epochs, training),
        versions(training=frozen is not None and training is not False),
        {**pace.seconds, "together": perf_counter() - started},
    )
    if folder is None:
        return results
    drawn = pace.run("pictures", [("pictures", partial(_drawn, p)) for p in results.pictures])
    seconds = {**pace.seconds, "together": perf_counter() - started}
    (progress or _silent)(1.0, "the report")
    write_report(replace(results, seconds=seconds), dict(drawn), folder)
    return replace(results, seconds=seconds)


def _silent(share: float, what: str) -> None:
    """Report no progress."""


def _drawn(picture: Picture) -> tuple[str, bytes]:
    return picture.name, png(draw(picture))


def _max_side(kernel_shape: tuple[int, ...], taps: int) -> int:
    """Return the longest side with which the matrix stays within its number of entries."""
    return min(MAX_SIDE, isqrt(_MAX_ENTRIES // taps) + max(kernel_shape) - 1)


def _kernel_name(kernel: StrPath | None) -> str:
    if kernel is None:
        return "that of the course"
    return f"`{kernel}`" if kernel in KERNELS else f"`{Path(kernel).name}`"

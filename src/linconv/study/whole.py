"""The whole study: its steps in their order, timed, drawn and written."""

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

__all__ = ["study"]

MAX_SIDE = 512
"""Longest side of the photograph, in pixels, unless the kernel is large."""

STAGES = {
    "Keras": 2.0,
    "16 pixels": 1.5,
    "the photograph": 6.0,
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
    """See `linconv.study`."""
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

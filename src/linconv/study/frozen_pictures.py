"""Pictures of the frozen encoders: how training went, what decoders rebuild, where they err."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from linconv.analysis.inverse import InverseKernel
from linconv.study.frozen_results import ADAM, LINEAR, TANH, Judged, ModelResult
from linconv.study.frozen_study import FrozenStudy
from linconv.study.frozen_words import spoken
from linconv.study.published import PUBLISHED_TRAINING
from linconv.study.results import Curves, Gallery, Panel, Picture
from linconv.study.trained import Training

__all__ = ["errors", "images", "inverse_curve", "label", "loss_curve", "reconstructions"]

Array = NDArray[Any]

PUBLISHED_NAME = "published, other images"


def label(judged: Judged) -> str:
    """Name a decoder in two short lines at most."""
    return f"{judged.name}\nno checkerboard" if judged.evened else judged.name


def images(study: FrozenStudy) -> Picture:
    """Show some of the images of both kinds."""
    shown = study.samples
    fitting = study.images.fitting[..., 0]
    some = np.linspace(0, len(fitting) - 1, min(len(shown), len(fitting))).round().astype(int)
    fitted = fitting[some]
    rows = {"fitting": fitted, "held out": shown} if len(fitted) == len(shown) else {}
    return Picture(
        "frozen-1-images",
        "Some images to fit to, and the held-out images that are shown below.",
        f"Two rows of small grey images, {len(shown)} each: some to fit to, and some held out.",
        (Gallery(rows or {"held out": shown}),),
    )


def inverse_curve(training: Training, best: InverseKernel) -> Picture | None:
    """Show the training of the inverse filter above its optimum."""
    if not training.history:
        return None
    curves = Curves(
        {"trained": np.array(training.history)},
        {"best 3 × 3": best.mse},
        "epoch",
        "mean squared error",
        step=training.epochs_per_report,
    )
    return Picture(
        "frozen-2-inverse-filter",
        "The training of the inverse filter, and the error of the best 3 × 3 kernel: below it no "
        "training can come.",
        f"The training's error falls from {training.history[0]:.3g} to "
        f"{training.history[-1]:.3g} over {training.epochs_done} epochs; a horizontal line at "
        f"{best.mse:.3g} is the optimum.",
        (curves,),
    )


def loss_curve(result: ModelResult) -> Picture | None:
    """Show the training's loss per epoch above the best decoders' errors."""
    training = result.training
    if training is None or not training.history:
        return None
    series: dict[str, Array] = {ADAM: np.array(training.history)}
    published = ""
    if result.key == "B":
        series[PUBLISHED_NAME] = np.array(PUBLISHED_TRAINING.losses)
        published = (
            " The grey curve is the course's training of the same layers, on 1000 images of "
            "CIFAR-10 instead of these: its shape compares, not its level."
        )
    lines = {name: result.mse(name) for name in (TANH, LINEAR)}
    return Picture(
        f"frozen-{result.key}-loss",
        "Loss of Adam's training, the mean over each epoch, and the errors of the best decoders, "
        f"which need no training.{published}",
        f"Adam's loss falls from {training.history[0]:.3g} to {training.history[-1]:.3g} over "
        f"{len(training.history)} epochs. Horizontal lines: best tanh decoder at "
        f"{lines[TANH]:.3g}, best linear decoder at {lines[LINEAR]:.3g}.",
        (Curves(series, lines, "epoch", "mean squared error", pale=(PUBLISHED_NAME,)),),
    )


def reconstructions(study: FrozenStudy, result: ModelResult) -> Picture:
    """Show the held-out samples beside what each decoder rebuilds of them."""
    rows: Mapping[str, Array] = {
        "image": study.samples,
        **{label(judged): judged.samples for judged in result.decoders},
    }
    return Picture(
        f"frozen-{result.key}-reconstructions",
        f"{len(study.samples)} of the held-out images, drawn at random, and what each decoder "
        "rebuilds of them. Black is 0 or less, white 1 or more.",
        f"Rows of grey images: the originals, and their reconstructions from {spoken(result.key)} "
        f"by {', '.join(label(d).replace(chr(10), ', ') for d in result.decoders)}.",
        (Gallery(rows),),
    )


def errors(result: ModelResult) -> Picture:
    """Show where in the image each decoder errs, over all images held out."""
    rows = tuple(
        tuple(_error_panel(d) for d in result.decoders if d.evened is evened)
        for evened in (False, True)
    )
    return Picture(
        f"frozen-{result.key}-errors",
        "Root mean squared error of each pixel over all held-out images, each map on its own "
        "scale. Below, the same decoders without their checkerboards.",
        "Maps of the error of each pixel: by "
        + ", ".join(
            f"{label(d).replace(chr(10), ', ')} up to {_rms(d).max():.2g}" for d in result.decoders
        )
        + ".",
        rows,
    )


def _error_panel(judged: Judged) -> Panel:
    values = _rms(judged)
    return Panel(values, label(judged), "error", (0.0, float(values.max()) or 1.0), colour_bar=True)


def _rms(judged: Judged) -> Array:
    roots: Array = np.sqrt(judged.held_out.error_map)
    return roots

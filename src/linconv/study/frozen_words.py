"""What the figures of the frozen encoders say, in sentences that follow from the figures alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from linconv.study.datasets import ImageSet
from linconv.study.frozen_results import ADAM, LINEAR, TANH, ModelResult
from linconv.study.frozen_study import FrozenStudy
from linconv.study.presenting import duration
from linconv.study.trained import Training

__all__ = [
    "bottleneck",
    "checkerboards",
    "encoding",
    "findings",
    "held_out",
    "optimum",
    "percent",
    "share_lost",
    "spoken",
    "three",
    "title",
    "trained",
]

LITTLE = 0.01
"""Share of the variance below which an encoder has lost almost nothing."""

TITLES = {
    "A1": "Model A, 1 filter",
    "A10": "Model A, 10 filters",
    "A20": "Model A, 20 filters",
    "B": "Model B, as run",
    "B2": "Model B, as described",
}


def title(key: str) -> str:
    """Return a model's name as a heading."""
    return TITLES[key]


def spoken(key: str) -> str:
    """Return a model's name within a sentence."""
    name, _, detail = TITLES[key].partition(", ")
    return f"{name} {detail if key.startswith('B') else f'with {detail}'}"


def percent(share: float) -> str:
    """Write a share in per cent with two digits."""
    if 0 < share < 1e-8:
        return "less than 0.000001 %"
    if share >= 0.0995:
        return f"{100 * share:.0f} %"
    return np.format_float_positional(float(f"{100 * share:.2g}"), trim="-") + " %"


def three(value: float) -> float | None:
    """Round to three digits; None if it is no number."""
    return None if np.isnan(value) else float(f"{value:.3g}")


def encoding(result: ModelResult, images: ImageSet) -> str:
    """Say what the encoder does, and how many numbers it makes of an image."""
    height, width = images.images.shape[1:3]
    rows, columns, channels = result.feature_shape
    layers = "; ".join(layer.describe() for layer in result.encoder.layers)
    note = f" ({result.encoder.note})" if result.encoder.note else ""
    return (
        f"The encoder, with {result.encoder.parameters} frozen parameters: {layers}{note}. Of "
        f"{height} × {width} = {height * width:,} pixels it makes {rows} × {columns} × {channels} "
        f"= {rows * columns * channels:,} features."
    )


def trained(result: ModelResult, study: FrozenStudy) -> str:
    """Say how the training went, or why there was none."""
    training = result.training
    if training is None:
        return f"The training {study.untrained}."
    count = len(study.images.fitting)
    text = (
        f"Adam trained the decoder, a 3 × 3 transposed convolution with stride 2 and tanh, on the "
        f"{count} fitting images, one image a step: {_epochs(training)}, "
        f"{duration(training.seconds)}, {training.trainable} parameters. "
    )
    return text + _beside_the_best(result)


def _epochs(training: Training) -> str:
    if not training.interrupted:
        return _counted(training.epochs, "epoch")
    return f"interrupted by Ctrl-C after {training.epochs_done} of {training.epochs} epochs"


def _counted(count: int, thing: str) -> str:
    return f"{count} {thing}" if count == 1 else f"{count} {thing}s"


def _beside_the_best(result: ModelResult) -> str:
    adam, best, excess = result.mse(ADAM), result.mse(TANH), result.excess
    text = f"Its mean squared error is {adam:.3g}; the best decoder of the same form has {best:.3g}"
    if np.isnan(excess):
        return f"{text}."
    if excess < 1:
        return f"{text}, a little more: its iterations ended in another minimum."
    if excess < 1.1:
        return f"{text}: the training came within {percent(excess - 1)} of it."
    if excess < 2:
        return f"{text}: the training stayed {percent(excess - 1)} above it."
    return f"{text}, {excess:.3g} times less."


def optimum(result: ModelResult) -> str:
    """Say how good the best decoders are, and whether tanh helps."""
    linear, tanh = result.fits[LINEAR], result.fits[TANH]
    found = result.judged(LINEAR)
    seconds = "" if found is None else f" in {duration(found.seconds)}, encoding included"
    valley = (
        "; such long, narrow valleys are why plain training is slow"
        if linear.condition > 1e3
        else ""
    )
    condition = f"{float(f'{linear.condition:.2g}'):,.0f}"
    helps = result.mse(TANH) < result.mse(LINEAR)
    why = (
        "lower: here the bend suits the images"
        if helps
        else "higher: it bends what is nearly linear, and no weight can take that back"
    )
    return (
        f"The best linear decoder, {linear.unknowns} numbers in one least-squares solution"
        f"{seconds}, has a mean squared error of {result.mse(LINEAR):.3g}: no linear decoder of "
        f"this form does better on these images. It misses {percent(result.lost)} of their "
        f"variance. The condition number is {condition}{valley}. With tanh at its end the best "
        f"decoder, found in {_counted(tanh.iterations, 'Gauss–Newton step')}, has "
        f"{result.mse(TANH):.3g}, {why}."
    )


def held_out(result: ModelResult) -> str:
    """Say whether the best linear decoder holds on images that it has not seen."""
    judged = result.judged(LINEAR)
    if judged is None or not judged.mse:
        return ""
    ratio = judged.held_out.mse / judged.mse
    text = (
        f"The best linear decoder's error on the held-out images is {ratio:.2g} times that on the "
        "fitting ones: "
    )
    if ratio < 1.5:
        return text + "nothing was learned by heart."
    return text + "they differ from the others, or part of those was learned by heart."


def checkerboards(result: ModelResult) -> str:
    """Say what the kernels' checkerboards are, and what it costs to remove them."""
    pairs = [
        (name, result.judged(name), result.judged(name, evened=True))
        for name in (ADAM, LINEAR, TANH)
    ]
    told = [(name, one, even) for name, one, even in pairs if one is not None and even is not None]
    costs = [even.mse / one.mse if one.mse else np.inf for _, one, even in told]
    changes = _listed(f"from {one.mse:.3g} to {even.mse:.3g} ({name})" for name, one, even in told)
    values = _listed(f"{one.checkerboard:.2g} ({name})" for name, one, _ in told)
    text = (
        f"The checkerboard is {values}. In the nearest kernels that have none, the error goes "
        f"{changes}. "
    )
    if max(costs) < 1.1:
        return f"{text}To remove it costs next to nothing."
    faulty = [name for (name, _, _), cost in zip(told, costs, strict=True) if cost < 1]
    if not faulty:
        return (
            f"{text}It is of use: the patterns of the channels cancel each other, and a kernel "
            "that makes none in any channel gives that up."
        )
    return (
        f"{text}In the kernel of {_listed(faulty)} it is a fault, for without it the error is "
        "lower. In the others it is of use: the patterns of their channels cancel each other."
    )


def share_lost(results: Sequence[ModelResult]) -> str:
    """Say what max-pooling loses with few filters and with many; empty without a model A."""
    parts = [(r.feature_shape[2], percent(r.lost)) for r in results if r.key.startswith("A")]
    if not parts:
        return ""
    (first, lost), *others = parts
    text = (
        f"Max-pooling with {_counted(first, 'filter')} loses {lost} of the variance of the images: "
        "that much even the best linear decoder misses"
    )
    if others:
        text += "; " + _listed(f"with {count} it loses {share}" for count, share in others)
    return text + "."


def bottleneck(result: ModelResult) -> str:
    """Say who lost the image, the encoder or the training."""
    little, name = result.lost < LITTLE, spoken(result.key)
    text = f"{name} loses {percent(result.lost)}"
    if np.isnan(result.excess):
        return f"{text}{', almost nothing' if little else ''}."
    if result.excess < 1.1:
        return f"{text}; the training found nearly all that is left."
    much = f"Adam's decoder misses {result.excess:.3g} times what the best of its form does"
    if little and result.excess >= 2:
        return f"{text}, and {much}: the encoder lost almost nothing, the training did."
    return f"{text}; {much}."


def findings(study: FrozenStudy) -> tuple[str, ...]:
    """Say what all models together show."""
    pooled = share_lost(study.found)
    rest = [r for r in study.found if not (r.key.startswith("A") and np.isnan(r.excess))]
    told = " ".join(bottleneck(result) for result in rest)
    return tuple(text for text in (pooled, told) if text)


def _listed(parts: Iterable[str]) -> str:
    *first, last = parts
    return f"{', '.join(first)} and {last}" if first else last

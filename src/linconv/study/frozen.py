"""Frozen encoders and their decoders: the one that Adam trains, and the best that there are."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from linconv.analysis.artifact_map import artifact_map
from linconv.analysis.artifacts import checkerboard, remove_checkerboard
from linconv.analysis.decoder import Decoder
from linconv.analysis.fitting import fit_decoder
from linconv.study.encoders import Encoder
from linconv.study.frozen_results import ADAM, LINEAR, TANH, Judged, ModelResult
from linconv.study.frozen_study import MODELS, FrozenStudy
from linconv.study.keras_models import keras_model, summary
from linconv.study.progress import Tell
from linconv.study.trained import TrainedDecoder, Training
from linconv.study.training import train

__all__ = ["examine"]

Array = NDArray[Any]

KERNEL_SIZE = 3


def examine(study: FrozenStudy, key: str, tell: Tell) -> ModelResult:
    """Train a decoder of one encoder's features, if wanted, and find the best ones."""
    encoder, images = MODELS[key](study.seed), study.images
    fitting, held_out = images.fitting, images.held_out_images
    started = perf_counter()
    features = encoder(fitting)
    encoding = perf_counter() - started
    held_features = encoder(held_out)
    judge = partial(
        _judged, fitting, features, held_out, held_features, encoder.stride, study.shown
    )
    decoders: list[Judged] = []
    training: Training | None = None
    table = ""
    if study.training and not study.stop.wanted:
        training, table = _trained(study, key, encoder, tell)
    if training is not None:
        decoders += judge(ADAM, training.decoder, training.seconds)
    if study.training and (study.stop.wanted or (training and training.interrupted)):
        study.stop_training()
        tell(0.7, f"model {key}, training ended by Ctrl-C")
    fits: dict[str, Decoder] = {}
    for name, activation, share in ((LINEAR, "linear", 0.7), (TANH, "tanh", 0.8)):
        tell(share, f"model {key}, {name} decoder")
        started = perf_counter()
        fit = fit_decoder(
            features,
            fitting,
            KERNEL_SIZE,
            stride=encoder.stride,
            padding="same",
            activation=activation,
        )
        seconds = encoding + perf_counter() - started
        fits[name] = fit
        stride = (encoder.stride, encoder.stride)
        decoders += judge(name, TrainedDecoder(fit.kernel, fit.bias, activation, stride), seconds)
    shape, variance = features.shape[1:], float(fitting.var())
    result = ModelResult(key, encoder, shape, variance, fits, training, table, tuple(decoders))
    study.found.append(result)
    return result


def _trained(
    study: FrozenStudy, key: str, encoder: Encoder, tell: Tell
) -> tuple[Training | None, str]:
    """Train as the course did, but for the images held out; not if Ctrl-C comes before."""
    fitting = study.images.fitting
    height, width = fitting.shape[1:3]
    model = keras_model(
        encoder, "tanh", kernel_size=KERNEL_SIZE, image_size=(height, width), seed=study.seed
    )

    def epoch_done(done: int, wanted: int, loss: float) -> None:
        tell(0.7 * done / wanted, f"model {key}, epoch {done} of {wanted}, loss {loss:.3g}")

    tell(0.0, f"model {key}, training")
    if study.stop.wanted:
        return None, ""
    found = train(model, fitting, epochs=study.epochs, seed=study.seed, progress=epoch_done)
    return found, summary(model)


def _judged(
    fitting: Array,
    features: Array,
    held_out: Array,
    held_features: Array,
    stride: int,
    shown: NDArray[np.intp],
    name: str,
    decoder: TrainedDecoder,
    seconds: float,
) -> list[Judged]:
    """Judge a decoder, and the same without its checkerboard."""
    judged = []
    started = perf_counter()
    flat = replace(decoder, kernel=remove_checkerboard(decoder.kernel, stride))
    removal = perf_counter() - started
    for evened, candidate, time in ((False, decoder, seconds), (True, flat, removal)):
        rebuilt = candidate(held_features)
        judged.append(
            Judged(
                name,
                evened,
                candidate,
                float(np.mean((candidate(features) - fitting) ** 2)),
                artifact_map(held_out, rebuilt, stride),
                float(checkerboard(candidate.to_conv_transpose(features.shape[1:]))),
                time,
                rebuilt[shown][..., 0],
            )
        )
    return judged

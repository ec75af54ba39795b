"""What was found for a frozen encoder: its decoders, and how well each rebuilds the images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from linconv.analysis.artifact_map import ArtifactMap
from linconv.analysis.decoder import Decoder
from linconv.study.encoders import Encoder
from linconv.study.presenting import psnr
from linconv.study.trained import TrainedDecoder, Training

__all__ = ["ADAM", "LINEAR", "TANH", "Judged", "ModelResult"]

Array = NDArray[Any]

ADAM, LINEAR, TANH = "Adam", "best linear", "best tanh"

FLAT = 1e-20
"""Variance of images that are all one grey: rounding, of which no share can be lost."""


@dataclass(frozen=True, eq=False)
class Judged:
    """A decoder, and how well it rebuilds the images.

    Attributes
    ----------
    name : str
    evened : bool
        Whether its kernel is the nearest one without a checkerboard to that of `name`.
    decoder : TrainedDecoder
    mse : float
        On the images that it was fitted to.
    held_out : ArtifactMap
        Its errors on the images held out.
    checkerboard : float
        Of the kernel; see `linconv.analysis.artifacts.checkerboard`.
    seconds : float
        To find it: of a fitted one with the encoding, of a trained one with the compilation.
    samples : ndarray, (images, height, width)
        What it rebuilds of the images shown.
    """

    name: str
    evened: bool
    decoder: TrainedDecoder
    mse: float
    held_out: ArtifactMap
    checkerboard: float
    seconds: float
    samples: Array

    @property
    def psnr(self) -> float | None:
        """Peak signal-to-noise ratio on the fitting images in dB; None for no error at all."""
        return psnr(self.mse)

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the images."""
        return {
            "name": self.name,
            "without_checkerboard": self.evened,
            "mse": self.mse,
            "psnr": self.psnr,
            "held_out": self.held_out.to_dict(),
            "checkerboard": self.checkerboard,
            "seconds": self.seconds,
            "kernel": self.decoder.kernel.tolist(),
            "bias": self.decoder.bias.tolist(),
            "activation": self.decoder.activation,
        }


@dataclass(frozen=True, eq=False)
class ModelResult:
    """What was found for one encoder.

    Attributes
    ----------
    key : str
        Its name, as in the command line.
    encoder : Encoder
    feature_shape : tuple of int
        Of one image's features: height, width, channels.
    variance : float
        Of the fitting images: the error of the best constant image.
    fits : mapping of str to Decoder
        The best decoders as `fit_decoder` returned them.
    training : Training, optional
    summary : str
        Keras' table of the model that was trained.
    decoders : tuple of Judged
        Each followed by the same without its checkerboard.
    """

    key: str
    encoder: Encoder
    feature_shape: tuple[int, ...]
    variance: float
    fits: Mapping[str, Decoder]
    training: Training | None
    summary: str
    decoders: tuple[Judged, ...]

    def judged(self, name: str, evened: bool = False) -> Judged | None:
        """Return the decoder of that name, or None if it was not trained."""
        found = (d for d in self.decoders if (d.name, d.evened) == (name, evened))
        return next(found, None)

    def mse(self, name: str) -> float:
        """Return a decoder's error on the fitting images; NaN if it was not trained."""
        judged = self.judged(name)
        return np.nan if judged is None else judged.mse

    @property
    def lost(self) -> float:
        """Share of the fitting images' variance that even the best linear decoder misses."""
        return self.mse(LINEAR) / self.variance if self.variance > FLAT else 0.0

    @property
    def excess(self) -> float:
        """Error of Adam's decoder over that of the best one of its form; NaN if not trained."""
        best = self.mse(TANH)
        return self.mse(ADAM) / best if best else np.nan

    def to_dict(self) -> dict[str, Any]:
        """Return everything but images and maps of errors."""
        return {
            "model": self.key,
            "encoder": self.encoder,
            "feature_shape": self.feature_shape,
            "variance_of_images": self.variance,
            "share_of_variance_lost": self.lost,
            "adam_over_best_tanh": self.excess,
            "fits": self.fits,
            "training": self.training,
            "keras_summary": self.summary,
            "decoders": self.decoders,
        }

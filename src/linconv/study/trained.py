"""What a training found: the decoder with its weights, and how the training went."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from linconv.analysis.activations import activation as known_activation
from linconv.convolution import ConvTranspose
from linconv.engines.arrays import as_array

__all__ = ["TrainedDecoder", "Training"]

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class TrainedDecoder:
    """A transposed convolution with bias and activation, as trained.

    Attributes
    ----------
    kernel : ndarray of float32, (height, width, image channels, feature channels)
        As Keras stores it.
    bias : ndarray of float32, (image channels,)
    activation : str
    stride : tuple of int
        Padding is "same": images have ``stride`` times the size of the features.
    """

    kernel: Array
    bias: Array
    activation: str
    stride: tuple[int, int]

    def to_conv_transpose(self, feature_shape: tuple[int, ...]) -> ConvTranspose:
        """Return the linear part, for features of shape (height, width, channels), as a map."""
        return ConvTranspose(self.kernel, feature_shape, stride=self.stride, padding="same")

    def __call__(self, features: Any) -> Array:
        """Return the images, (n, height, width, image channels), rebuilt from features.

        Features in float64 are computed in float64, in float32 as in training.
        """
        array = as_array("the features", features)
        linear = self.to_conv_transpose(array.shape[1:])(array)
        return known_activation(self.activation).apply(linear + self.bias)


@dataclass(frozen=True, eq=False)
class Training:
    """What a training found, and how it went.

    Attributes
    ----------
    decoder : TrainedDecoder
        With the weights at the end, or at the interruption.
    history : tuple of float
        Mean squared error of each report, while the weights still changed: one report for each
        `epochs_per_report` epochs, none for a broken one.
    epoch_seconds : tuple of float
        Of the same reports. The first contains the compilation.
    epochs, epochs_done, epochs_per_report, batch_size : int
        `epochs_done` counts whole ones.
    learning_rate : float
        Of Adam.
    interrupted : bool
        Whether Ctrl-C ended it.
    seconds : float
        Of the whole training.
    trainable, frozen : int
        Numbers of parameters.
    backend : str
        The one that Keras computed on.
    seed : int
    """

    decoder: TrainedDecoder
    history: tuple[float, ...]
    epoch_seconds: tuple[float, ...]
    epochs: int
    epochs_done: int
    epochs_per_report: int
    batch_size: int
    learning_rate: float
    interrupted: bool
    seconds: float
    trainable: int
    frozen: int
    backend: str
    seed: int

    @property
    def kernel(self) -> Array:
        """The trained kernel, (height, width, image channels, feature channels)."""
        return self.decoder.kernel

    @property
    def bias(self) -> Array:
        """The trained bias, (image channels,)."""
        return self.decoder.bias

    def to_dict(self) -> dict[str, Any]:
        """Return everything, arrays and tuples as lists."""
        plain = {name: getattr(self, name) for name in self.__dataclass_fields__}
        decoder = plain.pop("decoder")
        return {
            **{name: list(v) if isinstance(v, tuple) else v for name, v in plain.items()},
            "kernel": decoder.kernel.tolist(),
            "bias": decoder.bias.tolist(),
            "activation": decoder.activation,
            "stride": list(decoder.stride),
        }

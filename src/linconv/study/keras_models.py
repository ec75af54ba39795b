"""The course's models in Keras: a frozen encoder, then a transposed convolution to train."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from linconv import keras_import
from linconv.analysis.activations import ACTIVATIONS
from linconv.analysis.activations import activation as known_activation
from linconv.arguments import integer
from linconv.errors import LinconvError, ShapeError
from linconv.study.encoders import ConvLayer, Encoder, MaxPool, check_images

__all__ = [
    "decoder_layer",
    "import_keras",
    "keras_model",
    "parameter_counts",
    "summary",
    "training_images",
]


def import_keras() -> Any:
    """Return Keras for training; see `linconv.keras_import.import_keras`."""
    return keras_import.import_keras("training a decoder")


def keras_model(
    encoder: Encoder,
    activation: str = "tanh",
    *,
    kernel_size: int = 3,
    image_size: tuple[int | None, int | None] = (None, None),
    seed: int = 0,
) -> Any:
    """Return the encoder, frozen, and a transposed convolution to train, as one Keras model.

    Parameters
    ----------
    encoder : Encoder
        Its weights are copied, in float32.
    activation : {"linear", "tanh", "sigmoid"}
        What the decoder ends in.
    kernel_size : int
        Of the decoder, which has one filter for each image channel, the encoder's stride and
        "same" padding.
    image_size : tuple of int or None
        Height and width, if the model's summary is to show them; None takes any.
    seed : int
        Of the decoder's weights, Glorot-uniform as Keras draws them; its bias is zero.

    Returns
    -------
    keras.Sequential
        Channels last. Keras is imported with the JAX backend, unless it is imported already or
        the environment variable KERAS_BACKEND names another: then that one is used.

    Raises
    ------
    MissingPackageError
        If Keras, or JAX for it, is absent.
    LinconvError
        If the encoder is no `Encoder`, or the activation is unknown.
    """
    if not isinstance(encoder, Encoder):
        raise LinconvError(
            f"keras_model needs an Encoder, whose layers it copies; got {type(encoder).__name__}; "
            "use e.g. model_b(), or add a Conv2DTranspose to your own Keras model"
        )
    shape = known_activation(activation).name
    size, seed = integer("kernel_size", kernel_size, 1), integer("seed", seed, 0)
    keras = import_keras()
    channels = encoder.kernels[0].shape[2]
    options = {"padding": "same", "data_format": "channels_last", "dtype": "float32"}
    model = keras.Sequential([keras.Input((*image_size, channels), dtype="float32")])
    for number, layer in enumerate(encoder.layers, start=1):
        model.add(_frozen_layer(keras, layer, f"encoder_{number}", options))
        model.layers[-1].set_weights(
            [layer.kernel, layer.bias] if isinstance(layer, ConvLayer) else []
        )
    model.add(
        keras.layers.Conv2DTranspose(
            channels,
            size,
            strides=encoder.stride,
            activation=shape,
            kernel_initializer=keras.initializers.GlorotUniform(seed),
            name="decoder",
            **options,
        )
    )
    return model


def _frozen_layer(keras: Any, layer: ConvLayer | MaxPool, name: str, options: Any) -> Any:
    if isinstance(layer, MaxPool):
        return keras.layers.MaxPooling2D(
            layer.size, name=name, **{**options, "padding": "valid"}, trainable=False
        )
    *size, _, filters = layer.kernel.shape
    return keras.layers.Conv2D(
        filters,
        size,
        strides=layer.stride,
        activation=layer.activation,
        trainable=False,
        name=name,
        **options,
    )


def summary(model: Any) -> str:
    """Return Keras' own table of a model's layers and parameters as text."""
    lines: list[str] = []
    model.summary(line_length=80, print_fn=lambda line, line_break=True: lines.append(line))
    return "\n".join(line.rstrip() for line in "\n".join(lines).splitlines()).strip()


def parameter_counts(model: Any) -> dict[str, int]:
    """Return a Keras model's numbers of parameters: total, trainable and frozen."""
    total = int(model.count_params())
    trainable = sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
    return {"total": total, "trainable": trainable, "frozen": total - trainable}


def decoder_layer(model: Any) -> Any:
    """Return the last layer of a Keras model, if it is a decoder as `keras_model` makes them."""
    keras = import_keras()
    wanted = (
        "the model must be a Keras model that ends in a Conv2DTranspose with bias, "
        'padding="same", no dilation, channels last and linear, tanh or sigmoid activation'
    )
    layer = model.layers[-1] if isinstance(model, keras.Model) and model.layers else model
    if not isinstance(layer, keras.layers.Conv2DTranspose):
        raise LinconvError(f"{wanted}; got {type(layer).__name__}; use keras_model(encoder)")
    legal: dict[str, tuple[Any, ...]] = {
        "padding": ("same",),
        "output_padding": (None,),
        "dilation_rate": ((1, 1), [1, 1]),
        "data_format": ("channels_last",),
        "use_bias": (True,),
        "activation": tuple(ACTIVATIONS),
    }
    options = layer.get_config()
    for name, values in legal.items():
        if options[name] not in values:
            raise LinconvError(
                f"{wanted}; its {name} is {options[name]!r}; use keras_model(encoder)"
            )
    return layer


def training_images(model: Any, images: Any) -> NDArray[np.float32]:
    """Return images in float32, if they are finite and the model returns what shape it takes."""
    array = check_images(images)
    finite = int(np.isfinite(array).sum())
    if finite < array.size:
        raise LinconvError(
            f"images to train on must be finite; {array.size - finite} of {array.size} values "
            "are NaN or infinite; replace them first"
        )
    taken, sample = tuple(model.input_shape[1:]), array.shape[1:]
    if any(wanted not in (None, n) for wanted, n in zip(taken, sample, strict=True)):
        raise ShapeError(
            f"the model takes images of shape {taken}; got {sample}; make it for these images"
        )
    made = tuple(model.compute_output_shape((1, *sample)))[1:]
    if made != sample:
        raise ShapeError(
            f"the model must return images of the shape that it takes; from {sample} it makes "
            f"{made}; crop the images to sides that its strides divide"
        )
    return array.astype(np.float32)

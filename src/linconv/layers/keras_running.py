"""How a Keras layer is run: a copy in float64 on the backend that is set, and its adjoint."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from typing import Any

import numpy as np

from linconv.engines.arrays import Array
from linconv.errors import LinconvError
from linconv.layers.jax_running import compiled, double_precision
from linconv.layers.runner import Batched, Runner

__all__ = ["keras_data_format", "keras_runner"]

_DIFFERENTIATES = {"jax": "jax.vjp", "torch": "torch.autograd", "tensorflow": "tf.GradientTape"}


def keras_runner(layer: Any, input_shape: tuple[int, ...]) -> Runner:
    """Return how a built layer or model is run; it is left as it is."""
    import keras

    name = f"keras {type(layer).__name__}"
    if not layer.built:
        raise LinconvError(
            f"a layer must have its weights to be run; got a {name} that is not built; call "
            f"layer.build((None, {', '.join(map(str, input_shape))})) or run it first"
        )
    backend = keras.backend.backend()
    around: Callable[[], Any] = double_precision if backend == "jax" else nullcontext
    activation = _activation(layer)
    with around():
        whole = _double(layer, input_shape, linear=False)
        linear = whole if activation is None else _double(layer, input_shape, linear=True)
    dtype = np.dtype(np.float64)
    if whole is None or linear is None:
        # no copy can be made of it: the layer itself, in its own dtype
        whole, linear, dtype, activation = layer, layer, _own_dtype(layer), None
        around = nullcontext

    def run(of: Any, x: Array) -> Array:
        with around():
            result = of(keras.ops.convert_to_tensor(np.asarray(x, dtype)))
            return np.asarray(keras.ops.convert_to_numpy(result))

    def by_torch(y: Array) -> Array:
        import torch

        with torch.enable_grad():
            zeros = np.zeros((len(y), *input_shape), dtype)
            start = keras.ops.convert_to_tensor(zeros).requires_grad_()
            result = linear(start)
            cotangent = keras.ops.convert_to_tensor(np.asarray(y, dtype))
            (gradient,) = torch.autograd.grad(result, start, cotangent)
        return np.asarray(keras.ops.convert_to_numpy(gradient))

    def by_tensorflow(y: Array) -> Array:
        import tensorflow as tf

        start = tf.zeros((len(y), *input_shape), dtype)
        with tf.GradientTape() as tape:
            tape.watch(start)
            result = linear(start)
        gradient = tape.gradient(result, start, output_gradients=tf.constant(y, dtype))
        return np.asarray(gradient)

    ways = {"torch": by_torch, "tensorflow": by_tensorflow}
    forward: Batched = partial(run, whole)
    affine: Batched = partial(run, linear)
    pullback: Batched | None = ways.get(backend)
    if backend == "jax":
        affine, pullback = compiled(_stateless(linear), input_shape, dtype)
        forward = affine
        if whole is not linear:
            forward, _ = compiled(_stateless(whole), input_shape, dtype)
    return Runner(
        name,
        "keras",
        input_shape,
        dtype,
        forward,
        affine,
        pullback,
        f"by {_DIFFERENTIATES.get(backend, '')}",
        activation,
    )


def _stateless(layer: Any) -> Any:
    """Return a layer as a function of JAX arrays alone."""
    variables = layer.trainable_variables, layer.non_trainable_variables
    values = [[variable.value for variable in some] for some in variables]
    return lambda x: layer.stateless_call(*values, x)[0]


def _own_dtype(layer: Any) -> np.dtype[Any]:
    name = str(layer.compute_dtype)
    return np.dtype(name if name in ("float32", "float64") else "float32")


def keras_data_format(layer: Any) -> str | None:
    """Return the data format that the layer, or the first of its layers that has one, tells."""
    for part in (layer, *getattr(layer, "layers", ())):
        if getattr(part, "data_format", None) in ("channels_first", "channels_last"):
            return str(part.data_format)
    return None


def _is_activation(layer: Any) -> bool:
    return "keras.src.layers.activations" in type(layer).__module__


def _activation(layer: Any) -> str | None:
    """Return the name of the activation at the end, None for none."""
    import keras

    parts = getattr(layer, "layers", None)
    last = parts[-1] if parts else layer
    function = getattr(last, "activation", None)
    if callable(function):
        linear = function is keras.activations.linear
        return None if linear else str(getattr(function, "__name__", type(function).__name__))
    return type(last).__name__.lower() if _is_activation(last) else None


def _double(layer: Any, input_shape: tuple[int, ...], *, linear: bool) -> Any:
    """Return a copy of a layer in float64, without its last activation if `linear`; None if not."""
    import keras

    def remade(part: Any) -> Any:
        last = part is layer or part is layer.layers[-1]
        if linear and last and _is_activation(part):
            return keras.layers.Activation("linear", name=part.name, dtype="float64")
        config = {**part.get_config(), "dtype": "float64"}
        if linear and last and "activation" in config:
            config["activation"] = "linear"
        return type(part).from_config(config)

    try:
        if isinstance(layer, keras.Model):
            start = keras.Input(shape=input_shape, dtype="float64")
            made = keras.models.clone_model(layer, start, remade)
        else:
            made = remade(layer)
        if not made.built:
            made.build((None, *input_shape))
        for copy, own in zip(made.weights, layer.weights, strict=True):
            copy.assign(keras.ops.convert_to_numpy(own.value))
    except Exception:
        # its configuration does not describe it: `keras_runner` runs the layer itself
        return None
    return made

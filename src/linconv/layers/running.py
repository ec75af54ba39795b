"""How each thing is run: by its own framework, in float64 where that is possible.

Nothing of the user's is modified: what runs is a copy in double precision with the same weights,
or, where no such copy can be made, the thing itself in its own dtype.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from linconv.convolution import Conv, ConvTranspose, EquivalentConv
from linconv.errors import LinconvError
from linconv.layers.flax_running import flax_runner
from linconv.layers.keras import built_shape
from linconv.layers.keras_running import keras_data_format, keras_runner
from linconv.layers.layer import ACTIVATIONS, Layer
from linconv.layers.onnx_running import onnx_runner
from linconv.layers.runner import Runner
from linconv.layers.torch_running import torch_runner
from linconv.linear_map import Conjugate, LinearMap, Product, Scaled, Sum, Transpose

__all__ = ["data_format_of", "format_of", "framework_of", "known_input_shape", "runner"]


def framework_of(thing: Any) -> str | None:
    """Return whose layer this is, without importing anything; None for none that is known."""
    if isinstance(thing, LinearMap | Layer):
        return "linconv"
    roots = {
        "keras": ("Layer", "Operation"),
        "torch": ("Module",),
        "flax": ("Module",),
        "onnx": ("ModelProto", "NodeProto"),
    }
    for base in type(thing).__mro__:
        root = (base.__module__ or "").partition(".")[0]
        if base.__name__ in roots.get(root, ()):
            return root
    return None


def format_of(op: LinearMap) -> str | None:
    """Return the data format of a map's arrays, as its convolutions have it; None if unknown."""
    if isinstance(op, Conv | ConvTranspose):
        return "bare" if op.layout.bare else op.data_format
    if isinstance(op, EquivalentConv):
        return format_of(op.conv)
    parts: tuple[LinearMap, ...] = ()
    if isinstance(op, Product):
        parts = op.maps
    elif isinstance(op, Sum):
        parts = op.terms
    elif isinstance(op, Scaled | Transpose | Conjugate):
        parts = (op.of,)
    found = {name for part in parts if (name := format_of(part)) is not None}
    return found.pop() if len(found) == 1 else None


def data_format_of(thing: Any) -> str | None:
    """Return how a thing's arrays lie, before it is run; None if it does not tell."""
    framework = framework_of(thing)
    if isinstance(thing, Layer):
        if thing.channel_axis is None:
            return format_of(thing.operator)
        first = thing.channel_axis % len(thing.output_shape) == 0
        return "channels_first" if first else "channels_last"
    if isinstance(thing, LinearMap):
        return format_of(thing)
    if framework == "keras":
        return keras_data_format(thing)
    return {"torch": "channels_first", "onnx": "channels_first", "flax": "channels_last"}.get(
        framework or ""
    )


def known_input_shape(thing: Any) -> tuple[int, ...] | None:
    """Return the shape of one input sample where the thing tells it."""
    if isinstance(thing, LinearMap | Layer):
        return thing.input_shape
    framework = framework_of(thing)
    shape: Any = None
    if framework == "keras":
        return built_shape(thing)
    elif framework == "onnx" and hasattr(thing, "graph"):
        weights = {tensor.name for tensor in thing.graph.initializer}
        inputs = [value for value in thing.graph.input if value.name not in weights]
        if len(inputs) == 1:
            dims = inputs[0].type.tensor_type.shape.dim
            shape = tuple(dim.dim_value or None for dim in dims)[1:]
    if not shape or None in shape:
        return None
    return tuple(int(n) for n in shape)


def runner(thing: Any, input_shape: tuple[int, ...]) -> Runner:
    """Return how a map, a `Layer` or a framework's layer is run on samples of `input_shape`.

    Parameters
    ----------
    thing : LinearMap, Layer, torch.nn.Module, keras.Layer, flax.nnx.Module or onnx.ModelProto
        With its weights; a Keras layer must be built.
    input_shape : tuple of int
        One sample, no batch axis, in the thing's own data format.

    Returns
    -------
    Runner

    Raises
    ------
    LinconvError
        If it is none of these, or has no weights yet.
    """
    framework = framework_of(thing)
    if isinstance(thing, LinearMap):
        return _map_runner(thing, input_shape)
    if isinstance(thing, Layer):
        return _layer_runner(thing, input_shape)
    if framework == "torch":
        return torch_runner(thing, input_shape)
    if framework == "keras":
        return keras_runner(thing, input_shape)
    if framework == "flax":
        return flax_runner(thing, input_shape)
    if framework == "onnx" and hasattr(thing, "graph"):
        return onnx_runner(thing, input_shape)
    node = "a NodeProto has no weights: wrap it in a model with its initializers"
    raise LinconvError(
        f"what is run must be a linconv map, a Layer, a layer of torch, Keras or Flax NNX, or an "
        f"ONNX model; got {type(thing).__name__}; "
        f"{node if framework == 'onnx' else 'give one of these'}"
    )


def _check_shape(name: str, has: tuple[int, ...], wanted: tuple[int, ...]) -> None:
    if has != wanted:
        raise LinconvError(
            f"{name} must be run on its own input_shape {has}; got {wanted}; make it for that "
            f"input_shape, or leave input_shape out"
        )


def _map_runner(op: LinearMap, input_shape: tuple[int, ...]) -> Runner:
    name = f"linconv {type(op).__name__}"
    _check_shape(name, op.input_shape, input_shape)
    dtype = np.result_type(op.dtype, np.float64)
    return Runner(name, "linconv", input_shape, dtype, op, op, op.T, "by the map's .T")


def _layer_runner(layer: Layer, input_shape: tuple[int, ...]) -> Runner:
    op, spread = layer.operator, layer.spread_bias
    source = layer.source if layer.source == "linconv" else f"{layer.source} (as read)"
    name = " ".join(filter(None, [source, layer.kind or "Layer", layer.name]))
    _check_shape(name, op.input_shape, input_shape)

    def affine(x: Any) -> Any:
        return op(x) if spread is None else op(x) + spread

    known = layer.activation is None or layer.activation in ACTIVATIONS
    return Runner(
        name,
        "linconv",
        input_shape,
        np.result_type(op.dtype, np.float64),
        layer.apply if known else affine,
        affine,
        op.T,
        "by the map's .T",
        layer.activation,
    )

"""keras: layers of Keras 3, read. The convention is Keras' own, whatever its backend computes."""

from __future__ import annotations

from typing import Any

import numpy as np

from linconv.convolution import Conv, ConvTranspose
from linconv.engines.arrays import Array
from linconv.errors import LinconvError
from linconv.factors import Pad
from linconv.identity import Identity
from linconv.layers.chain import chained
from linconv.layers.layer import ACTIVATIONS, Layer
from linconv.layers.pooling import average_pool
from linconv.layers.shapes import known_shape, sample_shape
from linconv.layout import Layout
from linconv.linear_map import LinearMap
from linconv.resampling import Resize

__all__ = ["SUPPORTED", "built_shape", "read"]

SUPPORTED = (
    "Conv1D/2D/3D, Conv1D/2D/3DTranspose, DepthwiseConv1D/2D, SeparableConv1D/2D, "
    "AveragePooling1D/2D/3D, UpSampling1D/2D/3D, ZeroPadding1D/2D/3D, Cropping1D/2D/3D, Identity, "
    "activations, Sequential of these"
)

_BY_RANK = (
    *("Conv{}D", "Conv{}DTranspose", "AveragePooling{}D", "UpSampling{}D"),
    *("ZeroPadding{}D", "Cropping{}D", "DepthwiseConv{}D", "SeparableConv{}D"),
)
_ACTIVATION_LAYERS = ("Activation", "ReLU", "ELU", "LeakyReLU", "PReLU", "Softmax")


def read(layer: Any, input_shape: tuple[int, ...] | None = None) -> Layer:
    """Read a layer of Keras; see `from_layer`."""
    from keras import Sequential, layers

    kind = type(layer).__name__
    if isinstance(layer, Sequential):
        return _sequential(layer, input_shape)
    names = [name.format(rank) for name in _BY_RANK for rank in (1, 2, 3)]
    names += ["Identity", *_ACTIVATION_LAYERS]
    known: dict[Any, str] = {getattr(layers, name): name for name in names if hasattr(layers, name)}
    base: Any = next((b for b in type(layer).__mro__ if b in known), None)
    if base is None or type(layer).call is not base.call:
        what = "whose call is its own" if base is not None else "which is none of them"
        raise LinconvError(
            f"a layer of Keras must be one of {SUPPORTED}; got {kind}, {what}; read the layers "
            f"that it is made of one by one"
        )
    name = known[base]
    if input_shape is None:
        input_shape = built_shape(layer)
    if name == "Identity" or name in _ACTIVATION_LAYERS:
        activation = None if name == "Identity" else _activation(layer)
        shape = known_shape(kind, input_shape, (32, 32, 3))
        return Layer(
            Identity(shape), None, activation, len(shape) - 1, kind, "keras", "", layer.name
        )
    ndim = next(int(letter) for letter in name if letter.isdigit())
    last = getattr(layer, "data_format", "channels_last") == "channels_last"
    layout = Layout(ndim, "channels_last" if last else "channels_first", bare=False)
    bias, activation = None, None
    if "Conv" in name:
        shape, kernels, bias = _weights(layer, name, input_shape, layout)
        activation = _activation(layer)
        op, words = _convolution(layer, name, shape, kernels, layout)
    else:
        shape = sample_shape(kind, input_shape, ndim, channels_last=last)
        op, words = _weightless(layer, name, shape, layout)
    return Layer(op, bias, activation, ndim if last else 0, kind, "keras", words, layer.name)


def built_shape(layer: Any) -> tuple[int, ...] | None:
    """Return the input shape that a layer was built with, without batch axis, if it is known."""
    config = layer.get_build_config() or {}
    shape = config.get("input_shape")
    if shape is None:
        try:
            shape = layer.input.shape
        except (AttributeError, ValueError):  # never called, or called more than once
            return None
    sizes = tuple(shape)[1:]
    return None if None in sizes else tuple(int(n) for n in sizes)


def _values(variable: Any) -> Array:
    from keras import ops

    array = np.array(ops.convert_to_numpy(getattr(variable, "value", variable)))
    return array if array.dtype in (np.float32, np.float64) else array.astype(np.float32)


def _weights(
    layer: Any, kind: str, input_shape: tuple[int, ...] | None, layout: Layout
) -> tuple[tuple[int, ...], list[Array], Array | None]:
    """Return the input shape, the kernels (two of a separable convolution) and the bias."""
    separable = kind.startswith("Separable")
    names = ["depthwise_kernel", "pointwise_kernel"] if separable else ["kernel"]
    if not layer.built:
        shape = sample_shape(kind, input_shape, layout.ndim, channels_last=layout.channels_last)
        raise LinconvError(
            f"a layer must have its weights; got a {kind} that is not built; call "
            f"layer.build({(None, *shape)}) first, and then set them"
        )
    kernels = [_values(getattr(layer, name)) for name in names]
    channels = kernels[0].shape[-1 if "Transpose" in kind else -2] * getattr(layer, "groups", 1)
    shape = sample_shape(
        kind, input_shape, layout.ndim, channels=channels, channels_last=layout.channels_last
    )
    return shape, kernels, _values(layer.bias) if layer.use_bias else None


def _convolution(
    layer: Any, name: str, shape: tuple[int, ...], kernels: list[Array], layout: Layout
) -> tuple[LinearMap, str]:
    """Return the operator of a layer with weights, and its padding in words."""
    options: dict[str, Any] = {
        "stride": layer.strides,
        "padding": layer.padding,
        "dilation": layer.dilation_rate,
        "data_format": layout.data_format,
    }
    kernel = kernels[0]
    transposed = name.endswith("Transpose")
    if name.startswith(("Depthwise", "Separable")):
        # (*size, channels, multiplier): each channel's outputs stand together
        options["groups"] = kernel.shape[-2]
        kernel = kernel.reshape(*kernel.shape[:-2], 1, -1)
    elif not transposed:
        options["groups"] = layer.groups
    if not layout.channels_last:
        # Keras stores (*size, in/groups, out), transposed (*size, out, in), whatever data_format
        kernel = np.moveaxis(kernel, (-1, -2), (0, 1))
    if transposed:
        up = ConvTranspose(kernel, shape, output_padding=layer.output_padding, **options)
        words = f"padding={layer.padding!r}, output_padding={layer.output_padding}: of the full "
        return up, f"{words}output, {up.geometry.padding} are cropped"
    conv = Conv(kernel, shape, **options)
    words = f"padding={layer.padding!r}: {conv.geometry.padding}"
    if len(kernels) == 1:
        return conv, words
    point = kernels[1]
    if not layout.channels_last:
        point = np.moveaxis(point, (-1, -2), (0, 1))
    points = Conv(point, conv.output_shape, data_format=layout.data_format)
    return points @ conv, words


def _weightless(
    layer: Any, name: str, shape: tuple[int, ...], layout: Layout
) -> tuple[LinearMap, str]:
    """Return the operator of a layer without weights, and its convention in words."""
    size, channels = layout.split(shape, 1)
    if name.startswith("AveragePooling"):
        sides, ndim = layer.padding.lower(), layout.ndim
        ones = [np.full(1, k) for k in layer.pool_size]
        divisors = ones if sides == "valid" else None
        op = average_pool(layout, shape, layer.pool_size, layer.strides, sides, divisors)
        return op, f"padding={sides!r} on {ndim} axes, not counted in the averages"
    if name.startswith("UpSampling"):
        factors = (layer.size,) * layout.ndim if isinstance(layer.size, int) else layer.size
        way = getattr(layer, "interpolation", "nearest")
        if way not in ("nearest", "bilinear"):
            raise LinconvError(
                f"interpolation of {type(layer).__name__} must be 'nearest' or 'bilinear'; got "
                f"{way!r}; read the layers around it one by one"
            )
        wanted = layout.join([n * f for n, f in zip(size, factors, strict=True)], channels)
        method = "nearest" if way == "nearest" else "linear"
        return Resize(shape, wanted, method), f"interpolation={way!r}: half-pixel centres"
    cropping = name.startswith("Cropping")
    sides = layer.cropping if cropping else layer.padding
    pairs = [sides] if layout.ndim == 1 and np.ndim(sides) == 1 else list(sides)
    sign = -1 if cropping else 1
    signed = [(sign * low, sign * high) for low, high in pairs]
    words = f"{'cropping' if cropping else 'padding'}={tuple(map(tuple, pairs))}"
    return Pad(shape, layout.join(signed, (0, 0))), words


def _activation(layer: Any) -> str | None:
    """Return the name of a layer's activation, None where it is linear."""
    from keras import layers

    function = layer if isinstance(layer, layers.ReLU) else getattr(layer, "activation", layer)
    if function is None:
        return None
    if isinstance(function, layers.ReLU):
        slope = float(function.negative_slope or 0)
        options = (function.max_value, slope, float(function.threshold or 0))
        named = {(None, 0.0, 0.0): "relu", (6, 0.0, 0.0): "relu6"}.get(options)
        return named or f"relu{options}"
    if isinstance(function, layers.ELU):
        return "elu" if float(function.alpha) == 1 else f"elu({float(function.alpha):g})"
    if isinstance(function, layers.LeakyReLU):
        return f"leaky_relu({float(function.negative_slope):g})"
    if isinstance(function, layers.Activation):
        return _activation(function)
    return _function_name(function)


def _function_name(function: Any) -> str | None:
    """Return a function's name, the one of ours only where it is Keras' own function."""
    from keras import activations

    name = getattr(function, "__name__", type(function).__name__.lower())
    if name == "linear" and function is activations.linear:
        return None
    if name == "leaky_relu" and function is activations.leaky_relu:
        return "leaky_relu(0.2)"
    own = function is getattr(activations, name, None)
    return f"{name} (not Keras' own)" if name in ACTIVATIONS and not own else name


def _sequential(model: Any, input_shape: tuple[int, ...] | None) -> Layer:
    from keras import Sequential

    kind = type(model).__name__
    if type(model).call is not Sequential.call:
        raise LinconvError(
            f"a layer of Keras must be one of {SUPPORTED}; got {kind}, whose call is its own; read "
            f"the layers that it is made of one by one"
        )
    if input_shape is None and model.built:
        sizes = tuple(getattr(model, "input_shape", (None, None)))[1:]
        input_shape = None if None in sizes else sizes
    parts: list[Layer] = []
    for layer in model.layers:
        parts.append(read(layer, parts[-1].output_shape if parts else input_shape))
    return chained(parts, kind=kind, source="keras", name=model.name)

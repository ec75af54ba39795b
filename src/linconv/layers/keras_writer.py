"""keras_writer: a layer written for Keras 3, in the operator's data format."""

from __future__ import annotations

import re
from itertools import product
from typing import Any

import numpy as np

from linconv.convolution import Conv, ConvTranspose
from linconv.engines.arrays import Array
from linconv.errors import GeometryError, LinconvError
from linconv.factors import Pad
from linconv.files import missing
from linconv.geometry import Geometry
from linconv.layers.layer import ACTIVATIONS, Layer
from linconv.layers.pooling import Pool
from linconv.layers.steps import (
    Step,
    check_axes,
    one_hot,
    spatial_pairs,
    steps,
    transposed_crop,
    without_dilation,
)
from linconv.layout import Layout
from linconv.padding import Pairs
from linconv.resampling import Resize

__all__ = ["write"]


def write(layer: Layer) -> Any:
    """Write a layer for Keras; see `to_layer`."""
    try:
        import keras
    except ImportError:
        raise missing("keras", "writing a layer of Keras", "keras") from None
    made = steps(layer, "Keras")
    check_axes(made.layout, "Keras")
    first = made.layout.data_format == "channels_first" and not made.layout.bare
    writer = _Writer("channels_first" if first else "channels_last", made.layout, made.dtype)
    layers: list[Any] = []
    for position, step in enumerate(made.steps):
        layers += writer.written(step, layer.bias if position == made.biased else None)
    if layer.activation is not None:
        _activate(layers, layer.activation, writer.dtype.name)
    if not layers:
        layers.append(keras.layers.Identity(dtype=writer.dtype.name))
    size, channels = made.layout.split(layer.input_shape, 1)
    shape = (None, channels, *size) if first else (None, *size, channels)
    if len(layers) == 1:
        if not layers[0].weights:
            layers[0].build(shape)  # so that it knows its input
        return layers[0]
    return keras.Sequential([keras.Input(shape[1:], dtype=writer.dtype.name), *layers])


class _Writer:
    """Writes steps as layers of one data format."""

    def __init__(self, data_format: str, layout: Layout, dtype: np.dtype[Any]) -> None:
        self.data_format = data_format
        self.layout = layout
        self.dtype = dtype if _double() else np.dtype(np.float32)
        self.first = data_format == "channels_first"

    def written(self, step: Step, bias: Array | None) -> list[Any]:
        if isinstance(step, Conv):
            return self._conv(step, bias)
        if isinstance(step, ConvTranspose):
            return self._conv_transpose(step, bias)
        if isinstance(step, Pad):
            pairs, modes = spatial_pairs(step, self.layout, "Keras")
            return self._pads(pairs, modes, *self.layout.split(step.input_shape, 1))
        if isinstance(step, Resize):
            return [self._upsample(step)]
        if isinstance(step, Pool):
            return self._pool(step)
        return self.written(one_hot(step, self.dtype, grouped=False), None)

    def _shape(self, size: tuple[int, ...], channels: int) -> tuple[int | None, ...]:
        return (None, channels, *size) if self.first else (None, *size, channels)

    def _filled(
        self,
        kind: str,
        kernel: Array,
        bias: Array | None,
        shape: tuple[int | None, ...],
        **options: Any,
    ) -> Any:
        """Return a layer built for a shape, with its weights set.

        Its initializers give these weights, for drawing random numbers to overwrite them costs
        seconds; then they are Keras' usual ones.
        """
        from keras import initializers, layers

        depthwise = kind.startswith("Depthwise")
        name = "depthwise_initializer" if depthwise else "kernel_initializer"
        layer = getattr(layers, kind)(
            use_bias=bias is not None,
            data_format=self.data_format,
            dtype=self.dtype.name,
            **{name: lambda *_, **__: kernel.astype(self.dtype)},
            bias_initializer=lambda *_, **__: np.asarray(bias, self.dtype),
            **{k: v for k, v in options.items() if v is not None},
        )
        layer.build(shape)
        setattr(layer, name, initializers.get("glorot_uniform"))
        layer.bias_initializer = initializers.get("zeros")
        return layer

    def _conv(self, op: Conv, bias: Array | None) -> list[Any]:
        if max(op.geometry.stride) > 1 and max(op.geometry.dilation) > 1:
            op = without_dilation(op)  # Keras strides or dilates, not both
        g = op.geometry
        padding = _named(g)
        size, before = g.input_size, []
        if padding is None:
            before = self._pads(g.padding, g.padding_mode, g.input_size, g.in_channels)
            size, padding = g.padded_size, "valid"
        kernel = np.moveaxis(op.layout.kernels_first(op.kernel), (0, 1), (-1, -2))
        options: dict[str, Any] = {
            "kernel_size": g.kernel_size,
            "strides": g.stride,
            "padding": padding,
            "dilation_rate": g.dilation if max(g.dilation) > 1 else None,
        }
        if 1 < g.groups == g.in_channels and g.ndim < 3 and padding != "causal":
            kernel = kernel.reshape(*g.kernel_size, g.in_channels, -1)
            kind, options["depth_multiplier"] = f"DepthwiseConv{g.ndim}D", kernel.shape[-1]
        else:
            kind, options["filters"] = f"Conv{g.ndim}D", g.out_channels
            options["groups"] = g.groups if g.groups > 1 else None
        layer = self._filled(kind, kernel, bias, self._shape(size, g.in_channels), **options)
        return [*before, layer]

    def _conv_transpose(self, op: ConvTranspose, bias: Array | None) -> list[Any]:
        g = op.geometry
        if g.groups > 1:
            raise LinconvError(
                f"a transposed convolution of Keras must have one group, for Keras has no others; "
                f"got groups={g.groups}; write one layer per group, or a dense kernel that is zero "
                f"between groups"
            )
        if any(m != "zeros" and any(p) for m, p in zip(g.padding_mode, g.padding, strict=True)):
            raise LinconvError(
                f"a transposed convolution of Keras must transpose one with zero padding; got "
                f"{g.padding_mode}; write its transpose, the convolution, instead"
            )
        if max(g.stride) > 1 and max(g.dilation) > 1:
            g = without_dilation(op.T).geometry
            op = without_dilation(op.T).T
        padding, extra, behind = _transposed_padding(g)
        if bias is not None and any(max(pair) > 0 for pair in behind):
            raise LinconvError(
                f"a transposed convolution of Keras can be at most stride - 1 samples longer than "
                f"its full output; got {behind} zeros behind it, and a bias that these would lack; "
                f"write the layer without its bias"
            )
        kernel = np.moveaxis(op.layout.kernels_first(op.kernel), (0, 1), (-1, -2))
        layer = self._filled(
            f"Conv{g.ndim}DTranspose",
            kernel,
            bias,
            self._shape(g.output_size, g.out_channels),
            filters=g.in_channels,
            kernel_size=g.kernel_size,
            strides=g.stride,
            padding=padding,
            output_padding=extra,
            dilation_rate=g.dilation if max(g.dilation) > 1 else None,
        )
        given = tuple(n - low - high for n, (low, high) in zip(g.input_size, behind, strict=True))
        return [layer, *self._pads(behind, ("zeros",) * g.ndim, given, g.in_channels)]

    def _pads(
        self, pairs: Pairs, modes: tuple[str, ...], size: tuple[int, ...], channels: int
    ) -> list[Any]:
        """Return layers that pad with zeros and then crop."""
        from keras import layers

        ndim = len(pairs)
        for axis, (pair, mode) in enumerate(zip(pairs, modes, strict=True)):
            if mode != "zeros" and any(pair):
                raise LinconvError(
                    f"padding of a layer of Keras must be zeros, for Keras has no layer that pads "
                    f"otherwise; got {mode} padding {pair} at axis {axis}; pad the arrays with "
                    f"keras.ops.pad before, and write the layer with padding 0"
                )
        added = [(max(0, low), max(0, high)) for low, high in pairs]
        cropped = [(max(0, -low), max(0, -high)) for low, high in pairs]
        made = []
        if any(map(any, added)):
            made.append(self._sides(getattr(layers, f"ZeroPadding{ndim}D"), added))
        if any(map(any, cropped)):
            if ndim == 1 and self.first:
                made.append(self._picking(cropped[0], size[0] + sum(added[0]), channels))
            else:
                made.append(self._sides(getattr(layers, f"Cropping{ndim}D"), cropped))
        return made

    def _sides(self, kind: Any, pairs: list[tuple[int, int]]) -> Any:
        sides = pairs[0] if len(pairs) == 1 else tuple(pairs)
        if kind.__name__ == "Cropping1D":  # channels last only
            return kind(sides, dtype=self.dtype.name)
        return kind(sides, data_format=self.data_format, dtype=self.dtype.name)

    def _picking(self, crop: tuple[int, int], size: int, channels: int) -> Any:
        """Return a crop of channels-first lines, which Keras has no layer for, as a convolution."""
        kernel = np.zeros((sum(crop) + 1, channels, 1), self.dtype)
        kernel[crop[0]] = 1
        return self._filled(
            "DepthwiseConv1D",
            kernel,
            None,
            (None, channels, size),
            kernel_size=sum(crop) + 1,
        )

    def _upsample(self, op: Resize) -> Any:
        from keras import layers

        size, _ = self.layout.split(op.input_shape, 1)
        wanted, _ = self.layout.split(op.output_shape, 1)
        ndim = len(size)
        factors = tuple(o // n for n, o in zip(size, wanted, strict=True))
        whole = all(n * f == o for n, f, o in zip(size, factors, wanted, strict=True))
        method = op.method
        usual = whole and _same_matrices(op, Resize(op.input_shape, op.output_shape, method))
        if not usual or (method == "linear" and ndim != 2) or (ndim == 1 and self.first):
            raise LinconvError(
                f"an upsampling layer of Keras must repeat samples a whole number of times, or be "
                f"bilinear on two axes with half-pixel centres, and on one axis be channels last; "
                f"got {op!r}; resize in one of these ways"
            )
        options: dict[str, Any] = {"dtype": self.dtype.name}
        if ndim > 1:
            options["data_format"] = self.data_format
        if method == "linear":
            options["interpolation"] = "bilinear"
        return getattr(layers, f"UpSampling{ndim}D")(
            factors[0] if ndim == 1 else factors, **options
        )

    def _pool(self, pool: Pool) -> list[Any]:
        from keras import layers

        g = pool.geometry
        padding, before = "valid", []
        if any(map(any, g.padding)):
            if pool.counted:
                before = self._pads(g.padding, g.padding_mode, g.input_size, g.in_channels)
            elif g.padding == g.replace(padding="same").padding:
                padding = "same"
            else:
                raise LinconvError(
                    f"padding that AveragePooling{g.ndim}D does not count must be that of "
                    f"padding='same', {g.replace(padding='same').padding}; got {g.padding}; write "
                    f"the layer with padding that is counted, or none"
                )
        made = getattr(layers, f"AveragePooling{g.ndim}D")(
            g.kernel_size if g.ndim > 1 else g.kernel_size[0],
            g.stride if g.ndim > 1 else g.stride[0],
            padding,
            data_format=self.data_format,
            dtype=self.dtype.name,
        )
        return [*before, made]


def _double() -> bool:
    """Whether Keras' backend is set to have float64."""
    from keras import backend

    if backend.backend() != "jax":
        return True
    import jax

    return bool(jax.config.jax_enable_x64)


def _named(g: Geometry) -> str | None:
    """Return Keras' name for the padding of a convolution, if it has one."""
    if not any(map(any, g.padding)):
        return "valid"
    if any(m != "zeros" and any(p) for m, p in zip(g.padding_mode, g.padding, strict=True)):
        return None
    if g.padding == g.replace(padding="same", padding_mode="zeros").padding:
        return "same"
    causal = g.ndim == 1 and g.padding == ((g.effective_kernel_size[0] - 1, 0),)
    return "causal" if causal else None


def _transposed_padding(g: Geometry) -> tuple[str, tuple[int, ...] | None, Pairs]:
    """Return Keras' padding and output_padding, and the pads behind that it needs besides."""
    reach, sizes = g.effective_kernel_size, g.input_size
    lows = tuple(low for low, _ in g.padding)
    crop, full = transposed_crop(g)
    bases = {"valid": [0] * g.ndim, "same": [k % 2 - k for k in reach]}
    for given, name in product((False, True), bases):
        extra = tuple(n - f - b for n, f, b in zip(sizes, full, bases[name], strict=True))
        if given and not all(0 <= e < s for e, s in zip(extra, g.stride, strict=True)):
            continue
        try:
            made = Geometry.for_transpose(
                g.output_size,
                g.kernel_size,
                stride=g.stride,
                dilation=g.dilation,
                padding=name,
                output_padding=extra if given else None,
            )
        except GeometryError:
            continue
        if made.input_size == sizes and tuple(low for low, _ in made.padding) == lows:
            return name, extra if given else None, ((0, 0),) * g.ndim
    more = tuple(min(max(0, -high), s - 1) for (_, high), s in zip(crop, g.stride, strict=True))
    behind = tuple((-low, -high - m) for (low, high), m in zip(crop, more, strict=True))
    return "valid", more, behind


def _same_matrices(a: Resize, b: Resize) -> bool:
    axes = range(len(a.input_shape))
    return all(np.abs(a.axis_matrix(x) - b.axis_matrix(x)).max() < 1e-9 for x in axes)


def _activate(layers: list[Any], name: str, dtype: str) -> None:
    """Give the activation to the last layer if it is a convolution, else to one of its own."""
    import keras

    if leaky := re.fullmatch(r"leaky_relu\(([-+.\deE]+)\)", name):
        layers.append(keras.layers.LeakyReLU(negative_slope=float(leaky[1]), dtype=dtype))
        return
    if name not in ACTIVATIONS:
        raise LinconvError(
            f"the activation must be one of {', '.join(ACTIVATIONS)} or leaky_relu(slope) to be "
            f"written for Keras; got {name!r}; write Layer(layer.operator, layer.bias, "
            f"channel_axis=...) and add the activation yourself"
        )
    if layers and hasattr(layers[-1], "kernel_size"):
        layers[-1].activation = keras.activations.get(name)
    else:
        layers.append(keras.layers.Activation(name, dtype=dtype))

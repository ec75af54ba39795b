"""Parts: a layer's operator as a chain of maps that frameworks have layers for."""

from __future__ import annotations

from typing import Any

import numpy as np

from linconv.convolution import Conv, ConvTranspose
from linconv.errors import GeometryError, LinconvError
from linconv.factors import Correlate, Pad
from linconv.identity import Identity
from linconv.layers.layer import Layer
from linconv.layout import Layout
from linconv.linear_map import Conjugate, LinearMap, Product, Scaled, Transpose
from linconv.resampling import Diagonal
from linconv.shuffling import Shuffle

__all__ = ["as_layer", "kernel_first", "layout_of", "parts"]


def parts(operator: LinearMap) -> tuple[LinearMap, ...]:
    """Return the maps whose product an operator is, the first applied first.

    Products are taken apart, identities and pads by nothing left out, numbers folded into a kernel
    (or, without one, into a `Diagonal`); `Correlate` becomes a `Conv`, and the transpose of zero
    padding the cropping that it is. What cannot be taken apart (a sum, another transpose) comes
    as it is: it is for the writer to refuse.
    """
    factor, maps = _flatten(operator)
    if factor == 1:
        return tuple(maps)
    for position, part in enumerate(maps):
        if isinstance(part, Conv | ConvTranspose | Diagonal):
            maps[position] = _scaled(factor, part)
            return tuple(maps)
    return (*maps, Diagonal(operator.output_shape, factor))


def _flatten(operator: LinearMap) -> tuple[Any, list[LinearMap]]:
    """Return a number and the maps, first applied first, whose product an operator is."""
    if isinstance(operator, Product):
        factor: Any = 1
        maps: list[LinearMap] = []
        for part in reversed(operator.maps):
            number, more = _flatten(part)
            factor, maps = factor * number, maps + more
        return factor, maps
    if isinstance(operator, Scaled):
        number, maps = _flatten(operator.of)
        return operator.factor * number, maps
    if isinstance(operator, Identity):
        return 1, []
    if isinstance(operator, Correlate):
        return 1, [Conv.of(operator.kernel, operator.layout, operator.geometry)]
    if isinstance(operator, Conjugate) and operator.of.dtype.kind != "c":
        return _flatten(operator.of)
    if isinstance(operator, Transpose) and isinstance(operator.of, Pad):
        g = operator.of.geometry
        zeros = (m == "zeros" or not any(p) for m, p in zip(g.padding_mode, g.padding, strict=True))
        if all(zeros):
            pairs = [(-low, -high) for low, high in g.padding]
            return _flatten(Pad(operator.input_shape, pairs))
    if isinstance(operator, Pad) and not any(map(any, operator.geometry.padding)):
        return 1, []
    return 1, [operator]


def _scaled(factor: Any, part: Conv | ConvTranspose | Diagonal) -> LinearMap:
    if isinstance(part, Diagonal):
        return Diagonal(part.input_shape, part.weights * factor)
    conv = part if isinstance(part, Conv) else part.T
    kernel = factor * conv.kernel
    kernel = kernel.astype(np.result_type(conv.dtype, factor), copy=False)
    scaled = Conv.of(kernel, conv.layout, conv.geometry)
    return scaled if isinstance(part, Conv) else scaled.T


def layout_of(layer: Layer, maps: tuple[LinearMap, ...]) -> Layout:
    """Return where the channels stand in a layer's arrays.

    Told by its first convolution or shuffle, otherwise by `channel_axis`; without any, all axes
    are spatial.

    Raises
    ------
    LinconvError
        If parts of the operator disagree.
    """
    found = {part.layout for part in maps if isinstance(part, Conv | ConvTranspose | Shuffle)}
    if len({(known.ndim, known.bare, known.channels_last) for known in found}) > 1:
        raise LinconvError(
            f"all convolutions of a chain must have the same data_format; got "
            f"{sorted({known.data_format for known in found})}; write them one by one"
        )
    if found:
        return found.pop()
    axes = len(layer.input_shape)
    if layer.channel_axis is None:
        return Layout(axes, "channels_first", bare=True)
    axis = layer.channel_axis % axes
    if axes < 2 or axis not in (0, axes - 1):
        raise GeometryError(
            f"channel_axis must be the first or the last of at least two axes; got "
            f"{layer.channel_axis} for samples of shape {layer.input_shape}; move the channels"
        )
    name = "channels_first" if axis == 0 else "channels_last"
    return Layout(axes - 1, name, bare=False)


def kernel_first(op: Conv | ConvTranspose) -> Any:
    """Return a kernel as PyTorch and ONNX store it, one channel where the map is bare.

    (out, in/groups, *size) of a convolution, (in, out/groups, *size) of a transposed one.
    """
    return np.ascontiguousarray(op.layout.kernels_first(op.kernel))


def as_layer(layer_or_map: Layer | LinearMap) -> Layer:
    """Return a map as a layer without bias and activation, a layer as it is."""
    if isinstance(layer_or_map, Layer):
        return layer_or_map
    if not isinstance(layer_or_map, LinearMap):
        raise LinconvError(
            f"a Layer or a map of linconv is needed; got {type(layer_or_map).__name__}; read a "
            f"framework's layer with from_layer first"
        )
    maps = parts(layer_or_map)
    layout = next((m.layout for m in maps if isinstance(m, Conv | ConvTranspose | Shuffle)), None)
    axis = None
    if layout is not None and not layout.bare:
        axis = len(layer_or_map.output_shape) - 1 if layout.channels_last else 0
    return Layer(layer_or_map, channel_axis=axis, kind=type(layer_or_map).__name__)

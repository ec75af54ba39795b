"""ONNX AveragePool nodes: ones as a kernel, and a weight per output sample where counts differ."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

import numpy as np

from linconv.arguments import per_axis
from linconv.engines.arrays import Array
from linconv.errors import GeometryError, SizeError
from linconv.geometry import Geometry
from linconv.layers.layer import Layer
from linconv.layers.onnx_conv import explicit_pads, same_rule, sides
from linconv.layers.onnx_protos import attributes, title
from linconv.layers.pooling import average_pool
from linconv.layout import Layout
from linconv.linear_map import LinearMap

__all__ = ["MAX_SAMPLES", "read_average_pool", "read_global_average_pool"]

MAX_SAMPLES = 1 << 26
"""Largest kernel, or list of samples of one axis, that a node's attributes may ask for."""

_KINDS = {
    "auto_pad": "STRING",
    "ceil_mode": "INT",
    "count_include_pad": "INT",
    "dilations": "INTS",
    "kernel_shape": "INTS",
    "pads": "INTS",
    "strides": "INTS",
}


def read_average_pool(node: Any, weights: Mapping[str, Any], shape: tuple[int, ...]) -> Layer:
    """Return the layer of an AveragePool node; see `read_node`.

    A window divides by the samples that it counts: those of the input, and with
    ``count_include_pad`` those of ``pads``, but never those that ``ceil_mode`` reaches beyond.
    """
    given = attributes(node, **_KINDS)
    ndim, size = len(shape) - 1, shape[1:]
    kernel = per_axis("kernel_shape", given.get("kernel_shape", ()), ndim, minimum=1)
    steps = per_axis("strides", given.get("strides", 1), ndim, minimum=1)
    spacing = per_axis("dilations", given.get("dilations", 1), ndim, minimum=1)
    rule = same_rule(node, given)
    ceil = bool(given.get("ceil_mode", 0))
    padding: Any = rule or explicit_pads(node, given, ndim)
    g = Geometry(size, kernel, stride=steps, padding=padding, dilation=spacing)
    windows = list(g.output_size)
    pairs = list(g.padding)
    if ceil:
        for axis, (n, s, left) in enumerate(zip(size, steps, g.leftover, strict=True)):
            low, high = g.padding[axis]
            if left and windows[axis] * s < n + low:  # the next window starts on a sample
                windows[axis] += 1
                pairs[axis] = (low, high + s - left)
    whole = g.replace(padding=tuple(pairs))
    counts = []
    for axis, n in enumerate(size):
        low, high = g.padding[axis] if given.get("count_include_pad", 0) else (0, 0)
        counts.append(_counted(whole, axis, -low, n + high))
        if not counts[-1].all():
            raise GeometryError(
                f"every window of {title(node)} must see a sample; the one of output sample "
                f"{int(np.argmin(counts[-1]))} at axis {axis} sees padding only, and its mean is "
                f"none; use less padding, or count_include_pad=1"
            )
    told = f"auto_pad={given['auto_pad']}: " if rule else "pads: "
    told += sides(whole.padding) + ", counted" * bool(given.get("count_include_pad", 0))
    return _layer(node, _averaging(whole, shape[0], counts), told)


def read_global_average_pool(
    node: Any, weights: Mapping[str, Any], shape: tuple[int, ...]
) -> Layer:
    """Return the layer of a GlobalAveragePool node: one window that is the image."""
    attributes(node)
    whole = Geometry(shape[1:], shape[1:])
    counts = [np.array([n]) for n in shape[1:]]
    return _layer(node, _averaging(whole, shape[0], counts), "the whole image")


def _averaging(geometry: Geometry, channels: int, counts: list[Array]) -> LinearMap:
    samples = prod(geometry.kernel_size)
    if channels * samples > MAX_SAMPLES:
        raise SizeError(
            f"a pool must have at most {MAX_SAMPLES} kernel samples; got {channels} channels of "
            f"{samples}; pool in steps"
        )
    layout = Layout(geometry.ndim, "channels_first", bare=False)
    shape = (channels, *geometry.input_size)
    g = geometry
    return average_pool(layout, shape, g.kernel_size, g.stride, g.padding, counts, g.dilation)


def _counted(geometry: Geometry, axis: int, first: int, end: int) -> Array:
    """Return how many taps of each window along an axis lie on samples `first` to `end`."""
    windows, taps = geometry.output_size[axis], geometry.kernel_size[axis]
    if windows * taps > MAX_SAMPLES:
        raise SizeError(
            f"a pool must have at most {MAX_SAMPLES} windows times kernel samples along an axis; "
            f"got {windows} x {taps} at axis {axis}; pool in steps"
        )
    start = np.arange(windows)[:, None] * geometry.stride[axis] - geometry.padding[axis][0]
    place = start + np.arange(taps) * geometry.dilation[axis]
    counted: Array = ((place >= first) & (place < end)).sum(axis=1)
    return counted


def _layer(node: Any, operator: LinearMap, convention: str) -> Layer:
    return Layer(
        operator,
        channel_axis=0,
        kind=node.op_type,
        source="onnx",
        convention=convention,
        name=node.name,
    )

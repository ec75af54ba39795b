"""Pooling: average pooling as a depthwise convolution and, where windows differ, a diagonal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from math import prod

import numpy as np

from linconv.arguments import PerAxis
from linconv.convolution import Conv
from linconv.engines.arrays import Array
from linconv.geometry import Geometry
from linconv.layout import Layout
from linconv.linear_map import LinearMap
from linconv.padding import Pairs
from linconv.resampling import Diagonal

__all__ = ["Pool", "average_pool", "pool_of", "valid_counts"]


@dataclass(frozen=True)
class Pool:
    """An average pooling that parts of an operator were found to be.

    Attributes
    ----------
    geometry : Geometry
        Sizes and padding; as many groups as channels.
    layout : Layout
        Where the channels stand.
    counted : bool
        Whether padded zeros count among the samples that are averaged.
    """

    geometry: Geometry
    layout: Layout
    counted: bool


def average_pool(
    layout: Layout,
    input_shape: tuple[int, ...],
    kernel_size: tuple[int, ...],
    stride: tuple[int, ...],
    padding: str | Pairs,
    divisors: Sequence[Array] | None,
    dilation: PerAxis = 1,
) -> LinearMap:
    """Return average pooling: sums over windows, divided by `divisors`.

    Parameters
    ----------
    layout : Layout
        With channels.
    input_shape : tuple of int
        One sample.
    kernel_size, stride, padding
        As in `Geometry`.
    divisors : sequence of array or None
        Per axis one number per window; a window is divided by their product. None: the samples
        of the window that are none of the padding's.
    dilation : int or tuple of int
        As in `Geometry`.
    """
    size, channels = layout.split(input_shape, 1)
    geometry = Geometry(
        size,
        kernel_size,
        stride=stride,
        padding=padding,
        dilation=dilation,
        in_channels=channels,
        out_channels=channels,
        groups=channels,
    )
    ones = np.ones((channels, 1, *kernel_size), np.float32)
    sums = Conv.of(np.ascontiguousarray(layout.kernels_back(ones)), layout, geometry)
    counts = valid_counts(geometry) if divisors is None else divisors
    if all(np.ptp(count) == 0 for count in counts):
        return (1 / float(prod(float(count[0]) for count in counts))) * sums
    weights = 1 / reduce(np.multiply.outer, [np.asarray(c, np.float64) for c in counts])
    weights = layout.arrays_back(weights[None])
    return Diagonal(sums.output_shape, weights) @ sums  # type: ignore[no-any-return]


def valid_counts(geometry: Geometry) -> list[Array]:
    """Return per axis how many samples that are none of the padding's each window has."""
    return [(geometry.sources(axis) >= 0).sum(axis=1) for axis in range(geometry.ndim)]


def pool_of(conv: LinearMap, after: LinearMap | None = None) -> Pool | None:
    """Return the average pooling that a convolution, and the part after it, are; else None.

    Parameters
    ----------
    conv : LinearMap
        A part of an operator.
    after : LinearMap, optional
        The next part, which belongs to the pooling if it is a fitting `Diagonal`: then padding is
        not counted.
    """
    if not isinstance(conv, Conv) or conv.layout.bare:
        return None
    g = conv.geometry
    depthwise = g.groups == g.in_channels == g.out_channels
    plain = max(g.dilation) == 1 and set(g.padding_mode) == {"zeros"}
    value = float(conv.kernel.flat[0])
    if not (depthwise and plain and np.all(conv.kernel == conv.kernel.flat[0])):
        return None
    exact = 4 * float(np.finfo(conv.dtype).eps)
    padded = any(map(any, g.padding))
    if isinstance(after, Diagonal):
        counts = reduce(np.multiply.outer, valid_counts(g))
        expected = conv.layout.arrays_back(1 / np.maximum(counts, 1)[None] + 0 * value)
        if np.allclose(after.weights * value, expected, rtol=exact, atol=0):
            return Pool(g, conv.layout, counted=False)
    if abs(value * prod(g.kernel_size) - 1) <= exact:
        return Pool(g, conv.layout, counted=padded)
    return None

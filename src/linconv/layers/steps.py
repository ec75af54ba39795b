"""Steps: an operator as what frameworks have layers for, and where its bias goes."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from math import prod
from typing import Any

import numpy as np

from linconv.convolution import Conv, ConvTranspose
from linconv.errors import LinconvError
from linconv.factors import Pad
from linconv.geometry import Geometry
from linconv.layers.layer import Layer
from linconv.layers.parts import layout_of, parts
from linconv.layers.pooling import Pool, pool_of
from linconv.layout import Layout
from linconv.linear_map import LinearMap
from linconv.padding import Pairs
from linconv.resampling import Diagonal, Resize
from linconv.shuffling import DepthToSpace, Shuffle

__all__ = [
    "Step",
    "Steps",
    "channel_of",
    "check_axes",
    "one_hot",
    "scaling",
    "spatial_pairs",
    "steps",
    "transposed_crop",
    "without_dilation",
]

Step = Conv | ConvTranspose | Pad | Resize | Shuffle | Pool


@dataclass(frozen=True)
class Steps:
    """What a writer writes, the first applied first.

    Attributes
    ----------
    layout : Layout
        Where the channels of the operator stand.
    steps : tuple
        Convolutions, transposed ones, pads, resizings, shuffles and average poolings.
    biased : int or None
        The convolution that takes the bias.
    dtype : numpy.dtype
        Of all kernels and the bias: frameworks do not promote one layer's output for the next.
    """

    layout: Layout
    steps: tuple[Step, ...]
    biased: int | None
    dtype: np.dtype[Any]


def steps(layer: Layer, framework: str, others: tuple[type[LinearMap], ...] = ()) -> Steps:
    """Return the steps of a layer; maps of the kinds in `others` are steps of their own, too.

    Zero padding before a convolution and cropping behind a transposed one become its own, so that
    each writer starts from the whole; weights per channel become a convolution of size 1, average
    poolings are recognised.

    Raises
    ------
    LinconvError
        If a part of the operator has no layer in any framework.
    """
    maps = parts(layer.operator)
    layout = layout_of(layer, maps)
    known: list[Step] = []
    taken = False
    for part, after in pairwise((*maps, None)):
        if taken:
            taken = False
            continue
        pool = pool_of(part, after) if part is not None else None
        taken = pool is not None and not pool.counted and isinstance(after, Diagonal)
        known.append(pool or _known(part, layout, framework, others))
    merged = _merged(known, layout)
    biased, dtype = None, layer.operator.dtype
    if layer.bias is not None:
        dtype = np.result_type(dtype, layer.bias.dtype)
        biased = _place_of_bias(merged)
        if biased is None:
            merged.append(scaling(layout, layer.output_shape, 1.0, dtype))
            biased = len(merged) - 1
    return Steps(layout, tuple(_in_dtype(step, dtype) for step in merged), biased, dtype)


def _in_dtype(step: Any, dtype: np.dtype[Any]) -> Any:
    """Return a step with its kernel, if it has one, in `dtype`."""
    if not isinstance(step, Conv | ConvTranspose) or step.dtype == dtype:
        return step
    conv = step if isinstance(step, Conv) else step.T
    wider = Conv.of(conv.kernel.astype(dtype), conv.layout, conv.geometry)
    return wider if isinstance(step, Conv) else wider.T


def _known(
    part: LinearMap | None, layout: Layout, framework: str, others: tuple[type[LinearMap], ...]
) -> Any:
    if isinstance(part, Diagonal):
        lines = layout.arrays_first(part.weights).reshape(channel_of(layout, part.input_shape), -1)
        if np.ptp(lines, axis=1).max() == 0:
            return scaling(layout, part.input_shape, lines[:, 0], np.float64)
    if isinstance(part, (Conv, ConvTranspose, Pad, Resize, Shuffle, *others)):
        return part
    raise LinconvError(
        f"a layer of {framework} must be made of convolutions, zero padding, resizing, shuffles "
        f"and average pooling; got {part!r} in the operator; write the other parts by themselves"
    )


def check_axes(layout: Layout, framework: str) -> None:
    """Refuse more spatial axes than a framework has layers for."""
    if layout.ndim > 3:
        raise LinconvError(
            f"a layer of {framework} must have 1 to 3 spatial axes; got {layout.ndim}; merge or "
            f"loop over the others"
        )


def channel_of(layout: Layout, shape: tuple[int, ...]) -> int:
    """Return the number of channels in a sample's shape, 1 where there are none."""
    return layout.split(shape, 1)[1]


def scaling(layout: Layout, shape: tuple[int, ...], factors: object, dtype: object) -> Conv:
    """Return the multiplication of each channel as a depthwise convolution of size 1."""
    size, channels = layout.split(shape, 1)
    kernel = np.zeros((channels, 1, *(1,) * layout.ndim), dtype)  # type: ignore[call-overload]
    kernel[:] = np.reshape(factors, (-1, *(1,) * (layout.ndim + 1)))  # type: ignore[call-overload]
    geometry = Geometry(size, 1, in_channels=channels, out_channels=channels, groups=channels)
    return Conv.of(np.ascontiguousarray(layout.kernels_back(kernel)), layout, geometry)


def spatial_pairs(pad: Pad, layout: Layout, framework: str) -> tuple[Pairs, tuple[str, ...]]:
    """Return a pad's pairs and modes along the spatial axes.

    Raises
    ------
    LinconvError
        If it pads the channels.
    """
    pairs, channel = layout.split(pad.geometry.padding, (0, 0))
    modes, _ = layout.split(pad.geometry.padding_mode, "zeros")
    if any(channel):
        raise LinconvError(
            f"a padding layer of {framework} must leave the channels alone; got {channel} along "
            f"them; pad the channels outside of the layer"
        )
    return pairs, modes


def _merged(known: list[Step], layout: Layout) -> list[Step]:
    """Join pads with each other and with the convolutions beside them, where that is exact."""
    result: list[Step] = []
    for step in known:
        while result:
            joined = _joined(result[-1], step, layout)
            if joined is None:
                break
            result.pop()
            step = joined
        result.append(step)
    return result


def _joined(first: Step, then: Step, layout: Layout) -> Step | None:
    if isinstance(first, Pad) and isinstance(then, Conv):
        pairs, channel = layout.split(first.geometry.padding, (0, 0))
        modes, _ = layout.split(first.geometry.padding_mode, "zeros")
        return None if any(channel) else _padded_conv(pairs, modes, then)
    if isinstance(first, ConvTranspose) and isinstance(then, Pad):
        pairs, channel = layout.split(then.geometry.padding, (0, 0))
        modes, _ = layout.split(then.geometry.padding_mode, "zeros")
        if any(channel) or _border(pairs, modes):
            return None
        negated = tuple((-low, -high) for low, high in pairs)
        conv = _padded_conv(negated, ("zeros",) * len(pairs), first.T)
        return None if conv is None else conv.T
    return None


def _border(pairs: Pairs, modes: tuple[str, ...]) -> bool:
    """Whether anything but zeros is padded."""
    return any(m != "zeros" and any(pair) for pair, m in zip(pairs, modes, strict=True))


def _padded_conv(pairs: Pairs, modes: tuple[str, ...], conv: Conv) -> Conv | None:
    """Return the convolution of the padded input as one of the input, or None."""
    g = conv.geometry
    total, kept = [], []
    for outer, mode, inner, own in zip(pairs, modes, g.padding, g.padding_mode, strict=True):
        bordered = (mode != "zeros" and any(outer)), (own != "zeros" and any(inner))
        if any(bordered):
            if any(outer) and any(inner):
                return None
            total.append(outer if any(outer) else inner)
            kept.append(mode if any(outer) else own)
            continue
        if any(o < 0 < i for o, i in zip(outer, inner, strict=True)):
            return None  # what is cropped and then padded is gone
        total.append((outer[0] + inner[0], outer[1] + inner[1]))
        kept.append("zeros")
    size = tuple(n - low - high for n, (low, high) in zip(g.input_size, pairs, strict=True))
    geometry = g.replace(input_size=size, padding=tuple(total), padding_mode=tuple(kept))
    return Conv.of(conv.kernel, conv.layout, geometry)


def _place_of_bias(known: list[Step]) -> int | None:
    """Return the last convolution if what comes behind it leaves constants as they are."""
    for position in reversed(range(len(known))):
        step = known[position]
        if isinstance(step, Conv | ConvTranspose):
            return position
        crop = isinstance(step, Pad) and all(max(pair) <= 0 for pair in step.geometry.padding)
        if not (crop or isinstance(step, Resize)):
            return None
    return None


def one_hot(
    shuffle: Shuffle, dtype: Any = np.float32, *, grouped: bool = True
) -> Conv | ConvTranspose:
    """Return a shuffle as the strided convolution (transposed) that picks each of its samples.

    Each channel is a group of its own where that is possible, unless `grouped` is false.
    """
    up = isinstance(shuffle, DepthToSpace)
    large = shuffle.output_shape if up else shuffle.input_shape
    layout, block = shuffle.layout, shuffle.block
    size, channels = layout.split(large, 1)
    places = prod(block)
    crd = shuffle.order == "CRD"
    groups = channels if crd and grouped else 1
    kernel = np.zeros((channels * places, channels // groups, places), dtype)
    for channel in range(channels):
        for place in range(places):
            row = channel * places + place if crd else place * channels + channel
            kernel[row, channel if groups == 1 else 0, place] = 1
    kernel = kernel.reshape(*kernel.shape[:2], *block)
    geometry = Geometry(
        size,
        block,
        stride=block,
        in_channels=channels,
        out_channels=channels * places,
        groups=groups,
    )
    conv = Conv.of(np.ascontiguousarray(layout.kernels_back(kernel)), layout, geometry)
    return conv.T if up else conv


def transposed_crop(geometry: Geometry) -> tuple[Pairs, tuple[int, ...]]:
    """Return what is cropped of the full output of a transposed convolution, per side.

    Returns
    -------
    pairs : tuple of (low, high)
        Negative where zeros are added instead.
    full : tuple of int
        Sizes of the full output, ``(n - 1) * stride + effective kernel size``.
    """
    full = tuple(
        d - 1 + k
        for d, k in zip(geometry.dilated_size, geometry.effective_kernel_size, strict=True)
    )
    pairs = tuple(
        (low, f - low - n)
        for f, n, (low, _) in zip(full, geometry.input_size, geometry.padding, strict=True)
    )
    return pairs, full


def without_dilation(conv: Conv) -> Conv:
    """Return the same convolution with a kernel that holds the zeros of its dilation."""
    g, layout = conv.geometry, conv.layout
    first = layout.kernels_first(conv.kernel)
    spread = np.zeros((*first.shape[:2], *g.effective_kernel_size), first.dtype)
    kept: tuple[Any, ...] = (..., *(slice(None, None, d) for d in g.dilation))
    spread[kept] = first
    geometry = g.replace(kernel_size=g.effective_kernel_size, dilation=1)
    return Conv.of(np.ascontiguousarray(layout.kernels_back(spread)), layout, geometry)

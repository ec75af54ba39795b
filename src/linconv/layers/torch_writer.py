"""torch_writer: a layer written for PyTorch, channels first."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from linconv.convolution import Conv, ConvTranspose
from linconv.errors import LinconvError
from linconv.factors import Pad
from linconv.files import missing
from linconv.layers import torch as reader
from linconv.layers.layer import Layer
from linconv.layers.parts import kernel_first
from linconv.layers.pooling import Pool, valid_counts
from linconv.layers.steps import Step, check_axes, one_hot, spatial_pairs, steps, transposed_crop
from linconv.layout import Layout
from linconv.padding import Pairs
from linconv.resampling import Resize
from linconv.shuffling import DepthToSpace, Shuffle

__all__ = ["write"]

_PADS = {"reflect": "ReflectionPad", "replicate": "ReplicationPad", "circular": "CircularPad"}


def write(layer: Layer) -> Any:
    """Write a layer for PyTorch; see `to_layer`."""
    try:
        from torch import nn
    except ImportError:
        raise missing("torch", "writing a layer of PyTorch", "torch") from None
    made = steps(layer, "PyTorch")
    check_axes(made.layout, "PyTorch")
    modules: list[Any] = []
    for position, step in enumerate(made.steps):
        bias = layer.bias if position == made.biased else None
        modules += _written(step, made.layout, bias, made.dtype)
    if layer.activation is not None:
        modules.append(_activation(layer.activation))
    if not modules:
        return nn.Identity()
    return modules[0] if len(modules) == 1 else nn.Sequential(*modules)


def _written(step: Step, layout: Layout, bias: Any, dtype: Any) -> list[Any]:
    if isinstance(step, Conv):
        return _conv(step, bias)
    if isinstance(step, ConvTranspose):
        return _conv_transpose(step, bias)
    if isinstance(step, Pad):
        return _pads(*spatial_pairs(step, layout, "PyTorch"), layout.split(step.input_shape, 1)[0])
    if isinstance(step, Resize):
        return [_upsample(step, layout)]
    if isinstance(step, Pool):
        return _pool(step)
    return _shuffle(step, dtype)


def _plain(values: tuple[int, ...]) -> Any:
    """Return one int where all axes have the same."""
    return values[0] if len(set(values)) == 1 else values


def _filled(kind: str, op: Conv | ConvTranspose, bias: Any, channels: Any, options: Any) -> Any:
    """Return a convolution layer with weights set; no random numbers are drawn for them."""
    import torch

    g = op.geometry
    kernel = kernel_first(op)
    made = torch.nn.utils.skip_init(
        getattr(torch.nn, f"{kind}{g.ndim}d"),
        *channels,
        _plain(g.kernel_size),
        stride=_plain(g.stride),
        dilation=_plain(g.dilation),
        groups=g.groups,
        bias=bias is not None,
        dtype=getattr(torch, kernel.dtype.name),
        **options,
    )
    with torch.no_grad():
        made.weight.copy_(torch.from_numpy(np.array(kernel)))
        if bias is not None:
            made.bias.copy_(torch.from_numpy(np.array(bias)))
    return made


def _conv(op: Conv, bias: Any) -> list[Any]:
    g = op.geometry
    channels = (g.in_channels, g.out_channels)
    even = all(low == high >= 0 for low, high in g.padding)
    modes = {m for m, pair in zip(g.padding_mode, g.padding, strict=True) if any(pair)}
    if even and len(modes) <= 1 and "symmetric" not in modes:
        options: dict[str, Any] = {"padding": _plain(tuple(low for low, _ in g.padding))}
        if modes - {"zeros"}:
            _check_border(g.padding, g.padding_mode, g.input_size)
            options["padding_mode"] = modes.pop()
        return [_filled("Conv", op, bias, channels, options)]
    before = _pads(g.padding, g.padding_mode, g.input_size)
    return [*before, _filled("Conv", op, bias, channels, {})]


def _conv_transpose(op: ConvTranspose, bias: Any) -> list[Any]:
    g = op.geometry
    for mode, pair in zip(g.padding_mode, g.padding, strict=True):
        if mode != "zeros" and any(pair):
            raise LinconvError(
                f"a transposed convolution of PyTorch must transpose one with zero padding; got "
                f"{mode} padding {pair}; write its transpose, the convolution, instead"
            )
    crop, _ = transposed_crop(g)
    limits = [max(s, d) - 1 for s, d in zip(g.stride, g.dilation, strict=True)]
    # PyTorch crops as much at the end as at the start, and gives back up to `limit` samples.
    fits = [
        low >= 0 and 0 <= low - high <= lim for (low, high), lim in zip(crop, limits, strict=True)
    ]
    padding = [low if fit else 0 for (low, _), fit in zip(crop, fits, strict=True)]
    extra = [
        low - high if fit else min(max(0, -high), lim)
        for (low, high), fit, lim in zip(crop, fits, limits, strict=True)
    ]
    behind = tuple(
        (0, 0) if fit else (-low, -high - more)
        for (low, high), fit, more in zip(crop, fits, extra, strict=True)
    )
    if bias is not None and any(max(pair) > 0 for pair in behind):
        raise LinconvError(
            f"a transposed convolution of PyTorch can be at most max(stride, dilation) - 1 = "
            f"{limits} samples longer than its full output; got {crop} cropped, which adds more, "
            f"and a bias that zeros behind it would lack; write the layer without its bias"
        )
    options = {"padding": _plain(tuple(padding)), "output_padding": _plain(tuple(extra))}
    layer = _filled("ConvTranspose", op, bias, (g.out_channels, g.in_channels), options)
    size = tuple(n - low - high for n, (low, high) in zip(g.input_size, behind, strict=True))
    return [layer, *_pads(behind, ("zeros",) * g.ndim, size)]


def _check_border(pairs: Pairs, modes: tuple[str, ...], size: tuple[int, ...]) -> None:
    for axis, (pair, mode, n) in enumerate(zip(pairs, modes, size, strict=True)):
        if mode == "symmetric" and any(pair):
            raise LinconvError(
                f"padding of a layer of PyTorch must be zeros, reflect, replicate or circular; got "
                f"symmetric at axis {axis}; use one of these, or pad with numpy.pad before"
            )
        if mode == "circular" and max(pair) > n:
            raise LinconvError(
                f"circular padding of PyTorch must be at most the size of the axis, {n}; got "
                f"{pair} at axis {axis}; pad in several steps"
            )


def _pads(pairs: Pairs, modes: tuple[str, ...], size: tuple[int, ...]) -> list[Any]:
    """Return padding layers: one per mode, then one that crops what is negative."""
    from torch import nn

    _check_border(pairs, modes, size)
    made = []
    for mode in dict.fromkeys(modes):
        zeros = mode == "zeros"
        chosen = [
            pair
            if m == mode and zeros
            else (max(0, pair[0]), max(0, pair[1]))
            if m == mode
            else (0, 0)
            for pair, m in zip(pairs, modes, strict=True)
        ]
        if any(map(any, chosen)):
            made.append(_pad_layer(nn, "ZeroPad" if zeros else _PADS[mode], chosen))
    negative = [
        (min(0, pair[0]), min(0, pair[1])) if m != "zeros" else (0, 0)
        for pair, m in zip(pairs, modes, strict=True)
    ]
    if any(map(any, negative)):
        made.append(_pad_layer(nn, "ZeroPad", negative))
    return made


def _pad_layer(nn: Any, kind: str, pairs: list[tuple[int, int]]) -> Any:
    sides = tuple(side for pair in reversed(pairs) for side in pair)  # the last axis first
    return getattr(nn, f"{kind}{len(pairs)}d")(_plain(sides))


def _upsample(op: Resize, layout: Layout) -> Any:
    """Return the first of PyTorch's layers that does the same, by its own matrix of each axis."""
    from torch import nn

    size, _ = layout.split(op.input_shape, 1)
    wanted, _ = layout.split(op.output_shape, 1)
    scale, _ = layout.split(op.scale, None)
    axes, channel = _axes(layout, len(op.input_shape))
    first = tuple(axes) if channel is None else (channel, *axes)
    linear = ("linear", "bilinear", "trilinear")[layout.ndim - 1]
    modes = ["nearest", "nearest-exact"] if op.method == "nearest" else [linear]
    sizes: list[dict[str, Any]] = [{"size": wanted}]
    if all(o % n == 0 for n, o in zip(size, wanted, strict=True)):
        factors = tuple(float(o // n) for n, o in zip(size, wanted, strict=True))
        sizes.insert(0, {"scale_factor": factors[0] if len(set(factors)) == 1 else factors})
    if any(s is not None for s in scale):
        factors = tuple(
            o / n if s is None else 1 / float(s)
            for n, o, s in zip(size, wanted, scale, strict=True)
        )
        sizes.append({"scale_factor": factors})
    channels = 1 if channel is None else op.input_shape[channel]
    for mode in modes:
        for chosen in sizes:
            for align in (None,) if op.method == "nearest" else (False, True):
                layer = nn.Upsample(mode=mode, align_corners=align, **chosen)
                theirs = reader.read(layer, (channels, *size)).operator
                assert isinstance(theirs, Resize)
                if _same_axes(op, first, theirs, channel is None):
                    return layer
    raise LinconvError(
        f"an upsampling layer of PyTorch must be nearest or linear with half-pixel or aligned "
        f"corners; got {op!r}; resize with one of these"
    )


def _axes(layout: Layout, count: int) -> tuple[tuple[int, ...], int | None]:
    """Return the spatial axes and the channel axis of an array."""
    if layout.bare:
        return tuple(range(count)), None
    return layout.split(tuple(range(count)), 0)


def _same_axes(op: Resize, order: tuple[int, ...], theirs: Resize, bare: bool) -> bool:
    axes = range(1 if bare else 0, len(theirs.input_shape))
    if tuple(op.output_shape[a] for a in order) != theirs.output_shape[1 if bare else 0 :]:
        return False
    return all(
        np.abs(op.axis_matrix(ours) - theirs.axis_matrix(other)).max() < 1e-9
        for ours, other in zip(order, axes, strict=True)
    )


def _pool(pool: Pool) -> list[Any]:
    """Return an average pooling, where its padding is not counted cropped behind if it must be."""
    from torch import nn

    g = pool.geometry
    layer = getattr(nn, f"AvgPool{g.ndim}d")
    kernel, stride = _plain(g.kernel_size), _plain(g.stride)
    even = all(low == high for low, high in g.padding)
    inside = all(2 * low <= k for (low, _), k in zip(g.padding, g.kernel_size, strict=True))
    lows = tuple(low for low, _ in g.padding)
    if pool.counted or not any(map(any, g.padding)):
        if even and inside and min(lows) >= 0:
            return [layer(kernel, stride, _plain(lows))]
        pads = _pads(g.padding, g.padding_mode, g.input_size)
        return [*pads, layer(kernel, stride)]
    paddings, crops = [], []
    ceil = False
    for axis, (low, k, s) in enumerate(zip(lows, g.kernel_size, g.stride, strict=True)):
        found = _uncounted_axis(pool, axis, low, k, s)
        if found is None:
            raise LinconvError(
                f"padding that AvgPool{g.ndim}d does not count must be as much on both sides, at "
                f"most half the kernel; got {g.padding[axis]} at axis {axis} with kernel {k}, "
                f"stride {s}; write the layer with padding='valid' behind an explicit pad"
            )
        padding, crop, needs_ceil = found
        paddings.append(padding)
        crops.append(crop)
        ceil |= needs_ceil
    made = layer(kernel, stride, _plain(tuple(paddings)), ceil_mode=ceil, count_include_pad=False)
    sizes = reader.read(made, (g.in_channels, *g.input_size)).output_shape[1:]
    # With ceil_mode an axis that needs none may have gained a window; it is cropped too.
    cropped = tuple(
        (-low, o + low - n) for o, low, n in zip(g.output_size, crops, sizes, strict=True)
    )
    return [made, *_pads(cropped, ("zeros",) * g.ndim, sizes)]


def _uncounted_axis(
    pool: Pool, axis: int, low: int, k: int, s: int
) -> tuple[int, int, bool] | None:
    """Return PyTorch's padding, windows to crop before the first, and if ceil_mode is needed."""
    g = pool.geometry
    n, windows = g.input_size[axis], g.output_size[axis]
    if min(valid_counts(g)[axis]) < 1:
        return None
    for padding in range(low, k // 2 + 1, s):
        before = (padding - low) // s
        for ceil in (False, True):
            spare = n + 2 * padding - k
            count = (-(-spare // s) if ceil else spare // s) + 1
            if ceil and (count - 1) * s >= n + padding:
                count -= 1
            if count >= before + windows:
                return padding, before, ceil
    return None


def _shuffle(step: Shuffle, dtype: Any) -> list[Any]:
    from torch import nn

    if len(step.block) == 2 and len(set(step.block)) == 1 and step.order == "CRD":
        up = isinstance(step, DepthToSpace)
        return [(nn.PixelShuffle if up else nn.PixelUnshuffle)(step.block[0])]
    picked = one_hot(step, dtype)
    return _conv(picked, None) if isinstance(picked, Conv) else _conv_transpose(picked, None)


def _activation(name: str) -> Any:
    from torch import nn

    if name in reader.ACTIVATION_LAYERS:
        return getattr(nn, reader.ACTIVATION_LAYERS[name])()
    if leaky := re.fullmatch(r"leaky_relu\(([-+.\deE]+)\)", name):
        return nn.LeakyReLU(float(leaky[1]))
    raise LinconvError(
        f"the activation must be one of {', '.join(reader.ACTIVATION_LAYERS)} or leaky_relu(slope) "
        f"to be written for PyTorch; got {name!r}; write Layer(layer.operator, layer.bias, "
        f"channel_axis=...) and add the activation yourself"
    )

"""PyTorch's own convolutions, on whatever device the tensors are, for every geometry.

What they do by themselves they do: padding that is even, strides, dilation, groups, and the crop of
a transpose with the samples that it lacks. The rest is padded before, or cropped after. Where there
are more than three spatial axes, which they do not know, the taps of the first ones are summed.
"""

from __future__ import annotations

from itertools import product
from typing import Any

from linconv.engines.ops import dilate, zero_pad
from linconv.geometry import Geometry
from linconv.layout import Layout, exchanged_kernel

__all__ = ["MOST_AXES", "correlate", "correlate_transpose"]

MOST_AXES = 3


def correlate(x: Any, kernel: Any, geometry: Geometry, channels_last: bool) -> Any:
    """Correlate `x` with `kernel`; see `linconv.engines.correlate` for the contract."""
    layout = Layout.channels(geometry.ndim, channels_last)
    result = _correlate(layout.arrays_first(x), layout.kernels_first(kernel), geometry)
    return layout.arrays_back(result)


def correlate_transpose(y: Any, kernel: Any, geometry: Geometry, channels_last: bool) -> Any:
    """Transpose of `correlate`: spread, then crop what was padded."""
    import torch

    g, layout = geometry, Layout.channels(geometry.ndim, channels_last)
    y, kernel = layout.arrays_first(y), layout.kernels_first(kernel)
    if g.ndim > MOST_AXES:
        dilated = dilate(y, g.stride, g.dilated_size, 2)
        turned = exchanged_kernel(kernel, g.groups)
        return layout.arrays_back(_correlate(dilated, turned, g.transposed()))
    function = getattr(torch, f"conv_transpose{g.ndim}d")
    options = {"stride": g.stride, "dilation": g.dilation, "groups": g.groups}
    # Cropped by as many samples at both ends, it lacks these at the upper one.
    missing = [low - high + m for (low, high), m in zip(g.padding, g.leftover, strict=True)]
    steps = zip(g.stride, g.dilation, strict=True)
    lows = [low for low, _ in g.padding]
    # PyTorch adds fewer samples than a stride or a dilation.
    if min(lows) >= 0 and all(0 <= m < max(s) for m, s in zip(missing, steps, strict=True)):
        options |= {"padding": lows, "output_padding": missing}
        return layout.arrays_back(function(y, kernel.contiguous(), **options))
    spread = function(y, kernel.contiguous(), **options)
    sides = tuple((-low, m - high) for (low, high), m in zip(g.padding, g.leftover, strict=True))
    return layout.arrays_back(zero_pad(spread, sides, 2))


def kernel_gradient(x: Any, y: Any, geometry: Geometry) -> Any:
    """Return the gradient (out, in/groups, *size) of arrays with channels first.

    Up to three spatial axes.
    """
    import torch

    g = geometry
    padded, own = _padded(x, g)  # the kernel's values are asked for, but not read
    zeros = [0] * g.ndim
    kernel = x.new_empty((g.out_channels, g.in_channels // g.groups, *g.kernel_size))
    options = (g.stride, own, g.dilation, False, zeros, g.groups, [False, True, False])
    return torch.ops.aten.convolution_backward(y, padded, kernel, None, *options)[1]


def _padded(x: Any, g: Geometry) -> tuple[Any, list[int]]:
    """Return what is padded as PyTorch's functions cannot, and what they pad by themselves."""
    own = [low if low == high and low > 0 else 0 for low, high in g.padding]
    rest = tuple((low - p, high - p) for (low, high), p in zip(g.padding, own, strict=True))
    return (zero_pad(x, rest, 2) if any(map(any, rest)) else x), own


def _correlate(x: Any, kernel: Any, g: Geometry) -> Any:
    """Correlate (n, channels, *size) with a kernel (out, in/groups, *size)."""
    import torch

    lead = max(0, g.ndim - MOST_AXES)
    function = getattr(torch, f"conv{g.ndim - lead}d")
    options = {"stride": g.stride[lead:], "dilation": g.dilation[lead:], "groups": g.groups}
    if not lead:
        padded, own = _padded(x, g)
        # Some of PyTorch's gradients refuse a kernel that is a turned view.
        return function(padded, kernel.contiguous(), padding=own, **options)
    # Samples along the first axes that one tap reads are images of their own.
    x = zero_pad(x, g.padding, 2)
    outputs: tuple[int, ...] = g.output_size[:lead]
    total: Any = 0
    for tap in product(*map(range, g.kernel_size[:lead])):
        index = [slice(None)] * 2
        for t, d, s, n in zip(tap, g.dilation, g.stride, outputs, strict=False):
            index.append(slice(t * d, t * d + (n - 1) * s + 1, s))
        images = x[tuple(index)].movedim(1, lead + 1)
        taps = kernel[(slice(None), slice(None), *tap)]
        total = total + function(images.flatten(0, lead), taps.contiguous(), **options)
    return total.unflatten(0, (len(x), *outputs)).movedim(lead + 1, 1)

"""The FFT engine: products of spectra, in tiles that stay in the cache, by `scipy.fft`.

The input is cut into tiles that overlap by what a window reaches (overlap-save). Of each tile's
circular correlation the samples whose window does not wrap around are kept. A stride is taken from
the result at stride 1, and a transposed convolution is the ordinary one of the dilated array.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np
import scipy

from linconv.engines.arrays import Array
from linconv.engines.threads import threads
from linconv.engines.windows import overlap
from linconv.geometry import Geometry
from linconv.layout import Layout, exchanged_kernel

__all__ = ["TILE_BYTES", "correlate", "correlate_transpose", "tile_size"]

TILE_BYTES = 2 * 2**20
"""Input bytes that are transformed at once."""


def correlate(x: Array, kernel: Array, geometry: Geometry, channels_last: bool) -> Array:
    """Correlate `x` with `kernel`; see `linconv.engines.correlate` for the contract."""
    layout = _layout(geometry, channels_last)
    result = _correlate(layout.arrays_first(x), layout.kernels_first(kernel), geometry)
    return np.ascontiguousarray(layout.arrays_back(result))


def correlate_transpose(y: Array, kernel: Array, geometry: Geometry, channels_last: bool) -> Array:
    """Transpose of `correlate`: the correlation of the dilated array with the turned kernel."""
    g, layout = geometry, _layout(geometry, channels_last)
    first = layout.arrays_first(y)
    if max(g.stride) > 1:
        dilated = np.zeros((*first.shape[:2], *g.dilated_size), first.dtype)
        dilated[_every(g.stride)] = first
        first = dilated
    turned = exchanged_kernel(layout.kernels_first(kernel), g.groups)
    return np.ascontiguousarray(layout.arrays_back(_correlate(first, turned, g.transposed())))


def tile_size(geometry: Geometry, itemsize: int) -> tuple[int, ...]:
    """Return the size of the transforms: the cheapest per valid sample among those that fit."""
    g = geometry
    most = max(64, TILE_BYTES // (itemsize * (g.in_channels + g.out_channels)))
    per_axis = round(most ** (1 / g.ndim))
    sizes = []
    for axis in range(g.ndim):
        reach, wanted = g.effective_kernel_size[axis], _dense(g, axis)
        whole = wanted + reach - 1
        longest = max(per_axis, 4 * reach)
        parts = 1 if whole <= longest else -(-wanted // max(1, longest - reach + 1))
        each = -(-wanted // parts)
        sizes.append(int(scipy.fft.next_fast_len(each + reach - 1, real=True)))
    return tuple(sizes)


def _layout(g: Geometry, channels_last: bool) -> Layout:
    return Layout(g.ndim, "channels_last" if channels_last else "channels_first", bare=False)


def _dense(g: Geometry, axis: int) -> int:
    """Output samples at stride 1, up to the last one that the stride keeps."""
    return (g.output_size[axis] - 1) * g.stride[axis] + 1


def _every(steps: tuple[int, ...]) -> tuple[Any, ...]:
    """Index every so many samples of the last axes."""
    return (..., *(slice(None, None, step) for step in steps))


def _correlate(x: Array, kernel: Array, g: Geometry) -> Array:
    """Correlate arrays (n, channels, *size) with a kernel (out, in/groups, *size)."""
    real = x.dtype.kind != "c"
    forward, inverse = (
        (scipy.fft.rfftn, scipy.fft.irfftn) if real else (scipy.fft.fftn, scipy.fft.ifftn)
    )
    axes, size = tuple(range(-g.ndim, 0)), tile_size(g, x.itemsize)
    options: dict[str, Any] = {"axes": axes, "workers": threads()}
    dilated = np.zeros((*kernel.shape[:2], *g.effective_kernel_size), x.dtype)
    dilated[_every(g.dilation)] = kernel
    # A correlation is the product with the conjugate spectrum of the conjugate kernel.
    grouped = dilated.reshape(g.groups, -1, *dilated.shape[1:]).conj()
    response = forward(grouped, size, **options).conj()
    y = np.empty((len(x), g.out_channels, *g.output_size), x.dtype)
    for image, start in product(range(len(x)), _starts(g, size)):
        spectrum = forward(_block(x[image], start, size, g), size, **options)
        split = spectrum.reshape(g.groups, 1, -1, *spectrum.shape[1:])
        if split.shape[2] == 1:
            summed = (split * response)[:, :, 0]
        else:
            summed = np.einsum("gui...,goi...->go...", split, response)
        valid = inverse(summed.reshape(-1, *spectrum.shape[1:]), size, **options)
        _keep(y[image], valid, start, size, g)
    return y


def _starts(g: Geometry, size: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """Yield the first output sample, at stride 1, of every tile."""
    steps = [s - reach + 1 for s, reach in zip(size, g.effective_kernel_size, strict=True)]
    return product(*(range(0, _dense(g, axis), step) for axis, step in enumerate(steps)))


def _block(x: Array, start: tuple[int, ...], size: tuple[int, ...], g: Geometry) -> Array:
    """Return the samples that a tile reads, zeros where there are none."""
    lows = [first - low for first, (low, _) in zip(start, g.padding, strict=True)]
    pairs = [
        overlap(n, -low, low + length - n)
        for n, low, length in zip(g.input_size, lows, size, strict=True)
    ]
    if all(b.start == 0 and b.stop == n for (_, b), n in zip(pairs, size, strict=True)):
        return x[(slice(None), *(a for a, _ in pairs))]
    block = np.zeros((len(x), *size), x.dtype)
    block[(slice(None), *(b for _, b in pairs))] = x[(slice(None), *(a for a, _ in pairs))]
    return block


def _keep(
    y: Array, valid: Array, start: tuple[int, ...], size: tuple[int, ...], g: Geometry
) -> None:
    """Copy a tile's samples that the stride keeps to their places in `y`."""
    to: list[slice] = [slice(None)]
    taken: list[slice] = [slice(None)]
    for axis, (first, length) in enumerate(zip(start, size, strict=True)):
        stride, reach = g.stride[axis], g.effective_kernel_size[axis]
        last = min(first + length - reach + 1, _dense(g, axis))
        low, high = -(-first // stride), -(-last // stride)
        to.append(slice(low, high))
        taken.append(slice(low * stride - first, max(0, (high - 1) * stride - first + 1), stride))
    y[tuple(to)] = valid[tuple(taken)]

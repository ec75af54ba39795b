"""The NumPy engine: blocks of windows times the kernel, by BLAS.

Both operations work on blocks of output samples, so that the copied windows stay within
`BLOCK_BYTES` whatever the batch, or take one line along the first spatial axis. Groups are a
batch axis of the matrix product.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

import numpy as np

from linconv.engines.arrays import Array
from linconv.engines.windows import line_blocks, windows, zero_crop, zero_pad
from linconv.geometry import Geometry
from linconv.layout import Layout, exchanged_kernel

__all__ = ["BLOCK_BYTES", "correlate", "correlate_transpose"]

BLOCK_BYTES = 4 * 2**20


def correlate(x: Array, kernel: Array, geometry: Geometry, channels_last: bool) -> Array:
    """Correlate `x` with `kernel`; see `linconv.engines.correlate` for the contract."""
    g = geometry
    first = 1 if channels_last else 2
    padded = zero_pad(x, g.padding, first)
    view = windows(padded, first, g.kernel_size, g.stride, g.dilation)
    product = _last_product if channels_last else _first_product
    y = np.empty(_shape(len(x), g.output_size, g.out_channels, channels_last), x.dtype)
    for images, rows in _blocks(len(y), g, y.itemsize):
        part = _index(images, rows, channels_last=channels_last)
        y[part] = product(view[part], kernel, g)
    return y


def correlate_transpose(y: Array, kernel: Array, geometry: Geometry, channels_last: bool) -> Array:
    """Transpose of `correlate`: spread each sample of `y` over its window.

    At stride 1 there is nothing to spread between: there it correlates with the turned kernel.
    """
    g = geometry
    if max(g.stride) == 1:
        layout = Layout(g.ndim, "channels_last" if channels_last else "channels_first", bare=False)
        turned = layout.kernels_back(exchanged_kernel(layout.kernels_first(kernel), g.groups))
        return correlate(y, np.ascontiguousarray(turned), g.transposed(), channels_last)
    padded = np.zeros(_shape(len(y), g.padded_size, g.in_channels, channels_last), y.dtype)
    spread = _last_spread if channels_last else _first_spread
    for images, rows in _blocks(len(y), g, y.itemsize):
        contributions = spread(y[_index(images, rows, channels_last=channels_last)], kernel, g)
        for tap in np.ndindex(*g.kernel_size):
            offsets = [t * d for t, d in zip(tap, g.dilation, strict=True)]
            outputs = [rows, *(slice(0, n) for n in g.output_size[1:])]
            target = [
                slice(offset + out.start * s, offset + (out.stop - 1) * s + 1, s)
                for offset, out, s in zip(offsets, outputs, g.stride, strict=True)
            ]
            padded[_index(images, *target, channels_last=channels_last)] += contributions[tap]
    return zero_crop(padded, g.input_size, g.padding, 1 if channels_last else 2)


def _shape(batch: int, size: tuple[int, ...], channels: int, last: bool) -> tuple[int, ...]:
    return (batch, *size, channels) if last else (batch, channels, *size)


def _index(images: slice, *spatial: slice, channels_last: bool) -> tuple[slice, ...]:
    return (images, *spatial) if channels_last else (images, slice(None), *spatial)


def _blocks(batch: int, g: Geometry, itemsize: int) -> Iterator[tuple[slice, slice]]:
    """Cut the output's batch and first spatial axis so that windows fit `BLOCK_BYTES`."""
    line_bytes = prod(g.output_size[1:]) * prod(g.kernel_size) * g.in_channels * itemsize
    return line_blocks(batch, g.output_size[0], BLOCK_BYTES // max(1, line_bytes))


def _first_product(view: Array, kernel: Array, g: Geometry) -> Array:
    """Windows (n, channels, *out, *taps) times kernel (out_channels, in/groups, *taps)."""
    n, out = len(view), view.shape[2 : 2 + g.ndim]
    taps_first = (0, 1, *range(2 + g.ndim, 2 + 2 * g.ndim), *range(2, 2 + g.ndim))
    columns = view.transpose(taps_first).reshape(n, g.groups, -1, prod(out))
    result = kernel.reshape(g.groups, g.out_channels // g.groups, -1) @ columns
    return result.reshape(n, g.out_channels, *out)


def _last_product(view: Array, kernel: Array, g: Geometry) -> Array:
    """Windows (n, *out, channels, *taps) times kernel (*taps, in/groups, out_channels)."""
    n, out = len(view), view.shape[1 : 1 + g.ndim]
    split = view.reshape(n, *out, g.groups, -1, *g.kernel_size)
    groups_first = (
        1 + g.ndim,
        0,
        *range(1, 1 + g.ndim),
        *range(3 + g.ndim, split.ndim),
        2 + g.ndim,
    )
    rows = split.transpose(groups_first).reshape(g.groups, n * prod(out), -1)
    result = rows @ _by_group(kernel, g)
    return np.moveaxis(result, 0, 1).reshape(n, *out, g.out_channels)


def _first_spread(y: Array, kernel: Array, g: Geometry) -> Array:
    """Contributions (*taps, n, channels, *out) of output samples to their windows."""
    n, out = len(y), y.shape[2:]
    weights = kernel.reshape(g.groups, g.out_channels // g.groups, -1).swapaxes(1, 2)
    columns = weights @ y.reshape(n, g.groups, -1, prod(out))
    split = columns.reshape(n, g.in_channels, *g.kernel_size, *out)
    return np.moveaxis(split, range(2, 2 + g.ndim), range(g.ndim))


def _last_spread(y: Array, kernel: Array, g: Geometry) -> Array:
    """Contributions (*taps, n, *out, channels) of output samples to their windows."""
    n, out = len(y), y.shape[1:-1]
    rows = np.moveaxis(y.reshape(n * prod(out), g.groups, -1), 1, 0)
    columns = rows @ _by_group(kernel, g).swapaxes(1, 2)
    split = columns.reshape(g.groups, n, *out, *g.kernel_size, -1)
    taps = range(2 + g.ndim, 2 + 2 * g.ndim)
    ordered = split.transpose(*taps, *range(1, 2 + g.ndim), 0, 2 + 2 * g.ndim)
    return ordered.reshape(*g.kernel_size, n, *out, g.in_channels)


def _by_group(kernel: Array, g: Geometry) -> Array:
    """Kernel (*taps, in/groups, out_channels) as matrices, one per group."""
    return np.moveaxis(kernel.reshape(-1, g.groups, g.out_channels // g.groups), 1, 0)

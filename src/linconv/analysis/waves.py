"""Waves: a kernel's symbol, its response to plane waves, at any grid of frequencies."""

from __future__ import annotations

from collections.abc import Sequence
from math import pi, prod, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from linconv.analysis.stretches import combined
from linconv.engines.arrays import Array
from linconv.geometry import Geometry

__all__ = ["convolution_blocks", "kernel_symbol", "plane_waves", "tap_positions"]

_SHORT = 2**24  # multiplications of a product that is not worth waking the threads of a BLAS for


def tap_positions(taps: int, dilation: int, low: int) -> NDArray[np.int64]:
    """Return where each tap reads, relative to the first input sample of its window's stride."""
    return np.arange(taps, dtype=np.int64) * dilation - low


def plane_waves(
    indices: NDArray[np.int64], period: int, positions: NDArray[np.int64]
) -> NDArray[np.complex128]:
    """Return ``exp(2 pi i k p / period)`` for every index k and position p.

    Returns
    -------
    ndarray of complex128, shape (len(indices), len(positions))
        Exact to rounding for any size of k and p: their product is reduced as a whole number.
    """
    turns = np.multiply.outer(indices % period, positions % period) % period
    return np.exp(turns * (2j * pi / period))


def kernel_symbol(kernel: Array, waves: Sequence[Array]) -> Array:
    """Return the symbol: the kernel summed against plane waves along every spatial axis.

    Parameters
    ----------
    kernel : array, shape (out, in/groups, *taps)
    waves : one array per spatial axis, shape (frequencies, taps)

    Returns
    -------
    array, shape (*frequencies, out, in/groups)

    Notes
    -----
    One matrix product per axis, the longest axis of frequencies last.
    """
    channels = kernel.shape[:2]
    summed: Any = np.moveaxis(kernel, (0, 1), (-2, -1))
    before: tuple[int, ...] = ()
    for wave in waves:
        summed = np.ascontiguousarray(summed).reshape(prod(before), wave.shape[1], -1)
        product = combined if len(wave) * summed.size < _SHORT else np.matmul
        if np.isrealobj(summed):  # two real products cost half of a complex one
            parts = np.concatenate([wave.real, wave.imag])
            both = product(parts, summed)
            half = len(wave)
            summed = np.empty((len(both), half, both.shape[2]), wave.dtype)
            summed.real, summed.imag = both[:, :half], both[:, half:]
        else:
            summed = product(wave, summed)
        before = (*before, len(wave))
    symbol: Array = summed.reshape(*before, *channels)
    return symbol


def convolution_blocks(
    kernel: Array,
    geometry: Geometry,
    grid: tuple[int, ...],
    places: list[NDArray[np.int64]],
    crossed: bool,
    extra: tuple[int, ...],
) -> Array:
    """Return the blocks of one convolution, as if it were periodic, on any grid of frequencies.

    Parameters
    ----------
    kernel : array, shape (out, in/groups, *taps)
    geometry : Geometry
        Its sizes and padding mode play no part.
    grid : tuple of int
        Indices stand for ``2 pi index / grid`` radians per period.
    places : one array of indices per axis
    crossed : bool
        Whether all combinations of the axes' indices are meant; otherwise one frequency per index.
    extra : tuple of int
        Output samples per period along each axis.

    Returns
    -------
    array of complex128, shape (*frequencies, groups, rows, columns)
        Rows are (output channel of the group, output's aliases), columns (input channel of the
        group, input's aliases), in C order.
    """
    g, ndim, own = geometry, geometry.ndim, geometry.stride
    waves = []
    for axis, (m, indices) in enumerate(zip(grid, places, strict=True)):
        aliases = own[axis] * extra[axis]
        fine = indices[:, None] + m * np.arange(aliases)
        taps = tap_positions(g.kernel_size[axis], g.dilation[axis], g.padding[axis][0])
        waves.append(plane_waves(fine.ravel(), m * aliases, taps))
    wide = np.result_type(kernel.dtype, np.float64)
    kernel = kernel.astype(wide) / sqrt(prod(own))
    counts = tuple(len(indices) for indices in places)
    # Per axis the number j of an alias is (alias of the stride, alias of the coarser grid).
    if crossed:
        symbol = kernel_symbol(kernel, waves)
        split = [part for parts in zip(counts, own, extra, strict=True) for part in parts]
        ms, strides, coarse = (range(first, 3 * ndim, 3) for first in range(3))
        last = 3 * ndim
    else:
        counts = counts[:1]
        symbol = kernel_symbol(kernel.reshape(*kernel.shape[:2], -1), [_joined(waves, counts[0])])
        split = [*counts, *(part for parts in zip(own, extra, strict=True) for part in parts)]
        ms, strides, coarse = range(1), range(1, 2 * ndim, 2), range(2, 2 * ndim + 1, 2)
        last = 2 * ndim + 1
    rows, columns = g.out_channels // g.groups, g.in_channels // g.groups
    symbol = symbol.reshape(*split, g.groups, rows, columns)
    symbol = symbol.transpose(*ms, last, *coarse, last + 1, last + 2, *strides)
    if prod(extra) == 1:
        return symbol.reshape(*counts, g.groups, rows, columns * prod(own))
    # Coarser aliases are not mixed: output alias j meets input aliases (., j) only.
    each = prod(extra)
    blocks = np.zeros((*counts, g.groups, rows, each, columns, prod(own), each), dtype=symbol.dtype)
    aliased = symbol.reshape(*counts, g.groups, each, rows, columns, prod(own))
    for j in range(each):
        blocks[..., j, :, :, j] = aliased[..., j, :, :, :]
    # Input aliases stand per axis, the stride's before the coarser grid's.
    lead = len(counts) + 4
    blocks = blocks.reshape(*blocks.shape[:lead], *own, *extra)
    inner = [axis for a in range(ndim) for axis in (lead + a, lead + ndim + a)]
    blocks = blocks.transpose(*range(lead), *inner)
    return blocks.reshape(*counts, g.groups, rows * each, columns * prod(own) * each)


def _joined(waves: list[Array], count: int) -> Array:
    """Multiply waves (count * aliases, taps) of all axes: (count * all aliases, all taps)."""
    joined: Array = np.ones((count, 1, 1))
    for wave in waves:
        new = wave.reshape(count, -1, wave.shape[1])
        joined = joined[:, :, None, :, None] * new[:, None, :, None, :]
        joined = joined.reshape(count, -1, joined.shape[3] * joined.shape[4])
    return joined.reshape(-1, joined.shape[2])

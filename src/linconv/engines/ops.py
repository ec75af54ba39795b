"""Padding, gathering and dilating of arrays of any kind, each with its transpose.

NumPy arrays may come back as views. Everything is made of a framework's own functions, so that it
differentiates, vectorises and compiles it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from linconv.engines import windows
from linconv.engines.arrays import Array
from linconv.engines.kinds import library
from linconv.padding import Pairs

__all__ = ["dilate", "fold", "gather", "zero_crop", "zero_pad"]


def zero_pad(x: Any, padding: Pairs, first: int) -> Any:
    """Pad (negative: crop) the axes of `x` from `first` on with zeros."""
    if isinstance(x, np.ndarray):
        return windows.zero_pad(x, padding, first)
    index: list[slice] = [slice(None)] * first
    widths = [(0, 0)] * x.ndim
    for axis, (low, high) in enumerate(padding, start=first):
        size = x.shape[axis]
        padded = size + low + high
        inner, outer = windows.overlap(size, low, high)
        index.append(inner)
        start, stop = min(outer.start, padded), min(outer.stop, padded)
        widths[axis] = (start, padded - stop)
    cropped = any(low < 0 or high < 0 for low, high in padding)
    return library(x).pad(x[tuple(index)] if cropped else x, widths)


def zero_crop(padded: Any, size: tuple[int, ...], padding: Pairs, first: int) -> Any:
    """Transpose of `zero_pad` of an array of that size: crop, zeros where it was cropped."""
    if isinstance(padded, np.ndarray):
        return windows.zero_crop(padded, size, padding, first)
    return zero_pad(padded, tuple((-low, -high) for low, high in padding), first)


def gather(x: Any, sources: Array, axis: int) -> Any:
    """Return the samples of an axis that `sources` names, in that order."""
    if isinstance(x, np.ndarray):
        return np.take(x, sources, axis=axis)
    return library(x).take(x, sources, axis)


def fold(y: Any, sources: Array, size: int, pads: tuple[int, int], axis: int) -> Any:
    """Transpose of `gather` from an axis of that size, of which `pads` are border samples."""
    if not isinstance(y, np.ndarray):
        return library(y).fold(y, sources, size, axis)
    # The interior at once, then the border.
    low, high = pads
    samples = np.moveaxis(y, axis, 0)
    folded = windows.zero_crop(samples, (size,), ((low, high),), 0).copy()
    position = np.arange(-low, size + high)
    for sample in np.flatnonzero((position < 0) | (position >= size)):
        folded[sources[sample]] += samples[sample]
    return np.moveaxis(folded, 0, axis)


def dilate(y: Any, stride: tuple[int, ...], size: tuple[int, ...], first: int) -> Any:
    """Put ``stride - 1`` zeros after each sample of the axes from `first` on, as far as `size`."""
    if isinstance(y, np.ndarray):
        end = first + len(size)
        x = np.zeros((*y.shape[:first], *size, *y.shape[end:]), y.dtype)
        kept = (slice(None, None, step) for step in stride)
        x[(slice(None),) * first + tuple(kept)] = y
        return x
    for axis, (step, wanted) in enumerate(zip(stride, size, strict=True), start=first):
        before, samples, after = y.shape[:axis], y.shape[axis], y.shape[axis + 1 :]
        if step > 1:
            spread = y.reshape(*before, samples, 1, *after)
            spread = zero_pad(spread, ((0, step - 1),), axis + 1)
            y = spread.reshape(*before, samples * step, *after)
        y = zero_pad(y, ((0, wanted - y.shape[axis]),), axis)
    return y

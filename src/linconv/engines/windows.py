"""Windows: a zero-padded array and the strided view of all its windows, without a copy."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.lib.stride_tricks import as_strided

from linconv.engines.arrays import Array
from linconv.padding import Pairs

__all__ = ["line_blocks", "overlap", "windows", "zero_crop", "zero_pad"]


def overlap(size: int, low: int, high: int) -> tuple[slice, slice]:
    """Slices of an axis and of its padded (or cropped) form that hold the same samples."""
    first, last = max(0, -low), max(max(0, -low), size + min(0, high))
    return slice(first, last), slice(first + low, last + low)


def _slices(size: tuple[int, ...], padding: Pairs, first: int) -> tuple[tuple[slice, ...], ...]:
    pairs = [overlap(n, low, high) for n, (low, high) in zip(size, padding, strict=True)]
    whole = (slice(None),) * first
    return whole + tuple(a for a, _ in pairs), whole + tuple(b for _, b in pairs)


def zero_pad(x: Array, padding: Pairs, first: int) -> Array:
    """Pad (negative: crop) the axes of `x` from `first` on with zeros; no copy if needless."""
    if not any(low or high for low, high in padding):
        return x
    axes = slice(first, first + len(padding))
    size = x.shape[axes]
    inner, outer = _slices(size, padding, first)
    if all(low <= 0 and high <= 0 for low, high in padding):
        return x[inner]
    padded_size = tuple(n + low + high for n, (low, high) in zip(size, padding, strict=True))
    padded = np.zeros(x.shape[:first] + padded_size + x.shape[axes.stop :], x.dtype)
    padded[outer] = x[inner]
    return padded


def zero_crop(padded: Array, size: tuple[int, ...], padding: Pairs, first: int) -> Array:
    """Transpose of `zero_pad`: take the samples of the unpadded array, zeros where cropped."""
    inner, outer = _slices(size, padding, first)
    if all(low >= 0 and high >= 0 for low, high in padding):
        return padded[outer]
    x = np.zeros(padded.shape[:first] + size + padded.shape[first + len(size) :], padded.dtype)
    x[inner] = padded[outer]
    return x


def windows(
    x: Array,
    first: int,
    kernel_size: tuple[int, ...],
    stride: tuple[int, ...],
    dilation: tuple[int, ...],
) -> Array:
    """Return a read-only view with the windows of the axes from `first` on.

    Those axes become the window positions; the taps are appended as the last axes.
    """
    axes = range(first, first + len(kernel_size))
    reach = [(k - 1) * d + 1 for k, d in zip(kernel_size, dilation, strict=True)]
    out = [(x.shape[a] - r) // s + 1 for a, r, s in zip(axes, reach, stride, strict=True)]
    steps = [x.strides[a] * s for a, s in zip(axes, stride, strict=True)]
    taps = [x.strides[a] * d for a, d in zip(axes, dilation, strict=True)]
    end = axes.stop
    return as_strided(
        x,
        (*x.shape[:first], *out, *x.shape[end:], *kernel_size),
        (*x.strides[:first], *steps, *x.strides[end:], *taps),
        writeable=False,
    )


def line_blocks(batch: int, lines: int, fitting: int) -> Iterator[tuple[slice, slice]]:
    """Cut a batch of arrays of `lines` lines into blocks of at most `fitting` lines, or of one."""
    fitting = max(1, fitting)
    images = max(1, fitting // max(1, lines))
    for image in range(0, batch, images):
        for line in range(0, lines, fitting):
            yield slice(image, min(batch, image + images)), slice(line, min(lines, line + fitting))

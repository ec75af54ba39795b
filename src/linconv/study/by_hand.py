"""Convolutions written out: loops over pixels, and shifted copies added up.

What the study holds linconv's operators against; nothing here is meant to be fast.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "convolve_pixel_by_pixel",
    "convolve_tap_by_tap",
    "transpose_pixel_by_pixel",
    "transpose_tap_by_tap",
]

Array = NDArray[Any]


def convolve_pixel_by_pixel(image: Array, kernel: Array, stride: int = 1) -> Array:
    """Add up, for every place where the kernel fits, pixel times weight."""
    height, width = _windows(image.shape, kernel.shape, stride)
    result = np.zeros((height, width), image.dtype)
    for row in range(height):
        for column in range(width):
            for i in range(kernel.shape[0]):
                for j in range(kernel.shape[1]):
                    pixel = image[stride * row + i, stride * column + j]
                    result[row, column] += pixel * kernel[i, j]
    return result


def transpose_pixel_by_pixel(features: Array, kernel: Array, stride: int = 1) -> Array:
    """Lay, for every sample, the whole kernel times that sample onto the result, and add."""
    (height, width), (rows, columns) = features.shape, kernel.shape
    result = np.zeros(
        ((height - 1) * stride + rows, (width - 1) * stride + columns), features.dtype
    )
    for row in range(height):
        for column in range(width):
            for i in range(rows):
                for j in range(columns):
                    weighted = features[row, column] * kernel[i, j]
                    result[stride * row + i, stride * column + j] += weighted
    return result


def convolve_tap_by_tap(image: Array, kernel: Array, stride: int = 1) -> Array:
    """Add up shifted copies of the image, each times one weight of the kernel."""
    height, width = _windows(image.shape, kernel.shape, stride)
    result = np.zeros((height, width), image.dtype)
    for (i, j), weight in np.ndenumerate(kernel):
        rows = slice(i, i + stride * height, stride)
        columns = slice(j, j + stride * width, stride)
        result += weight * image[rows, columns]
    return result


def transpose_tap_by_tap(
    features: Array, kernel: Array, size: tuple[int, ...], stride: int = 1
) -> Array:
    """Add shifted, spread copies of the features, each times one weight, to an array of `size`."""
    result = np.zeros(size, features.dtype)
    height, width = features.shape
    for (i, j), weight in np.ndenumerate(kernel):
        rows = slice(i, i + stride * height, stride)
        columns = slice(j, j + stride * width, stride)
        result[rows, columns] += weight * features
    return result


def _windows(image: tuple[int, ...], kernel: tuple[int, ...], stride: int) -> tuple[int, int]:
    height, width = ((n - k) // stride + 1 for n, k in zip(image, kernel, strict=True))
    return height, width

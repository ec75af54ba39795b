"""The photograph, the kernel and their convolution, for all steps on the photograph."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from linconv.convolution import Conv
from linconv.study.images import Image

__all__ = ["PhotographMaps", "size_of"]

Array = NDArray[Any]


class PhotographMaps:
    """One picture and one kernel.

    Parameters
    ----------
    image : Image
    kernel : ndarray, (height, width)
    kernel_name : str
        What to call the kernel.
    seed : int
        Of the random arrays of the dot test.

    Attributes
    ----------
    conv : Conv
        Stride 1, no padding.
    y : ndarray
        The convolution of the picture.
    chapter : str

    Raises
    ------
    GeometryError
        If the kernel is larger than the picture.
    """

    def __init__(self, image: Image, kernel: Array, kernel_name: str, seed: int) -> None:
        self.image, self.kernel, self.kernel_name, self.seed = image, kernel, kernel_name, seed
        self.pixels = image.pixels
        self.conv = Conv(kernel, image.pixels.shape)
        self.y = self.conv(image.pixels)
        self.chapter = f"A photograph: {image.name}"

    def deviation(self, a: Array, b: Array, x: Array) -> float:
        """Return the largest deviation of `a` from `b`, over the largest value that `x` can give.

        Over the largest value that it gives would be meaningless where all weights cancel.
        """
        largest = float(np.abs(self.kernel).sum() * np.abs(x).max())
        return float(np.abs(a - b).max()) / (largest or 1.0)


def size_of(array: Array) -> str:
    """Write the shape of an array."""
    return " × ".join(str(n) for n in array.shape)

"""The photograph, the kernel and their convolution, for all steps on the photograph."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from linconv.convolution import Conv
from linconv.errors import InputError
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
    InputError
        If the picture is smaller than the kernel.
    """

    def __init__(self, image: Image, kernel: Array, kernel_name: str, seed: int) -> None:
        self.image, self.kernel, self.kernel_name, self.seed = image, kernel, kernel_name, seed
        self.pixels = image.pixels
        if any(n < k for n, k in zip(image.pixels.shape, kernel.shape, strict=True)):
            note = f" ({image.note})" if image.note else ""
            raise InputError(
                f"the image must be at least {_by(kernel.shape)} pixels, the size of the kernel; "
                f"{image.name} has {_by(image.pixels.shape)}{note}; give a larger image or a "
                "smaller kernel"
            )
        self.conv = Conv(kernel, image.pixels.shape)
        self.y = self.conv(image.pixels)
        self.chapter = f"A photograph: {image.name}"

    def deviation(self, a: Array, b: Array, x: Array) -> float:
        """Return the largest deviation of `a` from `b`, over the largest value that `x` can give.

        Over the largest value that it gives would be meaningless where all weights cancel.
        """
        largest = float(np.abs(self.kernel).sum() * np.abs(x).max())
        return float(np.abs(a - b).max()) / (largest or 1.0)


def _by(shape: tuple[int, ...]) -> str:
    return " x ".join(str(n) for n in shape)


def size_of(array: Array) -> str:
    """Write the shape of an array."""
    return " × ".join(str(n) for n in array.shape)

"""The figures that the course published: constants, quoted and never computed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from linconv.study.kernels import KERNELS

__all__ = [
    "CHAPTER",
    "IMAGE",
    "KERNEL",
    "NOTEBOOK",
    "OPTIMUM",
    "PUBLISHED",
    "PUBLISHED_TRAINING",
    "SPECTRUM",
    "SPECTRUM_SOURCE",
    "Published",
    "PublishedTraining",
    "ReferenceSpectrum",
]

Array = NDArray[Any]

CHAPTER = "A 4 × 4 image, every number visible"
NOTEBOOK = "course"
OPTIMUM = "own optimum"
"""linconv's own least-squares figures, computed apart; no published ones."""
SPECTRUM_SOURCE = "dense SVD"
"""Figures of `SPECTRUM`, computed apart; no published ones."""


class Published(NamedTuple):
    """The figures of the course's notebook (Keras on TensorFlow 2.19).

    All exact ones are of its 4 × 4 image and 3 × 3 kernel. The trained ones are those of a 3 × 3
    transposed convolution with bias (same padding) after 10,000 epochs of Adam; `optimum_mse` and
    `optimum_bias` are no part of the notebook: they are the best such kernel's, from a separate
    least-squares computation, rounded.
    """

    exact: Mapping[str, Array]
    trained_kernel: Array
    trained_reconstruction: Array
    trained_mse: float
    optimum_mse: float
    optimum_bias: float


KERNEL = KERNELS["course"]
IMAGE = np.array([[4, 5, 8, 7], [1, 8, 8, 8], [3, 6, 6, 4], [6, 5, 7, 8]])

PUBLISHED = Published(
    exact={
        "valid_convolution": np.array([[614, 764], [591, 660]]),
        "convolution_matrix": np.array(
            [
                [10, -4, 10, 0, 10, 0, 30, 0, 30, 30, -1, 0, 0, 0, 0, 0],
                [0, 10, -4, 10, 0, 10, 0, 30, 0, 30, 30, -1, 0, 0, 0, 0],
                [0, 0, 0, 0, 10, -4, 10, 0, 10, 0, 30, 0, 30, 30, -1, 0],
                [0, 0, 0, 0, 0, 10, -4, 10, 0, 10, 0, 30, 0, 30, 30, -1],
            ]
        ),
        "transposed_convolution_stride_1": np.array(
            [
                [6140, 5184, 3084, 7640],
                [12050, 11876, 21690, 29520],
                [24330, 47940, 40036, 19036],
                [17730, 37530, 19209, -660],
            ]
        ),
        "padded_input_stride_1": np.array(
            [
                [0, 0, 0, 0, 0, 0],
                [0, 0, 0, 0, 0, 0],
                [0, 0, 614, 764, 0, 0],
                [0, 0, 591, 660, 0, 0],
                [0, 0, 0, 0, 0, 0],
                [0, 0, 0, 0, 0, 0],
            ]
        ),
        "transposed_convolution_stride_2": np.array(
            [
                [6140, -2456, 13780, -3056, 7640],
                [6140, 0, 26060, 0, 22920],
                [24330, 16056, 34816, 20280, 5836],
                [5910, 0, 24330, 0, 19800],
                [17730, 17730, 19209, 19800, -660],
            ]
        ),
        "dilated_padded_input_stride_2": np.array(
            [
                [0, 0, 0, 0, 0, 0, 0],
                [0, 0, 0, 0, 0, 0, 0],
                [0, 0, 614, 0, 764, 0, 0],
                [0, 0, 0, 0, 0, 0, 0],
                [0, 0, 591, 0, 660, 0, 0],
                [0, 0, 0, 0, 0, 0, 0],
                [0, 0, 0, 0, 0, 0, 0],
            ]
        ),
    },
    trained_kernel=np.array(
        [
            [0.00405932, -0.00111854, -0.00293583],
            [0.00037578, -0.00354484, 0.01345906],
            [-0.00630359, 0.0161382, -0.01294528],
        ]
    ),
    trained_reconstruction=np.array(
        [
            [3.6894827, 4.0357714, 6.010421, 7.1442747],
            [2.2414048, 7.59128, 8.780073, 7.7545385],
            [3.7473285, 6.9444914, 8.552898, 4.787974],
            [4.658065, 3.4127903, 4.7543545, 6.9866705],
        ]
    ),
    trained_mse=1.64755,
    optimum_mse=1.26384,
    optimum_bias=4.1101281,
)


class PublishedTraining(NamedTuple):
    """The figures of the same notebook's training of model B, on 1000 grey images of CIFAR-10.

    Numbers of parameters: all, trained, frozen. Mean squared error of each epoch: 20 epochs of
    Adam, one image a step. Seconds of an epoch: from, to.
    """

    parameters: tuple[int, int, int]
    losses: tuple[float, ...]
    seconds_per_epoch: tuple[int, int]


PUBLISHED_TRAINING = PublishedTraining(
    parameters=(286, 136, 150),
    losses=(
        *(0.0847, 0.0463, 0.0368, 0.0298, 0.0238, 0.0197, 0.0164, 0.0143, 0.0127, 0.0114),
        *(0.0099, 0.0097, 0.0092, 0.0084, 0.008, 0.0077, 0.0071, 0.0068, 0.0068, 0.0067),
    ),
    seconds_per_epoch=(2, 3),
)


class ReferenceSpectrum(NamedTuple):
    """Figures of the 16 x 16 matrix of the course's kernel, padded "same" on a 4 x 4 image.

    They are no part of the notebook: they come from NumPy's dense singular value decomposition of
    the matrix written out entry by entry, rounded to six digits.
    """

    rank: int
    condition: float
    largest: float
    smallest: float


SPECTRUM = ReferenceSpectrum(rank=16, condition=563.086, largest=89.0789, smallest=0.158198)

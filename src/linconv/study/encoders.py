"""The frozen encoders of the course, whose features a decoder turns back into images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from itertools import product
from math import prod
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from linconv.analysis.activations import activation
from linconv.arguments import choice, integer
from linconv.convolution import Conv
from linconv.engines.arrays import as_array
from linconv.errors import DTypeError, LinconvError, ShapeError

__all__ = ["ConvLayer", "Encoder", "MaxPool", "check_images", "model_a", "model_b"]

Array = NDArray[Any]
Shape = tuple[int, ...]
Step = Callable[[Array], Array]

BLOCK_BYTES = 2 * 2**20
"""Most bytes of one layer's output that an encoder holds at once, if one image allows it."""


@dataclass(frozen=True, eq=False)
class ConvLayer:
    """A convolution with "same" padding, bias and activation.

    Attributes
    ----------
    kernel : ndarray, (height, width, channels, filters)
    bias : ndarray, (filters,)
    activation : {"linear", "tanh", "sigmoid"}
    stride : int
    """

    kernel: Array
    bias: Array
    activation: str = "linear"
    stride: int = 1

    @property
    def parameters(self) -> int:
        """Number of weights and biases."""
        return self.kernel.size + self.bias.size

    def bind(self, input_shape: Shape) -> tuple[Step, Shape]:
        """Return the layer as a function of a batch, and the shape of one of its outputs."""
        op = Conv(self.kernel, input_shape, stride=self.stride, padding="same")
        squash = activation(self.activation).apply
        return (lambda x: squash(op(x) + self.bias)), op.output_shape

    def describe(self) -> str:
        """Say in words what the layer does."""
        height, width, _, filters = self.kernel.shape
        return (
            f"convolution, {_filters(filters)} {height} × {width}, stride {self.stride}, "
            f"same padding, {self.activation}"
        )


@dataclass(frozen=True)
class MaxPool:
    """The largest value of each square of pixels; what is left over at the end is dropped.

    Attributes
    ----------
    size : int
        Side of the squares, which do not overlap.
    """

    size: int = 2

    @property
    def stride(self) -> int:
        """Distance of the squares: their side."""
        return self.size

    @property
    def parameters(self) -> int:
        """None to train."""
        return 0

    def bind(self, input_shape: Shape) -> tuple[Step, Shape]:
        """Return the layer as a function of a batch, and the shape of one of its outputs."""
        height, width, channels = input_shape
        n, rows, columns = self.size, height // self.size, width // self.size
        if not rows or not columns:
            raise ShapeError(
                f"max-pooling needs at least {n} × {n} pixels; got {height} × {width}; "
                "give larger images"
            )

        def step(x: Array) -> Array:
            whole = x[:, : n * rows, : n * columns]
            places = product(range(n), repeat=2)
            return reduce(np.maximum, (whole[:, i::n, j::n] for i, j in places))

        return step, (rows, columns, channels)

    def describe(self) -> str:
        """Say in words what the layer does."""
        return f"{self.size} × {self.size} max-pooling"


@dataclass(frozen=True, eq=False)
class Encoder:
    """A frozen encoder: layers from images to features, on linconv's own convolutions.

    Attributes
    ----------
    name : str
    layers : tuple of ConvLayer and MaxPool
    note : str
        What a reader should know of it.
    """

    name: str
    layers: tuple[ConvLayer | MaxPool, ...]
    note: str = ""

    def __post_init__(self) -> None:
        if not self.kernels:
            raise LinconvError(
                f"an encoder must have a convolution; got {len(self.layers)} layers without one; "
                "add a ConvLayer"
            )

    @property
    def kernels(self) -> tuple[Array, ...]:
        """The kernels in order, each (height, width, channels, filters)."""
        return tuple(layer.kernel for layer in self.layers if isinstance(layer, ConvLayer))

    @property
    def parameters(self) -> int:
        """Number of weights and biases, none of them trained."""
        return sum(layer.parameters for layer in self.layers)

    @property
    def stride(self) -> int:
        """How many pixels of the image, on each axis, make one sample of the features."""
        return prod(layer.stride for layer in self.layers)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype that the encoder computes in: that of its kernels."""
        return np.result_type(*self.kernels)

    def __call__(self, images: Any, batch: int | None = None) -> Array:
        """Return the features of images.

        Parameters
        ----------
        images : array, shape (n, height, width, channels)
            Computed in the dtype of the kernels.
        batch : int, optional
            Images at a time; by default as many as keep the largest output within a few MiB.

        Returns
        -------
        ndarray, (n, feature height, feature width, filters)

        Raises
        ------
        ShapeError, DTypeError
            If the images are of another shape or kind.
        """
        array = check_images(images)
        wanted = self.kernels[0].shape[2]
        if array.shape[3] != wanted:
            raise ShapeError(
                f"{self.name} reads images with {wanted} channel(s); got {array.shape[3]} in shape "
                f"{array.shape}; use grey images, e.g. images.mean(-1, keepdims=True)"
            )
        steps: list[Step] = []
        largest, shape = 0, array.shape[1:]
        for layer in self.layers:
            step, shape = layer.bind(shape)
            steps.append(step)
            largest = max(largest, prod(shape) * self.dtype.itemsize)
        size = max(1, BLOCK_BYTES // largest) if batch is None else integer("batch", batch, 1)
        features = np.empty((len(array), *shape), self.dtype)
        for start in range(0, len(array), size):
            block = array[start : start + size].astype(self.dtype, copy=False)
            features[start : start + size] = reduce(lambda x, step: step(x), steps, block)
        return features

    def describe(self) -> str:
        """Say in words what the encoder does, one layer after the other."""
        layers = "; ".join(layer.describe() for layer in self.layers)
        note = f"; {self.note}" if self.note else ""
        return f"{self.name}: {layers}; {self.parameters} frozen parameters{note}"

    def to_dict(self) -> dict[str, Any]:
        """Return the encoder in words and numbers, without its weights."""
        return {
            "name": self.name,
            "layers": [layer.describe() for layer in self.layers],
            "parameters": self.parameters,
            "stride": self.stride,
            "dtype": str(self.dtype),
            "note": self.note,
        }


def model_a(n_filters: int = 20, seed: int = 0, dtype: DTypeLike = np.float64) -> Encoder:
    """Return the course's model A: filters 3 × 3 with tanh, then 2 × 2 max-pooling.

    Parameters
    ----------
    n_filters : int
        The course took 1, 10 and 20.
    seed : int
        Of the weights, which are Glorot-uniform; biases are zero.
    dtype : dtype
        float32 or float64; the weights are drawn in float64 and rounded.

    Returns
    -------
    Encoder
        From (n, height, width, 1) to (n, height // 2, width // 2, n_filters).
    """
    filters, rng = integer("n_filters", n_filters, 1), _generator(seed)
    conv = _frozen(rng, (3, 3, 1, filters), "tanh", 1, dtype)
    return Encoder(f"model A, {_filters(filters)}", (conv, MaxPool(2)))


def model_b(wiring: str = "as run", seed: int = 0, dtype: DTypeLike = np.float64) -> Encoder:
    """Return the course's model B: 15 filters 3 × 3, stride 2, with sigmoid.

    Parameters
    ----------
    wiring : {"as run", "as described"}
        As the course's notebook ran it, the filters read the image: the output of its first layer
        was not used. As described, they read that layer's output: 5 filters 3 × 3 with tanh.
    seed, dtype
        As `model_a`.

    Returns
    -------
    Encoder
        From (n, height, width, 1) to (n, ceil(height / 2), ceil(width / 2), 15).
    """
    rng = _generator(seed)
    if choice("wiring", wiring, ("as run", "as described")) == "as described":
        first = _frozen(rng, (3, 3, 1, 5), "tanh", 1, dtype)
        second = _frozen(rng, (3, 3, 5, 15), "sigmoid", 2, dtype)
        return Encoder("model B as described", (first, second))
    only = _frozen(rng, (3, 3, 1, 15), "sigmoid", 2, dtype)
    note = "a first layer of 5 filters is left out, for its output was not used"
    return Encoder("model B as run", (only,), note)


def check_images(images: Any) -> Array:
    """Return images as an array of shape (n, height, width, channels), or raise."""
    array = as_array("the images", images)
    if array.ndim != 4 or 0 in array.shape:
        raise ShapeError(
            f"images must have shape (n, height, width, channels); got {array.shape}; "
            "for grey images add the last axis: images[..., None]"
        )
    if array.dtype.kind == "c":
        raise DTypeError(f"images must be real; got dtype {array.dtype}; use images.real")
    return array


def _filters(count: int) -> str:
    return f"{count} filter" if count == 1 else f"{count} filters"


def _generator(seed: Any) -> np.random.Generator:
    return np.random.default_rng(integer("seed", seed, 0))


def _frozen(
    rng: np.random.Generator, shape: Shape, squash: str, stride: int, dtype: DTypeLike
) -> ConvLayer:
    """Return a layer with Glorot-uniform weights and zero biases.

    Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural networks",
    2010, equation 16, a layer's fan being kernel samples times channels, as Keras counts it.
    """
    wanted = np.dtype(dtype)
    if wanted not in (np.float32, np.float64):
        raise DTypeError(
            f"an encoder computes in float32 or float64; got {wanted}; use one of them"
        )
    *size, inputs, outputs = shape
    limit = np.sqrt(6 / (prod(size) * (inputs + outputs)))
    kernel = rng.uniform(-limit, limit, shape).astype(wanted)
    bias = np.zeros(outputs, wanted)
    for array in (kernel, bias):
        array.flags.writeable = False
    return ConvLayer(kernel, bias, squash, stride)

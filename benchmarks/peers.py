"""One layer in one direction, as linconv and each peer compute it: what `native.py` times.

Arrays are kept channels first, with batch and channel axes. Every builder converts them to the
layout and array type that is the library's own and returns an `Entry`: the call that is timed, and
how its result becomes such an array again. It returns None where the library has no such layer or
cannot be trusted with it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import Any

import numpy as np
from application import Case

import linconv as lc

__all__ = ["MODULES", "OURS", "PEERS", "TORCH_LAYERS", "Cell", "Entry", "reference"]

MOST_COLUMN_BYTES = 2**32
"""Bytes of all windows up to which transposed layers that store them are tried."""
MOST_DIRECT_GFLOP = 0.5
"""Work up to which SciPy's direct correlation, which has one thread, is tried."""


@dataclass(frozen=True)
class Entry:
    """A call, and what makes an array (batch, channels, *size) of its result."""

    call: Callable[[], Any]
    read: Callable[[Any], np.ndarray]


@dataclass(frozen=True)
class Cell:
    """A case in one direction and dtype, with its kernel (out, in/groups, *size) and its arrays."""

    case: Case
    transposed: bool
    kernel: np.ndarray
    g: lc.Geometry
    x: np.ndarray
    y: np.ndarray

    @classmethod
    def of(cls, case: Case, dtype: str, *, transposed: bool) -> Cell:
        """Draw kernel and arrays; a bare case gets channel axes of length one."""
        rng = np.random.default_rng(0)
        kernel = (rng.standard_normal(case.kernel) / np.sqrt(prod(case.kernel))).astype(dtype)
        bare = len(case.kernel) == len(case.input_shape)
        options = {"padding": "same", "data_format": "channels_first", **case.options}
        g = lc.Conv(kernel, case.input_shape, **options).geometry
        x, y = (
            rng.standard_normal((case.batch, channels, *size)).astype(dtype)
            for channels, size in ((g.in_channels, g.input_size), (g.out_channels, g.output_size))
        )
        return cls(case, transposed, kernel[None, None] if bare else kernel, g, x, y)

    @property
    def name(self) -> str:
        """The case's name, marked where it is the transpose."""
        return f"{self.case.name}, transpose" if self.transposed else self.case.name

    @property
    def given(self) -> np.ndarray:
        """The array that the layer, or its transpose, is applied to."""
        return self.y if self.transposed else self.x

    @property
    def bare(self) -> bool:
        """Whether there is one channel, so that no layout has to be chosen."""
        return self.g.in_channels == self.g.out_channels == 1

    @property
    def spatial(self) -> tuple[int, ...]:
        """The spatial axes."""
        return tuple(range(2, self.x.ndim))

    @property
    def depthwise(self) -> bool:
        """Whether each channel is filtered on its own at stride 1; one channel is, too."""
        g = self.g
        return set(g.stride) == {1} and g.groups == g.in_channels == g.out_channels

    @property
    def gflop(self) -> float:
        """Two operations per tap of every window, also of those taps that meet the padding."""
        return 2e-9 * prod(self.g.output_size) * self.kernel.size * len(self.x)

    @property
    def column_bytes(self) -> int:
        """What all windows take, for libraries whose transposed layer stores them."""
        return prod(self.g.output_size) * self.kernel.nbytes

    @property
    def gigabytes(self) -> float:
        """What must be read or written at least once."""
        return 1e-9 * (self.x.nbytes + self.y.nbytes + self.kernel.nbytes)

    def filters(self) -> np.ndarray:
        """Return kernels (channels, *size) that a depthwise cell correlates with."""
        kernels = self.kernel[:, 0]
        return np.ascontiguousarray(self.turned(kernels) if self.transposed else kernels)

    @staticmethod
    def turned(kernels: np.ndarray) -> np.ndarray:
        """Return kernels (channels, *size) flipped along every spatial axis."""
        return np.flip(kernels, tuple(range(1, kernels.ndim)))


def to_last(array: np.ndarray) -> np.ndarray:
    """Return a contiguous copy, the channels moved from axis 1 to the end."""
    return np.ascontiguousarray(np.moveaxis(array, 1, -1))


def from_last(result: Any) -> np.ndarray:
    """Return the array with its channels moved from the end to axis 1."""
    return np.moveaxis(np.asarray(result), -1, 1)


def kernel_to_last(kernel: np.ndarray) -> np.ndarray:
    """Return (*size, in/groups, out)."""
    return np.ascontiguousarray(np.moveaxis(kernel, (1, 0), (-2, -1)))


def linconv_entry(cell: Cell, *, last: bool = False) -> Entry | None:
    """Return the map, or its transpose, in one of the data formats."""
    if last and cell.bare:
        return None
    g, name = cell.g, "channels_last" if last else "channels_first"
    options = {"stride": g.stride, "padding": g.padding, "groups": g.groups, "data_format": name}
    kernel, shape = cell.kernel, (g.in_channels, *g.input_size)
    if last:
        kernel, shape = kernel_to_last(kernel), (*shape[1:], shape[0])
    elif cell.bare:
        kernel, shape = kernel[0, 0], shape[1:]
    op, array = lc.Conv(kernel, shape, **options), to_last(cell.given) if last else cell.given
    array = array[:, 0] if cell.bare else array
    read = from_last if last else (lambda r: r[:, None]) if cell.bare else np.asarray
    return Entry((lambda: op.T(array)) if cell.transposed else (lambda: op(array)), read)


def torch_entry(cell: Cell, *, last: bool = False, flipped: bool = False) -> Entry | None:
    """Return PyTorch's layer or transposed layer in one of its memory formats.

    Flipped, it is the transpose at stride 1 as an ordinary layer with one kernel per channel
    turned, which PyTorch can compute much faster.
    """
    import torch
    from torch.nn import functional

    g, x = cell.g, torch.from_numpy(cell.given)
    if (last and cell.bare) or (flipped and not (cell.transposed and cell.depthwise)):
        return None
    if cell.transposed and cell.column_bytes > MOST_COLUMN_BYTES:
        return None
    weight = torch.from_numpy(cell.filters()[:, None] if flipped else cell.kernel.copy())
    if last:
        memory = {2: torch.channels_last, 3: torch.channels_last_3d}[g.ndim]
        x, weight = (a.contiguous(memory_format=memory) for a in (x, weight))
    kind = "conv_transpose" if cell.transposed and not flipped else "conv"
    layer = partial(getattr(functional, f"{kind}{g.ndim}d"), stride=g.stride, groups=g.groups)
    lows = tuple(low for low, _ in g.padding)
    even = all(low == high for low, high in g.padding)
    sides = [side for pair in reversed(g.padding) for side in pair]
    inside = (..., *(slice(low, low + n) for low, n in zip(lows, g.input_size, strict=True)))

    @torch.inference_mode()
    def call() -> torch.Tensor:
        if kind == "conv":
            return (
                layer(x, weight, padding=lows) if even else layer(functional.pad(x, sides), weight)
            )
        if even:
            return layer(x, weight, padding=lows, output_padding=g.leftover)
        return layer(x, weight)[inside]

    return Entry(call, np.asarray)


def jax_entry(cell: Cell, *, last: bool = False) -> Entry:
    """Return JAX's compiled layer, or its transpose as JAX derives it."""
    import jax

    g, spatial = cell.g, "DHW"[3 - cell.g.ndim :]
    names = (f"N{spatial}C", f"{spatial}IO") if last else (f"NC{spatial}", f"OI{spatial}")
    like = to_last(cell.x) if last else cell.x

    def layer(array: Any, weight: Any) -> Any:
        return jax.lax.conv_general_dilated(
            array,
            weight,
            g.stride,
            g.padding,
            dimension_numbers=(*names, names[0]),
            feature_group_count=g.groups,
        )

    def transpose(array: Any, weight: Any) -> Any:
        shape = jax.ShapeDtypeStruct(like.shape, like.dtype)
        return jax.linear_transpose(lambda a: layer(a, weight), shape)(array)[0]

    function = jax.jit(transpose if cell.transposed else layer)
    array = jax.device_put(to_last(cell.given) if last else cell.given)
    weight = jax.device_put(kernel_to_last(cell.kernel) if last else cell.kernel)
    return Entry(
        lambda: function(array, weight).block_until_ready(), from_last if last else np.asarray
    )


def tensorflow_entry(cell: Cell) -> Entry | None:
    """Return TensorFlow's layer, or its gradient; one axis is an image of one row."""
    if cell.transposed and cell.column_bytes > MOST_COLUMN_BYTES:
        return None
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import tensorflow as tf

    tf.get_logger().setLevel("ERROR")  # else it warns of each new function
    g, row = cell.g, cell.g.ndim == 1
    array, kernel, like = to_last(cell.given), kernel_to_last(cell.kernel), to_last(cell.x)
    if row:
        array, kernel, like = array[:, None], kernel[None], like[:, None]
    stride = (1, *((1,) if row else ()), *g.stride, 1)
    pads = [
        side for pair in ((0, 0), *(((0, 0),) if row else ()), *g.padding, (0, 0)) for side in pair
    ]
    explicit = {"strides": stride, "padding": "EXPLICIT", "explicit_paddings": pads}
    same = {"strides": stride, "padding": "SAME"}
    if cell.depthwise and not cell.bare:
        kernel = np.swapaxes(kernel, -1, -2)  # (*size, channels, one kernel each)
        names, options = ("DepthwiseConv2dNative", "DepthwiseConv2dNativeBackpropInput"), same
    elif g.ndim == 3:
        names, options = ("Conv3D", "Conv3DBackpropInputV2"), same
    else:
        names, options = ("Conv2D", "Conv2DBackpropInput"), explicit
    operation = getattr(tf.raw_ops, names[cell.transposed])

    @tf.function
    def function(array: Any, weight: Any) -> Any:
        if not cell.transposed:
            return operation(input=array, filter=weight, **options)
        return operation(input_sizes=like.shape, filter=weight, out_backprop=array, **options)

    given, weight = tf.constant(array), tf.constant(kernel)

    def read(result: Any) -> np.ndarray:
        return from_last(result.numpy()[:, 0] if row else result.numpy())

    return Entry(lambda: function(given, weight), read)


def opencv_entry(cell: Cell) -> Entry | None:
    """Return OpenCV's filter, one channel after the other; one axis is an image of one row."""
    if not cell.depthwise or cell.g.ndim > 2:
        return None
    import cv2

    images = cell.given.reshape(-1, *((1,) if cell.g.ndim == 1 else ()), *cell.g.input_size)
    kernels = [np.atleast_2d(kernel) for kernel in cell.filters()]
    out = np.empty_like(images)

    def call() -> np.ndarray:
        for i, image in enumerate(images):
            kernel = kernels[i % len(kernels)]
            cv2.filter2D(image, -1, kernel, out[i], borderType=cv2.BORDER_CONSTANT)
        return out

    return Entry(call, lambda result: result.reshape(cell.x.shape))


def fft_entry(cell: Cell, *, name: str) -> Entry | None:
    """Return one of SciPy's convolutions by FFT, with as many workers as there are cores."""
    if not cell.depthwise:
        return None
    from scipy import fft, signal

    array, kernels, workers = cell.given, cell.turned(cell.filters())[None], os.cpu_count() or 1
    function = getattr(signal, name)

    def call() -> np.ndarray:
        with fft.set_workers(workers):
            return function(array, kernels, mode="same", axes=cell.spatial)

    return Entry(call, np.asarray)


def ndimage_entry(cell: Cell) -> Entry | None:
    """Return SciPy's direct correlation, one channel after the other."""
    if not cell.depthwise or cell.gflop > MOST_DIRECT_GFLOP:
        return None
    from scipy import ndimage

    images, kernels = cell.given.reshape(-1, *cell.g.input_size), cell.filters()
    out = np.empty_like(images)

    def call() -> np.ndarray:
        for i, image in enumerate(images):
            ndimage.correlate(image, kernels[i % len(kernels)], out[i], mode="constant")
        return out

    return Entry(call, lambda result: result.reshape(cell.x.shape))


Build = Callable[[Cell], "Entry | None"]
OURS: dict[str, Build] = {
    "linconv": linconv_entry,
    "linconv-last": partial(linconv_entry, last=True),
}
PEERS: dict[str, Build] = {
    "torch": torch_entry,
    "torch-last": partial(torch_entry, last=True),
    "torch-flipped": partial(torch_entry, flipped=True),
    "jax": jax_entry,
    "jax-last": partial(jax_entry, last=True),
    "tensorflow": tensorflow_entry,
    "opencv": opencv_entry,
    "fftconvolve": partial(fft_entry, name="fftconvolve"),
    "oaconvolve": partial(fft_entry, name="oaconvolve"),
    "ndimage": ndimage_entry,
}
MODULES = {"opencv": "cv2", "fftconvolve": "scipy", "oaconvolve": "scipy", "ndimage": "scipy"}
"""The module that a peer needs where it is not the first word of the peer's name."""
TORCH_LAYERS = ("torch", "torch-last")
"""PyTorch as its users call it, a transpose by its transposed layer."""


def reference(cell: Cell) -> np.ndarray:
    """Return the result in float64, computed without linconv.

    Filters go through SciPy's FFT; everything else is added up tap by tap, as it is defined.
    """
    if cell.depthwise:
        from scipy import signal

        kernels = cell.turned(cell.filters()).astype(np.float64)[None]
        array = cell.given.astype(np.float64)
        return signal.oaconvolve(array, kernels, mode="same", axes=cell.spatial)
    g = cell.g
    assert g.groups == 1, cell.name
    pads = ((0, 0), *g.padding, (0, 0))
    padded = np.pad(to_last(cell.x).astype(np.float64), pads)
    y, kernel = to_last(cell.y).astype(np.float64), kernel_to_last(cell.kernel).astype(np.float64)
    out = np.zeros_like(padded if cell.transposed else y)
    for tap in np.ndindex(*g.kernel_size):
        window = tuple(
            slice(t, t + s * (n - 1) + 1, s)
            for t, s, n in zip(tap, g.stride, g.output_size, strict=True)
        )
        if cell.transposed:
            out[:, *window] += y @ kernel[tap].T
        else:
            out += padded[:, *window] @ kernel[tap]
    if cell.transposed:
        ends = zip(g.padding, g.input_size, strict=True)
        out = out[:, *(slice(low, low + n) for (low, _), n in ends)]
    return from_last(out)

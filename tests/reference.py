"""The definition of a convolution layer as plain loops: the oracle of the test suite.

Nothing here is imported from linconv, nothing is vectorised and nothing may be optimised: one
sample, one tap and one channel at a time, in the words of the definition. A layer reads, at output
sample ``o`` and tap ``t`` of every axis, the sample at ``o * stride + t * dilation - low`` of its
input; a border rule says what stands outside. Its transpose walks the same loops and scatters.
"""

from collections.abc import Iterator
from itertools import product
from typing import Any, NamedTuple

import numpy as np

Index = tuple[int, ...]
Pairs = tuple[tuple[int, int], ...]


class Layer(NamedTuple):
    """A layer with everything resolved: one entry per spatial axis, no names, no defaults."""

    input_size: Index
    kernel_size: Index
    stride: Index
    pads: Pairs
    modes: tuple[str, ...]
    dilation: Index
    groups: int
    channels_last: bool


def per_axis(value: Any, ndim: int) -> tuple[Any, ...]:
    """One value for all axes, or one value per axis."""
    return tuple(value) if isinstance(value, tuple | list) else (value,) * ndim


def resolve_padding(
    padding: Any, input_size: Index, kernel_size: Index, stride: Index, dilation: Index
) -> Pairs:
    """The ``(low, high)`` pair per axis that a name, a number, numbers or pairs stand for."""
    axes = range(len(input_size))
    extent = [(kernel_size[a] - 1) * dilation[a] + 1 for a in axes]
    if padding == "valid":
        return tuple((0, 0) for a in axes)
    if padding == "full":
        return tuple((extent[a] - 1, extent[a] - 1) for a in axes)
    if padding == "causal":
        return tuple((extent[a] - 1, 0) for a in axes)
    if padding in ("same", "same_lower"):
        pairs = []
        for a in axes:
            windows = -(-input_size[a] // stride[a])
            total = max(0, (windows - 1) * stride[a] + extent[a] - input_size[a])
            less, more = total // 2, total - total // 2
            pairs.append((less, more) if padding == "same" else (more, less))
        return tuple(pairs)
    entries = per_axis(padding, len(input_size))
    return tuple((e[0], e[1]) if isinstance(e, tuple | list) else (e, e) for e in entries)


def transposed_same_or_valid(
    padding: str, n: int, kernel: int, stride: int, dilation: int, output_padding: int | None
) -> tuple[int, int]:
    """Keras' rule on one axis: samples of a transposed layer's output, and those cropped in front.

    The whole scatter has ``(n - 1) * stride + extent`` samples; "same" crops the smaller half of
    what is too much in front, and what is missing is added at the end.
    """
    extent = (kernel - 1) * dilation + 1
    whole = (n - 1) * stride + extent
    if padding == "valid":
        missing = max(stride - extent, 0) if output_padding is None else output_padding
        return whole + missing, 0
    if output_padding is None:
        size = n * stride
    else:
        size = (n - 1) * stride + extent % 2 + output_padding
    return size, max(whole - size, 0) // 2


def source(position: int, size: int, mode: str) -> int | None:
    """The sample of an axis that stands at a position; None for a zero."""
    if mode == "zeros":
        return position if 0 <= position < size else None
    if mode == "circular":
        while position < 0:
            position += size
        while position >= size:
            position -= size
        return position
    if mode == "replicate":
        return min(max(position, 0), size - 1)
    if mode == "reflect":
        while not 0 <= position < size:
            position = -position if position < 0 else 2 * (size - 1) - position
        return position
    if mode == "symmetric":
        while not 0 <= position < size:
            position = -1 - position if position < 0 else 2 * size - 1 - position
        return position
    raise AssertionError(f"no such mode: {mode}")


def output_size(layer: Layer) -> Index:
    """Count the windows of each axis one by one."""
    sizes = []
    for a, size in enumerate(layer.input_size):
        first, end = -layer.pads[a][0], size + layer.pads[a][1]
        extent = (layer.kernel_size[a] - 1) * layer.dilation[a] + 1
        count = 0
        while first + extent <= end:
            count += 1
            first += layer.stride[a]
        sizes.append(count)
    return tuple(sizes)


def contributions(layer: Layer) -> Iterator[tuple[Index, Index, Index]]:
    """Every (output sample, tap, input sample) that meet; taps on a padded zero are left out."""
    for out in product(*map(range, output_size(layer))):
        for tap in product(*map(range, layer.kernel_size)):
            read = tuple(
                source(o * s + t * d - pair[0], size, mode)
                for o, t, s, d, pair, size, mode in zip(
                    out,
                    tap,
                    layer.stride,
                    layer.dilation,
                    layer.pads,
                    layer.input_size,
                    layer.modes,
                    strict=True,
                )
            )
            if None not in read:
                yield out, tap, read  # type: ignore[misc]


def channel_taps(layer: Layer, kernel: np.ndarray) -> Iterator[tuple[int, int, int]]:
    """Every (output channel, input channel, input channel inside its group) that are connected."""
    last = layer.channels_last
    out_channels, group_inputs = (
        (kernel.shape[-1], kernel.shape[-2]) if last else (kernel.shape[0], kernel.shape[1])
    )
    group_outputs = out_channels // layer.groups
    for group in range(layer.groups):
        for c_out in range(group * group_outputs, (group + 1) * group_outputs):
            for inner in range(group_inputs):
                yield c_out, group * group_inputs + inner, inner


def walk(layer: Layer, kernel: np.ndarray) -> Iterator[tuple[Index, Index, Any]]:
    """Every (index into the output, index into the input, weight) of the layer's sum."""
    channels = list(channel_taps(layer, kernel))
    for out, tap, read in contributions(layer):
        for c_out, c_in, inner in channels:
            if layer.channels_last:
                yield (*out, c_out), (*read, c_in), kernel[(*tap, inner, c_out)]
            else:
                yield (c_out, *out), (c_in, *read), kernel[(c_out, inner, *tap)]


def shapes(layer: Layer, kernel: np.ndarray) -> tuple[Index, Index]:
    """Shapes of the input and of the output, with their channel axes and without batch."""
    if layer.channels_last:
        channels = kernel.shape[-2] * layer.groups, kernel.shape[-1]
        return (*layer.input_size, channels[0]), (*output_size(layer), channels[1])
    channels = kernel.shape[1] * layer.groups, kernel.shape[0]
    return (channels[0], *layer.input_size), (channels[1], *output_size(layer))


def convolve(layer: Layer, x: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """The layer applied to one input: every output sample gathers."""
    y = np.zeros(shapes(layer, kernel)[1], np.result_type(x, kernel, np.float64))
    for out, read, weight in walk(layer, kernel):
        y[out] += weight * x[read]
    return y


def convolve_transpose(layer: Layer, y: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """The transpose (no conjugate) applied to one output: every output sample scatters."""
    x = np.zeros(shapes(layer, kernel)[0], np.result_type(y, kernel, np.float64))
    for out, read, weight in walk(layer, kernel):
        x[read] += weight * y[out]
    return x


def kernel_gradient(layer: Layer, x: np.ndarray, y: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """The transpose of "kernel to output, for this input" applied to y; kernel gives the shape."""
    gradient = np.zeros(kernel.shape, np.result_type(x, y, np.float64))
    channels = list(channel_taps(layer, kernel))
    for out, tap, read in contributions(layer):
        for c_out, c_in, inner in channels:
            if layer.channels_last:
                gradient[(*tap, inner, c_out)] += x[(*read, c_in)] * y[(*out, c_out)]
            else:
                gradient[(c_out, inner, *tap)] += x[(c_in, *read)] * y[(c_out, *out)]
    return gradient


def matrix(layer: Layer, kernel: np.ndarray) -> np.ndarray:
    """The matrix in C order, a column at a time: the layer applied to every unit vector."""
    shape_in, shape_out = shapes(layer, kernel)
    columns = []
    for position in range(int(np.prod(shape_in))):
        unit = np.zeros(shape_in)
        unit.flat[position] = 1.0
        columns.append(convolve(layer, unit, kernel).ravel())
    return np.stack(columns, axis=1).reshape(int(np.prod(shape_out)), -1)

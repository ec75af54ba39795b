"""Random layers, the same in every run: what writers must write."""

from collections.abc import Iterator
from typing import Any

import numpy as np

import linconv as lc
from linconv.errors import GeometryError
from linconv.layers.layer import ACTIVATIONS

MODES = ("circular", "reflect", "replicate", "symmetric")


def random_layers(seed: int, count: int) -> Iterator[lc.Layer]:
    """Yield legal layers over ranks, layouts, strides, dilations, groups, pads and both kinds."""
    rng = np.random.default_rng(seed)
    while count:
        try:
            layer = _layer(rng)
        except GeometryError:
            continue
        count -= 1
        yield layer


def _layer(rng: np.random.Generator) -> lc.Layer:
    ndim, last, transposed = int(rng.integers(1, 4)), bool(rng.integers(2)), bool(rng.integers(2))
    groups = int(rng.choice([1, 1, 2]))
    inputs, outputs = (groups * int(n) for n in rng.integers(1, 3, 2))

    def draw(low: int, high: int) -> tuple[int, ...]:
        return tuple(int(n) for n in rng.integers(low, high, ndim))

    size, taps, stride, dilation = draw(6, 10), draw(1, 4), draw(1, 4), draw(1, 3)
    mode = "zeros" if rng.random() < 0.6 else str(rng.choice(MODES))
    if transposed and rng.random() < 0.8:
        mode = "zeros"
    options: dict[str, Any] = {
        "stride": stride,
        "dilation": dilation,
        "groups": groups,
        "padding": tuple(zip(draw(-1, 3), draw(-1, 3), strict=True)),
        "padding_mode": mode,
        "data_format": "channels_last" if last else "channels_first",
    }
    stored = (inputs, outputs) if transposed else (outputs, inputs)
    shape = (stored[0], stored[1] // groups, *taps)
    dtype = "float64" if rng.random() < 0.2 else "float32"
    kernel = rng.normal(size=shape).astype(dtype)
    if last:
        kernel = np.moveaxis(kernel, (1, 0), (-2, -1))
    input_shape = (*size, inputs) if last else (inputs, *size)
    if transposed:
        extra = [int(rng.integers(max(s, d))) for s, d in zip(stride, dilation, strict=True)]
        op: Any = lc.ConvTranspose(kernel, input_shape, output_padding=extra, **options)
    else:
        op = lc.Conv(kernel, input_shape, **options)
    bias = rng.normal(size=outputs).astype(dtype) if rng.integers(2) else None
    activation = str(rng.choice(sorted(ACTIVATIONS))) if rng.random() < 0.2 else None
    return lc.Layer(op, bias, activation, ndim if last else 0)


def channels_first(layer: lc.Layer, arrays: np.ndarray) -> np.ndarray:
    """Return a batch of a layer's samples as (batch, channels, *size)."""
    if layer.channel_axis is None:
        return arrays[:, None]
    return np.moveaxis(arrays, layer.channel_axis + 1, 1)


def channels_last(layer: lc.Layer, arrays: np.ndarray) -> np.ndarray:
    """Return a batch of a layer's samples as (batch, *size, channels)."""
    return np.moveaxis(channels_first(layer, arrays), 1, -1)

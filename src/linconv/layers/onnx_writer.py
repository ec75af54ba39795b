"""onnx_writer: a layer written as an ONNX model, channels first, with a symbolic batch axis."""

from __future__ import annotations

import re
from functools import reduce
from typing import Any

import numpy as np

from linconv.convolution import Conv, ConvTranspose
from linconv.engines.arrays import Array
from linconv.errors import LinconvError
from linconv.factors import Decimate, Pad
from linconv.layers.layer import Layer
from linconv.layers.onnx_building import Chain
from linconv.layers.onnx_moves import MODES
from linconv.layers.onnx_resize_writer import nearest_sources, resize_node
from linconv.layers.parts import kernel_first
from linconv.layers.pooling import Pool, valid_counts
from linconv.layers.steps import one_hot, spatial_pairs, steps, transposed_crop
from linconv.layout import Layout
from linconv.linear_map import Transpose
from linconv.padding import Pairs, padded_sources
from linconv.resampling import Diagonal, Resize
from linconv.selection import Select
from linconv.shuffling import DepthToSpace, Shuffle

__all__ = ["write"]

_OTHERS = (Decimate, Diagonal, Select, Transpose)
_MODES = {ours: theirs for theirs, ours in MODES.items()}

_ACTIVATIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "elu": ("Elu", {}),
    "gelu": ("Gelu", {}),
    "gelu(approximate=tanh)": ("Gelu", {"approximate": "tanh"}),
    "hard_sigmoid": ("HardSigmoid", {"alpha": 1 / 6, "beta": 0.5}),
    "hard_silu": ("HardSwish", {}),
    "mish": ("Mish", {}),
    "relu": ("Relu", {}),
    "selu": ("Selu", {}),
    "sigmoid": ("Sigmoid", {}),
    "silu": ("Swish", {}),
    "softplus": ("Softplus", {}),
    "softsign": ("Softsign", {}),
    "tanh": ("Tanh", {}),
}


def write(layer: Layer) -> Any:
    """Write a layer as an ONNX model of one node, or of a few where conventions differ.

    Parameters
    ----------
    layer : Layer
        In any data format; the model is channels first, (batch, channels, *size).

    Returns
    -------
    onnx.ModelProto
        Checked, of opset 20 (24 for SiLU), its weights inside, in float32 or float64. onnxruntime
        computes convolutions in float32 only; float64 is for other runtimes.

    Raises
    ------
    LinconvError
        If ONNX has no node for a part of the layer, or for its activation.
    """
    made = steps(layer, "ONNX", _OTHERS)
    layout = made.layout
    size, channels = layout.split(layer.input_shape, 1)
    chain = Chain((channels, *size), made.dtype)
    for position, step in enumerate(made.steps):
        _append(chain, step, layout, layer.bias if position == made.biased else None)
    if layer.activation is not None:
        _activate(chain, layer.activation)
    return chain.model(layer.name or layer.kind or "layer")


def _append(chain: Chain, step: Any, layout: Layout, bias: Array | None) -> None:
    if isinstance(step, Conv):
        _conv(chain, step, bias)
    elif isinstance(step, ConvTranspose):
        _conv_transpose(chain, step, bias)
    elif isinstance(step, Pad):
        _pad(chain, *spatial_pairs(step, layout, "ONNX"))
    elif isinstance(step, Pool):
        _pool(chain, step)
    elif isinstance(step, Shuffle):
        _shuffle(chain, step)
    elif isinstance(step, Diagonal):
        chain.add("Mul", chain.shape, ("weights", layout.arrays_first(step.weights)))
    elif isinstance(step, Resize | Select | Decimate):
        _resample(chain, step, layout)
    else:
        _dilate(chain, step, layout)


def _conv(chain: Chain, op: Conv, bias: Array | None) -> None:
    g = op.geometry
    border = tuple(
        pair if mode != "zeros" else (min(pair[0], 0), min(pair[1], 0))
        for pair, mode in zip(g.padding, g.padding_mode, strict=True)
    )
    _pad(chain, border, g.padding_mode)
    lows, highs = zip(
        *(
            (max(low, 0), max(high, 0)) if mode == "zeros" else (0, 0)
            for (low, high), mode in zip(g.padding, g.padding_mode, strict=True)
        ),
        strict=True,
    )
    chain.add(
        "Conv",
        (g.out_channels, *g.output_size),
        ("kernel", kernel_first(op)),
        *(() if bias is None else (("bias", bias),)),
        kernel_shape=g.kernel_size,
        strides=g.stride,
        dilations=g.dilation,
        group=g.groups,
        pads=(*lows, *highs),
    )


def _conv_transpose(chain: Chain, op: ConvTranspose, bias: Array | None) -> None:
    g = op.geometry
    for axis, (mode, pair) in enumerate(zip(g.padding_mode, g.padding, strict=True)):
        if mode != "zeros" and any(pair):
            raise LinconvError(
                f"a ConvTranspose node must transpose a convolution with zero padding; got {mode} "
                f"padding {pair} at axis {axis}, whose border would have to be folded back; write "
                f"its transpose, the convolution, instead"
            )
    crop, full = transposed_crop(g)
    extra = tuple(min(max(0, -high), s - 1) for (_, high), s in zip(crop, g.stride, strict=True))
    pads = tuple((max(low, 0), max(high, 0)) for low, high in crop)
    behind = tuple(
        (max(0, -low), max(0, -high - more)) for (low, high), more in zip(crop, extra, strict=True)
    )
    late = bias is not None and any(map(any, behind))  # zeros behind the node have the bias, too
    lows, highs = zip(*pads, strict=True)
    chain.add(
        "ConvTranspose",
        (
            g.in_channels,
            *(f - a - b + e for f, (a, b), e in zip(full, pads, extra, strict=True)),
        ),
        ("kernel", kernel_first(op)),
        *(() if bias is None or late else (("bias", bias),)),
        kernel_shape=g.kernel_size,
        strides=g.stride,
        dilations=g.dilation,
        group=g.groups,
        pads=(*lows, *highs),
        output_padding=extra,
    )
    chain.pad(((0, 0), *behind))
    if late:
        assert bias is not None
        chain.add("Add", chain.shape, ("bias", bias.reshape(-1, *(1,) * g.ndim)))


def _pad(chain: Chain, pairs: Pairs, modes: tuple[str, ...]) -> None:
    """Append pads along the spatial axes: borders of one mode together, then zeros and crops."""
    for mode in dict.fromkeys(modes):
        if mode in ("zeros", "symmetric"):
            continue
        grown = [
            (max(low, 0), max(high, 0)) if m == mode else (0, 0)
            for (low, high), m in zip(pairs, modes, strict=True)
        ]
        chain.pad(((0, 0), *grown), _MODES[mode])
    for axis, (pair, mode) in enumerate(zip(pairs, modes, strict=True)):
        if mode == "symmetric" and any(pair):  # no Pad node mirrors the border sample, too
            chain.gather(axis + 1, padded_sources(chain.shape[axis + 1], *pair, mode))
    rest = [
        pair
        if mode == "zeros"
        else (0, 0)
        if mode == "symmetric"
        else (min(pair[0], 0), min(pair[1], 0))
        for pair, mode in zip(pairs, modes, strict=True)
    ]
    chain.pad(((0, 0), *rest))


def _pool(chain: Chain, pool: Pool) -> None:
    g = pool.geometry
    zeros = ("zeros",) * g.ndim
    inside = all(max(pair) < k for pair, k in zip(g.padding, g.kernel_size, strict=True))
    if not pool.counted and not (inside and min(map(min, g.padding)) >= 0):
        ones = np.ones((g.out_channels, 1, *g.kernel_size), np.float32)
        counts = reduce(np.multiply.outer, valid_counts(g))
        first = Layout(g.ndim, "channels_first", bare=False)
        _conv(chain, Conv.of(ones, first, g), None)
        chain.add("Mul", chain.shape, ("weights", 1.0 / np.maximum(counts, 1)[None]))
        return
    pads = g.padding
    if pool.counted and not (inside and min(map(min, pads)) >= 0):
        _pad(chain, pads, zeros)
        pads = ((0, 0),) * g.ndim
    lows, highs = zip(*pads, strict=True)
    chain.add(
        "AveragePool",
        (g.out_channels, *g.output_size),
        kernel_shape=g.kernel_size,
        strides=g.stride,
        pads=(*lows, *highs),
        count_include_pad=int(pool.counted),
    )


def _shuffle(chain: Chain, step: Shuffle) -> None:
    block, up = step.block, isinstance(step, DepthToSpace)
    if len(block) != 2 or block[0] != block[1]:
        picked = one_hot(step)
        if isinstance(picked, Conv):
            return _conv(chain, picked, None)
        return _conv_transpose(chain, picked, None)
    channels, height, width = chain.shape
    b = block[0]
    if up:
        shape = (channels // b**2, height * b, width * b)
        chain.add("DepthToSpace", shape, blocksize=b, mode=step.order)
        return None
    chain.add("SpaceToDepth", (channels * b**2, height // b, width // b), blocksize=b)
    if step.order == "CRD":  # the node numbers places first
        chain.gather(0, np.arange(channels * b**2).reshape(b**2, channels).T.ravel())
    return None


def _resample(chain: Chain, op: Resize | Select | Decimate, layout: Layout) -> None:
    """Append a Resize node, or a Gather node per axis where there is none that reads as `op`."""
    sources: list[Array | None]
    if isinstance(op, Resize):
        along, channel = layout.split(op.scale, None)
        given, wanted = (
            (count, *size)
            for size, count in (layout.split(s, 1) for s in (op.input_shape, op.output_shape))
        )
        first = Resize(
            given, wanted, op.method, coordinates=op.coordinates, scale=(channel, *along)
        )
        found = resize_node(first)
        if found is not None:
            constants, options = found
            chain.add("Resize", wanted, *constants, **options)
            return
        sources = list(nearest_sources(first))
    elif isinstance(op, Select):
        along, channel = layout.split(op.sources, None)
        sources = [channel, *along]
    else:
        strides, stride = layout.split(op.geometry.stride, 1)
        sources = [
            np.arange(0, n, s) if s > 1 else None
            for n, s in zip(chain.shape, (stride, *strides), strict=True)
        ]
    for axis, source in enumerate(sources):
        if source is not None:
            chain.gather(axis, source)


def _dilate(chain: Chain, op: Transpose, layout: Layout) -> None:
    """Append the transpose of decimation as a transposed convolution by ones of size 1."""
    kept = op.T
    steps_kept = layout.split(kept.geometry.stride, 1) if isinstance(kept, Decimate) else ((), 0)
    strides, stride = steps_kept
    if stride != 1:
        raise LinconvError(
            f"a layer of ONNX must be made of convolutions, pads, pools, resizing, shuffles and "
            f"selections; got {op!r} in the operator; write the other parts by themselves"
        )
    wanted, channels = layout.split(op.output_shape, 1)
    ones = np.ones((channels, 1, *(1,) * layout.ndim), np.float32)
    shape = (channels, *wanted)
    conv = Conv(ones, shape, stride=strides, groups=channels, data_format="channels_first")
    _conv_transpose(chain, conv.T, None)


def _activate(chain: Chain, name: str) -> None:
    leaky = re.fullmatch(r"leaky_relu\(([-+.\deE]+)\)", name)
    if name == "relu6":
        bounds = (("min", np.array(0.0)), ("max", np.array(6.0)))
        chain.add("Clip", chain.shape, *bounds)
    elif leaky:
        chain.add("LeakyRelu", chain.shape, alpha=float(leaky[1]))
    elif name in _ACTIVATIONS:
        kind, options = _ACTIVATIONS[name]
        chain.opset = 24 if kind == "Swish" else chain.opset
        chain.add(kind, chain.shape, **options)
    else:
        raise LinconvError(
            f"the activation must be one of {', '.join([*_ACTIVATIONS, 'relu6'])} or "
            f"leaky_relu(slope) to be written for ONNX; got {name!r}; write Layer(layer.operator, "
            f"layer.bias, channel_axis=...) and add the activation yourself"
        )

"""ATen operators of PyTorch as layers: what an exported program calls, without PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

from linconv.arguments import per_axis
from linconv.convolution import Conv, ConvTranspose
from linconv.errors import LinconvError
from linconv.factors import Pad
from linconv.layers.aten import Call
from linconv.layers.layer import Layer
from linconv.layers.reach import SAME_PLACE, AxisReach, Reach, reach_of_windows
from linconv.layers.torch import read_pool, read_upsample
from linconv.padding import Pairs
from linconv.receptive_field import ReceptiveField
from linconv.shuffling import DepthToSpace, SpaceToDepth

__all__ = ["POINTWISE", "READERS", "own_module", "pool_reach", "slice_reach"]

_POINTWISE = """
_log_softmax _native_batch_norm_legit_no_training _to_copy abs add alias alpha_dropout batch_norm
celu clamp clamp_max clamp_min clone contiguous detach div dropout elu exp feature_dropout gelu
hardsigmoid hardswish hardtanh leaky_relu lift_fresh_copy log maximum minimum mish mul neg pow
prelu relu relu6 rsqrt rsub selu sigmoid silu softplus softsign sqrt square sub tanh threshold to
type_as where
"""
POINTWISE = frozenset(_POINTWISE.split())
"""Operators that see each sample by itself, without the underscore of their in-place forms."""

_MODES = {
    "constant": "zeros",
    "reflect": "reflect",
    "replicate": "replicate",
    "circular": "circular",
}


def own_module(call: Call) -> tuple[str, str]:
    """Return the name and the kind of a step: its module's, if the module is that one step."""
    plain, kind = call.operator.rstrip("_").replace("_", ""), call.module_kind.lower()
    known = kind and call.module
    same = plain in kind or (plain.startswith("upsample") and kind.startswith("upsampl"))
    if known and (same or (plain == "pad" and kind[:-2].endswith("pad"))):
        return call.module, call.module_kind
    return (f"{call.module}.{call.name}" if call.module else call.name), call.operator


def _options(call: Call, ndim: int) -> dict[str, Any]:
    given = call.arguments
    return {
        "stride": _each(given.get("stride"), ndim, 1),
        "dilation": _each(given.get("dilation"), ndim, 1),
        "groups": given.get("groups", 1),
        "data_format": "channels_first",
    }


def _each(value: Any, ndim: int, default: int) -> tuple[int, ...]:
    """Read one number per axis; PyTorch may write a single one, or none for the default."""
    values = (default,) if value in (None, []) else value
    values = values if isinstance(values, list | tuple) else (values,)
    return per_axis("an argument", values[0] if len(values) == 1 else values, ndim)


def _constants(weights: Mapping[str, Any]) -> tuple[Any, Any]:
    if "weight" not in weights:
        raise LinconvError("a convolution's kernel must be a constant; this one is computed")
    return weights["weight"], weights.get("bias")


def _conv(
    call: Call, shape: tuple[int, ...], weights: Mapping[str, Any], kind: str, pad: Call | None
) -> Layer:
    given, ndim = call.arguments, len(shape) - 1
    if given.get("transposed"):
        return _conv_transpose(call, shape, weights, kind, pad)
    kernel, bias = _constants(weights)
    padding: Any = given.get("padding", 0)
    mode: Any = "zeros"
    if not isinstance(padding, str):
        padding = _each(padding, ndim, 0)
    if pad is not None:
        if padding not in ("valid", (0,) * ndim):
            raise LinconvError("a convolution's module pads twice; its parts are not read as one")
        pairs, modes = _pads(pad, len(shape))
        padding, mode = pairs[1:], modes[1:]
    op = Conv(kernel, shape, padding=padding, padding_mode=mode, **_options(call, ndim))
    return Layer(op, bias, None, 0, kind, "torch", f"padding {op.geometry.padding}")


def _conv_transpose(
    call: Call, shape: tuple[int, ...], weights: Mapping[str, Any], kind: str, pad: Call | None
) -> Layer:
    if pad is not None:
        raise LinconvError("a transposed convolution's module pads; its parts are not read as one")
    given, ndim = call.arguments, len(shape) - 1
    kernel, bias = _constants(weights)
    op = ConvTranspose(
        kernel,
        shape,
        padding=_each(given.get("padding"), ndim, 0),
        output_padding=_each(given.get("output_padding"), ndim, 0),
        **_options(call, ndim),
    )
    return Layer(op, bias, None, 0, kind, "torch", f"cropping {op.geometry.padding}")


def _pads(call: Call, count: int) -> tuple[Pairs, tuple[str, ...]]:
    """Return the pads of all axes of a sample; PyTorch gives the last axis first."""
    given = call.arguments
    sides = list(given.get("pad", given.get("padding", ())))
    mode = given.get("mode")
    if mode is None:
        mode = {"reflection": "reflect", "replication": "replicate"}.get(
            call.operator.partition("_")[0], "constant"
        )
    if mode not in _MODES or len(sides) % 2 or len(sides) > 2 * count:
        raise LinconvError(f"a padding of mode {mode!r} by {sides} is not known")
    if mode == "constant" and given.get("value"):
        raise LinconvError(f"padding with {given['value']} instead of zeros is not linear")
    pairs = [(0, 0)] * count
    for position in range(len(sides) // 2):
        pairs[count - 1 - position] = (sides[2 * position], sides[2 * position + 1])
    modes = tuple(_MODES[mode] if any(pair) else "zeros" for pair in pairs)
    return tuple(pairs), modes


def _pad(
    call: Call, shape: tuple[int, ...], weights: Mapping[str, Any], kind: str, pad: Call | None
) -> Layer:
    pairs, modes = _pads(call, len(shape))
    return Layer(Pad(shape, pairs, modes), None, None, 0, kind, "torch", f"padding {pairs}")


def _average(
    call: Call, shape: tuple[int, ...], weights: Mapping[str, Any], kind: str, pad: Call | None
) -> Layer:
    given, ndim = call.arguments, len(shape) - 1
    kernel = _each(given["kernel_size"], ndim, 1)
    options = SimpleNamespace(
        kernel_size=kernel,
        stride=kernel if not given.get("stride") else _each(given["stride"], ndim, 1),
        padding=_each(given.get("padding"), ndim, 0),
        ceil_mode=given.get("ceil_mode", False),
        count_include_pad=given.get("count_include_pad", True),
        divisor_override=given.get("divisor_override"),
    )
    return read_pool(options, shape, kind, ndim)


def _upsample(
    call: Call, shape: tuple[int, ...], weights: Mapping[str, Any], kind: str, pad: Call | None
) -> Layer:
    given = call.arguments
    name = call.operator.removeprefix("upsample_").removeprefix("_upsample_")
    mode = name.rstrip("0123456789d") if name.startswith(("nearest", "bi")) else name[:-2]
    factors = given.get("scale_factors")
    if call.shape is None or None in call.shape:
        raise LinconvError("the size that an upsampling makes must be known")
    options = SimpleNamespace(
        mode="nearest-exact" if "exact" in name else mode,
        align_corners=given.get("align_corners"),
        size=None if factors else call.shape[2:],
        scale_factor=factors,
        recompute_scale_factor=False,
    )
    return read_upsample(options, shape, kind)


def _shuffle(
    call: Call, shape: tuple[int, ...], weights: Mapping[str, Any], kind: str, pad: Call | None
) -> Layer:
    up = call.operator == "pixel_shuffle"
    factor = call.arguments["upscale_factor" if up else "downscale_factor"]
    op = (DepthToSpace if up else SpaceToDepth)(shape, factor, order="CRD")
    return Layer(op, None, None, 0, kind, "torch")


Reader = Callable[[Call, tuple[int, ...], Mapping[str, Any], str, Call | None], Layer]

READERS: dict[str, Reader] = {
    **{f"conv{n}d": _conv for n in (1, 2, 3)},
    "convolution": _conv,
    **{f"conv_transpose{n}d": _conv_transpose for n in (1, 2, 3)},
    **{f"avg_pool{n}d": _average for n in (1, 2, 3)},
    **{f"upsample_nearest{n}d": _upsample for n in (1, 2, 3)},
    **{f"_upsample_nearest_exact{n}d": _upsample for n in (1, 2, 3)},
    "upsample_linear1d": _upsample,
    "upsample_bilinear2d": _upsample,
    "upsample_trilinear3d": _upsample,
    "pad": _pad,
    "constant_pad_nd": _pad,
    **{f"{kind}_pad{n}d": _pad for kind in ("reflection", "replication") for n in (1, 2, 3)},
    "pixel_shuffle": _shuffle,
    "pixel_unshuffle": _shuffle,
}
"""Operators that are linear spatial layers: each takes the call, the shape of one sample that it
reads, its constants, its kind, and the padding of its module before it."""


def pool_reach(call: Call, ndim: int) -> Reach:
    """Return the windows of a max pooling."""
    given = call.arguments
    kernel = _each(given["kernel_size"], ndim, 1)
    stride = kernel if not given.get("stride") else _each(given["stride"], ndim, 1)
    padding = _each(given.get("padding"), ndim, 0)
    dilation = _each(given.get("dilation"), ndim, 1)
    size = tuple((k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True))
    return reach_of_windows(ReceptiveField(size, stride, tuple(-p for p in padding)))


def slice_reach(call: Call, shape: tuple[int, ...]) -> Reach | None:
    """Return which samples a slice along one axis selects, None if that is not told in numbers."""
    given, count = call.arguments, len(shape) + 1
    dim, start, step = given.get("dim", 0), given.get("start") or 0, given.get("step", 1)
    if not all(isinstance(value, int) for value in (dim, start, step)):
        return None
    axes = [SAME_PLACE] * (len(shape) - 1)
    axis = dim % count - 2
    if axis >= 0:
        first = max(0, start + shape[axis + 1]) if start < 0 else min(start, shape[axis + 1])
        axes[axis] = AxisReach((first,), (first,), step)
    return tuple(axes)

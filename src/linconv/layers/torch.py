"""torch: layers of PyTorch, read. All are channels first."""

from __future__ import annotations

import copy
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from linconv.convolution import Conv, ConvTranspose
from linconv.engines.arrays import Array
from linconv.errors import LinconvError
from linconv.factors import Pad
from linconv.identity import Identity
from linconv.layers.chain import chained
from linconv.layers.layer import Layer
from linconv.layers.pooling import average_pool
from linconv.layers.shapes import known_shape, sample_shape
from linconv.layout import Layout
from linconv.linear_map import LinearMap
from linconv.resampling import Resize
from linconv.shuffling import DepthToSpace, SpaceToDepth

if TYPE_CHECKING:
    import torch

__all__ = [
    "ACTIVATION_LAYERS",
    "SUPPORTED",
    "read",
    "read_pool",
    "read_upsample",
    "tensor_values",
]

SUPPORTED = (
    "Conv1d/2d/3d, ConvTranspose1d/2d/3d, AvgPool1d/2d/3d, Upsample, UpsamplingNearest2d, "
    "UpsamplingBilinear2d, ZeroPad1d/2d/3d, ConstantPad1d/2d/3d (of 0), ReflectionPad1d/2d/3d, "
    "ReplicationPad1d/2d/3d, CircularPad1d/2d/3d, PixelShuffle, PixelUnshuffle, Identity, "
    "activations, Sequential of these"
)

ACTIVATION_LAYERS = {
    "elu": "ELU",
    "gelu": "GELU",
    "hard_sigmoid": "Hardsigmoid",
    "hard_silu": "Hardswish",
    "log_sigmoid": "LogSigmoid",
    "relu": "ReLU",
    "relu6": "ReLU6",
    "sigmoid": "Sigmoid",
    "silu": "SiLU",
    "softplus": "Softplus",
    "softsign": "Softsign",
    "tanh": "Tanh",
}
"""Our names and PyTorch's classes, which compute the same with their default options."""

_DEFAULTS: dict[str, dict[str, Any]] = {
    "ELU": {"alpha": 1.0},
    "GELU": {"approximate": "none"},
    "Softplus": {"beta": 1.0, "threshold": 20.0},
}
_BORDERS = {
    "ZeroPad": "zeros",
    "ConstantPad": "zeros",
    "ReflectionPad": "reflect",
    "ReplicationPad": "replicate",
    "CircularPad": "circular",
}
_UPSAMPLING = {
    "nearest": ("nearest", "asymmetric"),
    "nearest-exact": ("nearest", "half_pixel"),
    "linear": ("linear", "half_pixel"),
    "bilinear": ("linear", "half_pixel"),
    "trilinear": ("linear", "half_pixel"),
}


def read(layer: Any, input_shape: tuple[int, ...] | None = None) -> Layer:
    """Read a layer of PyTorch; see `from_layer`."""
    from torch import nn

    kind = type(layer).__name__
    lazy = isinstance(layer, nn.modules.lazy.LazyModuleMixin)
    if lazy and layer.has_uninitialized_params():
        raise LinconvError(
            f"a layer must have its weights; got {kind}, which makes them at its first call; run "
            f"it once on an input, or use {kind.removeprefix('Lazy')} with its input channels"
        )
    if isinstance(layer, nn.Sequential):
        return _sequential(layer, input_shape)
    base = _known_base(layer)
    name = base.__name__ if base is not None else ""
    if base is None or type(layer).forward is not base.forward:
        what = "whose forward is its own" if base is not None else "which is none of them"
        raise LinconvError(
            f"a layer of PyTorch must be one of {SUPPORTED}; got {kind}, {what}; {_remedy(layer)}"
        )
    if name.startswith("ConvTranspose"):
        return _conv_transpose(layer, input_shape, kind)
    if name.startswith("Conv"):
        return _conv(layer, input_shape, kind)
    if name.startswith("AvgPool"):
        return read_pool(layer, input_shape, kind, int(name[-2]))
    if name.startswith("Upsample"):
        return read_upsample(layer, input_shape, kind)
    if name.startswith("Pixel"):
        return _shuffle(layer, input_shape, kind)
    if "Pad" in name:
        return _pad(layer, input_shape, kind, name)
    shape = known_shape(kind, input_shape, (3, 32, 32))
    activation = None if name == "Identity" else _activation(layer, name)
    return Layer(Identity(shape), None, activation, 0, kind, "torch")


def _known_base(layer: Any) -> Any:
    """Return the class of PyTorch's own that tells what a layer computes, or None."""
    from torch import nn

    names = [f"{kind}{n}d" for kind in ("Conv", "ConvTranspose", "AvgPool") for n in (1, 2, 3)]
    names += [f"{kind}{n}d" for kind in _BORDERS for n in (1, 2, 3)]
    names += ["Upsample", "PixelShuffle", "PixelUnshuffle", "Identity", "LeakyReLU", "PReLU"]
    names += [*ACTIVATION_LAYERS.values(), "SELU", "Mish", "Hardtanh", "CELU", "Softmax"]
    known = {getattr(nn, name) for name in names}
    return next((base for base in type(layer).__mro__ if base in known), None)


def _remedy(layer: Any) -> str:
    if "quantized" in type(layer).__module__:
        return "read the layer before it is quantized, or make one of its dequantized weight"
    return "read the layers that it is made of one by one"


def tensor_values(tensor: torch.Tensor, kind: str) -> Array:
    """Return a tensor as a NumPy array of its own, half precision in float32."""
    import torch

    if tensor.is_meta:
        raise LinconvError(
            f"a layer must have its weights; got {kind} on the meta device, which holds no data; "
            f"load them first, or move it with to_empty and initialize it"
        )
    tensor = tensor.detach().to("cpu").resolve_conj().resolve_neg()
    if tensor.is_quantized:
        tensor = tensor.dequantize()
    wide = (torch.float32, torch.float64, torch.complex64, torch.complex128)
    if tensor.dtype not in wide:
        tensor = tensor.to(torch.complex64 if tensor.is_complex() else torch.float32)
    dense = tensor.to_dense() if tensor.layout != torch.strided else tensor
    return np.array(dense.numpy())


def _weights(layer: Any, kind: str) -> tuple[Array, Array | None]:
    """Return the weight that the layer computes with in evaluation, and its bias.

    Parametrizations are evaluated on a copy, for spectral norm steps at each look; the older hooks
    keep a weight that may be out of date, and are asked for the present one.
    """
    from torch.nn.utils import parametrize

    if parametrize.is_parametrized(layer):
        layer = copy.deepcopy(layer).eval()
    weight = layer.weight
    for hook in layer._forward_pre_hooks.values():
        if getattr(hook, "name", None) == "weight" and hasattr(hook, "compute_weight"):
            stepping = hasattr(hook, "n_power_iterations")
            options = {"do_power_iteration": False} if stepping else {}
            weight = hook.compute_weight(layer, **options)
        elif getattr(hook, "_tensor_name", None) == "weight" and hasattr(hook, "apply_mask"):
            weight = hook.apply_mask(layer)
    bias = None if layer.bias is None else tensor_values(layer.bias, kind)
    return tensor_values(weight, kind), bias


def _conv(layer: Any, input_shape: tuple[int, ...] | None, kind: str) -> Layer:
    ndim = len(layer.kernel_size)
    shape = sample_shape(kind, input_shape, ndim, channels=layer.in_channels)
    kernel, bias = _weights(layer, kind)
    op = Conv(
        kernel,
        shape,
        stride=layer.stride,
        padding=layer.padding,
        padding_mode=layer.padding_mode,
        dilation=layer.dilation,
        groups=layer.groups,
        data_format="channels_first",
    )
    words = f"padding={layer.padding!r}, {layer.padding_mode}: {op.geometry.padding}"
    return Layer(op, bias, None, 0, kind, "torch", words)


def _conv_transpose(layer: Any, input_shape: tuple[int, ...] | None, kind: str) -> Layer:
    ndim = len(layer.kernel_size)
    shape = sample_shape(kind, input_shape, ndim, channels=layer.in_channels)
    kernel, bias = _weights(layer, kind)
    op = ConvTranspose(
        kernel,
        shape,
        stride=layer.stride,
        padding=layer.padding,
        output_padding=layer.output_padding,
        dilation=layer.dilation,
        groups=layer.groups,
        data_format="channels_first",
    )
    words = (
        f"padding={layer.padding}, output_padding={layer.output_padding}: of the full output, "
        f"{op.geometry.padding} are cropped"
    )
    return Layer(op, bias, None, 0, kind, "torch", words)


def read_pool(layer: Any, input_shape: tuple[int, ...] | None, kind: str, ndim: int) -> Layer:
    """Return average pooling by options named as those of `torch.nn.AvgPool2d`."""
    shape = sample_shape(kind, input_shape, ndim)
    kernel, stride, padding = (
        _each(getattr(layer, name), ndim) for name in ("kernel_size", "stride", "padding")
    )
    override = getattr(layer, "divisor_override", None)
    pairs, divisors = [], []
    for n, k, s, p in zip(shape[1:], kernel, stride, padding, strict=True):
        spare = n + 2 * p - k
        windows = (-(-spare // s) if layer.ceil_mode else spare // s) + 1
        if layer.ceil_mode and (windows - 1) * s >= n + p:
            windows -= 1  # the last window would see nothing but padding
        starts = np.arange(windows) * s - p
        pairs.append((p, max(p, (windows - 1) * s + k - n - p)))
        divisors.append(np.minimum(starts + k, n + p) - starts)
    counted: Any = divisors if layer.count_include_pad else None
    if override is not None:
        counted = [np.full(len(d), override if axis == 0 else 1) for axis, d in enumerate(divisors)]
    layout = Layout(ndim, "channels_first", bare=False)
    op = average_pool(layout, shape, kernel, stride, tuple(pairs), counted)
    words = f"padding={layer.padding}, ceil_mode={layer.ceil_mode}: {tuple(pairs)}"
    return Layer(op, None, None, 0, kind, "torch", words)


def _each(value: Any, ndim: int) -> tuple[int, ...]:
    return (value,) * ndim if isinstance(value, int) else tuple(value)


def read_upsample(layer: Any, input_shape: tuple[int, ...] | None, kind: str) -> Layer:
    """Return an upsampling by options named as those of `torch.nn.Upsample`."""
    if layer.mode not in _UPSAMPLING:
        raise LinconvError(
            f"mode of {kind} must be one of {', '.join(_UPSAMPLING)}; got {layer.mode!r}; "
            f"read another interpolation's layers around it one by one"
        )
    fixed = {"linear": 1, "bilinear": 2, "trilinear": 3}.get(layer.mode)
    shape = known_shape(kind, input_shape, (3, *(32,) * (fixed or 2)))
    ndim = len(shape) - 1 if fixed is None and 2 <= len(shape) <= 4 else fixed or 2
    shape = sample_shape(kind, input_shape, ndim)
    method, coordinates = _UPSAMPLING[layer.mode]
    if layer.align_corners:
        coordinates = "align_corners"
    scale: list[Any] = [None] * ndim
    if layer.size is not None:
        size = _each(layer.size, ndim)
    else:
        factors = (
            (layer.scale_factor,) * ndim
            if isinstance(layer.scale_factor, int | float)
            else tuple(layer.scale_factor)
        )
        size = tuple(math.floor(n * f) for n, f in zip(shape[1:], factors, strict=True))
        whole = [o == n * f for n, o, f in zip(shape[1:], size, factors, strict=True)]
        if not layer.recompute_scale_factor:
            scale = [None if w else 1 / f for w, f in zip(whole, factors, strict=True)]
    if method == "nearest":
        scale = [
            np.float32(n / o if s is None else s) if n != o or s is not None else None
            for n, o, s in zip(shape[1:], size, scale, strict=True)
        ]
    op = Resize(shape, (shape[0], *size), method, coordinates=coordinates, scale=(None, *scale))
    words = f"mode={layer.mode!r}: {coordinates}"
    return Layer(op, None, None, 0, kind, "torch", words)


def _shuffle(layer: Any, input_shape: tuple[int, ...] | None, kind: str) -> Layer:
    up = hasattr(layer, "upscale_factor")
    factor = layer.upscale_factor if up else layer.downscale_factor
    usual = (3 * factor**2, 32, 32) if up else (3, 32 * factor, 32 * factor)
    known_shape(kind, input_shape, usual)
    shape = sample_shape(kind, input_shape, 2)
    op: LinearMap = (DepthToSpace if up else SpaceToDepth)(shape, factor, order="CRD")
    return Layer(op, None, None, 0, kind, "torch")


def _pad(layer: Any, input_shape: tuple[int, ...] | None, kind: str, name: str) -> Layer:
    if getattr(layer, "value", 0) != 0:
        raise LinconvError(
            f"padding must be with 0 to be linear; got {kind} of {layer.value}; read the layers "
            f"around it one by one"
        )
    ndim = int(name[-2])
    shape = sample_shape(kind, input_shape, ndim)
    sides = tuple(layer.padding)  # the last axis first
    pairs = [sides[2 * axis : 2 * axis + 2] for axis in reversed(range(ndim))]
    mode = _BORDERS[name[:-2]]
    op = Pad(shape, ((0, 0), *pairs), ("zeros", *(mode,) * ndim))
    words = f"padding={sides}, the last axis first: {tuple(pairs)}"
    return Layer(op, None, None, 0, kind, "torch", words)


def _activation(layer: Any, name: str) -> str:
    """Return the name of an activation layer, with its options where they are not the usual."""
    ours = {theirs: known for known, theirs in ACTIVATION_LAYERS.items()}
    usual = _DEFAULTS.get(name, {})
    if name in ours and all(getattr(layer, k) == v for k, v in usual.items()):
        return ours[name]
    if name == "LeakyReLU":
        return f"leaky_relu({layer.negative_slope:g})"
    return f"{name.lower()}({layer.extra_repr()})"


def _sequential(layer: Any, input_shape: tuple[int, ...] | None) -> Layer:
    kind = type(layer).__name__
    from torch import nn

    if type(layer).forward is not nn.Sequential.forward:
        raise LinconvError(
            f"a layer of PyTorch must be one of {SUPPORTED}; got {kind}, whose forward is its own; "
            f"{_remedy(layer)}"
        )
    read_so_far: list[Layer] = []
    shape = input_shape
    for part in layer:
        read_so_far.append(read(part, shape))
        shape = read_so_far[-1].output_shape
    return chained(read_so_far, kind=kind, source="torch")

"""The same convolution in every framework, built by each framework's own constructor."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

import linconv as lc


@dataclass(frozen=True)
class Spec:
    """A convolution: kernel (out, in/groups, *size); `pads` are pairs, before and after."""

    size: tuple[int, ...]
    kernel: np.ndarray
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    pads: tuple[tuple[int, int], ...]
    groups: int
    bias: np.ndarray | None = None

    @property
    def ndim(self) -> int:
        return len(self.size)

    @property
    def in_channels(self) -> int:
        return self.kernel.shape[1] * self.groups

    @property
    def last_kernel(self) -> np.ndarray:
        return np.moveaxis(self.kernel, (0, 1), (-1, -2))

    def but(self, **changes: Any) -> "Spec":
        return replace(self, **changes)


def draw(
    rng: np.random.Generator,
    ndim: int,
    *,
    symmetric: bool = False,
    square: bool = False,
    **fixed: Any,
) -> Spec:
    """Draw a layer whose kernel values are neither small nor large."""
    groups = fixed.pop("groups", int(rng.choice([1, 1, 2])))
    per_group, out = int(rng.integers(1, 4)), groups * int(rng.integers(1, 4))
    least, most = (7, 11) if ndim < 3 else (6, 8)
    size = tuple(int(n) for n in rng.integers(least, most, ndim))
    taps = (
        (int(rng.integers(2, 4)),) * ndim if square else tuple(map(int, rng.integers(1, 4, ndim)))
    )
    taps = fixed.pop("taps", taps)
    if square:
        size = size[:1] * ndim
    stride = fixed.pop("stride", tuple(map(int, rng.integers(1, 3, ndim))))
    dilation = fixed.pop("dilation", tuple(1 if s > 1 else int(rng.integers(1, 3)) for s in stride))
    pads = tuple((int(low), int(high)) for low, high in rng.integers(0, 2, (ndim, 2)))
    if symmetric:
        pads = tuple((low, low) for low, _ in pads)
    channels = fixed.pop("channels", (out, per_group))
    sign = rng.choice([-1.0, 1.0], (*channels, *taps))
    kernel = sign * rng.uniform(0.5, 1.5, sign.shape)
    spec = Spec(size, kernel.astype(np.float32).astype(float), stride, dilation, pads, groups)
    return spec.but(**fixed)


def as_map(spec: Spec, data_format: str = "channels_first", mode: Any = "zeros") -> lc.Conv:
    first = data_format == "channels_first"
    shape = (spec.in_channels, *spec.size) if first else (*spec.size, spec.in_channels)
    return lc.Conv(
        spec.kernel if first else spec.last_kernel,
        shape,
        stride=spec.stride,
        padding=spec.pads,
        padding_mode=mode,
        dilation=spec.dilation,
        groups=spec.groups,
        data_format=data_format,
    )


def as_torch(spec: Spec, **options: Any) -> Any:
    torch = pytest.importorskip("torch", reason="this layer needs torch")
    symmetric = all(low == high for low, high in spec.pads)
    out, _, *taps = spec.kernel.shape
    layer = getattr(torch.nn, f"Conv{spec.ndim}d")(
        spec.in_channels,
        out,
        tuple(taps),
        stride=spec.stride,
        dilation=spec.dilation,
        padding=tuple(low for low, _ in spec.pads) if symmetric else 0,
        groups=spec.groups,
        bias=spec.bias is not None,
        **options,
    )
    layer.weight.data = torch.from_numpy(spec.kernel.astype(np.float32))
    if spec.bias is not None:
        layer.bias.data = torch.from_numpy(spec.bias.astype(np.float32))
    if symmetric:
        return layer
    sides = [side for pair in reversed(spec.pads) for side in pair]
    return torch.nn.Sequential(getattr(torch.nn, f"ZeroPad{spec.ndim}d")(tuple(sides)), layer)


def as_keras(spec: Spec, padding: str = "valid", **options: Any) -> Any:
    """Its own `padding`; that of `spec` is left to the caller."""
    keras = pytest.importorskip("keras", reason="this layer needs keras")
    out, _, *taps = spec.kernel.shape
    layer = getattr(keras.layers, f"Conv{spec.ndim}D")(
        out,
        tuple(taps),
        strides=spec.stride,
        dilation_rate=spec.dilation,
        padding=padding,
        groups=spec.groups,
        use_bias=spec.bias is not None,
        data_format="channels_last",
        kernel_initializer="zeros",
        **options,
    )
    layer.build((None, *spec.size, spec.in_channels))
    layer.kernel.assign(spec.last_kernel)
    if spec.bias is not None:
        layer.bias.assign(spec.bias)
    return layer


def as_flax(spec: Spec, padding: Any = None) -> Any:
    nnx = pytest.importorskip("flax.nnx", reason="this layer needs flax")
    out, _, *taps = spec.kernel.shape
    layer = nnx.Conv(
        spec.in_channels,
        out,
        tuple(taps),
        strides=spec.stride,
        kernel_dilation=spec.dilation,
        padding=spec.pads if padding is None else padding,
        feature_group_count=spec.groups,
        use_bias=spec.bias is not None,
        kernel_init=lambda key, shape, dtype, **_: np.zeros(shape, dtype),  # drawn by JAX, slow
        rngs=nnx.Rngs(0),
    )
    import jax

    layer.kernel[...] = jax.numpy.asarray(spec.last_kernel, "float32")
    if spec.bias is not None:
        layer.bias[...] = jax.numpy.asarray(spec.bias, "float32")
    return layer


def as_onnx(spec: Spec, *after: str, batch: Any = "N", **options: Any) -> Any:
    onnx = pytest.importorskip("onnx", reason="this layer needs onnx")
    make = onnx.helper
    names = ["x", "w"] + (["b"] if spec.bias is not None else [])
    if "auto_pad" not in options:
        options["pads"] = [low for low, _ in spec.pads] + [high for _, high in spec.pads]
    nodes = [
        make.make_node(
            "Conv",
            names,
            ["y"],
            strides=spec.stride,
            dilations=spec.dilation,
            group=spec.groups,
            **options,
        )
    ]
    for name in after:
        nodes.append(make.make_node(name, [nodes[-1].output[0]], [f"y_{name}"]))
    shape = [batch, spec.in_channels, *spec.size]
    arrays = {"w": spec.kernel, "b": spec.bias}
    graph = make.make_graph(
        nodes,
        "layer",
        [make.make_tensor_value_info("x", onnx.TensorProto.FLOAT, shape)],
        [make.make_tensor_value_info(nodes[-1].output[0], onnx.TensorProto.FLOAT, None)],
        [onnx.numpy_helper.from_array(arrays[n].astype(np.float32), n) for n in names[1:]],
    )
    model = make.make_model(graph, opset_imports=[make.make_opsetid("", 18)])
    model.ir_version = 9
    return model


MAKERS = {"map": as_map, "torch": as_torch, "flax": as_flax, "onnx": as_onnx}


def shape_for(spec: Spec, kind: str) -> tuple[int, ...]:
    last = kind in ("keras", "flax")
    return (*spec.size, spec.in_channels) if last else (spec.in_channels, *spec.size)


def hide(module: Any) -> Any:
    """The same module without its kind: only running tells what it does."""
    torch = pytest.importorskip("torch", reason="hidden layers are torch modules")

    class Hidden(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = module

        def forward(self, x):
            return self.inner(x)

    return Hidden()

"""ONNX nodes, read one by one: each a linear map, a bias or an activation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from linconv.arguments import nearest
from linconv.arguments import shape as read_shape
from linconv.errors import LinconvError
from linconv.identity import Identity
from linconv.layers.layer import Layer
from linconv.layers.onnx_conv import read_conv, read_conv_transpose
from linconv.layers.onnx_moves import node_layer, read_gather, read_pad, read_shuffle, read_slice
from linconv.layers.onnx_pool import read_average_pool, read_global_average_pool
from linconv.layers.onnx_protos import attributes, optional_input, title
from linconv.layers.onnx_resize import read_resize, read_upsample
from linconv.resampling import Diagonal

__all__ = ["KNOWN", "read_node"]

_DOMAINS = ("", "ai.onnx")


def read_node(
    node: Any, weights: Mapping[str, Any], input_shape: Any, *, data: str | None = None
) -> Layer:
    """Return the layer of one ONNX node.

    Parameters
    ----------
    node : onnx.NodeProto
        Conv, ConvTranspose, AveragePool, GlobalAveragePool, Pad, Resize, Upsample, DepthToSpace,
        SpaceToDepth, Slice, Gather of a list, Add of one number per channel, Mul by constants,
        Identity, or an activation.
    weights : mapping of str to array
        The constants of the graph by name: initializers, and what Constant nodes return.
    input_shape : sequence of int
        (channels, *size) of one sample, no batch axis.
    data : str, optional
        The input that is no constant; the first by default.

    Returns
    -------
    Layer
        Channels first, `channel_axis` 0. Kernels are copied, half precision as float32.

    Raises
    ------
    InputError
        If a constant is missing, or is none.
    GeometryError, ShapeError
        If attributes or shapes describe no layer.
    LinconvError
        If the node is of another type or domain, or computes what no map of linconv does.
    """
    if node.domain not in _DOMAINS or node.op_type not in KNOWN:
        domain = f" of the domain {node.domain!r}" if node.domain not in _DOMAINS else ""
        raise LinconvError(
            f"{title(node)}{domain} is no linear layer that is known; "
            f"{nearest(node.op_type, KNOWN)}"
        )
    shape = read_shape("input_shape", input_shape)
    place = list(node.input).index(data) if data in node.input else 0
    if place and node.op_type not in ("Add", "Mul"):
        raise LinconvError(
            f"the first input of {title(node)} must be the data; got {data!r} as input "
            f"{place}; a layer whose weights are computed is not linear in its input alone"
        )
    return KNOWN[node.op_type](node, weights, shape)


def _read_identity(node: Any, weights: Mapping[str, Any], shape: tuple[int, ...]) -> Layer:
    attributes(node)
    return node_layer(node, Identity(shape))


def _read_add(node: Any, weights: Mapping[str, Any], shape: tuple[int, ...]) -> Layer:
    attributes(node)
    bias = _other_operand(node, weights, "summand")
    channels = (shape[0],) + (1,) * (len(shape) - 1)
    fits = bias.size == 1 or tuple(n for n in bias.shape if n != 1) == (shape[0],)
    spread = np.broadcast_to(bias, (1, *channels)) if fits and bias.ndim <= len(shape) + 1 else None
    if spread is None or spread.shape[1:] != channels:
        raise LinconvError(
            f"{title(node)} must add one number per channel to be a bias, in a shape such as "
            f"{channels}; got {bias.shape}; use a bias of the layer"
        )
    return Layer(
        Identity(shape),
        spread.ravel().copy(),
        channel_axis=0,
        kind="Add",
        source="onnx",
        name=node.name,
    )


def _read_mul(node: Any, weights: Mapping[str, Any], shape: tuple[int, ...]) -> Layer:
    attributes(node)
    factors = _other_operand(node, weights, "factor")
    if factors.ndim > len(shape) and factors.shape[: factors.ndim - len(shape)] != (1,):
        raise LinconvError(
            f"{title(node)} must have the same factors for each sample; got {factors.shape} "
            f"for samples of shape {shape}; write one layer per sample"
        )
    spread = factors[0] if factors.ndim > len(shape) else factors
    return node_layer(node, Diagonal(shape, spread))


def _other_operand(node: Any, weights: Mapping[str, Any], role: str) -> Any:
    """Return the constant operand of a node of two."""
    place = 0 if len(node.input) == 2 and node.input[0] in weights else 1
    value = optional_input(node, place, weights, role)
    if value is None:
        raise LinconvError(
            f"{title(node)} must have a constant {role}; it has no second input; add it"
        )
    return value


_ACTIVATIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "Celu": ("celu", {"alpha": 1.0}),
    "Elu": ("elu", {"alpha": 1.0}),
    "Gelu": ("gelu", {"approximate": "none"}),
    "HardSigmoid": ("hard_sigmoid", {"alpha": 0.2, "beta": 0.5}),
    "HardSwish": ("hard_silu", {}),
    "LeakyRelu": ("leaky_relu", {"alpha": 0.01}),
    "Mish": ("mish", {}),
    "Relu": ("relu", {}),
    "Selu": ("selu", {"alpha": 1.6732632, "gamma": 1.0507010}),
    "Sigmoid": ("sigmoid", {}),
    "Softplus": ("softplus", {}),
    "Softsign": ("softsign", {}),
    "Swish": ("silu", {"alpha": 1.0}),
    "Tanh": ("tanh", {}),
}
"""By node type: the name, and the attributes with their defaults."""

_PLAIN = {"hard_sigmoid": {"alpha": 1 / 6, "beta": 0.5}}
"""What the attributes are where the name alone tells the activation, if not the defaults."""


def _read_activation(node: Any, weights: Mapping[str, Any], shape: tuple[int, ...]) -> Layer:
    name, defaults = _ACTIVATIONS[node.op_type]
    kinds = {key: "STRING" if isinstance(v, str) else "FLOAT" for key, v in defaults.items()}
    given = defaults | attributes(node, **kinds)
    plain = _PLAIN.get(name, defaults)
    same = all(
        value == plain[key] if isinstance(value, str) else np.isclose(value, plain[key], rtol=1e-6)
        for key, value in given.items()
    )
    if not same:
        shown = ", ".join(
            f"{key}={value}" if isinstance(value, str) else f"{key}={value:.6g}"
            for key, value in given.items()
        )
        name = f"{name}({shown})"
    if node.op_type == "LeakyRelu":
        name = f"leaky_relu({given['alpha']:g})"
    return node_layer(node, Identity(shape), activation=name)


def _read_clip(node: Any, weights: Mapping[str, Any], shape: tuple[int, ...]) -> Layer:
    given = attributes(node, min="FLOAT", max="FLOAT")
    low, high = (
        given.get(key, optional_input(node, place, weights, f"{key}imum"))
        for key, place in (("min", 1), ("max", 2))
    )
    least, most = (None if bound is None else float(np.ravel(bound)[0]) for bound in (low, high))
    known: dict[Any, str] = {(0.0, 6.0): "relu6", (0.0, None): "relu"}
    name = known.get((least, most), f"clip({least}, {most})")
    return node_layer(node, Identity(shape), activation=name)


KNOWN: dict[str, Callable[[Any, Mapping[str, Any], tuple[int, ...]], Layer]] = {
    "Add": _read_add,
    "AveragePool": read_average_pool,
    "Clip": _read_clip,
    "Conv": read_conv,
    "ConvTranspose": read_conv_transpose,
    "DepthToSpace": read_shuffle,
    "Gather": read_gather,
    "GlobalAveragePool": read_global_average_pool,
    "Identity": _read_identity,
    "Mul": _read_mul,
    "Pad": read_pad,
    "Resize": read_resize,
    "Slice": read_slice,
    "SpaceToDepth": read_shuffle,
    "Upsample": read_upsample,
} | dict.fromkeys(_ACTIVATIONS, _read_activation)
"""By node type."""

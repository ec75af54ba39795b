"""ONNX layers, read: a node with its weights, or a model that is a chain of linear nodes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from linconv.arguments import shape as read_shape
from linconv.errors import InputError, LinconvError, ShapeError
from linconv.identity import Identity
from linconv.layers.chain import chained
from linconv.layers.layer import Layer
from linconv.layers.onnx_nodes import read_node
from linconv.layers.onnx_protos import attributes, import_onnx, initializers, title

__all__ = ["read", "read_node"]


def read(layer: Any, input_shape: Any = None, weights: Mapping[str, Any] | None = None) -> Layer:
    """Return the layer of an ONNX node, or of a graph or model that is a chain of nodes.

    Parameters
    ----------
    layer : onnx.NodeProto, onnx.GraphProto or onnx.ModelProto
        A graph's linear nodes must follow one another; see `read_node` for those that are known.
    input_shape : sequence of int, optional
        (channels, *size), no batch axis. A graph's own, where it declares one, is the default.
    weights : mapping of str to array, optional
        A node's constant inputs by name. For a graph, arrays that go before its own initializers,
        which makes up for those that lie in other files.

    Raises
    ------
    InputError
        If a constant is missing, damaged, or in another file.
    GeometryError, ShapeError
        If attributes or shapes describe no layer, or `input_shape` is needed.
    LinconvError
        If a node is none of those known, or the graph no chain.
    """
    onnx = import_onnx()
    given = dict(weights or {})
    shape = None if input_shape is None else read_shape("input_shape", input_shape)
    if isinstance(layer, onnx.NodeProto):
        if shape is None:
            raise ShapeError(
                f"{title(layer)} needs input_shape, (channels, *size) of one sample without "
                f"batch axis; got None; give it"
            )
        return read_node(layer, given, shape)
    if isinstance(layer, onnx.ModelProto):
        return _read_graph(layer.graph, shape, given)
    if isinstance(layer, onnx.GraphProto):
        return _read_graph(layer, shape, given)
    raise LinconvError(
        f"an ONNX layer must be a NodeProto, a GraphProto or a ModelProto; got "
        f"{type(layer).__name__}; load a file with onnx.load first"
    )


def _read_graph(graph: Any, shape: tuple[int, ...] | None, weights: dict[str, Any]) -> Layer:
    constants = initializers(graph, weights)
    current = _data_input(graph, constants)
    shape = _declared_shape(current) if shape is None else shape
    tensor, layers = current.name, []
    for node in graph.node:
        if node.op_type == "Constant":
            constants[node.output[0]] = _constant(node)
            continue
        if len(node.output) != 1 or tensor not in node.input:
            raise LinconvError(
                f"the nodes of a graph must be a chain to be read as one layer; {title(node)} "
                f"does not read {tensor!r}, what the node before it returns, or returns more "
                f"than one array; read the nodes one by one"
            )
        layers.append(read_node(node, constants, shape, data=tensor))
        tensor, shape = node.output[0], layers[-1].output_shape
    if not layers or [output.name for output in graph.output] != [tensor]:
        raise LinconvError(
            f"a graph must return what its last node does to be read as one layer; it returns "
            f"{[output.name for output in graph.output]}, and the last node {tensor!r}; read "
            f"the nodes one by one"
        )
    kinds = [layer.kind for layer in layers if not isinstance(layer.operator, Identity)]
    kind = " + ".join(kinds) or layers[-1].kind
    return chained(layers, kind=kind, source="onnx", name=graph.name)


def _constant(node: Any) -> Any:
    kinds = {"value": "TENSOR", "value_float": "FLOAT", "value_floats": "FLOATS"}
    kinds |= {"value_int": "INT", "value_ints": "INTS"}
    values = list(attributes(node, **kinds).values())
    if len(values) != 1:
        raise InputError(
            f"{title(node)} must have one value; got {len(values)}; write it as an initializer"
        )
    return np.asarray(values[0])


def _data_input(graph: Any, constants: Mapping[str, Any]) -> Any:
    inputs = [value for value in graph.input if value.name not in constants]
    if len(inputs) != 1:
        names = [value.name for value in inputs]
        raise InputError(
            f"a graph must have one input beside its constants; got {names}; give the arrays of "
            f"the others as weights"
        )
    return inputs[0]


def _declared_shape(value: Any) -> tuple[int, ...]:
    """Return the shape that a graph declares for its input, without batch axis."""
    dims = value.type.tensor_type.shape.dim
    sizes = [dim.dim_value if dim.HasField("dim_value") else 0 for dim in dims]
    if len(sizes) < 2 or min(sizes[1:]) < 1:
        shown = [n if n > 0 else dim.dim_param or "?" for n, dim in zip(sizes, dims, strict=True)]
        raise ShapeError(
            f"the input {value.name!r} declares the shape {shown or 'unknown'}, which must be "
            f"known but for the batch; give input_shape, (channels, *size) of one sample"
        )
    return tuple(sizes[1:])

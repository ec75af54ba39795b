"""ONNX protos read with distrust: attributes by name and kind, tensors by the bytes that are there.

A proto from a stranger is trusted with nothing: what a tensor declares is held against the bytes
that it brings before an array is made, and no other file is opened.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from linconv.arguments import nearest
from linconv.engines.arrays import Array
from linconv.errors import GeometryError, InputError
from linconv.files import missing

__all__ = ["attributes", "import_onnx", "initializers", "optional_input", "tensor_array", "title"]

# Where a tensor without raw bytes keeps its values, and how many of them make one entry.
_FIELDS = {
    "FLOAT": "float_data",
    "DOUBLE": "double_data",
    "INT64": "int64_data",
    "UINT32": "uint64_data",
    "UINT64": "uint64_data",
} | dict.fromkeys(
    ("INT32", "INT16", "INT8", "UINT16", "UINT8", "BOOL", "FLOAT16", "BFLOAT16"), "int32_data"
)


def import_onnx() -> Any:
    """Return the package onnx.

    Raises
    ------
    MissingPackageError
        If it is not installed.
    """
    try:
        import onnx
    except ImportError as error:
        raise missing("onnx", "reading and writing ONNX layers", "onnx") from error
    return onnx


def title(node: Any) -> str:
    """Return how messages call a node: its type, and its name if it has one."""
    article = "an" if node.op_type[:1] in "AEIOU" else "a"
    return f"{article} {node.op_type} node" + (f" {node.name!r}" if node.name else "")


def attributes(node: Any, **known: str) -> dict[str, Any]:
    """Return a node's attributes as ints, floats, strings and tuples.

    Parameters
    ----------
    node : onnx.NodeProto
    **known : str
        The kind of each attribute that such a node has: ``"INT"``, ``"INTS"``, ``"FLOAT"``,
        ``"FLOATS"``, ``"STRING"`` or ``"TENSOR"``.

    Raises
    ------
    GeometryError
        If there is another attribute, one of another kind, or one that refers to a function.
    """
    kinds = import_onnx().AttributeProto.AttributeType
    values: dict[str, Any] = {}
    for attribute in node.attribute:
        name = attribute.name
        if name not in known:
            raise GeometryError(
                f"{title(node)} has no attribute {name!r}; {nearest(name, sorted(known))}"
            )
        kind = kinds.Name(attribute.type) if attribute.type in kinds.values() else "unknown"
        if kind != known[name] or attribute.ref_attr_name:
            given = "a reference to a function's" if attribute.ref_attr_name else f"of kind {kind}"
            raise GeometryError(
                f"the attribute {name} of {title(node)} must be of kind {known[name]}; got one "
                f"{given}; write its value into the node"
            )
        values[name] = _value(attribute, kind)
    return values


def _value(attribute: Any, kind: str) -> Any:
    if kind == "STRING":
        return attribute.s.decode("utf-8", "replace")
    if kind == "TENSOR":
        return tensor_array(attribute.t, f"attribute {attribute.name!r}")
    field = {"INT": "i", "FLOAT": "f"}.get(kind, kind.lower())
    value = getattr(attribute, field)
    return value if kind in ("INT", "FLOAT") else tuple(value)


def tensor_array(tensor: Any, where: str) -> Array:
    """Return the array of a `TensorProto` whose values are all in the proto itself.

    Raises
    ------
    InputError
        If they lie in another file, or are of another number than the shape declares, or no
        plain numbers.
    """
    onnx = import_onnx()
    name = tensor.name or where
    if tensor.data_location == onnx.TensorProto.EXTERNAL or tensor.external_data:
        place = {entry.key: entry.value for entry in tensor.external_data}.get("location", "?")
        raise InputError(
            f"the tensor {name!r} lies outside the model, in the file {place!r}, which is not "
            f"opened; read its array yourself and give it as weights={{{name!r}: array}}"
        )
    types = onnx.TensorProto.DataType
    kind = types.Name(tensor.data_type) if tensor.data_type in types.values() else "unknown"
    if kind not in _FIELDS or tensor.HasField("segment"):
        raise InputError(
            f"the tensor {name!r} must hold plain numbers in one piece; got data type {kind}; "
            f"save it as one of {', '.join(_FIELDS)}"
        )
    dims = tuple(tensor.dims)
    count = math.prod(dims)
    size = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)).itemsize
    raw = tensor.HasField("raw_data")
    here = len(tensor.raw_data) / size if raw else len(getattr(tensor, _FIELDS[kind]))
    if min(dims, default=0) < 0 or here != count:
        raise InputError(
            f"the tensor {name!r} declares the shape {dims} of {count} values; {here:g} are there; "
            f"the model may be truncated or damaged, so copy or save it again"
        )
    array: Array = onnx.numpy_helper.to_array(tensor)
    return array


def initializers(graph: Any, weights: Mapping[str, Any]) -> dict[str, Any]:
    """Return a graph's constant arrays by name; those in `weights` go before the graph's own."""
    if len(graph.sparse_initializer):
        raise InputError("the graph holds sparse initializers, which are not read; save them dense")
    own = {
        tensor.name: tensor_array(tensor, tensor.name)
        for tensor in graph.initializer
        if tensor.name not in weights
    }
    return own | dict(weights)


def optional_input(node: Any, position: int, weights: Mapping[str, Any], role: str) -> Any:
    """Return the array of a node's input, None where the node does without.

    Raises
    ------
    InputError
        If it has a name, and `weights` has no array of that name.
    """
    if len(node.input) <= position or not node.input[position]:
        return None
    name = node.input[position]
    if name not in weights:
        raise InputError(
            f"the {role} of {title(node)} must be a constant; {name!r} is none of "
            f"{_listed(weights)}; give its array as weights={{{name!r}: array}}"
        )
    array = np.asarray(weights[name])
    if array.dtype.name == "bfloat16":
        array = array.astype(np.float32)
    if array.dtype.kind not in "biufc":
        raise InputError(
            f"the {role} of {title(node)} must hold numbers; {name!r} has dtype {array.dtype}; "
            f"give an array of floats"
        )
    return array


def _listed(names: Iterable[str]) -> str:
    first = [repr(name) for _, name in zip(range(8), names, strict=False)]
    return f"the constants {', '.join(first)}" if first else "the constants (there are none)"

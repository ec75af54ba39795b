"""The steps of an ONNX model, with shapes by ONNX' own shape inference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

from linconv.arguments import per_axis
from linconv.errors import LinconvError, ShapeError
from linconv.files import reading
from linconv.geometry import Geometry
from linconv.layers.graph import Graph, Step, unique
from linconv.layers.onnx_conv import AUTO_PADS
from linconv.layers.onnx_nodes import read_node
from linconv.layers.onnx_protos import import_onnx, initializers, tensor_array
from linconv.layers.reach import Reach, reach_of_windows
from linconv.receptive_field import ReceptiveField

__all__ = ["onnx_graph"]

SPATIAL = {
    "AveragePool",
    "Conv",
    "ConvTranspose",
    "DepthToSpace",
    "GlobalAveragePool",
    "Pad",
    "Resize",
    "SpaceToDepth",
    "Upsample",
}
"""Types of nodes that may be linear spatial layers."""

_POINTWISE = """
Abs Add BatchNormalization Cast Celu Clip Div Dropout Elu Erf Exp Gelu HardSigmoid HardSwish
Identity LeakyRelu Log Max Mean Min Mish Mul Neg Pow PRelu Reciprocal Relu Selu Sigmoid Sign
Softplus Softsign Sqrt Sub Sum Tanh ThresholdedRelu Where
"""
POINTWISE = frozenset(_POINTWISE.split())
"""Types of nodes that see each sample by itself, inputs of one shape taken together."""

BY_CHANNEL = {"Concat": 0, "LogSoftmax": -1, "Softmax": -1, "Split": 0}
"""Types that see each sample by itself along their axis 1, and their axis by default."""

_SMALL = 4096


def onnx_graph(model: Any, shapes: Sequence[tuple[int, ...]] | None, name: str = "") -> Graph:
    """Return the steps of an `onnx.ModelProto`.

    Raises
    ------
    ShapeError
        If the model leaves sizes open that `shapes` do not give, or they do not fit.
    InputError
        If a constant is damaged or in another file.
    """
    onnx = import_onnx()
    graph = model.graph
    constants = initializers(graph, {})
    inputs = [value for value in graph.input if value.name not in constants]
    fixed = _input_shapes(inputs, shapes)
    known = _inferred(onnx, model, inputs, fixed)
    source = {value.name: value.name for value in inputs}
    taken = set(source)
    steps: list[Step] = []
    for node in graph.node:
        if node.op_type == "Constant" and node.output:
            values = [a.t for a in node.attribute if a.name == "value" and a.HasField("t")]
            if values:
                constants[node.output[0]] = tensor_array(values[0], node.name or node.output[0])
            continue
        reads = [tensor for tensor in node.input if tensor in source]
        if not reads:
            continue  # of constants alone
        own = unique(node.name or (node.output[0] if node.output else node.op_type), taken)
        steps.append(_step(node, own, reads, source, known, constants))
        source |= dict.fromkeys(filter(None, node.output), own)
    named = tuple((value.name, shape[1:]) for value, shape in zip(inputs, fixed, strict=True))
    return Graph("onnx", name or graph.name or "ONNX model", named, tuple(steps))


def _input_shapes(
    inputs: Sequence[Any], given: Sequence[tuple[int, ...]] | None
) -> list[tuple[int, ...]]:
    """Return the shape of each input, batch axis first, or ask for what is open."""
    declared = []
    for value in inputs:
        dims = value.type.tensor_type.shape.dim
        declared.append([d.dim_value if d.dim_value > 0 else None for d in dims])
    if given is not None:
        if len(given) != len(inputs):
            raise ShapeError(
                f"input_shape must be one shape per input of the model, {len(inputs)}; got "
                f"{len(given)}; its inputs are {', '.join(repr(v.name) for v in inputs)}"
            )
        for value, dims, shape in zip(inputs, declared, given, strict=True):
            fits = len(dims) in (0, len(shape) + 1) and all(
                size is None or size == n for size, n in zip(dims[1:], shape, strict=False)
            )
            if not fits:
                raise ShapeError(
                    f"input_shape must fit the input {value.name!r}, which declares "
                    f"{tuple(dims)} with its batch axis; got {shape}; give its sizes, or None"
                )
        return [((d[0] if d else None) or 1, *s) for d, s in zip(declared, given, strict=True)]
    for value, dims in zip(inputs, declared, strict=True):
        if not dims or None in dims[1:]:
            raise ShapeError(
                f"input_shape must be given, for the input {value.name!r} of the model leaves "
                f"sizes open; it declares {tuple(dims) or 'no shape'}; give one sample's shape "
                f"without batch axis, as in input_shape=(3, 224, 224)"
            )
    return [(dims[0] or 1, *(n for n in dims[1:] if n)) for dims in declared]


def _inferred(
    onnx: Any, model: Any, inputs: Sequence[Any], shapes: Sequence[tuple[int, ...]]
) -> dict[str, tuple[int | None, ...]]:
    """Return the shapes of all tensors, inferred in a copy without the large weights."""
    light = onnx.ModelProto(ir_version=model.ir_version)
    light.opset_import.extend(model.opset_import)
    light.functions.extend(model.functions)
    light.graph.name = model.graph.name or "graph"
    light.graph.node.extend(model.graph.node)
    for value, shape in zip(inputs, shapes, strict=True):
        kind = value.type.tensor_type.elem_type
        light.graph.input.append(onnx.helper.make_tensor_value_info(value.name, kind, shape))
    for tensor in model.graph.initializer:
        if prod(tensor.dims) <= _SMALL:
            light.graph.initializer.append(tensor)
        else:
            described = (tensor.name, tensor.data_type, tuple(tensor.dims))
            light.graph.input.append(onnx.helper.make_tensor_value_info(*described))
    for value in model.graph.output:
        kind = value.type.tensor_type.elem_type
        light.graph.output.append(onnx.helper.make_tensor_value_info(value.name, kind, None))
    with reading("the model", "an ONNX graph"):
        inferred = onnx.shape_inference.infer_shapes(light, data_prop=True).graph
    found = {}
    for value in [*inferred.input, *inferred.value_info, *inferred.output]:
        kind = value.type.tensor_type
        if kind.HasField("shape"):
            sizes = [d.dim_value if d.HasField("dim_value") else None for d in kind.shape.dim]
            found[value.name] = tuple(sizes)
    return found


def _sample(shape: tuple[int | None, ...] | None) -> tuple[int, ...] | None:
    """Return the shape of one sample, None if any of its sizes is unknown."""
    if shape is None or len(shape) < 2:
        return None
    sizes = tuple(n for n in shape[1:] if n is not None and n > 0)
    return sizes if len(sizes) == len(shape) - 1 else None


def _step(
    node: Any,
    name: str,
    reads: Sequence[str],
    source: Mapping[str, str],
    known: Mapping[str, tuple[int | None, ...]],
    constants: Mapping[str, Any],
) -> Step:
    shape = _sample(known.get(reads[0]))
    output = _sample(known.get(node.output[0])) if node.output else None
    common = (name, node.op_type, tuple(source[tensor] for tensor in reads), shape, output)
    if node.op_type in SPATIAL:
        if shape is None:
            raise ShapeError(
                f"the shape of {reads[0]!r}, which the {node.op_type} node {name!r} reads, must be "
                f"known; shape inference does not tell it; give the model fixed shapes"
            )
        try:
            layer = read_node(node, constants, shape, data=reads[0])
            return Step(*common[:4], layer.output_shape, layer)
        except LinconvError as error:
            return Step(*common, everywhere=True, why=str(error))
    if node.op_type in POINTWISE:
        # A sample that is spread over all places was made from everywhere, or is small.
        return Step(*common, why="not spatial")
    if node.op_type in BY_CHANNEL and shape is not None:
        axis = next((a.i for a in node.attribute if a.name == "axis"), BY_CHANNEL[node.op_type])
        if axis in (1, -len(shape)):
            return Step(*common, why="not spatial")
    if node.op_type in ("MaxPool", "LpPool") and shape is not None:
        return Step(*common, windows=_pool(node, shape[1:]), why="not linear")
    return Step(*common, everywhere=True, why="not linear, not spatial or unknown")


def _pool(node: Any, size: tuple[int, ...]) -> Reach | None:
    values: dict[str, Any] = {
        a.name: a.s.decode("utf-8", "replace") if a.name == "auto_pad" else tuple(a.ints)
        for a in node.attribute
    }
    ndim = len(size)
    kernel = per_axis("kernel_shape", values["kernel_shape"], ndim, 1)
    stride = per_axis("strides", values.get("strides", 1), ndim, 1)
    dilation = per_axis("dilations", values.get("dilations", 1), ndim, 1)
    rule = AUTO_PADS.get(values.get("auto_pad", "NOTSET"))
    reach = tuple((k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True))
    if rule is not None:
        return reach_of_windows(
            Geometry(size, kernel, stride=stride, dilation=dilation, padding=rule).receptive_field
        )
    starts = values.get("pads", (0,) * 2 * ndim)[:ndim]
    return reach_of_windows(ReceptiveField(reach, stride, tuple(-low for low in starts)))

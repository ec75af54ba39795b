"""How an ONNX model is run: by onnxruntime, or by the reference evaluator of the onnx package."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import numpy as np

from linconv.engines.arrays import Array
from linconv.errors import LinconvError
from linconv.layers.runner import Runner

__all__ = ["onnx_runner"]

ACTIVATIONS = ("Elu", "LeakyRelu", "Relu", "Sigmoid", "Softplus", "Softsign", "Tanh")


def onnx_runner(model: Any, input_shape: tuple[int, ...]) -> Runner:
    """Return how a model of one input and one output is run."""
    import onnx

    graph = model.graph
    weights = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in weights]
    if len(inputs) != 1 or len(graph.output) != 1:
        raise LinconvError(
            f"an ONNX model must have one input and one output to be run; got inputs "
            f"{[v.name for v in inputs]} and outputs {[v.name for v in graph.output]}; cut it "
            f"with onnx.utils.extract_model"
        )
    (given,) = inputs
    dtype = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(given.type.tensor_type.elem_type))
    dims = given.type.tensor_type.shape.dim
    one_by_one = bool(dims) and dims[0].dim_value == 1
    linear, activation = _split(model)
    engine = "onnxruntime" if find_spec("onnxruntime") else "onnx.reference"

    def batched(run: Any) -> Any:
        def apply(x: Array) -> Array:
            x = np.ascontiguousarray(x, dtype)
            if one_by_one and len(x) != 1:
                return np.concatenate([run({given.name: one[None]}) for one in x])
            result: Array = run({given.name: x})
            return result

        return apply

    forward = batched(_session(model))
    kinds = "+".join(node.op_type for node in graph.node)
    return Runner(
        f"onnx {kinds} ({engine})",
        "onnx",
        input_shape,
        dtype,
        forward,
        forward if linear is model else batched(_session(linear)),
        None,
        "",
        activation,
    )


def _session(model: Any) -> Any:
    """Return a function from named inputs to the one output."""
    if not find_spec("onnxruntime"):
        from onnx.reference import ReferenceEvaluator

        evaluator = ReferenceEvaluator(model)
        return lambda feed: evaluator.run(None, feed)[0]
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return lambda feed: session.run(None, feed)[0]


def _split(model: Any) -> tuple[Any, str | None]:
    """Return a model without the activations at its end, and their names."""
    import onnx

    names: list[str] = []
    wanted = model.graph.output[0].name
    kept = list(model.graph.node)
    while kept and kept[-1].op_type in ACTIVATIONS and list(kept[-1].output) == [wanted]:
        node = kept.pop()
        names.insert(0, node.op_type.lower())
        wanted = node.input[0]
    if not names:
        return model, None
    cut = onnx.ModelProto()
    cut.CopyFrom(model)
    del cut.graph.node[len(kept) :]
    kind = model.graph.output[0].type.tensor_type.elem_type
    del cut.graph.output[:]
    cut.graph.output.append(onnx.helper.make_tensor_value_info(wanted, kind, None))
    return cut, " ".join(names)

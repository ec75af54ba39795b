"""Inspecting: every linear spatial layer of a model, with what its geometry and kernel come to."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from math import prod
from pathlib import Path
from typing import Any

from linconv.analysis.artifacts import checkerboard, overlap
from linconv.arguments import several
from linconv.arguments import shape as read_shape
from linconv.convolution import Conv, ConvTranspose
from linconv.errors import LinconvError
from linconv.factors import Pad
from linconv.layers.findings import findings
from linconv.layers.graph import Graph, Step, reaches
from linconv.layers.inspection import Inspection, LayerRow
from linconv.layers.keras_graph import keras_graph
from linconv.layers.layer import Layer
from linconv.layers.model import Model
from linconv.layers.models import load_model
from linconv.layers.onnx_graph import onnx_graph
from linconv.layers.parts import as_layer, parts
from linconv.layers.reach import Reach
from linconv.layers.running import framework_of
from linconv.layers.schur import norm_bound
from linconv.layers.torch_graph import module_graph, program_graph
from linconv.layers.weights import kernels
from linconv.linear_map import LinearMap

__all__ = ["Progress", "graph_of", "inspect"]

Progress = Callable[[float, str], None]
"""Called with the share of the work that is done, 0 to 1, and what is next."""


def inspect(
    model_or_path: Any,
    input_shape: Sequence[int] | Sequence[Sequence[int]] | None = None,
    *,
    progress: Progress | None = None,
) -> Inspection:
    """Inspect every linear spatial layer of a model: geometry, reach, artifacts, norm, warnings.

    Parameters
    ----------
    model_or_path : object or path
        A Keras model, a PyTorch module or exported program, an ONNX model, a layer or map, what
        `load_model` returns, or the path of a file that `load_model` reads.
    input_shape : sequence of int, or sequence of such, optional
        One sample of the model's input, no batch axis, in the framework's layout; several for
        several inputs. It may be left out where the model fixes it.
    progress : callable, optional
        Called with the share that is done and what is next.

    Returns
    -------
    Inspection
        Printed, it is a table. Geometry, receptive fields and overlap are exact, checkerboards
        exact to rounding, norms certified upper bounds; a figure that is not known is None.

    Raises
    ------
    ShapeError
        If sizes are unknown, so that `input_shape` is needed, or it does not fit.
    InputError, MissingPackageError
        As `load_model`.
    LinconvError
        If `model_or_path` is nothing of these, or cannot be followed.

    Notes
    -----
    Nothing is trained and the model is left as it is. A PyTorch module is traced with
    `torch.export`, without computing; Keras models are followed through their graph, ONNX models
    by ONNX' shape inference. Cost: a few passes over all weights.

    Examples
    --------
    >>> import linconv as lc
    >>> found = inspect(lc.ConvTranspose([1.0, 2.0, 1.0], (8,), stride=2))
    >>> found.rows[0].overlap, found.rows[0].checkerboard, found.findings
    (2.0, 0.0, ())
    """
    tell = progress or _silent
    tell(0.0, "reading the model")
    graph = graph_of(model_or_path, input_shape)
    reached = reaches(graph)
    rows, passed = [], []
    pads = {step.name: _padded(step.layer) for step in graph.steps if step.layer is not None}
    for index, step in enumerate(graph.steps):
        tell(0.5 + 0.5 * index / len(graph.steps), f"layer {step.name}"[:40])
        if step.layer is None and step.kernel is None:
            passed.append((step.name, step.kind, step.why))
        else:
            rows.append(
                _row(step, reached[step.name], pads.get(step.inputs[0] if step.inputs else ""))
            )
    shapes = tuple(shape for _, shape in graph.inputs)
    return Inspection(graph.name, graph.source, shapes, tuple(rows), tuple(passed))


def graph_of(model_or_path: Any, input_shape: Any = None) -> Graph:
    """Return a model as its steps; parameters and errors are those of `inspect`."""
    shapes = _shapes(input_shape)
    model, name = model_or_path, ""
    if isinstance(model, str | os.PathLike):
        model = load_model(model)
    if isinstance(model, Model):
        name = Path(model.path).name
        if model.source == "weights":
            return _weights_graph(model, name)
        if model.source == "torch":
            return program_graph(model.content, shapes, name)
        model = model.content
    kind = framework_of(model)
    if kind == "linconv":
        return _single(as_layer(model))
    if kind == "keras":
        return keras_graph(model, shapes, name)
    if kind == "torch" or type(model).__name__ == "ExportedProgram":
        return module_graph(model, shapes, name)
    if kind == "onnx" and hasattr(model, "graph"):
        return onnx_graph(model, shapes, name)
    raise LinconvError(
        f"inspect takes a model of Keras, PyTorch or ONNX, a layer or map of linconv, or the path "
        f"of a model file; got {type(model).__name__}; read its layers one by one with from_layer"
    )


def _shapes(given: Any) -> tuple[tuple[int, ...], ...] | None:
    """Read one shape or several."""
    if given is None:
        return None
    values = tuple(given) if several(given) else (given,)
    if values and all(several(value) for value in values):
        return tuple(read_shape("input_shape", value) for value in values)
    return (read_shape("input_shape", values),)


def _single(layer: Layer) -> Graph:
    name = layer.name or layer.kind
    step = Step(name, layer.kind, ("input",), layer.input_shape, layer.output_shape, layer)
    inputs = (("input", layer.input_shape),)
    return Graph("linconv", name, inputs, (step,), bare=layer.channel_axis is None)


def _weights_graph(model: Model, name: str) -> Graph:
    found, others = kernels(model.content)
    steps = [Step(k.name, k.kind, (), None, None, kernel=k) for k in found]
    steps += [
        Step(n, "weight", (), None, None, everywhere=True, why="no convolution's kernel")
        for n in others
    ]
    return Graph("weights", name, (), tuple(steps), connected=False)


def _row(step: Step, reach: Reach | None, padded: Sequence[int] | None) -> LayerRow:
    if step.layer is None:
        assert step.kernel is not None
        known = step.kernel
        return LayerRow(
            step.name, step.kind, kernel_size=known.kernel_size, parameters=known.parameters
        )
    layer = step.layer
    operators = parts(layer.operator)
    core = _core(operators)
    row: dict[str, Any] = {}
    if core is not None:
        g = core.geometry
        board, ratio = checkerboard(core).value, overlap(core).ratio
        row = {
            "kernel_size": g.kernel_size,
            "stride": g.stride,
            "dilation": g.dilation,
            "groups": g.groups,
            "padding": g.padding,
            "padding_mode": g.padding_mode,
            "transposed": isinstance(core, ConvTranspose),
            "leftover": g.leftover,
            "overlap": ratio,
            "checkerboard": board,
            "findings": tuple(findings(core, board, ratio, padded)),
        }
    bias = 0 if layer.bias is None else layer.bias.size
    trained = [m for m in operators if isinstance(m, Conv | ConvTranspose)]
    return LayerRow(
        step.name,
        step.kind,
        input_shape=layer.input_shape,
        output_shape=layer.output_shape,
        parameters=0 if _fixed(layer) else bias + sum(prod(m.kernel.shape) for m in trained),
        receptive_field=None if reach is None else tuple(axis.size for axis in reach),
        norm_bound=norm_bound(layer.operator),
        **row,
    )


def _core(operators: Sequence[LinearMap]) -> Conv | ConvTranspose | None:
    """Return the convolution that a layer is about: of a separable one, the one in space."""
    convolutions = [op for op in operators if isinstance(op, Conv | ConvTranspose)]
    if not convolutions:
        return None
    return max(convolutions, key=lambda op: prod(op.geometry.kernel_size))


def _padded(layer: Layer) -> tuple[int, ...] | None:
    """Return the samples that a layer of nothing but padding adds at the end of each axis."""
    operators = parts(layer.operator)
    if len(operators) != 1 or not isinstance(operators[0], Pad):
        return None
    pairs = list(operators[0].geometry.padding)
    if layer.channel_axis is not None:
        del pairs[layer.channel_axis % len(pairs)]
    return tuple(max(0, high) for _, high in pairs)


def _fixed(layer: Layer) -> bool:
    """Whether a layer has no weights of its own, such as pooling."""
    return "pool" in layer.kind.lower()


def _silent(share: float, what: str) -> None:
    """Report no progress."""

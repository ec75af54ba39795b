"""The steps of a Keras model, followed through its graph and the models inside it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from linconv.arguments import per_axis
from linconv.errors import LinconvError, ShapeError
from linconv.geometry import Geometry
from linconv.layers.graph import Graph, Step, unique
from linconv.layers.reach import Reach, reach_of_windows
from linconv.layers.reading import from_layer

__all__ = ["keras_graph"]

SPATIAL = re.compile(
    r"(Conv|DepthwiseConv|SeparableConv|AveragePooling|UpSampling|ZeroPadding|Cropping)"
    r"\dD(Transpose)?"
)
"""Classes of layers that may be linear spatial layers."""

_POINTWISE = """
Absolute Activation ActivityRegularization Add AlphaDropout Average BatchNormalization Celu Clip
Dense Divide Dropout Elu ELU Exp GaussianDropout GaussianNoise Gelu HardSigmoid HardSilu HardTanh
Identity LeakyReLU LeakyRelu Log Masking Maximum Minimum Multiply Negative
Power PReLU ReLU Relu Relu6 Rescaling RMSNormalization Selu Sigmoid Silu Softmax Softplus Softsign
SpatialDropout1D SpatialDropout2D SpatialDropout3D Sqrt Square Subtract Swish Tanh TrueDivide
UnitNormalization
"""
POINTWISE = frozenset(_POINTWISE.split())
"""Layers and operations that see each sample by itself, or mix its channels alone."""


def keras_graph(model: Any, shapes: Sequence[tuple[int, ...]] | None, name: str = "") -> Graph:
    """Return the steps of a Keras model or layer; it is left as it is.

    Raises
    ------
    ShapeError
        If the model leaves sizes open that `shapes` do not give, or they do not fit.
    LinconvError
        If it is a subclassed model whose call cannot be followed, or has no weights yet.
    """
    import keras

    title = name or model.name
    if not isinstance(model, keras.Model | keras.Function):
        if shapes is not None and len(shapes) > 1:
            raise ShapeError(
                f"input_shape of the layer {model.name!r} must be one shape; got {len(shapes)}"
            )
        layer = from_layer(model, None if shapes is None else shapes[0])
        step = Step(
            model.name,
            type(model).__name__,
            ("input",),
            layer.input_shape,
            layer.output_shape,
            layer,
        )
        return Graph("keras", title, (("input", layer.input_shape),), (step,))
    with _function(keras, model, shapes) as function:
        fixed = _input_shapes(function, shapes, title)
        follower = _Follower(keras)
        inputs = []
        for position, shape in enumerate(fixed):
            own = unique("input" if len(fixed) == 1 else f"input {position + 1}", follower.taken)
            tensor = keras.KerasTensor((1, *shape), function.inputs[position].dtype)
            follower.source[id(tensor)] = own
            follower.kept.append(tensor)
            inputs.append((own, tensor))
        follower.follow(function, [tensor for _, tensor in inputs], "")
    named = tuple((own, shape) for (own, _), shape in zip(inputs, fixed, strict=True))
    return Graph("keras", title, named, tuple(follower.steps))


@contextmanager
def _function(keras: Any, model: Any, shapes: Sequence[tuple[int, ...]] | None) -> Iterator[Any]:
    """Lend the functional form of a model."""
    if isinstance(model, keras.Sequential):
        if not model.built or model._functional is None:
            raise LinconvError(
                f"a model must have its weights; got the Sequential {model.name!r}, which is not "
                f"built; start it with keras.Input(shape), or call model.build((None, ...))"
            )
        yield model._functional
    elif hasattr(model, "_nodes_by_depth"):
        yield model
    else:
        yield from _traced(keras, model, shapes)


def _traced(keras: Any, model: Any, shapes: Sequence[tuple[int, ...]] | None) -> Iterator[Any]:
    """Trace a subclassed model's call on symbolic inputs; its layers forget it afterwards."""
    if shapes is None:
        raise ShapeError(
            f"input_shape must be given, for the subclassed model {model.name!r} does not know "
            f"the size of its input; give one sample's shape without batch axis"
        )
    layers = model._flatten_layers()
    before = [(x, len(x._inbound_nodes), len(x._outbound_nodes)) for x in layers]
    inputs = [keras.Input(shape) for shape in shapes]
    try:
        try:
            traced = keras.Function(inputs, model.call(inputs[0] if len(inputs) == 1 else inputs))
        except Exception as error:
            raise LinconvError(
                f"the call of the subclassed model {model.name!r} must work on symbolic tensors "
                f"to be followed; it raised {type(error).__name__}: {str(error)[:200]}; inspect "
                f"its layers one by one, or write it as a functional model"
            ) from error
        yield traced
    finally:
        for layer, incoming, outgoing in before:
            del layer._inbound_nodes[incoming:]
            del layer._outbound_nodes[outgoing:]


def _input_shapes(
    function: Any, given: Sequence[tuple[int, ...]] | None, title: str
) -> list[tuple[int, ...]]:
    """Return one sample's shape of each input, or ask for what is open."""
    declared = [tuple(tensor.shape)[1:] for tensor in function.inputs]
    if given is None:
        for shape in declared:
            if None in shape:
                usual = tuple(224 if n is None else n for n in shape)
                raise ShapeError(
                    f"input_shape must be given, for {title!r} takes inputs of shape {shape}, "
                    f"with sizes left open; give one sample's shape without batch axis, as in "
                    f"input_shape={usual}"
                )
        return declared
    fits = len(given) == len(declared) and all(
        len(wanted) == len(shape)
        and all(n is None or n == size for n, size in zip(wanted, shape, strict=True))
        for wanted, shape in zip(declared, given, strict=True)
    )
    if not fits:
        raise ShapeError(
            f"input_shape must fit what {title!r} takes, {', '.join(map(str, declared))}; got "
            f"{', '.join(map(str, given))}; give one shape per input, without batch axis"
        )
    return list(given)


class _Follower:
    """Follows functional models node by node, with concrete shapes, into inner models."""

    def __init__(self, keras: Any) -> None:
        self.keras = keras
        self.steps: list[Step] = []
        self.taken: set[str] = set()
        self.source: dict[int, str] = {}
        self.kept: list[Any] = []  # so that no id is used twice

    def follow(self, function: Any, inputs: Sequence[Any], prefix: str) -> list[Any]:
        """Follow a function on concrete tensors; return its outputs."""
        values = {id(own): given for own, given in zip(function.inputs, inputs, strict=True)}
        for depth in sorted(function._nodes_by_depth, reverse=True):
            for node in function._nodes_by_depth[depth]:
                if node.is_input or any(id(x) not in values for x in node.input_tensors):
                    continue
                arguments, options = node.arguments.fill_in(values)
                reads = [values[id(x)] for x in node.input_tensors]
                results = self._run(node.operation, arguments, options, reads, prefix)
                values |= dict(zip(map(id, node.outputs), results, strict=True))
        return [values[id(x)] for x in function.outputs]

    def _run(
        self, operation: Any, arguments: Any, options: Any, reads: Sequence[Any], prefix: str
    ) -> list[Any]:
        inner = getattr(operation, "_functional", None)
        if inner is None and hasattr(operation, "_nodes_by_depth"):
            inner = operation
        if inner is not None and len(reads) == len(inner.inputs):
            return self.follow(inner, reads, f"{prefix}{operation.name}/")
        results: list[Any] = self.keras.tree.flatten(
            operation.compute_output_spec(*arguments, **options)
        )
        name = unique(f"{prefix}{operation.name}", self.taken)
        sources = tuple(self.source[id(tensor)] for tensor in reads)
        self.steps.append(_step(operation, name, sources, reads[0], results[0]))
        for tensor in results:
            self.source[id(tensor)] = name
        self.kept += results
        return results


def _step(operation: Any, name: str, sources: tuple[str, ...], read: Any, result: Any) -> Step:
    kind = type(operation).__name__
    shape, output = (_sample(tensor.shape) for tensor in (read, result))
    common = (name, kind, sources, shape, output)
    if any(SPATIAL.fullmatch(base.__name__) for base in type(operation).__mro__):
        if shape is None:
            raise ShapeError(
                f"the shape that the layer {name!r} reads must be known; got {tuple(read.shape)}; "
                f"give input_shape"
            )
        try:
            return Step(*common, from_layer(operation, shape))
        except LinconvError as error:
            return Step(*common, everywhere=True, why=str(error))
    if kind in POINTWISE:
        return Step(*common, why="not spatial")
    by_channel = kind in ("Concatenate", "LayerNormalization") and shape is not None
    if by_channel and _axis(operation) in (-1, len(shape or ())):
        return Step(*common, why="not spatial")
    if re.fullmatch(r"MaxPooling\dD", kind) and shape is not None:
        return Step(*common, windows=_pool(operation, shape), why="not linear")
    return Step(*common, everywhere=True, why="not linear, not spatial or unknown")


def _axis(operation: Any) -> Any:
    axis = getattr(operation, "axis", None)
    return axis[0] if isinstance(axis, list | tuple) and len(axis) == 1 else axis


def _sample(shape: Sequence[int | None]) -> tuple[int, ...] | None:
    sizes = tuple(int(n) for n in tuple(shape)[1:] if n is not None)
    return sizes if len(sizes) == len(shape) - 1 else None


def _pool(layer: Any, shape: tuple[int, ...]) -> Reach:
    size = shape[:-1] if layer.data_format == "channels_last" else shape[1:]
    ndim = len(size)
    geometry = Geometry(
        size,
        per_axis("pool_size", layer.pool_size, ndim),
        stride=per_axis("strides", layer.strides, ndim),
        padding=layer.padding,
    )
    return reach_of_windows(geometry.receptive_field)

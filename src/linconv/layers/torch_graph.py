"""The steps of a PyTorch model: modules in memory, traced, and exported programs from files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from linconv.errors import LinconvError, ShapeError
from linconv.layers.aten import Call, Program, Ref
from linconv.layers.aten_layers import POINTWISE, READERS, own_module, pool_reach, slice_reach
from linconv.layers.graph import Graph, Step, unique
from linconv.layers.layer import Layer
from linconv.layers.torch import tensor_values

__all__ = ["module_graph", "program_graph", "traced"]


def module_graph(module: Any, shapes: Sequence[tuple[int, ...]] | None, name: str = "") -> Graph:
    """Return the steps of a module or of an exported program in memory; it is left as it is.

    Raises
    ------
    ShapeError
        If `shapes` are needed, or do not fit.
    LinconvError
        If the module cannot be traced.
    """
    title = name or type(module).__name__
    if hasattr(module, "graph_signature"):
        return program_graph(_plain(module), shapes, name or "exported program")
    if shapes is None:
        raise ShapeError(
            f"input_shape must be given, for a module of PyTorch ({title}) does not know the size "
            f"of its input; give one sample's shape without batch axis, as in "
            f"input_shape=(3, 224, 224)"
        )
    return program_graph(traced(module, shapes), shapes, title)


def traced(module: Any, shapes: Sequence[tuple[int, ...]]) -> Program:
    """Return a module in evaluation mode as a program, traced by `torch.export` without computing.

    Raises
    ------
    LinconvError
        If that fails; the message has PyTorch's reason.
    """
    import torch

    if any(isinstance(p, torch.nn.parameter.UninitializedParameter) for p in module.parameters()):
        raise LinconvError(
            "a module must have its weights; got one with lazy layers; run it once on an input"
        )
    first = next((p for p in module.parameters() if p.is_floating_point()), None)
    kind = {} if first is None else {"dtype": first.dtype, "device": first.device}
    inputs = tuple(torch.zeros((1, *shape), **kind) for shape in shapes)
    with _evaluating(module), torch.no_grad():
        try:
            exported = torch.export.export(module, inputs, strict=False)
        except Exception as error:
            reason = next((line for line in str(error).splitlines() if line.strip()), repr(error))
            raise LinconvError(
                f"{type(module).__name__} must run on inputs of shape "
                f"{', '.join(str(s) for s in shapes)} and be traced by torch.export to be "
                f"inspected; that raised {type(error).__name__}: {reason[:300]}; check "
                f"input_shape, or inspect its parts one by one"
            ) from error
        return _plain(exported)


@contextmanager
def _evaluating(module: Any) -> Iterator[None]:
    """Put a module and all in it into evaluation mode for a while."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, training in modes:
            part.training = training


def _plain(exported: Any) -> Program:
    """Return a `torch.export.ExportedProgram` as plain data."""
    signature = exported.graph_signature
    own = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
    own |= dict(getattr(signature, "inputs_to_lifted_tensor_constants", {}))
    stored = {**exported.state_dict, **exported.constants}
    weights = {name: (path, _array(stored[path])) for name, path in own.items() if path in stored}
    inputs, calls = {}, []
    for node in exported.graph.nodes:
        if node.op == "placeholder" and node.name in signature.user_inputs:
            inputs[node.name] = _shape(node.meta.get("val"))
        elif node.op == "call_function":
            calls.append(_call(node))
    return Program(inputs, weights, tuple(calls))


def _array(tensor: Any) -> Any:
    return tensor_values(tensor, "a module") if hasattr(tensor, "detach") else None


def _shape(value: Any) -> tuple[int | None, ...] | None:
    if isinstance(value, list | tuple) and value:
        value = value[0]
    if not hasattr(value, "shape"):
        return None
    return tuple(n if isinstance(n, int) else None for n in value.shape)


def _call(node: Any) -> Call:
    import torch

    def plain(value: Any) -> Any:
        if isinstance(value, torch.fx.Node):
            return Ref(value.name)
        return [plain(v) for v in value] if isinstance(value, list | tuple) else value

    schema = getattr(node.target, "_schema", None)
    names = [argument.name for argument in schema.arguments] if schema is not None else []
    names += [f"argument {i}" for i in range(len(names), len(node.args))]
    arguments = dict(zip(names, node.args, strict=False)) | dict(node.kwargs)
    path, kind = "", ""
    stack = list(node.meta.get("nn_module_stack", {}).values())
    if stack:
        path, of = stack[-1]
        kind = (of if isinstance(of, str) else of.__name__).rpartition(".")[2]
    operator = str(getattr(node.target, "_opname", getattr(node.target, "__name__", node.target)))
    return Call(
        node.name,
        operator,
        {name: plain(value) for name, value in arguments.items()},
        _shape(node.meta.get("val")),
        path,
        kind,
    )


def program_graph(program: Program, shapes: Sequence[tuple[int, ...]] | None, name: str) -> Graph:
    """Return the steps of an exported program.

    Raises
    ------
    ShapeError
        If the program leaves sizes open, or was exported for other shapes.
    """
    fixed = _fixed(program, shapes, name)
    follower = _Follower(program)
    for call in program.calls:
        follower.take(call)
    inputs = tuple(zip(program.inputs, fixed, strict=True))
    return Graph("torch", name, inputs, tuple(follower.steps))


def _fixed(
    program: Program, given: Sequence[tuple[int, ...]] | None, name: str
) -> list[tuple[int, ...]]:
    declared = []
    for own, shape in program.inputs.items():
        sizes = tuple(n for n in (shape or ())[1:] if n is not None)
        if shape is None or len(sizes) < len(shape) - 1:
            raise ShapeError(
                f"the input {own!r} of {name} leaves sizes open: {shape}; export it for a fixed "
                f"shape (only the batch may be dynamic), or inspect the module itself with an "
                f"input_shape"
            )
        declared.append(sizes)
    if given is not None and list(given) != declared:
        raise ShapeError(
            f"input_shape must be what {name} was exported for, "
            f"{', '.join(map(str, declared))}; got {', '.join(map(str, given))}; leave it out, or "
            f"export the model for that shape"
        )
    return declared


class _Follower:
    """Turns calls into steps, a padding and the convolution of one module into one."""

    def __init__(self, program: Program) -> None:
        self.steps: list[Step] = []
        self._program = program
        self._shapes: dict[str, Any] = {**program.inputs}
        self._source = {name: name for name in program.inputs}
        self._taken = set(program.inputs)
        self._pads: dict[str, Call] = {}

    def take(self, call: Call) -> None:
        """Add a call to the steps."""
        reads = [tensor for tensor in call.tensors() if tensor in self._source]
        self._shapes[call.name] = call.shape
        if not reads or call.operator.startswith(("sym_", "_assert", "_guards")):
            return
        if call.operator == "getitem":
            self._source[call.name] = self._source[reads[0]]
            return
        if call.operator == "pad" and call.module_kind.startswith("Conv"):
            self._pads[call.name] = call  # of the convolution that follows in its module
            self._source[call.name] = self._source[reads[0]]
            return
        step = self._step(call, reads)
        self.steps.append(step)
        self._source[call.name] = step.name

    def _step(self, call: Call, reads: Sequence[str]) -> Step:
        own, kind = own_module(call)
        name = unique(own, self._taken)
        pad = self._pads.get(reads[0])
        data = reads[0] if pad is None else pad.tensors()[0]
        shape, output = self._sample(data), self._sample(call.name)
        common = (name, kind, tuple(self._source[r] for r in reads), shape, output)
        if call.operator in READERS:
            if shape is None:
                raise ShapeError(
                    f"the shape that {name!r} reads must be known; got {self._shapes.get(data)}; "
                    f"export the model for a fixed shape"
                )
            try:
                layer = READERS[call.operator](call, shape, self._weights(call), kind, pad)
                return Step(*common, self._checked(layer, output, name))
            except LinconvError as error:
                return Step(*common, everywhere=True, why=str(error))
        if call.operator.rstrip("_") in POINTWISE:
            return Step(*common, why="not spatial")
        along = call.arguments.get("dim", 0)
        if call.operator == "cat" and shape is not None and along in (1, -len(shape)):
            return Step(*common, why="not spatial")
        if shape is not None and call.operator in ("slice", "narrow"):
            return Step(*common, windows=slice_reach(call, shape), why="selects samples")
        if shape is not None and call.operator.startswith("max_pool"):
            return Step(*common, windows=pool_reach(call, len(shape) - 1), why="not linear")
        return Step(*common, everywhere=True, why="not linear, not spatial or unknown")

    def _sample(self, tensor: str) -> tuple[int, ...] | None:
        shape = self._shapes.get(tensor)
        if shape is None or len(shape) < 2 or None in shape[1:]:
            return None
        return tuple(shape[1:])

    def _weights(self, call: Call) -> Mapping[str, Any]:
        """Return a call's constant arguments as arrays, by the names of its schema."""
        found = {}
        for name, value in call.arguments.items():
            if isinstance(value, Ref) and value.name in self._program.weights:
                found[name] = self._program.weights[value.name][1]
        return found

    def _checked(self, layer: Layer, output: tuple[int, ...] | None, name: str) -> Layer:
        """Hold what a layer makes against what the program says."""
        if output is not None and layer.output_shape != output:
            raise LinconvError(
                f"{name} makes {layer.output_shape} by its arguments, and the program says "
                f"{output}; the file may be damaged"
            )
        return layer

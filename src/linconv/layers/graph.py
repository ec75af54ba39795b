"""Graph: a model as the steps that it computes, whichever framework it is of."""

from __future__ import annotations

from dataclasses import dataclass

from linconv.layers.layer import Layer
from linconv.layers.parts import parts
from linconv.layers.reach import SAME_PLACE, Reach, joined, reach_of_map, then
from linconv.layers.weights import KernelOnly

__all__ = ["Graph", "Step", "reach_of_layer", "reaches", "unique"]


@dataclass(frozen=True, eq=False)
class Step:
    """One step of a model's computation.

    Attributes
    ----------
    name, kind : str
        As the framework calls them.
    inputs : tuple of str
        The names of the steps (or of the model's inputs) that it reads.
    input_shape, output_shape : tuple of int, or None
        One sample, no batch axis; None where unknown.
    layer : Layer or None
        If it is a linear spatial layer.
    kernel : KernelOnly or None
        If only its weights are known.
    windows : Reach or None
        For steps without a layer: what each output sample reads of the input, such as the
        windows of max pooling.
    everywhere : bool
        For steps without a layer: whether each output sample may depend on every input sample.
    why : str
        For steps without a layer: why it is passed over.
    """

    name: str
    kind: str
    inputs: tuple[str, ...]
    input_shape: tuple[int, ...] | None
    output_shape: tuple[int, ...] | None
    layer: Layer | None = None
    kernel: KernelOnly | None = None
    windows: Reach | None = None
    everywhere: bool = False
    why: str = ""


@dataclass(frozen=True, eq=False)
class Graph:
    """The steps of a model, in an order in which each follows those that it reads.

    Attributes
    ----------
    source : {"keras", "torch", "onnx", "weights"}
    name : str
        Of the model.
    inputs : tuple of (str, shape)
        The model's inputs, one sample each.
    steps : tuple of Step
    connected : bool
        Whether the steps' inputs are known; without them there is no receptive field.
    bare : bool
        Whether samples have no channel axis.
    """

    source: str
    name: str
    inputs: tuple[tuple[str, tuple[int, ...]], ...]
    steps: tuple[Step, ...]
    connected: bool = True
    bare: bool = False


def reaches(graph: Graph) -> dict[str, Reach | None]:
    """Return what each step's output reaches of the model's inputs, None where unknown."""
    found: dict[str, Reach | None] = {}
    # A vector has no place: what it is made into is everywhere.
    for name, shape in graph.inputs:
        ndim = len(shape) - (not graph.bare)
        found[name] = (SAME_PLACE,) * ndim if ndim else None
    for step in graph.steps:
        known = [found.get(name) for name in step.inputs]
        before = joined(known) if graph.connected else None
        found[step.name] = None if before is None else then(before, _own(step, len(before)))
    return found


def _own(step: Step, ndim: int) -> Reach | None:
    if step.everywhere:
        return None
    if step.layer is not None:
        return reach_of_layer(step.layer)
    return step.windows if step.windows is not None else (SAME_PLACE,) * ndim


def reach_of_layer(layer: Layer) -> Reach | None:
    """Return the reach of a layer's operator, None if a part of it is of no known kind."""
    axis = layer.channel_axis
    count = len(layer.input_shape)
    channel = None if axis is None else axis % count
    spatial = tuple(a for a in range(count) if a != channel)
    total: Reach | None = (SAME_PLACE,) * len(spatial)
    for part in parts(layer.operator):
        total = then(total, reach_of_map(part, spatial))
    return total


def unique(name: str, taken: set[str]) -> str:
    """Return `name`, with a number behind it if it is taken, and take it."""
    candidate, number = name, 1
    while candidate in taken:
        number += 1
        candidate = f"{name}#{number}"
    taken.add(candidate)
    return candidate

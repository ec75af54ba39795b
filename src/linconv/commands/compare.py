"""`linconv compare`: one layer of two model files, run side by side."""

from __future__ import annotations

from typing import Any

import click

from linconv.arguments import nearest
from linconv.commands.running import (
    EXIT_STATUS,
    PATIENCE,
    Display,
    json_option,
    model_shapes,
    printing,
    told,
)
from linconv.errors import LinconvError, ShapeError
from linconv.files import to_json
from linconv.layers.agreement import agreement
from linconv.layers.graph import Graph
from linconv.layers.inspecting import graph_of
from linconv.layers.inspection import printable
from linconv.layers.layer import Layer

__all__ = ["compare_command"]

HELP = """Run one layer of two models, and its adjoint, on random input: equal, or what differs.

The layer is found by its name, as linconv inspect shows it, in both files. If outputs differ, the
first difference is named: shifted, flipped, axes exchanged, other padding, other size, bias; with
what makes them equal. Channels may stand first in one and last in the other.

\b
Examples:
  linconv compare encoder.keras encoder.onnx --layer conv1 --other node_conv2d
  linconv compare old.pt2 new.pt2 --layer main.3
  linconv compare a.keras b.keras --layer up --input-shape 64,64,3

""" + EXIT_STATUS.format(passed="the two agree", failed="they differ")


@click.command(
    "compare", help=HELP, short_help="Run one layer of two model files: equal, or what differs."
)
@click.argument("a", metavar="A")
@click.argument("b", metavar="B")
@click.option("--layer", metavar="NAME", required=True, help="The layer's name in A.")
@click.option("--other", metavar="NAME", help="Its name in B.  [default: as in A]")
@click.option(
    "--input-shape",
    metavar="SIZES",
    help="One sample of the models' input, no batch axis, as A takes it.  "
    "[default: as in the files]",
)
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the random input."
)
@json_option
def compare_command(
    a: str,
    b: str,
    layer: str,
    other: str | None,
    input_shape: str | None,
    seed: int,
    as_json: bool,
) -> None:
    """Compare two layers, and leave with the exit status that the help tells."""
    with told("Interrupted; nothing was written."), Display(after=PATIENCE) as display:
        shapes = model_shapes(input_shape)
        display(0.0, "reading A")
        one = _layer(graph_of(a, shapes), layer, a)
        display(0.3, "reading B")
        two = _layer(_moved(b, shapes), other or layer, b)
        display(0.6, "running both")
        result = agreement(one, two, seed=seed)
    with printing():
        click.echo(to_json(result) if as_json else printable_lines(str(result)), nl=not as_json)
    raise click.exceptions.Exit(0 if result.equal else 1)


def printable_lines(text: str) -> str:
    """Return a text line by line with what a terminal would obey written out."""
    return "\n".join(printable(line) for line in text.split("\n"))


def _moved(file: str, shapes: tuple[tuple[int, ...], ...] | None) -> Graph:
    """Read B on A's input, its channels moved to the other end if B takes them there."""
    try:
        return graph_of(file, shapes)
    except ShapeError as error:
        for moved in _other_ends(shapes):
            try:
                return graph_of(file, moved)
            except ShapeError:
                continue
        raise error


def _other_ends(shapes: tuple[tuple[int, ...], ...] | None) -> list[Any]:
    if shapes is None:
        return []
    last_first = tuple((shape[-1], *shape[:-1]) for shape in shapes)
    first_last = tuple((*shape[1:], shape[0]) for shape in shapes)
    return [last_first, first_last]


def _layer(graph: Graph, name: str, file: str) -> Layer:
    layers = {step.name: step.layer for step in graph.steps if step.layer is not None}
    if name in layers:
        return layers[name]
    if graph.source == "weights":
        raise LinconvError(
            f"{file} holds weights without their layers, which cannot be run; give the model "
            f"itself (.keras, .onnx or .pt2)"
        )
    if not layers:
        raise LinconvError(f"{file} has no linear spatial layer; linconv inspect shows what it has")
    raise LinconvError(f"the layer must be one of {file}; got {name!r}; {nearest(name, layers)}")

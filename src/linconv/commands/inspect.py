"""`linconv inspect`: a model file's linear layers, and an exit status that can guard a pipeline."""

from __future__ import annotations

import sys
from pathlib import Path

import click
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

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
from linconv.errors import LinconvError
from linconv.files import to_json, write_file
from linconv.layers.findings import CHECKS
from linconv.layers.inspecting import inspect
from linconv.layers.inspection import COLUMNS, Inspection

__all__ = ["inspect_command"]

HELP = (
    """Show what the convolutions of a model come to: geometry, artifacts, norms, warnings.

For each linear layer in space: kernel, stride, padding per side, output shape, parameters,
receptive field in the input, samples left over, overlap and checkerboard of its real kernel, an
upper bound of its norm. Nothing in the file is executed, and no network is used.

\b
Files:
  .keras              Keras models                              needs keras
  .onnx               ONNX models                               needs onnx
  .pt2                programs saved by torch.export.save
  .pt, .pth           state dicts of PyTorch: weights alone     needs torch
  .safetensors        weights alone                             needs safetensors

\b
Examples:
  linconv inspect unet.keras
  linconv inspect unet.onnx --input-shape 3,224,224
  linconv inspect "my model.pt2" --fail-on checkerboard --fail-on leftover
  linconv inspect unet.keras --fail-on none --html unet.html
  linconv inspect unet.keras --json > unet.json

\b
Checks:
"""
    + "".join(f"  {name:<14}{text}\n" for name, text in CHECKS.items())
    + "\n"
    + EXIT_STATUS.format(passed="no check fails", failed="a check fails")
)


def _checks(names: tuple[str, ...]) -> tuple[str, ...]:
    """Read which checks fail the command: all of them unless some are named."""
    if not names or "all" in names:
        return tuple(CHECKS)
    chosen = [name.strip() for text in names for name in text.split(",")]
    for name in chosen:
        if name != "none" and name not in CHECKS:
            raise LinconvError(
                f"--fail-on must name a check; got {name!r}; {nearest(name, [*CHECKS, 'none'])}"
            )
    return tuple(name for name in chosen if name != "none")


@click.command(
    "inspect",
    help=HELP,
    short_help="Show what the convolutions of a model come to, and warn.",
)
@click.argument("file", metavar="FILE")
@click.option(
    "--input-shape",
    metavar="SIZES",
    help="One sample of the model's input, no batch axis: 3,224,224.  [default: as in the file]",
)
@click.option(
    "--fail-on",
    metavar="CHECK",
    multiple=True,
    help="A check whose failure gives exit status 1; may be repeated; none for no check.  "
    "[default: every check]",
)
@json_option
@click.option("--csv", "as_csv", is_flag=True, help="Print one CSV line per layer, nothing else.")
@click.option("--html", metavar="OUT", help="Write the table as an HTML page, too.")
def inspect_command(
    file: str,
    input_shape: str | None,
    fail_on: tuple[str, ...],
    as_json: bool,
    as_csv: bool,
    html: str | None,
) -> None:
    """Inspect a model file, and leave with the exit status that the help tells."""
    if as_json and as_csv:
        raise click.UsageError("--json and --csv cannot both be printed; use one of them.")
    with told("Interrupted; nothing was written."):
        checks, shapes = _checks(fail_on), model_shapes(input_shape)
        with Display(after=PATIENCE) as display:
            found = inspect(file, shapes, progress=display)
        if html is not None:
            write_file(Path(html), found.to_html().encode())
    with printing():
        if as_json:
            click.echo(to_json(found), nl=False)
        elif as_csv:
            click.echo(found.to_csv(), nl=False)
        else:
            _print(found, checks)
            if html is not None:
                click.echo(f"Page: {Path(html).absolute()}")
    raise click.exceptions.Exit(1 if found.failed(checks) else 0)


def _print(found: Inspection, checks: tuple[str, ...]) -> None:
    console = Console(highlight=False, soft_wrap=True)
    click.echo(found.headline())
    if not sys.stdout.isatty():
        click.echo("\n".join(str(found).splitlines()[1:]))
        return
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, collapse_padding=True)
    for index, column in enumerate(COLUMNS):
        table.add_column(column, justify="left" if index < 2 else "right", overflow="fold")
    for row in found.rows:
        failed = any(finding.check in checks for finding in row.findings)
        style = "bold red" if failed else "yellow" if row.findings else ""
        cells = row.cells(found.unknown)
        table.add_row(Text(cells[0], style), *(Text(cell) for cell in cells[1:]))
    console.print(table)
    for note in found.notes():
        console.print(Text(note))

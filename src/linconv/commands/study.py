"""`linconv study`: the whole study, its verdicts and where its report is."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from textwrap import fill
from typing import Any

import click
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from linconv.commands.running import EXIT_STATUS, Display, json_option, printing, told
from linconv.files import to_json
from linconv.study import study
from linconv.study.frozen_study import MODELS
from linconv.study.images import PHOTOGRAPHS
from linconv.study.kernels import KERNELS
from linconv.study.published import OPTIMUM, SPECTRUM_SOURCE
from linconv.study.results import StudyResults
from linconv.study.values import shown

__all__ = ["study_command"]

STYLES = {
    "agrees": "green",
    "better": "cyan",
    "lower, other images": "dim",
    "higher, other images": "dim",
    "no published value": "dim",
    "NOT MET": "bold red",
}

HELP = """Show a convolution as the linear map that it is, and how well one is undone.

On the course's 4 x 4 image, where every number is visible, and on a photograph: the convolution
by hand and as a matrix, its transpose, the best inverse kernels, its singular values and its exact
inverse, a blurred picture restored with and without noise, and all equivalent forms compared.
Then, on a thousand small images, the course's frozen encoders: the decoder that Adam trains, the
best ones that there are, and their artifacts. Writes a report to read in a browser, and prints how
the published figures are met.

Once the frozen encoders have begun, Ctrl-C ends the training; the report is written with what was
trained so far. A second one ends everything.

\b
Examples:
  linconv study
  linconv study --image holiday.jpg --kernel gaussian5 --models none
  linconv study --data mini_cifar.h5 --models A20,B --epochs 5
  linconv study --no-training --out "my study"
  linconv study --json > results.json

\b
Models:
  A1, A10, A20  that many filters 3 x 3 with tanh, then 2 x 2 max-pooling
  B             15 filters 3 x 3 with stride 2 and sigmoid: as the course ran it
  B2            the same after 5 filters with tanh: as the course described it

""" + EXIT_STATUS.format(
    passed="every published figure is met", failed="one is not, or a check of linconv's own"
)


def _listed(title: str, names: Iterable[str]) -> str:
    """Return a list of names as a paragraph of help."""
    return f"\b\n{title}:\n" + fill(
        ", ".join(names), 76, initial_indent="  ", subsequent_indent="  "
    )


EPILOG = _listed("Bundled photographs", PHOTOGRAPHS) + "\n\n" + _listed("Kernels", KERNELS)


@click.command(
    "study",
    help=HELP,
    short_help="Show a convolution as the linear map that it is, and how well one is undone.",
    epilog=EPILOG,
)
@click.option(
    "--image",
    metavar="FILE|NAME",
    help="A PNG, JPEG, TIFF or NPY picture, or the name of a bundled photograph.  "
    "[default: camera]",
)
@click.option(
    "--kernel",
    metavar="FILE|NAME",
    help="The kernel for the photograph: a name, or a NPY, JSON, CSV or text file with its "
    "numbers.  [default: course]",
)
@click.option(
    "--out",
    metavar="DIR",
    default="linconv-study",
    show_default=True,
    help="The folder for report.html, results.json and figures.",
)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Of all that is random: patches, weights, the order of training.",
)
@click.option(
    "--data",
    metavar="FILE|DIR|NAME",
    help="Small images for the encoders: an HDF5, NPZ or NPY file, a folder of pictures, or "
    "cifar10.  [default: patches of the bundled photographs]",
)
@click.option(
    "--models",
    metavar="NAMES",
    help=f"Which encoders, with commas between them, or none.  [default: {','.join(MODELS)}]",
)
@click.option(
    "--epochs",
    metavar="N",
    type=click.IntRange(min=1),
    default=20,
    show_default=True,
    help="Of each model's training.",
)
@click.option(
    "--training/--no-training",
    default=None,
    help="Train decoders with Keras, too.  [default: if Keras is installed]",
)
@json_option
def study_command(out: str, as_json: bool, **options: Any) -> None:
    """Run the study, and leave with the exit status that its help tells."""
    with told("Interrupted; no file is half written."), Display() as display:
        results = study(out=out, progress=display, **options)
    report = Path(out).absolute() / "report.html"
    with printing(f"the report is {report}"):
        if as_json:
            click.echo(to_json(results), nl=False)
        else:
            _print_verdicts(results)
            click.echo(f"Report: {report}")
    raise click.exceptions.Exit(0 if results.passed else 1)


def _print_verdicts(results: StudyResults) -> None:
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, collapse_padding=True)
    table.add_column("figure")
    table.add_column("ours", no_wrap=True)
    table.add_column("reference", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    for verdict in results.verdicts:
        style = STYLES[verdict.verdict]
        published = "none" if verdict.published is None else shown(verdict.published)
        outcome: str = "–" if verdict.published is None and verdict.met else verdict.verdict
        if verdict.source in (OPTIMUM, SPECTRUM_SOURCE):
            outcome = f"{outcome}, {verdict.source}"
        table.add_row(verdict.name, shown(verdict.ours), published, f"[{style}]{outcome}[/]")
    click.echo(results.headline())
    # Without a terminal there is no width to keep to, and a table cut short would say less.
    Console(width=None if sys.stdout.isatty() else 120).print(table)

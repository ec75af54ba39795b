"""The command line: it parses, calls the study, and prints."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from textwrap import fill
from typing import Any

import click
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from linconv.errors import LinconvError
from linconv.study import study
from linconv.study.frozen_study import MODELS
from linconv.study.images import PHOTOGRAPHS
from linconv.study.kernels import KERNELS
from linconv.study.published import OPTIMUM
from linconv.study.report import to_json
from linconv.study.results import StudyResults
from linconv.study.values import shown
from linconv.version import __version__

__all__ = ["linconv"]

INTERRUPTED = 130
STYLES = {
    "agrees": "green",
    "better": "cyan",
    "lower, other images": "dim",
    "higher, other images": "dim",
    "no published value": "dim",
    "NOT MET": "bold red",
}

# In click's help texts, a line with a backspace keeps the line ends of the paragraph below it.
HELP = """Every convolution layer as the linear operator it is.

\b
Examples:
  linconv study             the study, on a bundled photograph
  linconv study --help      what else it can do
"""

STUDY_HELP = """Show a convolution as the linear map that it is, and how well one is undone.

On the course's 4 x 4 image, where every number is visible, and on a photograph: the convolution
by hand and as a matrix, its transpose, the best inverse kernels, and all equivalent forms
compared. Then, on a thousand small images, the course's frozen encoders: the decoder that Adam
trains, the best ones that there are, and their artifacts. Writes a report to read in a browser,
and prints how the published figures are met.

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

\b
Exit status:
  0    every published figure is met
  1    one is not, or a check of linconv's own
  2    wrong usage, or input or output that cannot be used
  70   an error inside linconv, shown with its traceback
  130  interrupted by Ctrl-C
"""


def _listed(title: str, names: Iterable[str]) -> str:
    """Return a list of names as a paragraph of help."""
    return f"\b\n{title}:\n" + fill(
        ", ".join(names), 76, initial_indent="  ", subsequent_indent="  "
    )


EPILOG = _listed("Bundled photographs", PHOTOGRAPHS) + "\n\n" + _listed("Kernels", KERNELS)


class BadInput(click.ClickException):
    """An error of ours, told in one line; exit status 2, as for wrong usage."""

    exit_code = 2


@click.group(
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    help=HELP,
)
@click.version_option(__version__, prog_name="linconv")
@click.pass_context
def linconv(context: click.Context) -> None:
    """Show the help where no command is given."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


@linconv.command(
    "study",
    help=STUDY_HELP,
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
@click.option(
    "--json", "as_json", is_flag=True, help="Print the results as JSON, and nothing else."
)
def study_command(out: str, as_json: bool, **options: Any) -> None:
    """Run the study, and leave with the exit status that its help tells."""
    try:
        with _Display() as display:
            results = study(out=out, progress=display, **options)
    except LinconvError as error:
        raise BadInput(" ".join(str(error).split())) from error
    except KeyboardInterrupt as error:
        click.echo("Interrupted; no file is half written.", err=True)
        raise click.exceptions.Exit(INTERRUPTED) from error
    report = Path(out).absolute() / "report.html"
    try:
        if as_json:
            click.echo(to_json(results), nl=False)
        else:
            _print_verdicts(results)
            click.echo(f"Report: {report}")
    except OSError as error:
        # click would leave with 1 for a closed pipe, as if a figure were not met.
        raise BadInput(
            f"standard output cannot be written: {error.strerror}; the report is {report}"
        ) from error
    raise click.exceptions.Exit(0 if results.passed else 1)


class _Display:
    """Progress on standard error: a bar on a terminal, a line for each step elsewhere."""

    def __init__(self) -> None:
        console = Console(stderr=True)
        self.last = ""
        self.bar: Progress | None = None
        if console.is_terminal:
            columns = (TextColumn("{task.description}"), BarColumn(24), TimeElapsedColumn())
            self.bar = Progress(*columns, console=console, transient=True)
            self.task = self.bar.add_task("", total=1.0)

    def __enter__(self) -> _Display:
        if self.bar is not None:
            self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.bar is not None:
            self.bar.stop()

    def __call__(self, share: float, what: str) -> None:
        if self.bar is not None:
            self.bar.update(self.task, completed=share, description=f"{what:<40}")
        elif what != self.last:
            with suppress(OSError):  # without a place to show progress, the study goes on
                click.echo(f"{100 * share:3.0f} %  {what}", err=True)
        self.last = what


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
        if verdict.source == OPTIMUM:
            outcome = f"{outcome}, {OPTIMUM}"
        table.add_row(verdict.name, shown(verdict.ours), published, f"[{style}]{outcome}[/]")
    click.echo(results.headline())
    # Without a terminal there is no width to keep to, and a table cut short would say less.
    Console(width=None if sys.stdout.isatty() else 120).print(table)

"""The command line: a group of commands, each of which is a file in `commands/`."""

from __future__ import annotations

import click

from linconv.commands.compare import compare_command
from linconv.commands.inspect import inspect_command
from linconv.commands.invert import invert_command
from linconv.commands.spectrum import spectrum_command
from linconv.commands.study import study_command
from linconv.version import __version__

__all__ = ["linconv"]

# In click's help texts, a line with a backspace keeps the line ends of the paragraph below it.
HELP = """Every convolution layer as the linear operator it is.

\b
Examples:
  linconv study                   the study, on a bundled photograph
  linconv inspect model.onnx      what the convolutions of a model come to, with warnings
  linconv compare a.keras b.onnx --layer conv1 --other node_conv2d
                                  whether a layer computes the same in two models
  linconv spectrum --kernel box3 --input-shape 64,64
                                  singular values of a convolution, and how they are known
  linconv invert blurred.png --blurred --kernel gaussian5 --noise 0.01 --out sharp.png
                                  undo a convolution
  linconv study --help            what a command does, its options, its exit status
"""


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


for command in (
    study_command,
    inspect_command,
    compare_command,
    spectrum_command,
    invert_command,
):
    linconv.add_command(command)

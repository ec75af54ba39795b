"""`linconv spectrum`: what a kernel keeps and what it loses on images of one size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import click

from linconv.analysis.norm_bounds import norm_bounds
from linconv.analysis.spectral_values import SpectralValue, SpectralValues
from linconv.analysis.spectrum import condition, norm, svdvals
from linconv.commands.kernel_options import convolution_options, read_kernel, read_padding
from linconv.commands.running import (
    EXIT_STATUS,
    PATIENCE,
    Display,
    json_option,
    model_shapes,
    printing,
    told,
)
from linconv.convolution import Conv
from linconv.files import to_json

__all__ = ["spectrum_command"]

HELP = """Show the singular values of a convolution: its norm, condition and what it loses.

KERNEL is a name such as gaussian5, a file (.npy, .json, .csv, .txt), or its rows. Each figure says
whether it is exact, a proven interval (certified) or an estimate.

\b
Examples:
  linconv spectrum "10 -4 10; 10 0 30; 30 30 -1" --size 4,4
  linconv spectrum gaussian5 --size 64,64 --padding-mode circular
  linconv spectrum kernel.npy --size 224,224 --stride 2 --padding 1 --json

""" + EXIT_STATUS.format(passed="the spectrum is shown", failed="(not used)")


@dataclass(frozen=True)
class Spectrum:
    """What the command shows."""

    shape: tuple[int, int]
    norm: SpectralValue
    bounds: SpectralValue
    condition: SpectralValue
    largest: SpectralValues
    smallest: SpectralValues

    def to_dict(self) -> dict[str, Any]:
        """Return plain numbers, lists and strings."""
        parts = ("norm", "bounds", "condition", "largest", "smallest")
        return {"shape": list(self.shape)} | {p: getattr(self, p).to_dict() for p in parts}


@click.command("spectrum", help=HELP, short_help="Singular values, norm and condition of a kernel.")
@click.argument("kernel", metavar="KERNEL")
@click.option("--size", metavar="SIZES", required=True, help="Of the image, as in 64,64.")
@click.option("--stride", type=click.IntRange(min=1), default=1, show_default=True)
@click.option("--dilation", type=click.IntRange(min=1), default=1, show_default=True)
@click.option(
    "--values",
    type=click.IntRange(min=1),
    default=3,
    show_default=True,
    help="How many of the largest and of the smallest values.",
)
@convolution_options
@json_option
def spectrum_command(
    kernel: str,
    size: str,
    stride: int,
    dilation: int,
    values: int,
    padding: str,
    padding_mode: str,
    as_json: bool,
) -> None:
    """Print the spectrum of one convolution."""
    with told("Interrupted; nothing was written."), Display(after=PATIENCE) as display:
        shapes = model_shapes(size)
        op = Conv(
            read_kernel(kernel),
            shapes[0] if shapes else (),
            stride=stride,
            dilation=dilation,
            padding=read_padding(padding),
            padding_mode=padding_mode,
        )
        count = min(values, *op.shape)
        display(0.0, "the norm")
        found, bounds = norm(op), norm_bounds(op)
        display(0.3, "the largest values")
        largest = svdvals(op, count)
        display(0.5, "the smallest values")
        smallest = svdvals(op, count, "smallest")
        display(0.8, "the condition")
        result = Spectrum(op.shape, found, bounds, condition(op), largest, smallest)
    with printing():
        click.echo(to_json(result) if as_json else _lines(result), nl=not as_json)


def _lines(result: Spectrum) -> str:
    low, high = result.bounds.interval
    rows = [
        ("matrix", f"{result.shape[0]} x {result.shape[1]}", ""),
        ("norm", f"{float(result.norm):.6g}", result.norm.kind),
        ("proven bounds", f"{low:.6g} to {high:.6g}", result.bounds.kind),
        ("condition", f"{float(result.condition):.6g}", result.condition.kind),
    ]
    for name in ("largest", "smallest"):
        found = getattr(result, name)
        rows.append((name, "  ".join(f"{float(v):.6g}" for v in found.values), found.kind))
    return "\n".join(f"{name:<14} {value:<32} {kind}".rstrip() for name, value, kind in rows)

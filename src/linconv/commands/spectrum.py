"""`linconv spectrum`: the singular values of a convolution, and how each is known."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from linconv.analysis.frequency_response import frequency_response
from linconv.analysis.norm_bounds import norm_bounds
from linconv.analysis.spectral_values import SpectralValue, SpectralValues
from linconv.analysis.spectrum import Rank, condition, norm, rank, svdvals
from linconv.commands.maps import can_write, geometry_options, named_padding, read_kernel, sizes
from linconv.commands.running import (
    EXIT_STATUS,
    PATIENCE,
    Display,
    json_option,
    printing,
    told,
)
from linconv.convolution import Conv
from linconv.errors import LinconvError, OutputError, SizeError
from linconv.files import to_json, write_file
from linconv.study.figures import draw, png
from linconv.study.results import Curves, Panel, Picture
from linconv.study.values import plain

__all__ = ["spectrum_command"]

DENSE_BYTES = 1 << 25
"""Largest matrix that is decomposed for the rank: some 2000 x 2000, a few seconds."""

GRID = {1: 512, 2: 128}
"""Frequencies per axis of the picture."""

DRAWN = 4000

HELP = """Print the singular values of a convolution: norm, condition, rank, largest and smallest.

The norm is the most by which the convolution can lengthen its input (its Lipschitz constant). The
condition number tells by how much undoing it may amplify an error. The rank tells how much is
kept. Of each it is said how it is known: "exact" to rounding, "certified" an interval that is
proven, or an "estimate" by an iteration, with its residual.

\b
Examples:
  linconv spectrum --kernel "10 -4 10; 10 0 30; 30 30 -1" --input-shape 4,4
  linconv spectrum --kernel gaussian5 --input-shape 64,64 --padding-mode circular
  linconv spectrum --kernel weights.npy --input-shape 32,32,3 --stride 2 --out spectrum.png
  linconv spectrum --kernel "1 2 1" --input-shape 100 --json

The first is the convolution of the course: rank 16, condition 563.086, norm 89.0789.

A NPY file may hold a layer's kernel: for an input of 32,32,3 as Keras has it (height, width, in,
out), with --data-format channels_first as PyTorch has it (out, in, height, width).

""" + EXIT_STATUS.format(passed="the spectrum is printed", failed="never")


@dataclass(frozen=True, eq=False)
class Spectrum:
    """What the command prints; None where it is not known, with the reason in `unknown`."""

    op: Conv
    norm: SpectralValue
    bounds: SpectralValue
    condition: SpectralValue | None
    rank: Rank | None
    largest: SpectralValues
    smallest: SpectralValues | None
    unknown: dict[str, str]

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain values, ready for strict JSON."""
        geometry = self.op.geometry
        names = ("norm", "bounds", "condition", "rank", "largest", "smallest", "unknown")
        return {
            "input_shape": list(self.op.input_shape),
            "output_shape": list(self.op.output_shape),
            "kernel_shape": list(self.op.kernel.shape),
            "stride": list(geometry.stride),
            "padding": [list(pair) for pair in geometry.padding],
            "padding_mode": list(geometry.padding_mode),
            "dilation": list(geometry.dilation),
            **{name: plain(getattr(self, name)) for name in names},
        }


@click.command(
    "spectrum",
    help=HELP,
    short_help="Print the singular values of a convolution: norm, condition, rank.",
)
@geometry_options
@click.option(
    "--input-shape",
    metavar="SIZES",
    required=True,
    help="One sample of the input: 16,16, or 16,16,3 with channels.",
)
@click.option("--stride", metavar="SIZES", default="1", show_default=True, help="Of each axis.")
@click.option("--dilation", metavar="SIZES", default="1", show_default=True, help="Of each axis.")
@click.option("--groups", type=click.IntRange(min=1), default=1, show_default=True)
@click.option(
    "--data-format",
    type=click.Choice(("channels_last", "channels_first")),
    default="channels_last",
    show_default=True,
    help="Where channels stand, if there are any.",
)
@click.option(
    "-k",
    "count",
    metavar="N",
    type=click.IntRange(min=1),
    default=6,
    show_default=True,
    help="How many of the largest and of the smallest singular values.",
)
@click.option(
    "--out",
    metavar="FILE",
    help="A PNG picture of the singular values and of the frequency response.",
)
@json_option
def spectrum_command(
    kernel: str,
    input_shape: str,
    stride: str,
    padding: str,
    padding_mode: str,
    dilation: str,
    groups: int,
    data_format: str,
    count: int,
    out: str | None,
    as_json: bool,
) -> None:
    """Find the spectrum, print it, and draw it."""
    with told("Interrupted; nothing was written."), Display(after=PATIENCE) as display:
        shape = np.atleast_1d(sizes("--input-shape", input_shape)).tolist()
        op = Conv(
            read_kernel(kernel, len(shape)),
            shape,
            stride=sizes("--stride", stride),
            padding=named_padding(padding),
            padding_mode=padding_mode,
            dilation=sizes("--dilation", dilation),
            groups=groups,
            data_format=data_format,
        )
        if out is not None:
            _check_picture(Path(out))
        found, drawn = _found(op, count, display)
        if out is not None:
            display(0.8, "drawing")
            content = png(draw(_picture(op, drawn)))
            write_file(Path(out), content)
    with printing():
        if as_json:
            click.echo(to_json(found), nl=False)
        else:
            click.echo("\n".join(_lines(found)))
            if out is not None:
                click.echo(f"Picture: {Path(out).absolute()}")


def _check_picture(path: Path) -> None:
    if path.suffix.lower() != ".png":
        raise OutputError(
            f"--out must be a PNG file; got {str(path)!r}; give a name that ends in .png"
        )
    can_write(path)


def _found(op: Conv, count: int, display: Display) -> tuple[Spectrum, SpectralValues]:
    """Return the spectrum, and the singular values that are drawn: all, or the largest."""
    unknown: dict[str, str] = {}

    def tried(name: str, share: float, ask: Any) -> Any:
        """Return what is asked for, or None where the map is too large for it."""
        display(share, f"the {name}")
        try:
            return ask()
        except LinconvError as error:
            unknown[name] = " ".join(str(error).split())
            return None

    display(0.0, "the norm")
    top = norm(op)
    display(0.1, "bounds of the norm")
    bounds = norm_bounds(op)
    kept = min(count, min(op.shape))
    ranked = tried("rank", 0.2, lambda: rank(op, max_bytes=DENSE_BYTES))
    display(0.4, "the singular values")
    if ranked is not None:
        every = svdvals(op, max_bytes=DENSE_BYTES)
        largest, smallest = _part(every, slice(kept)), _part(every, slice(len(every) - kept, None))
    else:
        every = largest = svdvals(op, kept)
        smallest = tried("smallest", 0.5, lambda: svdvals(op, kept, "smallest"))
    ratio = tried("condition", 0.6, lambda: condition(op))
    return Spectrum(op, top, bounds, ratio, ranked, largest, smallest, unknown), every


def _part(values: SpectralValues, part: slice) -> SpectralValues:
    """Return some of the values that are all known; their vectors are left out."""
    low, high = values.interval
    return SpectralValues(
        values.values[part], values.kind, (low[part], high[part]), None, values.method, values.cost
    )


def _lines(found: Spectrum) -> list[str]:
    """Write the spectrum, a line for each figure: its name, its value, how it is known."""
    op, (rows, columns) = found.op, found.op.shape
    sides = " -> ".join(" x ".join(map(str, s)) for s in (op.input_shape, op.output_shape))
    low, high = found.bounds.interval
    lines = [
        f"{sides}, a matrix of {rows} x {columns}",
        _line("norm", f"{float(found.norm):.6g}", found.norm),
        _line("bounds", f"{low:.6g} to {high:.6g}", found.bounds),
    ]
    for name, value in (("condition", found.condition), ("rank", found.rank)):
        if value is None:
            lines.append(f"{name:<10}not known: {found.unknown[name]}")
        elif name == "rank":
            lines.append(_line(name, f"{int(value)} of {min(op.shape)}", value))
        else:
            lines.append(_line(name, f"{float(value):.6g}", value))
    for name, values in (("largest", found.largest), ("smallest", found.smallest)):
        if values is None:
            lines.append(f"{name:<10}not known: {found.unknown[name]}")
        else:
            lines.append(_line(name, " ".join(f"{v:.6g}" for v in values.values), values))
    return lines


def _line(name: str, text: str, value: SpectralValue | SpectralValues) -> str:
    residual = ""
    if value.residual is not None:
        residual = f", residual {float(np.max(value.residual)):.1e}"
    return f"{name:<10}{text:<24}  {value.kind}, {value.method}{residual}"


def _picture(op: Conv, values: SpectralValues) -> Picture:
    array = np.asarray(values)
    step = -(-len(array) // DRAWN)
    array = array[step - 1 :: step]
    log = bool((array > 0).any())
    name = "singular values" if len(values) == min(op.shape) else "largest singular values"
    curve = Curves({name: array}, {}, "number, from the largest", "amplification", step, log)
    response = _response(op)
    rows = (curve,) if response is None else (curve, response)
    return Picture("spectrum", "", "", rows)


def _response(op: Conv) -> tuple[Panel, ...] | Curves | None:
    """Return what is drawn of the frequency response: the largest gain at every frequency."""
    axes = op.geometry.ndim
    if axes not in GRID:
        return None
    try:
        response = frequency_response(op, GRID[axes])
    except SizeError:
        return None
    gains: NDArray[Any] = np.abs(response)
    if response.ndim > axes:
        gains = np.linalg.norm(response, 2, axis=(-2, -1))
    n = GRID[axes]
    if axes == 1:
        half = gains[: n // 2 + 1]
        label = f"frequency, {n // 2} is the highest"
        return Curves({"gain": half}, {}, label, "gain", log=False)
    ticks = {0.0: "−π", n / 2: "0", n - 1.0: "π"}
    panel = Panel(
        np.fft.fftshift(gains),
        "gain at each frequency, in radians per sample",
        "error",
        colour_bar=True,
        columns_at=ticks,
        rows_at=ticks,
    )
    return (panel,)

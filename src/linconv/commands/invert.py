"""`linconv invert`: an image file in, the image before a convolution out."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np

from linconv.analysis.solve import solve
from linconv.commands.kernel_options import convolution_options, read_kernel, read_padding
from linconv.commands.running import (
    EXIT_STATUS,
    PATIENCE,
    Display,
    json_option,
    printing,
    told,
)
from linconv.convolution import Conv
from linconv.engines.arrays import Array
from linconv.errors import LinconvError, OutputError
from linconv.files import missing, to_json, write_file
from linconv.study.images import load_image
from linconv.study.presenting import psnr

__all__ = ["invert_command"]

HELP = """Undo a convolution of an image by least squares.

IMAGE is a PNG, JPEG, TIFF or NPY file or a bundled photograph such as camera; it is blurred by the
kernel first, and noise is added, unless it is --blurred already. The restored image is written as
a PNG file, with the blurred one at its left.

\b
Examples:
  linconv invert camera --kernel gaussian5 --out restored.png
  linconv invert camera --kernel gaussian5 --noise 0.01 --ridge 0.01 --out restored.png
  linconv invert blurred.png --blurred --kernel kernel.npy --ridge 1e-3 --out restored.png

""" + EXIT_STATUS.format(passed="the image was restored", failed="the solver did not converge")


@dataclass(frozen=True)
class Restored:
    """What the command prints."""

    out: str
    method: str
    converged: bool
    reason: str
    residual: float
    blurred_psnr: float | None
    restored_psnr: float | None

    def to_dict(self) -> dict[str, Any]:
        """Return plain numbers and strings."""
        return dict(vars(self))


@click.command("invert", help=HELP, short_help="Undo a convolution of an image.")
@click.argument("image", metavar="IMAGE")
@click.option("--kernel", metavar="KERNEL", required=True, help="A name, a file, or its rows.")
@click.option("--out", metavar="FILE", required=True, help="The PNG file to write.")
@click.option("--blurred", is_flag=True, help="IMAGE is the result of the convolution.")
@click.option(
    "--noise",
    type=click.FloatRange(min=0),
    default=0.0,
    show_default=True,
    help="Standard deviation of the noise that is added, of values in [0, 1].",
)
@click.option(
    "--ridge",
    type=click.FloatRange(min=0),
    default=0.0,
    show_default=True,
    help="Weight of the restored image's squares: noise asks for one.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@convolution_options
@json_option
def invert_command(
    image: str,
    kernel: str,
    out: str,
    blurred: bool,
    noise: float,
    ridge: float,
    seed: int,
    padding: str,
    padding_mode: str,
    as_json: bool,
) -> None:
    """Restore one image."""
    with told("Interrupted; nothing was written."), Display(after=PATIENCE) as display:
        path = Path(out)
        if path.suffix.lower() != ".png":
            raise OutputError(f"--out must be a PNG file; got {out!r}; end it with .png")
        display(0.0, "reading the image")
        taps, pixels = read_kernel(kernel), load_image(image).pixels
        rule = read_padding(padding)
        op = Conv(taps, pixels.shape, padding=rule, padding_mode=padding_mode)
        if blurred:
            if op.output_shape != pixels.shape:
                raise LinconvError(
                    f"a blurred image must have the size of its original, padding 'same'; got "
                    f"padding {padding!r}; use --padding same"
                )
            truth, seen = None, pixels
        else:
            truth, seen = pixels, op(pixels)
            if noise:
                seen = seen + noise * np.random.default_rng(seed).standard_normal(seen.shape)
        display(0.2, "solving")
        found = solve(op, seen, ridge=ridge)
        same = truth is not None and seen.shape == truth.shape
        result = Restored(
            str(path.absolute()),
            found.method,
            bool(np.all(found.converged)),
            found.reason,
            float(np.max(found.residual)),
            psnr(float(np.mean((seen - truth) ** 2))) if truth is not None and same else None,
            psnr(float(np.mean((found.x - truth) ** 2))) if truth is not None else None,
        )
        display(0.9, "writing")
        write_file(path, _png(seen, found.x))
    with printing(f"the image is {path}"):
        click.echo(to_json(result) if as_json else _lines(result), nl=not as_json)
    raise click.exceptions.Exit(0 if result.converged else 1)


def _png(blurred: Array, restored: Array) -> bytes:
    """Return both images side by side, each in its own range where it leaves [0, 1] by far."""
    try:
        from PIL import Image
    except ImportError as error:
        raise missing("pillow", "writing a picture") from error
    height = max(len(blurred), len(restored))
    sides = []
    for picture in (blurred, restored):
        low, high = float(picture.min()), float(picture.max())
        if low < -1 or high > 2:
            picture = (picture - low) / (high - low)
        grey = np.full((height, picture.shape[1]), 255, np.uint8)
        grey[: len(picture)] = np.round(255 * np.clip(picture, 0, 1))
        sides.append(grey)
    buffer = io.BytesIO()
    Image.fromarray(np.hstack(sides)).save(buffer, "PNG")
    return buffer.getvalue()


def _lines(result: Restored) -> str:
    lines = [
        f"method     {result.method}",
        f"residual   {result.residual:.3g}",
        f"ended      {result.reason}",
    ]
    for name in ("blurred", "restored"):
        value = getattr(result, f"{name}_psnr")
        if value is not None:
            lines.append(f"{name:<10} {value:.2f} dB from the original")
    return "\n".join([*lines, f"Restored: {result.out}"])

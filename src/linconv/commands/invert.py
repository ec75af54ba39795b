"""`linconv invert`: a picture restored from its convolution, with residual and pictures."""

from __future__ import annotations

import io
from dataclasses import dataclass
from importlib import util
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from linconv.analysis.solve import Solution, solve
from linconv.analysis.wiener import wiener_solution
from linconv.commands.maps import can_write, geometry_options, named_padding, read_kernel
from linconv.commands.running import (
    EXIT_STATUS,
    PATIENCE,
    Display,
    json_option,
    printing,
    told,
)
from linconv.convolution import Conv
from linconv.errors import InputError, LinconvError, OutputError
from linconv.files import encode_png, missing, to_json, write_file
from linconv.study.figures import draw, png
from linconv.study.images import PHOTOGRAPHS, photograph_file, read_colours
from linconv.study.presenting import psnr
from linconv.study.results import Panel, Picture
from linconv.study.values import plain

__all__ = ["invert_command"]

Array = NDArray[Any]

HELP = """Undo a convolution of a picture: restore what went in from what came out.

The picture is convolved with the kernel (and given noise, with --noise), and restored: how near to
the picture it comes is printed. With --blurred the picture is already what came out, and is
restored alone.

Without noise nothing but the equation is solved, in least squares. A blur with a large condition
number (see linconv spectrum) amplifies the smallest noise, that of 8-bit pixels too: say how strong
it is by --noise, the standard deviation for pixels in [0, 1]; then Wiener's filter restores no more
than can be told from noise, for a picture whose power falls with 1/frequency^2. --noise-to-signal
gives the ratio of variances itself; --ridge adds that times the sum of squares instead.

Colours are restored one by one. The result is written as a PNG of 8 bits (values outside of [0, 1]
are cut off, and counted) or, with all digits, as NPY; beside it all versions in one grey picture.

\b
Examples:
  linconv invert camera --kernel gaussian5 --out restored.png
  linconv invert camera --kernel gaussian5 --noise 0.01 --out restored.png
  linconv invert "my photo.jpg" --blurred --kernel motion7 --noise 0.005 --out sharp.png \\
      --padding-mode symmetric

""" + EXIT_STATUS.format(
    passed="the picture is restored",
    failed="it is written, but the iteration ended before --rtol was reached",
)


@dataclass(frozen=True, eq=False)
class Restored:
    """What the command found and wrote.

    `truth` and `psnr` are None where the picture was blurred already.
    """

    truth: Array | None
    features: Array
    x: Array
    facts: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """Return the facts without the pixels, ready for strict JSON."""
        facts: dict[str, Any] = plain(self.facts)
        return facts


@click.command("invert", help=HELP, short_help="Undo a convolution of a picture.")
@click.argument("image", metavar="IMAGE")
@geometry_options
@click.option("--blurred", is_flag=True, help="The picture is already the convolution's output.")
@click.option(
    "--noise",
    type=click.FloatRange(min=0),
    default=None,
    metavar="SD",
    help="Standard deviation of the noise, pixels in [0, 1]; it is added unless --blurred.",
)
@click.option(
    "--noise-to-signal",
    type=click.FloatRange(min=0),
    default=None,
    metavar="RATIO",
    help="Variance of the noise over that of the picture.  [default: from --noise]",
)
@click.option(
    "--ridge",
    type=click.FloatRange(min=0),
    default=None,
    metavar="WEIGHT",
    help="Weight of the sum of squares, in place of Wiener's filter.",
)
@click.option(
    "--rtol",
    type=click.FloatRange(min=0, max=1),
    default=1e-4,
    show_default=True,
    help="Where an iteration ends: relative residual of the normal equations.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of noise.")
@click.option("--out", metavar="FILE", required=True, help="The restored picture: .png or .npy.")
@click.option(
    "--picture",
    metavar="FILE",
    help="A PNG of all versions side by side.  [default: beside --out, NAME-compared.png]",
)
@json_option
def invert_command(
    image: str,
    kernel: str,
    padding: str,
    padding_mode: str,
    blurred: bool,
    noise: float | None,
    noise_to_signal: float | None,
    ridge: float | None,
    rtol: float,
    seed: int,
    out: str,
    picture: str | None,
    as_json: bool,
) -> None:
    """Restore a picture, write it, and leave with the exit status that the help tells."""
    if ridge is not None and noise_to_signal is not None:
        raise click.UsageError("--ridge and --noise-to-signal exclude each other; give one of them")
    place = Path(out)
    beside = place.with_name(f"{place.stem}-compared.png") if picture is None else Path(picture)
    told_by = told("Interrupted; no file is half written.")
    with told_by, Display(after=PATIENCE) as display:
        source = photograph_file(image) if image in PHOTOGRAPHS else Path(image)
        _check_places(source, place, beside)
        display(0.0, "reading")
        pixels, note = read_colours(source)
        op = _map(read_kernel(kernel), pixels.shape[1:], padding, padding_mode, blurred)
        truth = None if blurred else pixels
        features = pixels if blurred else op(pixels)
        if noise and not blurred:
            drawn = np.random.default_rng(seed).standard_normal(features.shape)
            features = features + noise * drawn
        display(0.2, "restoring")
        x, facts = _restored(op, features, noise or 0.0, noise_to_signal, ridge, rtol, display)
        found = Restored(truth, features, x, {"image": str(image), "note": note, **facts})
        found.facts.update(_measured(op, found))
        found.facts.update(out=str(place.absolute()), picture=str(beside.absolute()))
        display(0.9, "writing")
        files = {beside: png(draw(_picture(found))), place: _encoded(x, place)}
        for path, content in files.items():
            write_file(path, content)
    with printing(f"the picture is {place.absolute()}"):
        click.echo(to_json(found) if as_json else "\n".join(_lines(found)), nl=not as_json)
    raise click.exceptions.Exit(0 if found.facts["converged"] else 1)


def _check_places(source: Path, out: Path, beside: Path) -> None:
    """Refuse, before any work, what cannot be written, or would replace the picture itself."""
    if out.suffix.lower() not in {".png", ".npy"}:
        raise OutputError(
            f"--out must be a PNG or NPY file; got {str(out)!r}; give a name that ends in .png"
        )
    if beside.suffix.lower() != ".png":
        raise OutputError(
            f"--picture must be a PNG file; got {str(beside)!r}; give a name that ends in .png"
        )
    if out.absolute() == beside.absolute():
        raise OutputError(f"--out and --picture must differ; got {str(out)!r} twice; rename one")
    for path in (out, beside):
        can_write(path)
        if path.exists() and source.exists() and path.samefile(source):
            raise OutputError(f"{path} is the picture to be restored; give another name")
    for package, purpose in (("PIL", "writing a picture"), ("matplotlib", "drawing a picture")):
        if util.find_spec(package) is None:
            raise missing({"PIL": "pillow"}.get(package, package), purpose)


def _map(
    kernel: Array, shape: tuple[int, ...], padding: str, padding_mode: str, blurred: bool
) -> Conv:
    """Return the convolution whose input, or with `blurred` whose output, has the shape."""
    if kernel.ndim != 2:
        raise InputError(
            f"--kernel must have two axes, for one channel; got shape {kernel.shape}; give "
            f"height and width"
        )
    border = named_padding(padding)

    def made(size: tuple[int, ...]) -> Conv:
        return Conv(kernel, size, padding=border, padding_mode=padding_mode)

    if not blurred:
        return made(shape)
    # With stride 1 the output is smaller than the input by the same at any size.
    probe = tuple(4 * (n + k) for n, k in zip(shape, kernel.shape, strict=True))
    ends = zip(shape, probe, made(probe).output_shape, strict=True)
    return made(tuple(n + i - o for n, i, o in ends))


def _by(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))


def _restored(
    op: Conv,
    features: Array,
    noise: float,
    ratio: float | None,
    ridge: float | None,
    rtol: float,
    display: Display,
) -> tuple[Array, dict[str, Any]]:
    """Solve, with a ridge, or by Wiener's filter around the mean."""
    total = float(op.kernel.sum())
    flat = abs(total) > 1e-6 * float(np.abs(op.kernel).sum())
    gain = total**2 if flat else float((op.kernel**2).sum())
    if ratio is None and ridge is None and noise:
        signal = max(float(features.var()) - noise**2, noise**2) / (gain or 1.0)
        ratio = noise**2 / signal

    def tell(step: int, residual: float) -> None:
        display(0.2 + 0.7 * step / (step + 50), f"restoring, {residual:.1e} after {step} steps")

    if ratio:
        # The prior's pictures have mean zero; a kernel without gain for it tells nothing of it.
        mean = features.mean(axis=(-2, -1), keepdims=True) / total if flat else 0.0
        level = np.broadcast_to(mean, (*features.shape[:-2], *op.input_shape))
        rest = features - op(level)
        restored = wiener_solution(op, rest, ratio, "natural", rtol=rtol, callback=tell)
        reason = "Wiener's filter for power 1 / frequency^2"
        facts: dict[str, Any] = {
            "method": "Wiener",
            "noise_to_signal": ratio,
            "ridge": None,
            "iterations": restored.iterations,
            "converged": restored.converged,
            "reason": reason if restored.converged else f"{reason}, {restored.reason}",
        }
        return restored.x + level, facts

    found: Solution = solve(op, features, ridge=ridge or 0.0, rtol=rtol, callback=tell)
    facts = {
        "method": found.method,
        "noise_to_signal": None,
        "ridge": ridge or 0.0,
        "iterations": found.iterations,
        "converged": found.converged,
        "reason": found.reason,
    }
    return found.x, facts


def _measured(op: Conv, found: Restored) -> dict[str, Any]:
    """Return residual, errors against the truth where it is known, and what PNG cuts off."""
    features, x, truth = found.features, found.x, found.truth
    if not np.isfinite(x).all():
        raise LinconvError(
            "the restored picture must be finite; rounding made it infinite; use --noise or --ridge"
        )
    length = float(np.linalg.norm(features)) or 1.0
    facts: dict[str, Any] = {
        "shape": x.shape[1:],
        "colours": len(x),
        "relative_residual": float(np.linalg.norm(op(x) - features)) / length,
        "lowest": float(x.min()),
        "highest": float(x.max()),
        "outside": float(np.mean((x < 0) | (x > 1))),
        "psnr": None,
        "psnr_before": None,
    }
    if truth is not None:
        facts["psnr"] = psnr(float(np.mean((x - truth) ** 2)))
        facts["exact"] = facts["psnr"] is None
        if features.shape == truth.shape:
            facts["psnr_before"] = psnr(float(np.mean((features - truth) ** 2)))
    return facts


def _lines(found: Restored) -> list[str]:
    facts = found.facts
    colours = "grey" if facts["colours"] == 1 else f"{facts['colours']} colours"
    lines = [f"{facts['image']}, {_by(facts['shape'])}, {colours}"]
    if facts["note"]:
        lines[0] += f" ({facts['note']})"
    weight = ""
    if facts["noise_to_signal"]:
        weight = f", noise to signal {facts['noise_to_signal']:.3g}"
    elif facts["ridge"]:
        weight = f", ridge {facts['ridge']:.3g}"
    lines.append(f"method    {facts['method']}{weight}: {facts['reason']}")
    lines.append(f"residual  {facts['relative_residual']:.2e} of the convolution")
    if found.truth is not None:
        now = _decibels(facts["psnr"])
        before = "" if facts["psnr_before"] is None else f"{_decibels(facts['psnr_before'])} before"
        lines.append(f"PSNR      {now}" + (f" ({before})" if before else ""))
    span = f"{facts['lowest']:.4g} to {facts['highest']:.4g}"
    lines.append(f"values    {span}, {100 * facts['outside']:.1f} % outside of 0 to 1")
    lines += [f"Restored: {facts['out']}", f"Picture:  {facts['picture']}"]
    return lines


def _decibels(value: float | None) -> str:
    return "no error" if value is None else f"{value:.2f} dB"


def _encoded(x: Array, place: Path) -> bytes:
    """Return a file's bytes: (height, width), or colours last."""
    array = x[0] if len(x) == 1 else np.moveaxis(x, 0, -1)
    if place.suffix.lower() == ".npy":
        stream = io.BytesIO()
        np.save(stream, array)
        return stream.getvalue()
    return encode_png(np.rint(255 * np.clip(array, 0, 1)).astype(np.uint8))


def _picture(found: Restored) -> Picture:
    """Return what there was, its convolution and the restored picture; colours as their mean."""

    def panel(array: Array, title: str) -> Panel:
        return Panel(array.mean(axis=0), title, limits=(0.0, 1.0))

    facts, panels = found.facts, []
    if found.truth is not None:
        panels.append(panel(found.truth, "picture\n"))
    low, high = float(found.features.min()), float(found.features.max())
    before = _decibels(facts["psnr_before"]) if facts["psnr_before"] is not None else ""
    within = low >= -0.5 and high <= 1.5
    limits = (0.0, 1.0) if within else None
    panels.append(Panel(found.features.mean(axis=0), f"convolved\n{before}", limits=limits))
    now = "" if found.truth is None else _decibels(facts["psnr"])
    panels.append(panel(found.x, f"restored\n{now}"))
    return Picture("inverted", "", "", (tuple(panels),))

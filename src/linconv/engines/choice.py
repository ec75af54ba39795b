"""Which engine computes a convolution, and on which path: a model of cost, from the geometry alone.

Costs are estimated cycles of one core for one image. They need not be right, only in the right
order: `benchmarks/native.py` shows how near the chosen path comes to the machine's limit.
"""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from functools import lru_cache
from math import log2, prod
from typing import Any

import numpy as np

from linconv.arguments import choice as read_choice
from linconv.engines import fft_engine, native_engine
from linconv.errors import LinconvError
from linconv.geometry import Geometry

__all__ = ["DESCRIPTIONS", "Choice", "choose", "engine_in_use", "paths"]

DESCRIPTIONS = {
    "rows": "native: vectors across the last axis, lines in place or packed a band at a time",
    "pixels": "native: vectors across output channels, the channels of a pixel side by side",
    "channels": "native: vectors across the channels of a depthwise layer",
    "spectra": "native: transforms along the last axis, direct sums along the others",
    "winograd": "native: short kernels by their values at four points, fewer products",
    "windows": "NumPy: blocks of windows times the kernel, by BLAS",
    "fft": "SciPy: products of spectra, in tiles that overlap",
}
ENGINES = ("numpy", "native")
FORCED = os.environ.get("LINCONV_ENGINE") or None
"""What the environment variable LINCONV_ENGINE asked for when linconv was imported."""
CACHE_LINE = 64
REMEDY = "install a C++ compiler (GCC or Clang), then linconv again"
CLEARLY = 0.8
"""An FFT is chosen where it costs less than this part of the best direct way: its memory and its
rounding, relative to the largest value and not to each, must be worth it."""


@dataclass(frozen=True)
class Choice:
    """How one direction of a convolution is computed, and why.

    Attributes
    ----------
    path : str
        A key of `DESCRIPTIONS`.
    reason : str
        In words.
    cycles : dict of str to float
        Estimated cycles of one core for one image, of every path that could compute it.
    """

    path: str
    reason: str
    cycles: dict[str, float]

    def to_dict(self) -> dict[str, Any]:
        """Return the choice as plain strings and numbers."""
        return asdict(self)

    def __str__(self) -> str:
        ranked = sorted(self.cycles.items(), key=lambda item: item[1])
        lines = [
            f"{'->' if name == self.path else '  '} {name:<9} {cycles:>9.2g} cycles  "
            f"{DESCRIPTIONS[name]}"
            for name, cycles in ranked
        ]
        return "\n".join([f"{self.path}: {self.reason}", *lines])


def engine_in_use() -> tuple[str, str]:
    """Return the engine that computes, ``"native"`` or ``"numpy"``, and why.

    Raises
    ------
    LinconvError
        If the environment variable LINCONV_ENGINE asks for an engine that there is not.
    """
    built = native_engine.available()
    if FORCED is None:
        if built:
            return "native", f"built at installation; uses {native_engine.target()}"
        return "numpy", f"the native engine is not there ({native_engine.NOT_LOADED}); {REMEDY}"
    engine = read_choice("LINCONV_ENGINE", FORCED, ENGINES)
    if engine == "native" and not built:
        raise LinconvError(
            f"LINCONV_ENGINE=native needs the native engine; got an installation without it "
            f"({native_engine.NOT_LOADED}); {REMEDY}, or unset the variable"
        )
    return engine, f"the environment variable LINCONV_ENGINE is {engine!r}"


def paths(geometry: Geometry, channels_last: bool) -> tuple[str, ...]:
    """Return the paths that can compute a geometry with the engine in use."""
    if engine_in_use()[0] == "numpy":
        return ("windows", "fft")
    fitting = (p for p in native_engine.PATHS if native_engine.fits(p, geometry, channels_last))
    return (*fitting, "windows", "fft")


@lru_cache(maxsize=1024)
def choose(
    geometry: Geometry, channels_last: bool, *, transposed: bool, dtype: np.dtype[Any]
) -> Choice:
    """Return the path that a convolution, or its transpose, takes.

    Parameters
    ----------
    geometry : Geometry
        Its padding mode is zeros on every padded axis.
    channels_last : bool
        The layout of arrays and kernel.
    transposed : bool
        The direction.
    dtype : numpy.dtype
        That is computed in.
    """
    g = geometry
    able = paths(g, channels_last)
    cycles = {path: _cycles(path, g, channels_last, transposed, dtype) for path in able}
    direct = min((path for path in able if path != "fft"), key=lambda path: cycles[path])
    if cycles["fft"] < CLEARLY * cycles[direct]:
        taps = prod(g.kernel_size)
        return Choice("fft", f"{taps} taps a window are many: spectra cost less", cycles)
    if direct == "windows" and engine_in_use()[0] == "native":
        many = f"more than {native_engine.MOST_AXES} spatial axes"
        if g.ndim <= native_engine.MOST_AXES:
            many = f"windows that span {g.effective_kernel_size} samples"
        return Choice(direct, f"the native engine has no good path for {many}", cycles)
    if direct == "spectra":
        reason = f"{g.kernel_size[-1]} taps along a line are many: transforming the line costs less"
        return Choice(direct, reason, cycles)
    if direct == "winograd":
        reason = "a short kernel of many channels: transforming tiles of samples saves products"
        return Choice(direct, reason, cycles)
    return Choice(direct, f"the cheapest direct way of {engine_in_use()[0]}", cycles)


def _cycles(
    path: str, g: Geometry, channels_last: bool, transposed: bool, dtype: np.dtype[Any]
) -> float:
    """Estimate the cycles of one core for one image."""
    inputs, outputs = g.in_channels // g.groups, g.out_channels // g.groups
    read: float = prod(g.input_size) * g.in_channels
    written: float = prod(g.output_size) * g.out_channels
    if transposed:
        inputs, outputs, read, written = outputs, inputs, written, read
    products = prod(g.output_size) * prod(g.kernel_size) * g.in_channels * g.out_channels / g.groups
    parts, itemsize = (4, dtype.itemsize // 2) if dtype.kind == "c" else (1, dtype.itemsize)
    lanes = (native_engine.vector_bytes() if native_engine.available() else 32) // itemsize
    each = parts * products / (2 * lanes)  # one cycle has two multiplications of vectors
    if path == "windows":
        return 2e4 + each / 0.7 + parts * (4.0 * written * prod(g.kernel_size) * inputs / outputs)
    if path == "fft":
        return 1e5 + _fft_cycles(g, dtype)
    # One channel at a time is far to go, where the channels of a sample fill a line of the cache.
    alone = channels_last and inputs == outputs == 1 and g.groups * itemsize >= CACHE_LINE
    gathered = 12.0 * parts * (read + written) if alone else 0.0
    if path == "channels":
        square = g.ndim > 1 and g.kernel_size[-1] in (3, 5, 7)
        square = square and g.kernel_size[-2] == g.kernel_size[-1]
        in_blocks = square and (transposed or g.stride[-2:] == g.dilation[-2:])
        return each / (0.5 if in_blocks else 0.35) + parts * (0.2 * read + 0.2 * written)
    if path == "pixels":
        wasted = -(-outputs // lanes) * lanes / outputs
        turned = 0.2 if channels_last else 1.5
        return each * wasted / (0.9 if outputs > lanes else 0.7) + parts * turned * (read + written)
    if path == "spectra":
        return parts * _spectra_cycles(g, transposed, lanes, inputs, outputs) + gathered
    if path == "winograd":
        turned = 0.5 if channels_last else 2.0
        return parts * (_winograd_cycles(g, transposed, lanes) + turned * (read + written))
    width = g.input_size[-1] // g.stride[-1] if transposed else g.output_size[-1]
    wasted = -(-max(1, width) // lanes) * lanes / max(1, width)
    rate = 0.9
    if outputs == 1:
        shares = g.ndim > 1 and g.kernel_size[-2] > 2 and g.stride[-2] == g.dilation[-2] == 1
        rate = 0.8 if shares or g.kernel_size[-1] >= 2 * lanes else 0.5
    packing, unpacking = 0.4, 0.1
    if channels_last and g.groups * max(inputs, outputs) > 1:
        packing, unpacking = 1.5, 2.0
    elif transposed and g.stride[-1] > 1:
        unpacking = 0.7
    return each * wasted / rate + parts * (packing * read + unpacking * written) + gathered


def _spectra_cycles(g: Geometry, transposed: bool, lanes: int, inputs: int, outputs: int) -> float:
    """Estimate the cycles of transforms along the last axis and of sums over kernel lines.

    The length is the power of two with the least work, as in `native/spectra.h`.
    """
    size = g.input_size if transposed else g.output_size
    reach, kernel_lines = g.effective_kernel_size[-1], prod(g.kernel_size[:-1])
    lines, best = prod(size[:-1]), float("inf")
    for power in range(5, max(1024, 4 * reach).bit_length()):
        length = 2**power
        valid = length - reach + 1
        if valid < 1:
            continue
        tiles = -(-size[-1] // valid)
        transform = length * (2.0 + 2.5 * power / lanes)
        products = 2.5 * length * kernel_lines / lanes
        halo = 1.3 if kernel_lines > 1 else 1.0
        total = (
            lines * tiles * (transform * (halo * inputs + outputs) + products * inputs * outputs)
        )
        best = min(best, total + kernel_lines * inputs * outputs * transform)
    return g.groups * best


def _winograd_cycles(g: Geometry, transposed: bool, lanes: int) -> float:
    """Estimate the cycles of transforms (kernel, input, result) and products at pairs of points.

    Per axis a tile takes four products a residue of the stride, less those that are zero, as in
    `native/winograd.h`.
    """
    inputs, outputs = g.in_channels // g.groups, g.out_channels // g.groups
    written = g.output_size
    if transposed:
        inputs, outputs = outputs, inputs
        written = tuple(-(-size // s) for size, s in zip(g.input_size, g.stride, strict=True))
    tiles = products = 1
    for n, k, s in zip(written, g.kernel_size, g.stride, strict=True):
        taps = -(-k // s)
        across = -(-n // (5 - taps))
        tiles *= across
        products *= across * (3 * s + k - s * (taps - 1))
    residues = prod(g.stride)
    into, out = (1, residues) if transposed else (residues, 1)
    vectors = -(-outputs // lanes)
    transforms = 100.0 * tiles * (into * -(-inputs // lanes) + out * vectors)
    kernel = 130.0 * residues * inputs * vectors
    each = products * inputs * vectors / (2 * 0.85)
    return g.groups * (transforms + kernel + each)


def _fft_cycles(g: Geometry, dtype: np.dtype[Any]) -> float:
    """Estimate the cycles of transforms (three per channel: kernel, input, result) and products."""
    size = fft_engine.tile_size(g, np.dtype(dtype).itemsize)
    steps = [n - reach + 1 for n, reach in zip(size, g.effective_kernel_size, strict=True)]
    outputs = [(n - 1) * s + 1 for n, s in zip(g.output_size, g.stride, strict=True)]
    tiles = prod(-(-n // step) for n, step in zip(outputs, steps, strict=True))
    kernels = g.in_channels * g.out_channels // g.groups
    transforms = tiles * (g.in_channels + g.out_channels) + kernels
    width = dtype.itemsize / 4
    samples = prod(size)
    return width * samples * (1.1 * log2(samples) * transforms + 3 * tiles * kernels) + 5e4 * tiles

"""The native engine: compiled kernels for real numbers on one to three spatial axes.

Which output samples see which kernel samples is said here, from the geometry, in whole numbers; the
kernels in `native/` compute. A transposed convolution is one ordinary convolution per output phase,
so that no zero is ever multiplied. Complex arrays are computed by their real and imaginary parts.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from math import prod
from typing import Any

import numpy as np

from linconv.arguments import choice
from linconv.engines.arrays import Array
from linconv.geometry import Geometry
from linconv.phases import Phase

NOT_LOADED: str | None = None
"""Why the kernels could not be loaded, if so."""
try:
    import linconv.engines._native as _native
except ImportError as error:
    _native = None  # type: ignore[assignment]
    NOT_LOADED = str(error)

__all__ = [
    "MOST_AXES",
    "NOT_LOADED",
    "PATHS",
    "TARGETS",
    "available",
    "correlate",
    "correlate_transpose",
    "fits",
    "operation",
    "target",
    "threads",
    "use_target",
    "vector_bytes",
    "widest",
]

MOST_AXES = 3
PATHS = ("rows", "pixels", "channels", "spectra", "winograd")
"""The kernels' own names for the ways to compute, in the order of their numbers there."""
LARGE = 2**20
"""Bytes from which a result's memory is kept for the next one when it is let go."""
MOST_PACKED = 2**26
"""Bytes that a band of the input may take when packed, at the least."""
TARGETS = {"baseline": 16, "avx2": 32, "avx512": 64}
"""Instruction sets and the bytes of a vector, in the order of their numbers in the kernels."""


def available() -> bool:
    """Return whether the kernels were built when linconv was installed."""
    return _native is not None


def threads() -> int:
    """Return how many threads a large computation of this thread may use now, as OpenMP has it."""
    return int(_native.threads())


def target() -> str:
    """Return the instruction set in use: the widest that processor and build share."""
    return str(_native.target())


def widest() -> str:
    """Return the widest instruction set that this processor has and the build knows."""
    return str(_native.best_target())


def use_target(name: str | None) -> str:
    """Use an instruction set, or with None the widest again; return the one that is used.

    Results then differ by rounding: the wider ones multiply and add in one step.
    """
    names = tuple(TARGETS)
    wanted = names[-1] if name is None else choice("target", name, names)
    return str(_native.use_target(names.index(wanted)))


def vector_bytes() -> int:
    """Return the bytes of one vector of the instruction set in use."""
    return TARGETS[target()]


def fits(path: str, geometry: Geometry, channels_last: bool) -> bool:
    """Return whether a path can compute a geometry.

    "channels" takes depthwise layers with channels last, at least a vector of them; "spectra"
    layers without stride; "winograd" two axes, two or three taps along each, or three to six at
    stride two, undilated, on at least a tile of samples. The others pack what their windows span,
    which must not be too much: far apart taps on a small image span mostly zeros.
    """
    g = geometry
    if g.ndim > MOST_AXES:
        return False
    if path == "channels":
        depthwise = g.groups == g.in_channels == g.out_channels
        return channels_last and depthwise and g.groups >= vector_bytes() // 4
    if path == "winograd":
        sides = zip(g.kernel_size, g.stride, g.dilation, strict=True)
        short = all(s < k <= 3 * s and s <= 2 and d == 1 for k, s, d in sides)
        return g.ndim == 2 and short and min(*g.input_size, *g.output_size) >= 4
    spans = [reach + 16 * s for reach, s in zip(g.effective_kernel_size, g.stride, strict=True)]
    spans[-1] += 1024 * g.stride[-1]
    channels = max(g.in_channels, g.out_channels) // g.groups if path == "spectra" else 1
    if 8 * prod(spans) * channels > MOST_PACKED:
        return False
    return path != "spectra" or max(g.stride) == 1


def correlate(
    x: Array, kernel: Array, geometry: Geometry, channels_last: bool, path: str = "rows"
) -> Array:
    """Correlate `x` with `kernel`; see `linconv.engines.correlate` for the contract."""
    return operation(path, geometry, channels_last, transposed=False)(x, kernel)


def correlate_transpose(
    y: Array, kernel: Array, geometry: Geometry, channels_last: bool, path: str = "rows"
) -> Array:
    """Transpose of `correlate`: an ordinary convolution for each output phase."""
    return operation(path, geometry, channels_last, transposed=True)(y, kernel)


@lru_cache(maxsize=1024)
def operation(
    path: str, geometry: Geometry, channels_last: bool, *, transposed: bool
) -> Callable[[Array, Array], Array]:
    """Return a function of array and kernel that computes one geometry by one path."""
    g, number = geometry, PATHS.index(path)
    run = _plan(g, channels_last, transposed).run
    size, channels = g.output_size, g.out_channels
    if transposed:
        size, channels = g.input_size, g.in_channels
    shape = (*size, channels) if channels_last else (channels, *size)

    def real(array: Array, kernel: Array) -> Array:
        result = _empty((len(array), *shape), array.dtype)
        if len(array):
            run(number, array, kernel, result)
        return result

    def compute(array: Array, kernel: Array) -> Array:
        if not (array.flags.aligned and kernel.flags.aligned):
            array, kernel = array.copy(), kernel.copy()
        if array.dtype.kind != "c":
            return real(array, kernel)
        result = np.empty((len(array), *shape), array.dtype)
        result.real = real(array.real, kernel.real) - real(array.imag, kernel.imag)
        result.imag = real(array.real, kernel.imag) + real(array.imag, kernel.real)
        return result

    return compute


def _empty(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """Return a new array; a large one in memory that an earlier result gave back, if any did."""
    if prod(shape) * dtype.itemsize < LARGE:
        return np.empty(shape, dtype)
    result: Array = _native.empty(shape, dtype == np.float64)
    return result


def _plan(g: Geometry, channels_last: bool, transposed: bool) -> Any:
    """Return the kernels' plan: per axis the size that is read and the step, and all phases."""
    inputs, outputs = g.in_channels // g.groups, g.out_channels // g.groups
    if transposed:
        inputs, outputs = outputs, inputs
        axes = [(size, 1) for size in g.output_size]
        phases = [
            [_phase(phase, size, taps) for phase in g.phases(axis)]
            for axis, (size, taps) in enumerate(zip(g.input_size, g.kernel_size, strict=True))
        ]
    else:
        axes = list(zip(g.input_size, g.stride, strict=True))
        phases = [
            [(0, 1, windows, taps, 0, 1, -low, dilation)]
            for windows, taps, (low, _), dilation in zip(
                g.output_size, g.kernel_size, g.padding, g.dilation, strict=True
            )
        ]
    return _native.Plan(axes, phases, g.groups, inputs, outputs, channels_last, transposed)


def _phase(phase: Phase, size: int, kernel: int) -> tuple[int, ...]:
    """Return an output phase as the kernels take it: outputs, flipped taps, offset, dilation."""
    outputs, taps = range(size)[phase.outputs], range(kernel)[phase.taps]
    return (
        outputs.start,
        outputs.step,
        len(outputs),
        len(taps),
        taps[-1] if taps else 0,
        -taps.step,
        -phase.padding[0],
        phase.dilation,
    )

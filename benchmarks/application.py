"""How fast a map and its transpose are applied, as ratios to SciPy, PyLops, PyTorch and JAX.

    python benchmarks/application.py [--json FILE] [--only TEXT]

A ratio is a peer's time divided by linconv's: above 1 linconv is faster, below 1 the peer is. Each
peer gets the same numbers in the layout and array type that is its own, prepared outside the
clock, and must give the same result before it is timed. A dash: the peer has no such layer, is
not installed, or cannot do it (JAX on large float64 images).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np
import scipy
import timing

import linconv as lc

Call = Callable[[], Any]
PEERS = ("ndimage", "fft", "pylops", "torch", "jax")
TOLERANCES = {"float32": 2e-4, "float64": 1e-10}
JAX_MOST_SAMPLES = 2**20
"""Samples of a float64 channel that JAX is given: XLA on a CPU crashes the process on 2048^2."""


@dataclass(frozen=True)
class Case:
    """A layer by its options, channels first unless bare, and how many arrays it is applied to."""

    name: str
    kernel: tuple[int, ...]
    input_shape: tuple[int, ...]
    batch: int = 1
    options: dict[str, Any] = field(default_factory=dict)


STRIDED = {"stride": 2, "padding": "same"}
CASES = (
    Case("grey 2048^2 k3", (3, 3), (2048, 2048)),
    Case("grey 2048^2 k7", (7, 7), (2048, 2048)),
    Case("grey 256^2 k31", (31, 31), (256, 256)),
    Case("rgb 512^2 k5 depthwise", (3, 1, 5, 5), (3, 512, 512), 1, {"groups": 3}),
    Case("rgb 3 -> 8 512^2 k3", (8, 3, 3, 3), (3, 512, 512)),
    Case("1 -> 15 1000x32^2 k3 s2", (15, 1, 3, 3), (1, 32, 32), 1000, STRIDED),
    Case("64 -> 64 8x64^2 k3", (64, 64, 3, 3), (64, 64, 64), 8),
    Case("64 -> 128 8x64^2 k3 s2", (128, 64, 3, 3), (64, 64, 64), 8, STRIDED),
    Case("64 -> 64 8x64^2 k1", (64, 64, 1, 1), (64, 64, 64), 8),
    Case("1-D 2^20 k101", (101,), (2**20,)),
    Case("1-D 16 -> 32 8x4096 k9", (32, 16, 9), (16, 4096), 8),
    Case("3-D 64^3 k5", (5, 5, 5), (64, 64, 64)),
)


@dataclass(frozen=True)
class Race:
    """One case in one dtype: the map, and arrays for it and for its transpose."""

    case: Case
    op: lc.Conv
    x: np.ndarray
    y: np.ndarray

    @classmethod
    def of(cls, case: Case, dtype: str) -> Race:
        """Draw kernel and arrays."""
        rng = np.random.default_rng(0)
        kernel = rng.standard_normal(case.kernel) / np.sqrt(prod(case.kernel))
        options = {"padding": "same", "data_format": "channels_first", **case.options}
        op = lc.Conv(kernel.astype(dtype), case.input_shape, **options)
        x, y = (
            rng.standard_normal((case.batch, *shape)).astype(dtype)
            for shape in (op.input_shape, op.output_shape)
        )
        return cls(case, op, x, y)

    @property
    def filters_alone(self) -> bool:
        """Whether the layer filters each array on its own: one channel, or depthwise, stride 1."""
        g = self.op.geometry
        return set(g.stride) == {1} and g.groups == g.in_channels == g.out_channels

    def filters(self, *, transposed: bool) -> tuple[np.ndarray, np.ndarray]:
        """Return arrays (channels, *size) and kernels (channels, *size) to correlate with."""
        g = self.op.geometry
        array = (self.y if transposed else self.x).reshape(-1, *g.input_size)
        kernels = self.op.kernel.reshape(-1, *g.kernel_size)
        if transposed:
            kernels = np.flip(kernels, tuple(range(1, kernels.ndim)))
        return array, np.ascontiguousarray(kernels)


def linconv_call(race: Race, *, transposed: bool) -> Call:
    """Return the map, or its transpose, on its array."""
    return (lambda: race.op.T(race.y)) if transposed else (lambda: race.op(race.x))


def ndimage_call(race: Race, *, transposed: bool) -> Call | None:
    """Return SciPy's direct correlation, one channel after the other."""
    if not race.filters_alone:
        return None
    array, kernels = race.filters(transposed=transposed)

    def call() -> np.ndarray:
        pairs = zip(array, kernels, strict=True)
        return np.stack([scipy.ndimage.correlate(a, k, mode="constant") for a, k in pairs])

    return call


def fft_call(race: Race, *, transposed: bool) -> Call | None:
    """Return SciPy's convolution by FFT (one channel after the other), kernel flipped."""
    if not race.filters_alone:
        return None
    array, kernels = race.filters(transposed=transposed)
    turned = np.flip(kernels, tuple(range(1, kernels.ndim)))

    def call() -> np.ndarray:
        pairs = zip(array, turned, strict=True)
        return np.stack([scipy.signal.fftconvolve(a, k, mode="same") for a, k in pairs])

    return call


def pylops_call(race: Race, *, transposed: bool) -> Call | None:
    """Return PyLops' operator as it chooses to compute; it has one channel."""
    if not (timing.installed("pylops") and race.op.layout.bare):
        return None
    from pylops import signalprocessing

    size, kernel = race.op.input_shape, np.flip(race.op.kernel)
    offset = tuple(k // 2 for k in kernel.shape)
    if len(size) == 1:
        operator = signalprocessing.Convolve1D(size, kernel, offset[0], dtype=kernel.dtype)
    else:
        operator = signalprocessing.ConvolveND(
            size, kernel, offset, axes=range(len(size)), dtype=kernel.dtype
        )
    vector = (race.y if transposed else race.x).ravel()
    return (lambda: operator.rmatvec(vector)) if transposed else (lambda: operator.matvec(vector))


def torch_call(race: Race, *, transposed: bool) -> Call | None:
    """Return PyTorch's layer or transposed layer; padding that is uneven is a call of its own."""
    if not timing.installed("torch"):
        return None
    import torch
    from torch.nn import functional

    op, g = race.op, race.op.geometry
    array, kernel = with_channels(race, transposed=transposed)
    x, weight = torch.from_numpy(array), torch.from_numpy(kernel)
    name = "conv_transpose" if transposed else "conv"
    function = getattr(functional, f"{name}{g.ndim}d")
    lows = tuple(low for low, _ in g.padding)
    even = all(low == high for low, high in g.padding)
    options: dict[str, Any] = {"stride": g.stride, "groups": g.groups}
    if not transposed and even:
        return lambda: function(x, weight, padding=lows, **options)
    if not transposed:
        sides = [side for pair in reversed(g.padding) for side in pair]
        return lambda: function(functional.pad(x, sides), weight, **options)
    if even:
        return lambda: function(x, weight, padding=lows, output_padding=g.leftover, **options)
    inside = (..., *(slice(low, low + n) for low, n in zip(lows, op.input_shape[1:], strict=True)))
    return lambda: function(x, weight, **options)[inside]


def jax_call(race: Race, *, transposed: bool) -> Call | None:
    """Return JAX's compiled layer, or its transpose as JAX derives it."""
    if not timing.installed("jax"):
        return None
    import jax

    jax.config.update("jax_enable_x64", True)
    g = race.op.geometry
    if race.op.dtype == np.float64 and prod(g.input_size) > JAX_MOST_SAMPLES:
        return None
    x, kernel = with_channels(race, transposed=False)

    def layer(array: Any, weight: Any) -> Any:
        spatial = "DHW"[3 - g.ndim :]
        return jax.lax.conv_general_dilated(
            array,
            weight,
            g.stride,
            g.padding,
            dimension_numbers=(f"NC{spatial}", f"OI{spatial}", f"NC{spatial}"),
            feature_group_count=g.groups,
        )

    def transpose(array: Any, weight: Any) -> Any:
        like = jax.ShapeDtypeStruct(x.shape, x.dtype)
        return jax.linear_transpose(lambda a: layer(a, weight), like)(array)[0]

    function = jax.jit(transpose if transposed else layer)
    given = with_channels(race, transposed=transposed)[0]
    array, weight = jax.device_put(given), jax.device_put(kernel)
    return lambda: function(array, weight).block_until_ready()


def with_channels(race: Race, *, transposed: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return a writable array and kernel with batch and channel axes."""
    array, kernel = race.y if transposed else race.x, race.op.kernel.copy()
    if race.op.layout.bare:
        return array[:, None], kernel[None, None]
    return array, kernel


BUILDERS = {
    "linconv": linconv_call,
    "ndimage": ndimage_call,
    "fft": fft_call,
    "pylops": pylops_call,
    "torch": torch_call,
    "jax": jax_call,
}


def measured(case: Case, dtype: str, *, transposed: bool) -> dict[str, Any]:
    """Return the figures of one case in one dtype and one direction."""
    race = Race.of(case, dtype)
    built = {name: build(race, transposed=transposed) for name, build in BUILDERS.items()}
    calls = {name: call for name, call in built.items() if call is not None}
    timings = timing.race(
        calls, lambda result: np.asarray(result).ravel(), rtol=TOLERANCES[dtype], budget=0.06
    )
    return {
        "name": case.name,
        "dtype": dtype,
        "transposed": transposed,
        "timings": timings,
        "ratios": {
            peer: timings[peer].seconds / timings["linconv"].seconds
            for peer in PEERS
            if peer in timings
        },
    }


def row(figures: dict[str, Any]) -> list[str]:
    """Return one line of the table."""
    ratios = figures["ratios"]
    return [
        figures["name"],
        f"{1e3 * figures['timings']['linconv'].seconds:.1f} ms",
        *(f"{ratios[peer]:.2f}" if peer in ratios else "-" for peer in PEERS),
    ]


def main() -> None:
    """Run all cases; print one table per direction and dtype."""
    options = timing.arguments(__doc__.splitlines()[0])
    timing.print_machine()
    figures = []
    for transposed in (False, True):
        for dtype in ("float32", "float64"):
            chosen = [case for case in CASES if options.only in case.name]
            new = [measured(case, dtype, transposed=transposed) for case in chosen]
            figures += new
            title = f"{'op.T(y)' if transposed else 'op(x)'}, {dtype}: peer's time / linconv's"
            timing.table(title, ["layer", "linconv", *PEERS], [row(f) for f in new])
    timing.write_json(options.json, {"application": figures})


if __name__ == "__main__":
    main()

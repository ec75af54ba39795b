"""How fast singular values, the norm and its gradient are found, beside what people use.

    python benchmarks/spectrum.py [--json FILE] [--only TEXT] [--quick]

Three races, on a layer of 64 to 64 channels, 3 x 3, on 64 x 64, float32. "circular": all singular
values beside the published method in NumPy (Sedghi, Gupta, Long, arXiv 1805.10408: transform the
kernel, decompose every frequency), and the norm alone. "zeros": the norm of the zero-padded layer
to a relative residual of 1e-6, beside 100 power iterations of PyTorch's convolutions. "gradient":
of the norm with respect to the kernel, beside its value, PyTorch and JAX. `--quick` takes 16
channels on 16 x 16.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import timing

import linconv as lc

ITERATIONS = 100
MARGIN = 1e-4
"""What the norm may exceed 100 power iterations by, and more where they are not converged."""


@dataclass(frozen=True)
class Layer:
    """The layer of every race: a kernel (out, in, *taps) and the input's size."""

    kernel: np.ndarray
    size: tuple[int, int]

    def map(self, mode: str, kernel: Any = None) -> lc.Conv:
        """Return the layer as a map, of its own kernel or of a tensor."""
        kernel = self.kernel if kernel is None else kernel
        shape = (self.kernel.shape[1], *self.size)
        options = {"padding": "same", "padding_mode": mode, "data_format": "channels_first"}
        return lc.Conv(kernel, shape, **options)


def main() -> None:
    """Run the races that were asked for; print tables and bars."""
    help_text = "16 channels on 16 x 16, two rounds"
    options = timing.arguments(__doc__.splitlines()[0], {"--quick": help_text})
    channels, size = (16, 16) if options.quick else (64, 64)
    kernel = np.random.default_rng(0).standard_normal((channels, channels, 3, 3))
    layer = Layer(kernel.astype(np.float32), (size, size))
    rounds = 2 if options.quick else 5
    timing.print_machine()
    races: dict[str, Callable[[Layer, int], dict[str, Any]]] = {
        "circular": circular,
        "zeros": zero_padded,
        "gradient": gradients,
    }
    figures = {name: race(layer, rounds) for name, race in races.items() if options.only in name}
    bars = [bar for found in figures.values() for bar in found["bars"]]
    rows = [(b["text"], f"{b['value']:.2f}", f"{b['wanted']:g}", told(b)) for b in bars]
    timing.table("Bars", ("ratio", "in this run", "wanted", "met"), rows)
    timing.write_json(options.json, figures)


def told(bar: dict[str, Any]) -> str:
    """Return whether a bar is met, as a word."""
    return "yes" if bar["met"] else "no"


def at_least(text: str, value: float, wanted: float) -> dict[str, Any]:
    """Return a bar that a ratio has to reach."""
    return {"text": text, "value": value, "wanted": wanted, "met": value >= wanted}


def published(layer: Layer) -> np.ndarray:
    """Return all singular values by the published method, float32 as NumPy does it."""
    response = np.fft.fft2(layer.kernel.transpose(2, 3, 0, 1), layer.size, axes=(0, 1))
    return np.linalg.svd(response, compute_uv=False)


def circular(layer: Layer, rounds: int) -> dict[str, Any]:
    """Race all singular values of the periodic layer, and the norm against all."""
    op = layer.map("circular")

    def ordered(values: Any) -> np.ndarray:
        return np.sort(np.asarray(values).ravel())[::-1]

    calls = {"linconv": lambda: lc.svdvals(op), "published, NumPy": lambda: published(layer)}
    times = timing.race(calls, ordered, rtol=1e-5, budget=6.0, rounds=min(rounds, 3))
    top = {"linconv, the norm alone": lambda: lc.norm(op), "the largest of all": lambda: top_of(op)}
    times |= timing.race(top, lambda v: np.asarray(float(v)), rtol=1e-12, budget=2.0, rounds=rounds)
    del times["the largest of all"]
    show("Periodic: all singular values, and the norm", times)
    seconds = {name: each.seconds for name, each in times.items()}
    ours, norm = seconds["linconv"], seconds["linconv, the norm alone"]
    bars = [
        at_least("published / linconv, all values", seconds["published, NumPy"] / ours, 1),
        at_least("all / norm, linconv", ours / norm, 10),
    ]
    return {"timings": times, "bars": bars}


def top_of(op: lc.Conv) -> float:
    """Return the largest of all singular values."""
    return float(lc.svdvals(op)[0])


def zero_padded(layer: Layer, rounds: int) -> dict[str, Any]:
    """Race the norm of the zero-padded layer against power iterations."""
    op = layer.map("zeros")
    found = lc.norm(op)
    timings = {"linconv": timing.timed(lambda: lc.norm(op), 3.0, rounds)}
    figures: dict[str, Any] = {"value": float(found), "residual": found.residual}
    if timing.installed("torch"):
        call = power_iteration(layer)
        reached = call()
        # The largest singular value is never exceeded; how far iterations fall short is their own.
        assert 0.9 * float(found) <= reached <= float(found) * (1 + MARGIN), (reached, found)
        assert residual_of(op, layer) <= 1e-6
        timings["torch, 100 iterations"] = timing.timed(call, 3.0, rounds)
        figures["torch value"] = reached
    show("Zero-padded: the norm", timings)
    bars = []
    if "torch, 100 iterations" in timings:
        ratio = timings["torch, 100 iterations"].seconds / timings["linconv"].seconds
        bars.append(at_least("100 power iterations of PyTorch / linconv", ratio, 1))
    return {"timings": timings, **figures, "bars": bars}


def residual_of(op: lc.Conv, layer: Layer) -> float:
    """Return the residual of the norm's singular triplet, computed by a map of float64."""
    from linconv.analysis.iterative import estimated_norm

    wide = Layer(layer.kernel.astype(np.float64), layer.size).map("zeros")
    triplet, _ = estimated_norm(op)
    back = wide.rmatvec(triplet.left) - triplet.value * triplet.right
    return float(np.linalg.norm(back)) / triplet.value


def power_iteration(layer: Layer) -> Callable[[], float]:
    """Return 100 power iterations of PyTorch's convolution and its transpose."""
    import torch
    from torch.nn.functional import conv2d, conv_transpose2d

    kernel = torch.tensor(layer.kernel)
    generator = torch.Generator().manual_seed(0)
    start = torch.randn((1, kernel.shape[1], *layer.size), generator=generator)

    def iterate() -> float:
        with torch.no_grad():
            x = start
            for _ in range(ITERATIONS):
                x = x / x.norm()
                x = conv_transpose2d(conv2d(x, kernel, padding=1), kernel, padding=1)
            return float(x.norm() ** 0.5)

    return iterate


def gradients(layer: Layer, rounds: int) -> dict[str, Any]:
    """Race the gradient of the norm against its value, with every framework there is."""
    timings: dict[str, timing.Timing] = {}
    bars = []
    for framework, maker in {"torch": torch_calls, "jax": jax_calls}.items():
        if not timing.installed(framework):
            continue
        for mode in ("circular", "zeros"):
            value, gradient = maker(layer, mode)
            expected = float(lc.norm(layer.map(mode)))
            assert abs(value() - expected) <= 1e-5 * expected
            # A norm is homogeneous: its gradient times the kernel is the norm (Euler).
            product = float((gradient() * layer.kernel).sum())
            assert abs(product - expected) <= 1e-4 * expected, (framework, mode, product, expected)
            name = f"{framework}, {mode}"
            timings[f"{name}: value"] = timing.timed(value, 1.0, rounds)
            timings[f"{name}: gradient"] = timing.timed(gradient, 1.0, rounds)
            ratio = timings[f"{name}: gradient"].seconds / timings[f"{name}: value"].seconds
            text = f"gradient / value, {name}"
            bars.append({"text": text, "value": ratio, "wanted": 3, "met": ratio <= 3})
    show("The differentiable norm", timings)
    return {"timings": timings, "bars": bars}


def torch_calls(layer: Layer, mode: str) -> tuple[Callable[[], float], Callable[[], np.ndarray]]:
    """Return the calls for the value and for the gradient with PyTorch."""
    import torch

    kernel = torch.tensor(layer.kernel, requires_grad=True)

    def gradient() -> np.ndarray:
        return torch.autograd.grad(lc.norm(layer.map(mode, kernel)), kernel)[0].numpy()

    return lambda: float(lc.norm(layer.map(mode, kernel.detach()))), gradient


def jax_calls(layer: Layer, mode: str) -> tuple[Callable[[], float], Callable[[], np.ndarray]]:
    """Return the calls for the value and for the gradient with JAX."""
    import jax

    kernel = jax.numpy.asarray(layer.kernel)

    def norm(values: Any) -> Any:
        return lc.norm(layer.map(mode, values))

    return lambda: float(norm(kernel)), lambda: np.asarray(jax.grad(norm)(kernel))


def show(title: str, timings: dict[str, timing.Timing]) -> None:
    """Print seconds, and how they compare with the first."""
    if not timings:
        print(f"\n{title}: nothing to race, for no framework is installed")
        return
    first = next(iter(timings.values())).seconds
    rows = [
        (n, f"{1e3 * t.seconds:.1f} ms", f"{t.seconds / first:.2f}") for n, t in timings.items()
    ]
    timing.table(title, ("what", "time", "beside the first"), rows)


if __name__ == "__main__":
    main()

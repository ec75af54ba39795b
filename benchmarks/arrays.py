"""How fast maps of PyTorch tensors are, forward and with gradients, beside PyTorch's own layers.

    python benchmarks/arrays.py [--json FILE] [--only TEXT] [--device cpu|cuda]

A ratio is PyTorch's time divided by linconv's, of `conv1d` to `conv3d` on the same tensors, padding
even, channels first. "gradients" is forward and backward, to kernel and input. Results and
gradients are compared before anything is timed.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import timing
import torch

import linconv as lc

TOLERANCES = {"float32": 2e-4, "float64": 1e-10}


@dataclass(frozen=True)
class Case:
    """A layer: kernel (out, in/groups, *size), input (batch, in, *size), stride and groups."""

    name: str
    kernel: tuple[int, ...]
    input: tuple[int, ...]
    stride: int = 1
    groups: int = 1


CASES = (
    Case("1 4^2 k3", (1, 1, 3, 3), (1, 1, 4, 4)),
    Case("grey 1024^2 k7", (1, 1, 7, 7), (1, 1, 1024, 1024)),
    Case("3 -> 16 8x64^2 k3", (16, 3, 3, 3), (8, 3, 64, 64)),
    Case("8 -> 8 4x128^2 k3", (8, 8, 3, 3), (4, 8, 128, 128)),
    Case("64 -> 64 4x56^2 k3", (64, 64, 3, 3), (4, 64, 56, 56)),
    Case("64 -> 128 4x56^2 k3 s2", (128, 64, 3, 3), (4, 64, 56, 56), 2),
    Case("64 depthwise 56^2 k3", (64, 1, 3, 3), (1, 64, 56, 56), 1, 64),
    Case("32 depthwise 56^2 k31", (32, 1, 31, 31), (1, 32, 56, 56), 1, 32),
    Case("1-D 2^16 k101", (1, 1, 101), (1, 1, 2**16)),
    Case("3-D 48^3 k5", (1, 1, 5, 5, 5), (1, 1, 48, 48, 48)),
)


def measured(case: Case, dtype: str, device: str) -> dict[str, Any]:
    """Return PyTorch's time over linconv's, and linconv's, forward and with gradients."""
    rng = np.random.default_rng(0)
    kernel, x = (
        torch.tensor(rng.standard_normal(shape).astype(dtype), device=device)
        for shape in (case.kernel, case.input)
    )
    pad = (case.kernel[-1] - 1) // 2
    options = {"stride": case.stride, "padding": pad, "groups": case.groups}
    own = getattr(torch, f"conv{x.ndim - 2}d")
    op = lc.Conv(kernel, case.input[1:], data_format="channels_first", **options)
    leaves = kernel.clone().requires_grad_(), x.clone().requires_grad_()
    learning = lc.Conv(leaves[0], case.input[1:], data_format="channels_first", **options)
    cotangent = torch.ones_like(op(x))

    def finished(call: Callable[[], Any]) -> Callable[[], Any]:
        def timed() -> Any:
            result = call()
            if device != "cpu":
                torch.cuda.synchronize()
            return result

        return timed

    def gradients(forward: Callable[[], Any]) -> Callable[[], Any]:
        return lambda: torch.cat(
            [g.reshape(-1) for g in torch.autograd.grad(forward(), leaves, cotangent)]
        )

    pairs = {
        "forward": (lambda: op(x), lambda: own(x, kernel, **options)),
        "gradients": (
            gradients(lambda: learning(leaves[1])),
            gradients(lambda: own(leaves[1], leaves[0], **options)),
        ),
    }
    figures: dict[str, Any] = {"name": case.name, "dtype": dtype, "device": device}
    for what, (ours, theirs) in pairs.items():
        calls = {"linconv": finished(ours), "torch": finished(theirs)}
        times = timing.race(
            calls, lambda r: r.detach().cpu().numpy().ravel(), rtol=TOLERANCES[dtype], budget=0.1
        )
        figures[what] = {name: times[name].seconds for name in calls}
    return figures


def row(figures: dict[str, Any]) -> list[str]:
    """Return one line of the table."""
    cells = []
    for what in ("forward", "gradients"):
        seconds = figures[what]
        cells += [f"{1e3 * seconds['linconv']:.3f} ms"]
        cells += [f"{seconds['torch'] / seconds['linconv']:.2f}"]
    return [figures["name"], *cells]


def main() -> None:
    """Run all cases; print one table per dtype."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures there")
    parser.add_argument("--only", default="", metavar="TEXT", help="cases whose name contains it")
    parser.add_argument("--device", default="cpu", help="cpu, or cuda for a GPU")
    options = parser.parse_args()
    timing.print_machine()
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    found = []
    for dtype in ("float32", "float64"):
        chosen = [case for case in CASES if options.only in case.name]
        new = [measured(case, dtype, options.device) for case in chosen]
        found += new
        head = ["layer", "op(x)", "ratio", "gradients", "ratio"]
        timing.table(f"{dtype}: PyTorch's time / linconv's", head, [row(f) for f in new])
    timing.write_json(options.json, {"arrays": found})


if __name__ == "__main__":
    main()

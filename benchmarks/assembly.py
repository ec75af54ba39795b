"""How fast a layer's sparse matrix is assembled, in stored entries per second.

    python benchmarks/assembly.py [--json FILE] [--only TEXT]

Beside it: the same matrix as a sum of Kronecker products, as one would write it with scipy.sparse,
where the layer is one channel with zero or circular padding; and PyLops' `tosparse`, which applies
its operator to every unit vector, on a small image. Matrices are checked to be equal first.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import reduce
from time import perf_counter
from typing import Any

import numpy as np
import scipy
import timing

import linconv as lc

TARGET = 20e6
"""Stored entries per second that linconv is to assemble at least."""


@dataclass(frozen=True)
class Case:
    """A layer by its options."""

    name: str
    kernel: tuple[int, ...]
    input_shape: tuple[int, ...]
    options: dict[str, Any] = field(default_factory=dict)

    def conv(self) -> lc.Conv:
        """Return the layer with a random kernel."""
        kernel = np.random.default_rng(0).standard_normal(self.kernel)
        return lc.Conv(kernel, self.input_shape, **{"padding": "same", **self.options})


FIRST = {"data_format": "channels_first"}
CASES = (
    Case("512x512 k3", (3, 3), (512, 512)),
    Case("512x512 k3 circular", (3, 3), (512, 512), {"padding_mode": "circular"}),
    Case("512x512 k3 reflect", (3, 3), (512, 512), {"padding_mode": "reflect"}),
    Case("512x512 k7", (7, 7), (512, 512)),
    Case("512x512 k3 stride 2", (3, 3), (512, 512), {"stride": 2}),
    Case("1-D 2^20 k9", (9,), (2**20,)),
    Case("3-D 64^3 k3", (3, 3, 3), (64, 64, 64)),
    Case("28x28, 64 -> 64, last", (3, 3, 64, 64), (28, 28, 64)),
    Case("28x28, 64 -> 64, first", (64, 64, 3, 3), (64, 28, 28), FIRST),
    Case("56x56, 64 -> 64, depthwise", (3, 3, 1, 64), (56, 56, 64), {"groups": 64}),
)
LARGE = Case("56x56, 64 -> 64", (3, 3, 64, 64), (56, 56, 64))
"""113 million entries, 1.4 GB: built once, without a warm-up."""


def kronecker(op: lc.Conv) -> Callable[[], Any] | None:
    """Return the sum of Kronecker products of shifts, where that is all there is to it."""
    g, modes = op.geometry, set(op.geometry.padding_mode)
    if not op.layout.bare or set(g.stride) != {1} or modes not in ({"zeros"}, {"circular"}):
        return None
    circular = modes == {"circular"}

    def assemble() -> Any:
        shifts = [
            [shift(n, tap - low, circular=circular) for tap in range(k)]
            for n, k, (low, _) in zip(g.input_size, g.kernel_size, g.padding, strict=True)
        ]
        terms = []
        for taps in np.ndindex(*g.kernel_size):
            factors = [axis[tap] for axis, tap in zip(shifts, taps, strict=True)]
            product = reduce(lambda a, b: scipy.sparse.kron(a, b, format="csr"), factors)
            terms.append(op.kernel[taps] * product)
        return sum(terms[1:], start=terms[0])

    return assemble


def shift(n: int, offset: int, *, circular: bool) -> Any:
    """Return the matrix that reads, for each of n samples, the one `offset` further."""
    matrix = scipy.sparse.eye_array(n, k=offset, format="csr")
    if circular and offset:
        wrapped = scipy.sparse.eye_array(n, k=offset - n if offset > 0 else offset + n)
        matrix = matrix + wrapped
    return matrix.tocsr()


def rates(case: Case) -> dict[str, Any]:
    """Return entries and entries per second of every way to this matrix."""
    op = case.conv()
    calls: dict[str, Callable[[], Any]] = {"linconv": op.sparse}
    if sums := kronecker(op):
        calls["kron"] = sums
    probe = np.random.default_rng(1).standard_normal(op.shape[1])
    timings = timing.race(calls, lambda matrix: matrix @ probe, rtol=1e-12)
    return found(case.name, op.sparse().nnz, timings)


def found(name: str, entries: int, timings: dict[str, timing.Timing]) -> dict[str, Any]:
    """Return the figures of one case."""
    per_second = {peer: entries / result.seconds for peer, result in timings.items()}
    return {"name": name, "entries": entries, "timings": timings, "entries_per_second": per_second}


def large() -> dict[str, Any]:
    """Return the figures of the case that is built once."""
    op = LARGE.conv()
    start = perf_counter()
    entries = op.sparse().nnz
    return found(LARGE.name, entries, {"linconv": timing.Timing(perf_counter() - start, 1)})


def against_pylops() -> dict[str, Any]:
    """Return the figures of a 48 x 48 image, where PyLops takes seconds."""
    import pylops

    case = Case("48x48 k3 (PyLops)", (3, 3), (48, 48))
    op = case.conv()
    theirs = pylops.signalprocessing.Convolve2D((48, 48), op.kernel[::-1, ::-1], offset=(1, 1))
    start = perf_counter()
    matrix = theirs.tosparse()
    seconds = perf_counter() - start
    deviation = abs(matrix - op.sparse()).max()
    assert deviation <= 1e-12, f"PyLops deviates by {deviation:.2g}"
    timings = timing.race({"linconv": op.sparse}, lambda m: m.data, rtol=0.0)
    timings["pylops"] = timing.Timing(seconds, 1)
    return found(case.name, op.sparse().nnz, timings)


def row(figures: dict[str, Any]) -> list[str]:
    """Return one line of the table."""
    timings, ours = figures["timings"], figures["timings"]["linconv"].seconds
    rate = figures["entries_per_second"]["linconv"]
    ratios = [
        f"{timings[peer].seconds / ours:.1f} x" if peer in timings else "-"
        for peer in ("kron", "pylops")
    ]
    return [
        figures["name"],
        f"{figures['entries'] / 1e6:.2f} M",
        f"{1e3 * ours:.2f} ms",
        f"{rate / 1e6:.1f} M/s",
        *ratios,
    ]


def main() -> None:
    """Run all cases, print the table and the verdict."""
    options = timing.arguments(__doc__.splitlines()[0])
    timing.print_machine()
    figures = [rates(case) for case in CASES if options.only in case.name]
    if options.only in LARGE.name:
        figures.append(large())
    if timing.installed("pylops") and options.only in "48x48 k3 (PyLops)":
        figures.append(against_pylops())
    head = ["layer", "entries", "linconv", "rate", "kron sum takes", "PyLops takes"]
    timing.table("Sparse matrix, float64", head, [row(f) for f in figures])
    slow = [
        f["name"]
        for f in figures
        if f["entries"] >= 1e6 and f["entries_per_second"]["linconv"] < TARGET
    ]
    verdict = f"missed by {', '.join(slow)}" if slow else "met by every layer"
    print(f"\nTarget of {TARGET / 1e6:.0f} M entries/s (from 1 M entries on): {verdict}.")
    timing.write_json(options.json, {"assembly": figures, "target": TARGET})


if __name__ == "__main__":
    main()

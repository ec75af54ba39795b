"""How near op(x) and op.T(y) come to what the machine can do, and how far ahead of every peer.

    python benchmarks/native.py [--json FILE] [--only TEXT] [--quick] [--no-peers]

The limit of a layer is the longer of two times: its operations at the speed of a matrix product,
and its arrays at the speed of a copy, both measured at the start. A fraction is the limit divided
by linconv's time; a form that needs fewer operations than the direct one, or arrays that fit the
cache, may take it above 100 %. A ratio is a peer's time divided by linconv's: above 1 linconv is
faster. linconv and each peer get the same numbers in every layout and array type that is their own,
prepared outside the clock, and must give the same result before they are timed; the best of
linconv's data formats is compared with the best of all peers, and with PyTorch's layers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from math import inf
from os import cpu_count
from statistics import geometric_mean
from textwrap import fill
from time import perf_counter
from typing import Any

import numpy as np
import timing
from application import Case
from peers import MODULES, OURS, PEERS, TORCH_LAYERS, Build, Cell, reference

import linconv as lc

TOLERANCES = {"float32": 2e-4, "float64": 1e-10}
FULL = {"budget": 0.1, "rounds": 10, "pause": 0.02, "patience": 3.0, "turns": 3}
"""Of each turn, as `timing.Race` takes them: what needs seconds is far from the best, and called
once."""
QUICK = FULL | {"rounds": 7, "turns": 1}
CASES = (
    Case("grey 2048^2 k3", (3, 3), (2048, 2048)),
    Case("grey 2048^2 k7", (7, 7), (2048, 2048)),
    Case("grey 2048^2 k31", (31, 31), (2048, 2048)),
    Case("rgb depthwise 1024^2 k3", (3, 1, 3, 3), (3, 1024, 1024), 1, {"groups": 3}),
    Case("rgb depthwise 1024^2 k15", (3, 1, 15, 15), (3, 1024, 1024), 1, {"groups": 3}),
    Case("128 depthwise 8x56^2 k3", (128, 1, 3, 3), (128, 56, 56), 8, {"groups": 128}),
    Case("96 depthwise 56^2 k31", (96, 1, 31, 31), (96, 56, 56), 1, {"groups": 96}),
    Case("3 -> 64 224^2 k7 s2", (64, 3, 7, 7), (3, 224, 224), 1, {"stride": 2, "padding": 3}),
    Case("3 -> 64 32x32^2 k3", (64, 3, 3, 3), (3, 32, 32), 32),
    Case("1 -> 15 1000x32^2 k3 s2", (15, 1, 3, 3), (1, 32, 32), 1000, {"stride": 2}),
    Case("32 -> 64 8x64^2 k4 s2", (64, 32, 4, 4), (32, 64, 64), 8, {"stride": 2, "padding": 1}),
    Case("64 -> 64 8x64^2 k3", (64, 64, 3, 3), (64, 64, 64), 8),
    Case("64 -> 128 8x56^2 k3 s2", (128, 64, 3, 3), (64, 56, 56), 8, {"stride": 2, "padding": 1}),
    Case("1-D 2^20 k101", (101,), (2**20,)),
    Case("3-D 128^3 k5", (5, 5, 5), (128, 128, 128)),
)
HEAD = ("layer", "GFLOP", "limit", "linconv", "format", "of limit")
HEAD += ("best peer", "", "peer/ours", "PyTorch/ours")
WIDTHS = (24, 7, 9, 9, 6, 8, 9, 13, 9, 12)


def best(call: Callable[[], Any], rounds: int) -> float:
    """Return the shortest time of a call: what the machine can do, not what it usually does."""
    times = []
    for _ in range(rounds + 1):
        start = perf_counter()
        call()
        times.append(perf_counter() - start)
    return min(times)


def roofline(rounds: int) -> dict[str, Any]:
    """Return the best float32 GFLOP/s of a matrix product, and GB/s of a copy, read and written."""
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal((2048, 2048), dtype=np.float32) for _ in range(2))
    source, target = rng.random(2**26, dtype=np.float32), np.zeros(2**26, np.float32)
    halves = [np.array_split(array, cpu_count() or 1) for array in (target, source)]
    products: dict[str, Callable[[], Any]] = {"numpy": lambda: np.matmul(a, b)}
    copies: dict[str, Callable[[], Any]] = {"numpy": lambda: np.copyto(target, source)}
    with ThreadPoolExecutor() as pool:
        copies["numpy, threads"] = lambda: list(pool.map(np.copyto, *halves))
        if timing.installed("torch"):
            import torch

            c, d, e, f = (torch.from_numpy(array) for array in (a, b, target, source))
            products["torch"], copies["torch"] = lambda: c @ d, lambda: e.copy_(f)
        gflops = {name: 2e-9 * 2048**3 / best(call, rounds) for name, call in products.items()}
        rates = {name: 2e-9 * source.nbytes / best(call, rounds) for name, call in copies.items()}
    return {
        "gflops": max(gflops.values()),
        "gigabytes_per_second": max(rates.values()),
        "products": gflops,
        "copies": rates,
    }


def present(builders: Mapping[str, Build]) -> dict[str, Build]:
    """Return the peers whose module is installed; name the others."""
    modules = {name: MODULES.get(name, name.partition("-")[0]) for name in builders}
    absent = sorted({module for module in modules.values() if not timing.installed(module)})
    if absent:
        print(f"Not installed, left out: {', '.join(absent)}")
    return {name: build for name, build in builders.items() if modules[name] not in absent}


def race(
    cell: Cell, builders: Mapping[str, Build], dtype: str, patience: float = inf
) -> timing.Race:
    """Return the race of all builders that can compute the cell, their results compared."""
    built = {name: build(cell) for name, build in builders.items()}
    entries = {name: entry for name, entry in built.items() if entry is not None}
    calls = {name: entry.call for name, entry in entries.items()}
    readers = {name: entry.read for name, entry in entries.items()}
    return timing.Race(calls, readers, rtol=TOLERANCES[dtype], patience=patience)


def seconds(timings: Mapping[str, timing.Timing], names: Sequence[str]) -> float | None:
    """Return the shortest of these times, None if there is none."""
    return min((timings[name].seconds for name in names if name in timings), default=None)


def over(numerator: float | None, denominator: float | None) -> float | None:
    """Divide what was measured."""
    return None if numerator is None or denominator is None else numerator / denominator


def error(cell: Cell) -> float:
    """Return the largest error of linconv in any data format, relative to the largest value."""
    expected = reference(cell)
    entries = [entry for build in OURS.values() if (entry := build(cell)) is not None]
    worst = max(float(np.abs(entry.read(entry.call()) - expected).max()) for entry in entries)
    return worst / float(np.abs(expected).max())


def one_thread() -> Any:
    """Return a context in which the pools that threadpoolctl knows have one thread."""
    if not timing.installed("threadpoolctl"):
        return nullcontext()
    from threadpoolctl import threadpool_limits

    return threadpool_limits(1)


def measured(
    case: Case,
    peers: Mapping[str, Build],
    limits: Mapping[str, Any],
    settings: Mapping[str, Any],
    *,
    transposed: bool,
) -> dict[str, Any]:
    """Return the figures of one case in one direction."""
    cell, double = (Cell.of(case, dtype, transposed=transposed) for dtype in TOLERANCES)
    errors = {"float32": error(cell), "float64": error(double)}
    races = (
        (race(cell, {**OURS, **peers}, "float32", settings["patience"]), nullcontext),
        (race(double, OURS, "float64"), nullcontext),
        (race(cell, OURS, "float32"), one_thread),
    )
    for _ in range(settings["turns"]):
        for each, threads in races:
            with threads():
                each.turn(settings["budget"], settings["rounds"], settings["pause"])
    timings, in_double, alone = (each.timings() for each, _ in races)
    compute = 1e3 * cell.gflop / limits["gflops"]
    memory = 1e3 * cell.gigabytes / limits["gigabytes_per_second"]
    ours = seconds(timings, tuple(OURS))
    rivals = {name: timings[name].seconds for name in peers if name in timings}
    return {
        "name": cell.name,
        "transposed": transposed,
        "gflop": cell.gflop,
        "compute_ms": compute,
        "memory_ms": memory,
        "limit_ms": max(compute, memory),
        "timings": timings,
        "float64_timings": in_double,
        "one_thread_timings": alone if timing.installed("threadpoolctl") else {},
        "format": min((name for name in OURS if name in timings), key=lambda n: timings[n].seconds),
        "ms": 1e3 * ours,
        "of_limit": max(compute, memory) / (1e3 * ours),
        "best_peer": min(rivals, key=rivals.__getitem__, default=None),
        "ratio": over(seconds(timings, tuple(rivals)), ours),
        "torch_ratio": over(seconds(timings, TORCH_LAYERS), ours),
        "float64_ratio": seconds(in_double, tuple(OURS)) / ours,
        "threads_ratio": over(seconds(alone, tuple(OURS)), ours),
        "errors": errors,
    }


def row(figures: Mapping[str, Any]) -> list[str]:
    """Return one line of the table."""
    peer, ratios = figures["best_peer"], (figures["ratio"], figures["torch_ratio"])
    return [
        figures["name"].removesuffix(", transpose"),
        f"{figures['gflop']:.3f}",
        f"{figures['limit_ms']:.2f} ms",
        f"{figures['ms']:.2f} ms",
        "last" if figures["format"] == "linconv-last" else "first",
        f"{figures['of_limit']:.0%}",
        f"{1e3 * figures['timings'][peer].seconds:.2f} ms" if peer else "-",
        peer or "-",
        *("-" if ratio is None else f"{ratio:.2f}" for ratio in ratios),
    ]


def small_call(rounds: int) -> float:
    """Return the microseconds of one call on an image of 4 x 4: all of it overhead."""
    op = lc.Conv(np.ones((3, 3), np.float32), (4, 4), padding="same")
    image, calls = np.ones((4, 4), np.float32), 500

    def block() -> None:
        for _ in range(calls):
            op(image)

    block()
    return 1e6 * timing.timed(block, inf, rounds).seconds / calls


def bar(
    text: str,
    values: Mapping[str, float | None],
    wanted: float,
    *,
    at_least: bool = True,
    mean: bool = False,
) -> dict[str, Any]:
    """Return one line of the summary: the worst of the values, or their mean, beside the bar."""
    found = {name: value for name, value in values.items() if value is not None}
    if mean:
        value = geometric_mean(found.values()) if found else None
    else:
        value = (min if at_least else max)(found.values(), default=None)
    missing = {n: v for n, v in found.items() if (v < wanted if at_least else v > wanted)}
    met = None if value is None else bool(value >= wanted if at_least else value <= wanted)
    return {
        "text": text,
        "value": value,
        "wanted": wanted,
        "at_least": at_least,
        "met": met,
        "missing": dict(sorted(missing.items(), key=lambda item: item[1], reverse=not at_least)),
    }


def summary(cells: Sequence[Mapping[str, Any]], small: float) -> list[dict[str, Any]]:
    """Return every bar."""

    def of(key: str, keep: Callable[[Mapping[str, Any]], bool] = lambda _: True) -> dict[str, Any]:
        return {cell["name"]: cell[key] for cell in cells if keep(cell)}

    def errors(dtype: str) -> dict[str, float]:
        return {cell["name"]: cell["errors"][dtype] for cell in cells}

    def computes(cell: Mapping[str, Any]) -> bool:
        return bool(cell["compute_ms"] > cell["memory_ms"] and cell["one_thread_timings"])

    long = of("of_limit", lambda cell: cell["limit_ms"] > 1)
    return [
        bar("best peer / linconv, geometric mean", of("ratio"), 1.8, mean=True),
        bar("PyTorch / linconv, geometric mean", of("torch_ratio"), 4.0, mean=True),
        bar("best peer / linconv, slowest layer", of("ratio"), 0.9),
        bar("of the limit, where that is more than 1 ms", long, 0.6),
        bar("float64 / float32 time", of("float64_ratio"), 2.5, at_least=False),
        bar("one thread / all, bound by operations", of("threads_ratio", computes), 1.7),
        bar("largest error, float32", errors("float32"), 2e-6, at_least=False),
        bar("largest error, float64", errors("float64"), 1e-13, at_least=False),
        bar("microseconds of op(x), 4 x 4, k3", {"4 x 4": small}, 10.0, at_least=False),
    ]


def print_summary(bars: Sequence[Mapping[str, Any]]) -> None:
    """Print each bar, whether it is met, and the layers that miss it, the worst first."""
    print("\nSummary")
    for found in bars:
        sign = ">=" if found["at_least"] else "<="
        verdict = {None: "no such layer", True: "met", False: "MISSED"}[found["met"]]
        value = "-" if found["value"] is None else f"{found['value']:.3g}"
        print(f"{found['text']:<44}{value:>9} {sign} {found['wanted']:<6g} {verdict}")
        below = "; ".join(f"{name} {each:.2g}" for name, each in found["missing"].items())
        print(fill(below, 100, initial_indent="    ", subsequent_indent="    "), end=below and "\n")


def main() -> None:
    """Measure the machine, then all cases; print a table per direction and the bars."""
    flags = {"--quick": "fewer rounds", "--no-peers": "linconv alone"}
    options = timing.arguments(__doc__.splitlines()[0], flags)
    settings = QUICK if options.quick else FULL
    timing.print_machine()
    peers = {} if options.no_peers else present(PEERS)
    limits = roofline(settings["rounds"])
    print(
        f"Limits: {limits['gflops']:.0f} GFLOP/s of a float32 matrix product, "
        f"{limits['gigabytes_per_second']:.1f} GB/s of a copy"
    )
    cells = []
    for transposed in (False, True):
        print(f"\n{'op.T(y)' if transposed else 'op(x)'}, float32")
        print(timing.line(HEAD, WIDTHS))
        for case in CASES:
            if options.only in case.name:
                cells.append(measured(case, peers, limits, settings, transposed=transposed))
                print(timing.line(row(cells[-1]), WIDTHS), flush=True)
    bars = summary(cells, small_call(settings["rounds"]))
    print_summary(bars)
    timing.write_json(options.json, {"limits": limits, "native": cells, "summary": bars})


if __name__ == "__main__":
    main()

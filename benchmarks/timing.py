"""What the benchmarks share: racing calls against each other, tables, JSON, the machine's line."""

from __future__ import annotations

import argparse
import json
import os
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata, util
from math import inf
from pathlib import Path
from statistics import median
from time import perf_counter, sleep
from typing import Any

import numpy as np

__all__ = [
    "Race",
    "Timing",
    "arguments",
    "installed",
    "line",
    "machine",
    "print_machine",
    "race",
    "table",
    "write_json",
]

MOST_ROUNDS = 15
QUIET = 0.5
"""Running processes besides the benchmark up to which figures are trusted."""
PACKAGES = (
    "linconv",
    "numpy",
    "scipy",
    "pylops",
    "torch",
    "jax",
    "tensorflow",
    "tensorflow-cpu",
    "opencv-python-headless",
)
LOAD_AT_START = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0


@dataclass(frozen=True)
class Timing:
    """Median seconds of one call, and over how many rounds."""

    seconds: float
    rounds: int


def race(
    calls: Mapping[str, Callable[[], Any]],
    read: Callable[[Any], np.ndarray] | Mapping[str, Callable[[Any], np.ndarray]] = np.asarray,
    *,
    rtol: float,
    budget: float = 0.4,
    rounds: int = MOST_ROUNDS,
    pause: float = 0.0,
    patience: float = inf,
    turns: int = 1,
) -> dict[str, Timing]:
    """Time calls that compute the same, after checking that they do.

    Parameters
    ----------
    calls : mapping of name to callable
        The first one is what the others' results are compared with.
    read : callable, or mapping of name to callable
        Makes a comparable array of a result, outside the clock.
    rtol : float
        Largest deviation allowed, relative to the largest value.
    budget : float
        Seconds that each call is timed for after its warm-up: at most `rounds` rounds, and at
        least one.
    rounds : int
        Most rounds.
    pause : float
        Seconds of sleep before each call's turn, in which threads of the last one come to rest.
    patience : float
        A call whose warm-up takes more seconds than these is not repeated: that is its time.

    turns : int
        Times that all calls are visited, each with its part of budget and rounds: what disturbs the
        machine for a second then disturbs no call alone.

    Returns
    -------
    dict of name to Timing
        Within a turn one call after the other: threads that one library leaves spinning would slow
        down the next.

    Raises
    ------
    AssertionError
        If two results differ: a time for something else is no time.
    """
    race = Race(calls, read, rtol=rtol, patience=patience)
    for _ in range(turns):
        race.turn(budget / turns, -(-rounds // turns), pause)
    return race.timings()


class Race:
    """Calls that compute the same, to be timed in turns. See `race`."""

    def __init__(
        self,
        calls: Mapping[str, Callable[[], Any]],
        read: Callable[[Any], np.ndarray] | Mapping[str, Callable[[Any], np.ndarray]] = np.asarray,
        *,
        rtol: float,
        patience: float = inf,
    ) -> None:
        self.calls = dict(calls)
        self.times: dict[str, list[float]] = {name: [] for name in calls}
        self.slow: set[str] = set()
        expected, scale = None, 1.0
        for name, call in calls.items():
            start = perf_counter()
            result = call()  # also compiles, allocates, starts threads
            first = perf_counter() - start
            array = (read[name] if isinstance(read, Mapping) else read)(result)
            if expected is None:
                expected, scale = array, float(np.abs(array).max()) or 1.0
            assert array.shape == expected.shape, (name, array.shape, expected.shape)
            deviation = float(np.abs(array - expected).max()) / scale
            assert deviation <= rtol, f"{name} deviates by {deviation:.2g}, allowed is {rtol:.2g}"
            if first > patience:
                self.slow.add(name)
                self.times[name].append(first)

    def turn(self, budget: float, rounds: int, pause: float = 0.0) -> None:
        """Time every call for so many seconds, at most `rounds` times and at least once."""
        for name, call in self.calls.items():
            if name in self.slow:
                continue
            sleep(pause)
            call()  # threads awake, caches as this call leaves them
            self.times[name] += repeated(call, budget, rounds)

    def timings(self) -> dict[str, Timing]:
        """Return the medians over all turns."""
        return {name: Timing(median(times), len(times)) for name, times in self.times.items()}


def repeated(call: Callable[[], Any], budget: float, rounds: int) -> list[float]:
    """Return the times of a call that is warm already."""
    times: list[float] = []
    while not times or (len(times) < rounds and sum(times) < budget):
        start = perf_counter()
        call()
        times.append(perf_counter() - start)
    return times


def timed(call: Callable[[], Any], budget: float, rounds: int = MOST_ROUNDS) -> Timing:
    """Return the median time of a call that is warm already."""
    times = repeated(call, budget, rounds)
    return Timing(median(times), len(times))


def arguments(description: str, flags: Mapping[str, str] | None = None) -> argparse.Namespace:
    """Read the options that every benchmark has, and a script's own flags with their help."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures there")
    parser.add_argument("--only", default="", metavar="TEXT", help="cases whose name contains it")
    for flag, text in (flags or {}).items():
        parser.add_argument(flag, action="store_true", help=text)
    return parser.parse_args()


def installed(*names: str) -> bool:
    """Return whether all of these packages can be imported."""
    return all(util.find_spec(name) is not None for name in names)


def machine() -> dict[str, Any]:
    """Return processor, cores, versions and BLAS: what figures depend on besides the code."""
    found: dict[str, Any] = {
        "processor": processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
        "system": platform.system(),
        "python": platform.python_version(),
    }
    found["cores"] = found["cores"] or os.cpu_count()
    found["load"] = round(LOAD_AT_START, 2)
    found |= {name: metadata.version(name) for name in PACKAGES if distributed(name)}
    found["blas"] = blas()
    return found


def distributed(name: str) -> bool:
    """Return whether a version of the package is recorded."""
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def processor() -> str:
    """Return the processor's name."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def blas() -> str:
    """Return NumPy's BLAS, and, where threadpoolctl is installed, its kernel and threads."""
    build = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    name = f"{build['name']} {build['version']}"
    if installed("threadpoolctl"):
        from threadpoolctl import threadpool_info

        for pool in threadpool_info():
            if pool["user_api"] == "blas":
                kernel = pool.get("architecture", "kernel unknown")
                return f"{name}, {kernel}, {pool['num_threads']} threads"
    return name


def table(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table: the first column to the left, numbers to the right."""
    print(f"\n{title}")
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    for row in (head, *rows):
        print(line(row, widths))


def line(row: Sequence[str], widths: Sequence[int]) -> str:
    """Return one line of a table whose columns are so wide."""
    cells = [
        f"{cell:<{width}}" if column == 0 else f"{cell:>{width}}"
        for column, (cell, width) in enumerate(zip(row, widths, strict=True))
    ]
    return "  ".join(cells).rstrip()


def write_json(path: Path | None, figures: Mapping[str, Any]) -> None:
    """Write figures and the machine they were taken on, if a file was asked for."""
    if path is not None:
        values = {"machine": machine(), **figures}
        text = json.dumps(values, indent=1, default=asdict)
        path.write_text(f"{text}\n", encoding="utf-8")


def print_machine() -> None:
    """Print the machine's line, and a warning if it is busy with something else."""
    print(", ".join(f"{name} {value}" for name, value in machine().items()))
    if LOAD_AT_START > QUIET:
        print(f"The machine was busy (load {LOAD_AT_START:.1f}): do not trust these figures.")

"""How fast a blurred image is restored with a ridge, beside SciPy's `lsqr` on PyLops' blur.

    python benchmarks/solve.py [--json FILE] [--only TEXT] [--quick]

A photograph is blurred by 15 x 15 kernels with zeros around it ("same" padding), and both solvers
minimise ``||A x - y||^2 + ridge ||x||^2``. `lsqr` runs for a fixed number of steps, which
leave it short of the tolerance, so that the run stays short; linconv runs to the tolerance, and by
conjugate gradients also just to the residual that `lsqr` was left with. All residuals are
those of the normal equations, computed by `scipy.signal` alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np
import scipy
import timing

import linconv as lc

RIDGE = 1e-6
RTOL = 1e-6
STEPS = 100
WANTED = 20.0  # times as fast as lsqr, where the kernel is an outer product


@dataclass(frozen=True)
class Case:
    """A blur: its name, kernel and image size, and linconv's methods that are raced for it."""

    name: str
    kernel: np.ndarray
    size: tuple[int, int] = (1024, 1024)
    methods: tuple[str, ...] = ("auto", "cg")


def gaussian(across: float, along: float, *, degrees: float = 0.0, size: int = 15) -> np.ndarray:
    """Return a Gaussian kernel of two widths in samples, turned; it sums to one."""
    t = np.arange(size) - size // 2
    turn = np.deg2rad(degrees)
    u = np.cos(turn) * t[:, None] + np.sin(turn) * t
    v = np.cos(turn) * t - np.sin(turn) * t[:, None]
    kernel = np.exp(-((u / across) ** 2 + (v / along) ** 2) / 2)
    return kernel / kernel.sum()


CASES = (
    Case("Gaussian, sigma 2", gaussian(2, 2)),
    Case("oblique Gaussian, sigma 1.2 and 3", gaussian(1.2, 3, degrees=30), methods=("auto",)),
)


def photograph(size: tuple[int, int]) -> np.ndarray:
    """Return a grey photograph of that size in [0, 1]; noise where scikit-image is missing."""
    if not timing.installed("skimage"):
        return np.random.default_rng(0).random(size)
    from skimage import data

    picture = data.camera() / 255.0
    zoom = [n / m for n, m in zip(size, picture.shape, strict=True)]
    return np.asarray(scipy.ndimage.zoom(picture, zoom, order=1))


def gradient(kernel: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Return ``A^T (y - A x) - ridge x``, without linconv."""
    blurred = scipy.signal.oaconvolve(x, kernel[::-1, ::-1], mode="same")
    return scipy.signal.oaconvolve(y - blurred, kernel, mode="same") - RIDGE * x


def normal_residual(kernel: np.ndarray, y: np.ndarray, x: np.ndarray) -> float:
    """Return the residual of the normal equations, relative to that of zero."""
    start = np.linalg.norm(gradient(kernel, y, np.zeros_like(x)))
    return float(np.linalg.norm(gradient(kernel, y, x)) / start)


def clocked(call: Callable[[], Any]) -> tuple[Any, float]:
    """Return what a call returns, and its seconds."""
    start = perf_counter()
    result = call()
    return result, perf_counter() - start


def by_lsqr(case: Case, y: np.ndarray, steps: int) -> tuple[np.ndarray, float] | None:
    """Return what `lsqr` has after so many steps, and its seconds; None without PyLops."""
    if not timing.installed("pylops"):
        return None
    from pylops.signalprocessing import Convolve2D

    middle = tuple(n // 2 for n in case.kernel.shape)
    blur = Convolve2D(case.size, case.kernel[::-1, ::-1], offset=middle, dtype="float64")
    blur.matvec(y.ravel())
    options = {"damp": np.sqrt(RIDGE), "atol": 0, "btol": 0, "conlim": 0, "iter_lim": steps}
    found, seconds = clocked(lambda: scipy.sparse.linalg.lsqr(blur, y.ravel(), **options))
    return found[0].reshape(case.size), seconds


def measured(case: Case, steps: int = STEPS) -> dict[str, Any]:
    """Race one case: seconds, steps and the residual of every solver."""
    op = lc.Conv(case.kernel, case.size, padding="same")
    middle = tuple(n // 2 for n in case.kernel.shape)
    assert op.geometry.padding == tuple((n, n) for n in middle)
    y = scipy.signal.oaconvolve(photograph(case.size), case.kernel[::-1, ::-1], mode="same")
    runs: dict[str, dict[str, Any]] = {}
    peer = by_lsqr(case, y, steps)
    if peer is not None:
        x, seconds = peer
        reached = normal_residual(case.kernel, y, x)
        runs["lsqr"] = {"seconds": seconds, "steps": steps, "residual": reached, "method": "lsqr"}

    def ours(name: str, method: str, rtol: float) -> None:
        found, seconds = clocked(lambda: lc.solve(op, y, ridge=RIDGE, method=method, rtol=rtol))
        runs[name] = {
            "seconds": seconds,
            "steps": found.iterations,
            "residual": normal_residual(case.kernel, y, found.x),
            "method": found.method,
        }

    lc.solve(op, y, ridge=RIDGE, method="cg", max_iterations=1)  # libraries load, memory warms
    for method in case.methods:
        ours(f"linconv, {method}", method, RTOL)
    if peer is not None:
        ours("linconv, cg, to lsqr's residual", "cg", reached)
    return {"name": case.name, "size": list(case.size), "runs": runs}


def bars(found: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return what was wanted, and whether it was reached; None where nothing was measured."""
    made = []
    for case in found:
        runs = case["runs"]
        ours, peer = runs["linconv, auto"], runs.get("lsqr")
        bar: dict[str, Any] = {"text": f"{case['name']}: residual at most {RTOL:g}"}
        made.append(bar | {"value": ours["residual"], "met": ours["residual"] <= RTOL})
        if ours["method"] != "separable":
            continue
        bar = {"text": f"{case['name']}: lsqr's time / linconv's, at no worse residual, {WANTED:g}"}
        bar |= {"value": None, "met": None}
        if peer is not None:
            ratio = peer["seconds"] / ours["seconds"]
            met = ratio >= WANTED and ours["residual"] <= peer["residual"]
            bar |= {"value": ratio, "met": met}
        made.append(bar)
    return made


def show(case: dict[str, Any]) -> None:
    """Print one case's table."""
    runs = case["runs"]
    peer = runs.get("lsqr", {"seconds": float("nan")})
    rows = [
        (
            name,
            run["method"],
            str(run["steps"]),
            f"{run['seconds']:.2f} s",
            f"{run['residual']:.1e}",
            f"{peer['seconds'] / run['seconds']:.1f}",
        )
        for name, run in runs.items()
    ]
    head = ("solver", "method", "steps", "time", "residual", "lsqr's time / its time")
    timing.table(f"{case['name']}, {' x '.join(map(str, case['size']))}", head, rows)


def main() -> None:
    """Run the cases that were asked for; print their tables and the bars."""
    flags = {"--quick": "images of 64 x 64 and 20 steps of lsqr: only to see that it runs"}
    options = timing.arguments(__doc__.splitlines()[0], flags)
    timing.print_machine()
    found = []
    for case in CASES:
        if options.only in case.name:
            quick = Case(case.name, case.kernel, (64, 64), case.methods)
            found.append(measured(quick, 20) if options.quick else measured(case))
            show(found[-1])
    summary = bars(found)
    said = {True: "met", False: "missed", None: "not measured"}
    rows = [
        (bar["text"], "" if bar["value"] is None else f"{bar['value']:.3g}", said[bar["met"]])
        for bar in summary
    ]
    timing.table("Bars", ("bar", "in this run", ""), rows)
    timing.write_json(options.json, {"solve": found, "bars": summary})


if __name__ == "__main__":
    main()

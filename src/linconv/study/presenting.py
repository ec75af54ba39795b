"""What both chapters present alike: heat maps, the table of forms, numbers within sentences."""

from __future__ import annotations

from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from linconv.forms import DESCRIPTIONS, Comparison
from linconv.study.results import Panel, Table

__all__ = ["best_multiple", "deviation", "duration", "forms_table", "heat_map", "psnr", "signed"]

Array = NDArray[Any]


def best_multiple(array: Array, target: Array) -> tuple[float, float]:
    """Return the factor that brings `array` nearest to `target`, and the relative error left."""
    power, length = float(np.vdot(array, array)), sqrt(float(np.vdot(target, target)))
    factor = float(np.vdot(array, target)) / power if power else 0.0
    left = sqrt(float(np.sum((factor * array - target) ** 2)))
    return factor, left / length if length else 0.0


def psnr(mse: float) -> float | None:
    """Return the peak signal-to-noise ratio in dB of values in [0, 1]; None for no error at all."""
    return -10 * float(np.log10(mse)) if mse > 0 else None


def signed(value: float) -> str:
    """Write a factor of a product, a negative one in brackets."""
    return f"(−{-value:g})" if value < 0 else f"{value:g}"


def duration(seconds: float) -> str:
    """Write a time in a unit that suits it."""
    if seconds < 1e-3:
        return f"{seconds * 1e6:.3g} µs"
    return f"{seconds * 1e3:.3g} ms" if seconds < 1 else f"{seconds:.3g} s"


def deviation(value: float) -> str:
    """Write a deviation, whose size alone matters."""
    return "0" if value == 0 else f"{value:.1e}"


def heat_map(values: Array, title: str, top: float, height: float = 1.0) -> Panel:
    """Return a panel with white at 0, a colour bar, and rows and columns counted from 0."""
    rows, columns = values.shape
    return Panel(
        values,
        title,
        "signed",
        (-top, top),
        height=height,
        colour_bar=True,
        rows_at=_counted(rows),
        columns_at=_counted(columns),
    )


def _counted(n: int) -> dict[float, str]:
    step = 1 if n <= 8 else 5
    return {float(i): str(i) for i in range(0, n, step)}


def forms_table(name: str, comparison: Comparison) -> Table:
    """Return what `compare` found as a table, with what was left out and why."""
    rows: list[tuple[str, str, str, str]] = [
        (row.name, DESCRIPTIONS[row.name], deviation(row.error), duration(row.seconds))
        for row in comparison.rows
    ]
    rows += [
        (form, DESCRIPTIONS[form], "left out", reason)
        for form, reason in comparison.skipped.items()
    ]
    columns = ("form", "how it computes", "largest deviation", "time")
    return Table(f"The {name} in all its forms", columns, tuple(rows))

"""What takes the whole width of a picture, drawn: curves, and galleries of images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from linconv.study.figure_style import (
    BLUE,
    FRAME,
    GREEN,
    GRID,
    INK,
    LABEL_SIZE,
    LETTER,
    LINE,
    MARGIN,
    RED,
    WIDTH,
)
from linconv.study.results import Curves, Gallery
from linconv.study.values import shown

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["CurvesRow", "GalleryRow"]

# Inches.
CURVES_HEIGHT = 2.9
AXIS_LEFT, AXIS_BELOW = 0.62, 0.42
AXIS_GAP = 0.08

SERIES_COLOURS, LINE_COLOURS = (RED, INK), (BLUE, GREEN, INK)

# Shares of an image's side.
COLUMN_GAP, ROW_GAP = 0.06, 0.1


class CurvesRow:
    """Where curves stand: the axes, and at their right the name of each in its colour."""

    def __init__(self, curves: Curves) -> None:
        self.curves = curves
        self.height = CURVES_HEIGHT
        ends = {n: float(v[-1]) for n, v in curves.series.items() if len(v)} | dict(curves.lines)
        names = [_with_value(*item) for item in ends.items()]
        longest = max((len(line) for name in names for line in name.split("\n")), default=0)
        self.labels = longest * LETTER * LABEL_SIZE / 72 + AXIS_GAP

    def draw(self, figure: Figure, top: float) -> None:
        """Draw the curves below a height in inches."""
        curves, height = self.curves, figure.get_figheight()
        width = WIDTH - 2 * MARGIN - AXIS_LEFT - self.labels
        tall = CURVES_HEIGHT - AXIS_BELOW - MARGIN
        bottom = top - MARGIN - tall
        axes = figure.add_axes(
            ((MARGIN + AXIS_LEFT) / WIDTH, bottom / height, width / WIDTH, tall / height)
        )
        drawn = {name: _drawable(values, curves.log) for name, values in curves.series.items()}
        lines = {name: value for name, value in curves.lines.items() if value > 0 or not curves.log}
        ends: dict[str, tuple[float, str]] = {}
        dark = iter(SERIES_COLOURS * len(drawn))
        for name, values in drawn.items():
            pale = name in curves.pale
            colour = FRAME if pale else next(dark)
            at = curves.step * np.arange(1, len(values) + 1)
            marker = "o" if len(values) <= 50 else ""
            size = 2.0 if pale else 3.0
            over = 2.5 if pale else 3
            axes.plot(
                at, values, color=colour, label=name, lw=1.4, marker=marker, ms=size, zorder=over
            )
            if np.isfinite(values[-1:]).all() and values.size:
                ends[_with_value(name, values[-1])] = (float(values[-1]), colour)
        dark = iter(LINE_COLOURS * len(lines))
        for name, value in lines.items():
            colour = next(dark)
            axes.axhline(value, color=colour, label=name, lw=1.2, ls=(0, (5, 2)), zorder=2)
            ends[_with_value(name, value)] = (value, colour)
        _scale(axes, curves, [value for value, _ in ends.values()])
        _name_at_right(axes, ends, tall)


def _drawable(values: NDArray[Any], log: bool) -> NDArray[np.float64]:
    array = np.asarray(values, dtype=np.float64)
    return np.where(array > 0, array, np.nan) if log else array


def _with_value(name: str, value: float) -> str:
    return f"{name}\n{shown(float(f'{value:.3g}'))}"


def _scale(axes: Axes, curves: Curves, ends: list[float]) -> None:
    """Scale the axes and say what they show, with room for the steps from the first to the last."""
    from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

    if curves.log and ends:
        axes.set_yscale("log")
        axes.yaxis.set_minor_formatter(NullFormatter())
        low, high = axes.get_ylim()
        if high < 100 * low:
            # Powers of ten alone would leave such an axis with one number, or none.
            axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
            axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    last = curves.step * max((len(values) for values in curves.series.values()), default=1)
    axes.set_xlim(0, last + max(1, last // 40))
    axes.set_xlabel(curves.xlabel, fontsize=LABEL_SIZE, color=INK)
    axes.set_ylabel(curves.ylabel, fontsize=LABEL_SIZE, color=INK)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True, steps=[1, 2, 5, 10]))
    axes.tick_params(labelsize=LABEL_SIZE, length=2.5, color=FRAME, labelcolor=INK)
    axes.tick_params(which="minor", length=0)
    axes.grid(axis="y", color=GRID, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.margins(y=0.08)
    for side, spine in axes.spines.items():
        spine.set(color=FRAME, linewidth=0.6, visible=side in {"left", "bottom"})


def _name_at_right(axes: Axes, ends: Mapping[str, tuple[float, str]], tall: float) -> None:
    """Write each name in its colour beside the end of its curve, names pushed apart."""
    to_axes = axes.transData + axes.transAxes.inverted()
    edge = axes.get_xlim()[1]
    wanted = {name: float(to_axes.transform((edge, value))[1]) for name, (value, _) in ends.items()}
    sizes = {name: (name.count("\n") + 1) * LINE * LABEL_SIZE / 9 / tall for name in ends}
    for name, y in _apart(wanted, sizes).items():
        axes.text(
            1 + AXIS_GAP / (axes.get_position().width * WIDTH),
            y,
            name,
            transform=axes.transAxes,
            ha="left",
            va="center",
            fontsize=LABEL_SIZE,
            linespacing=1.1,
            color=ends[name][1],
        )


def _apart(wanted: Mapping[str, float], sizes: Mapping[str, float]) -> dict[str, float]:
    """Move heights from 0 to 1 as little as it takes for things of these sizes not to overlap.

    From below, each is set onto the one before it; what then stands too high is pushed down again.
    """
    order = sorted(wanted, key=lambda name: wanted[name])
    placed: dict[str, float] = {}
    floor = 0.0
    for name in order:
        placed[name] = max(wanted[name], floor + sizes[name] / 2)
        floor = placed[name] + sizes[name] / 2
    ceiling = 1.0
    for name in reversed(order):
        placed[name] = min(placed[name], ceiling - sizes[name] / 2)
        ceiling = placed[name] - sizes[name] / 2
    return placed


class GalleryRow:
    """Where the images of a gallery stand: a row for each version, its name at the left."""

    def __init__(self, gallery: Gallery) -> None:
        self.gallery = gallery
        first = next(iter(gallery.rows.values()))
        self.count, rows, columns = first.shape
        longest = max(len(line) for name in gallery.rows for line in name.split("\n"))
        self.names = longest * LETTER * LABEL_SIZE / 72 + AXIS_GAP
        # An image is 1 wide; one that is narrow is not drawn larger than ten would be.
        across = max(10, self.count) * (1 + COLUMN_GAP) - COLUMN_GAP
        self.side = (WIDTH - 2 * MARGIN - self.names) / across
        self.tall = rows / columns
        self.down = len(gallery.rows) * (self.tall + ROW_GAP) - ROW_GAP
        self.height = self.down * self.side

    def draw(self, figure: Figure, top: float) -> None:
        """Draw the images below a height in inches, in axes of their own that do not show."""
        height = figure.get_figheight()
        across = self.count * (1 + COLUMN_GAP) - COLUMN_GAP
        left, bottom = MARGIN + self.names, top - self.height
        box = (left / WIDTH, bottom / height, across * self.side / WIDTH, self.height / height)
        axes = figure.add_axes(box)
        axes.set_axis_off()
        low, high = self.gallery.limits
        for row, (name, images) in enumerate(self.gallery.rows.items()):
            y = row * (self.tall + ROW_GAP)
            for column, image in enumerate(images):
                x = column * (1 + COLUMN_GAP)
                axes.imshow(
                    image,
                    cmap="gray",
                    vmin=low,
                    vmax=high,
                    extent=(x, x + 1, y + self.tall, y),
                    interpolation="nearest",
                )
            axes.text(
                -AXIS_GAP / self.side,
                y + self.tall / 2,
                name,
                ha="right",
                va="center",
                fontsize=LABEL_SIZE,
                linespacing=1.15,
                color=INK,
            )
        axes.set(xlim=(0, across), ylim=(self.down, 0), aspect="auto")

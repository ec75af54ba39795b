"""Pictures drawn: from the arrays of a `Picture` to a Matplotlib figure and its PNG.

Only Matplotlib's object interface is used, and its settings are restored afterwards, so that a
study within a notebook or a program leaves that program's figures alone.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from linconv.files import missing
from linconv.study.figure_style import (
    BLUE,
    FRAME,
    GRID,
    INK,
    LABEL_SIZE,
    LETTER,
    LINE,
    MARGIN,
    RED,
    TITLE_SIZE,
    WIDTH,
)
from linconv.study.results import Curves, Gallery, Panel, Picture
from linconv.study.wide_figures import CurvesRow, GalleryRow

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure

__all__ = ["draw", "limits_of", "png"]

DPI = 160
# Inches.
GAP = 0.3
SIGN_GAP = 0.46
BAR_GAP, BAR_WIDTH, BAR_LABELS = 0.07, 0.1, 0.46
TICKS_BELOW, TICKS_LEFT = 0.22, 0.4
MAX_CELL, MAX_HEIGHT = 0.46, 3.3

SIGN_SIZE = 15.0
# Of DejaVu Sans, as a share of the font size.
DIGIT = 0.64

FAINT, INSERTED = "#8c959f", "#e9eef4"
SIGNED = (BLUE, "#4393c3", "#92c5de", "#d1e5f0", "#ffffff", "#fddbc7", "#f4a582", "#d6604d", RED)
ERROR = ("#ffffff", "#fee8c8", "#fdbb84", "#e34a33", "#7f0000")


def limits_of(panel: Panel) -> tuple[float, float]:
    """Return the values at both ends of a panel's colour scale.

    Without limits of its own these are its least and largest value; a signed scale is symmetric,
    so that 0 is white, and a constant array gets a scale around its value.
    """
    if panel.limits is not None:
        return panel.limits
    values = np.asarray(panel.values, dtype=np.float64)
    if panel.inserted is not None:
        values = values[~panel.inserted]
    values = values[np.isfinite(values)]
    low, high = (float(values.min()), float(values.max())) if values.size else (0.0, 0.0)
    if panel.scale == "signed":
        high = max(abs(low), abs(high)) or 1.0
        low = -high
    elif panel.scale == "error":
        low = min(0.0, low)
    return (low, high) if low < high else (low - 0.5, high + 0.5)


def draw(picture: Picture) -> Figure:
    """Draw a picture.

    Parameters
    ----------
    picture : Picture

    Returns
    -------
    matplotlib.figure.Figure
        With one axes per panel in their order, each followed by that of its colour bar, and one
        for `Curves` or a `Gallery`.

    Raises
    ------
    MissingPackageError
        If Matplotlib is absent.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise missing("matplotlib", "drawing a picture") from error
    rows = [_laid_out(row) for row in picture.rows]
    height = sum(row.height for row in rows) + MARGIN * (len(rows) + 1)
    with _own_style():
        figure = Figure(figsize=(WIDTH, height), dpi=DPI, facecolor="white")
        top = height - MARGIN
        for row in rows:
            row.draw(figure, top)
            top -= row.height + MARGIN
    return figure


def png(figure: Figure) -> bytes:
    """Return a figure as the bytes of a PNG file."""
    buffer = io.BytesIO()
    with _own_style():
        figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
    return buffer.getvalue()


def _laid_out(row: tuple[Panel, ...] | Curves | Gallery) -> _Row | CurvesRow | GalleryRow:
    if isinstance(row, Curves):
        return CurvesRow(row)
    return GalleryRow(row) if isinstance(row, Gallery) else _Row(row)


class _Row:
    """Where the panels of one row stand: all as large as the width allows, centred."""

    def __init__(self, panels: tuple[Panel, ...]) -> None:
        self.panels = panels
        self.cells = any(panel.digits is not None for panel in panels)
        self.sizes = [self._size(panel) for panel in panels]
        self.lines = max(panel.title.count("\n") + 1 if panel.title else 0 for panel in panels)
        low, high = 0.0, MAX_CELL if self.cells else MAX_HEIGHT / max(h for _, h in self.sizes)
        if self._width(high) > WIDTH - 2 * MARGIN:
            for _ in range(40):
                middle = (low + high) / 2
                fits = self._width(middle) <= WIDTH - 2 * MARGIN
                low, high = (middle, high) if fits else (low, middle)
            high = low
        self.scale = high
        longest = max((len(t) for p in panels for row in _cell_texts(p) for t in row), default=0)
        # Points: one size of digits for the whole row, so that its widest number fits its cell.
        self.letters = min(9.0, 28.8 * high, 64.8 * high / (DIGIT * max(longest, 1)))
        self.tall = high * max(h for _, h in self.sizes)
        self.below = TICKS_BELOW if any(panel.columns_at for panel in panels) else 0.0
        self.height = LINE * self.lines + self.tall + self.below

    def _size(self, panel: Panel) -> tuple[float, float]:
        """Return width and height in units of a cell, or of the row's height."""
        rows, columns = panel.values.shape
        if self.cells:
            return columns, rows
        return panel.height * columns / rows, panel.height

    def _slot(self, index: int, scale: float) -> float:
        panel = self.panels[index]
        letters = max(map(len, panel.title.split("\n")))
        width = self.sizes[index][0] * scale
        width += TICKS_LEFT if panel.rows_at else 0.0
        width = max(width, letters * LETTER * TITLE_SIZE / 72)
        return width + (BAR_GAP + BAR_WIDTH + BAR_LABELS if panel.colour_bar else 0.0)

    def _width(self, scale: float) -> float:
        slots = sum(self._slot(index, scale) for index in range(len(self.panels)))
        return slots + sum(self._gap(panel) for panel in self.panels[:-1])

    @staticmethod
    def _gap(panel: Panel) -> float:
        return SIGN_GAP if panel.after else GAP

    def draw(self, figure: Figure, top: float) -> None:
        """Draw the row below a height in inches."""
        height = figure.get_figheight()
        for panel, left, bottom, width, tall in self._places(top):
            box = (left / WIDTH, bottom / height, width / WIDTH, tall / height)
            _draw_panel(figure, panel, box, self.letters)

    def _places(self, top: float) -> Iterator[tuple[Panel, float, float, float, float]]:
        """Yield every panel with left, bottom, width and height in inches."""
        left = (WIDTH - self._width(self.scale)) / 2
        centre = top - LINE * self.lines - self.tall / 2
        for index, panel in enumerate(self.panels):
            width, tall = (n * self.scale for n in self.sizes[index])
            slot = self._slot(index, self.scale)
            bar = BAR_GAP + BAR_WIDTH + BAR_LABELS if panel.colour_bar else 0.0
            ticks = TICKS_LEFT if panel.rows_at else 0.0
            inset = ticks + (slot - bar - ticks - width) / 2
            yield panel, left + inset, centre - tall / 2, width, tall
            left += slot + self._gap(panel)


def _draw_panel(
    figure: Figure, panel: Panel, box: tuple[float, float, float, float], letters: float
) -> None:
    axes = figure.add_axes(box)
    low, high = limits_of(panel)
    values = np.ma.array(panel.values, mask=False if panel.inserted is None else panel.inserted)
    colours = _colours(panel.scale)
    image = axes.imshow(values, cmap=colours, vmin=low, vmax=high, aspect="auto")
    axes.set_title(panel.title, fontsize=TITLE_SIZE, color=INK, pad=4, linespacing=1.15)
    axes.set_xticks(list(panel.columns_at), list(panel.columns_at.values()))
    axes.set_yticks(list(panel.rows_at), list(panel.rows_at.values()))
    _frame(axes)
    if panel.digits is not None:
        _write_numbers(axes, panel, image, letters)
    width = box[2] * WIDTH
    if panel.colour_bar:
        _draw_colour_bar(figure, image, box)
        width += BAR_GAP + BAR_WIDTH + BAR_LABELS
    if panel.after:
        x = 1 + (width - box[2] * WIDTH + SIGN_GAP / 2) / (box[2] * WIDTH)
        axes.text(
            x,
            0.5,
            panel.after,
            transform=axes.transAxes,
            ha="center",
            va="center",
            fontsize=SIGN_SIZE,
            color=INK,
        )


@cache
def _colours(scale: str) -> Colormap:
    """Return the colours of a scale, pale where there is no value."""
    from matplotlib import colormaps
    from matplotlib.colors import LinearSegmentedColormap

    if scale == "grey":
        return colormaps["gray"].with_extremes(bad=INSERTED)
    anchors = SIGNED if scale == "signed" else ERROR
    return LinearSegmentedColormap.from_list(scale, anchors).with_extremes(bad=INSERTED)


def _draw_colour_bar(figure: Figure, image: Any, box: tuple[float, float, float, float]) -> None:
    """Draw the scale of an image at its right; several times faster than Matplotlib's own."""
    from matplotlib.ticker import MaxNLocator

    left, bottom, width, height = box
    low, high = image.get_clim()
    axes = figure.add_axes((left + width + BAR_GAP / WIDTH, bottom, BAR_WIDTH / WIDTH, height))
    scale = np.linspace(low, high, 256)[:, np.newaxis]
    extent = (0.0, 1.0, low, high)
    axes.imshow(scale, cmap=image.cmap, origin="lower", extent=extent, aspect="auto")
    _frame(axes)
    axes.set_xticks([])
    axes.yaxis.tick_right()
    nbins = max(2, min(6, int(height * figure.get_figheight() / 0.3)))
    axes.yaxis.set_major_locator(MaxNLocator(nbins, steps=[1, 2, 2.5, 5, 10]))


def _frame(axes: Axes) -> None:
    axes.tick_params(labelsize=LABEL_SIZE, length=2.5, color=FRAME, labelcolor=INK)
    for spine in axes.spines.values():
        spine.set(color=FRAME, linewidth=0.6)


def _write_numbers(axes: Axes, panel: Panel, image: Any, size: float) -> None:
    rows, columns = panel.values.shape
    axes.vlines(np.arange(0.5, columns - 1), -0.5, rows - 0.5, colors=GRID, linewidths=0.6)
    axes.hlines(np.arange(0.5, rows - 1), -0.5, columns - 0.5, colors=GRID, linewidths=0.6)
    axes.set(xlim=(-0.5, columns - 0.5), ylim=(rows - 0.5, -0.5))
    texts = _cell_texts(panel)
    colours = _contrasting(image.cmap(image.norm(np.asarray(panel.values, dtype=np.float64))))
    for (row, column), dark in np.ndenumerate(colours):
        pale = panel.inserted is not None and panel.inserted[row, column]
        axes.text(
            column,
            row,
            texts[row][column],
            ha="center",
            va="center_baseline",
            fontsize=size,
            color=FAINT if pale else INK if dark else "white",
        )


def _cell_texts(panel: Panel) -> list[list[str]]:
    """Write the values of a panel, with a true minus sign and no negative zero."""
    if panel.digits is None:
        return []
    texts = np.vectorize(lambda v: f"{v:.{panel.digits}f}", otypes=[object])(panel.values + 0.0)
    return [
        [text.removeprefix("-") if float(text) == 0 else text.replace("-", "−") for text in row]
        for row in texts.tolist()
    ]


def _contrasting(rgba: NDArray[Any]) -> NDArray[np.bool_]:
    """Tell on which colours dark letters are read better than white ones."""
    luminance: NDArray[Any] = rgba[..., :3] @ np.array([0.299, 0.587, 0.114])
    return luminance > 0.5


@contextmanager
def _own_style() -> Iterator[None]:
    """Draw with Matplotlib's own defaults, whatever the user's settings, and restore those."""
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams["axes.unicode_minus"] = True
        yield

"""What a study found: verdicts, sections with tables and pictures, and how it was made.

Nothing here computes, draws or writes: these are the words between those who do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from linconv.study.published import NOTEBOOK
from linconv.study.values import plain
from linconv.study.verdicts import Verdict

__all__ = [
    "Cell",
    "Curves",
    "Gallery",
    "Panel",
    "Part",
    "Picture",
    "Section",
    "Step",
    "StudyResults",
    "Table",
]

Cell = str | int | float | None


@dataclass(frozen=True)
class Table:
    """A table; a cell that is a number is set as one."""

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]

    def to_dict(self) -> dict[str, Any]:
        """Return caption, columns and rows, ready for strict JSON."""
        return {"caption": self.caption, "columns": list(self.columns), "rows": plain(self.rows)}


@dataclass(frozen=True, eq=False)
class Panel:
    """One array of a picture.

    Attributes
    ----------
    values : ndarray, (rows, columns)
    title : str
    scale : {"grey", "signed", "error"}
        Grey for images and features, from least to largest; blue to red with white at 0 for
        kernels and matrices; white to dark red for errors.
    limits : (float, float), optional
        Values at the ends of the scale; by default those of `values` (signed: symmetric).
    digits : int, optional
        Write every value into its cell with so many decimals; the panel is then drawn with
        square cells of one size throughout its row.
    inserted : ndarray of bool, (rows, columns), optional
        Cells that hold no sample: padding, dilation, gaps. They are drawn pale.
    height : float
        Height relative to the other panels of its row; without `digits` only.
    colour_bar : bool
    after : str
        A sign between this panel and the next, such as ``"="``.
    columns_at, rows_at : mapping of float to str
        Tick labels by position.
    """

    values: NDArray[Any]
    title: str = ""
    scale: Literal["grey", "signed", "error"] = "grey"
    limits: tuple[float, float] | None = None
    digits: int | None = None
    inserted: NDArray[np.bool_] | None = None
    height: float = 1.0
    colour_bar: bool = False
    after: str = ""
    columns_at: Mapping[float, str] = field(default_factory=dict)
    rows_at: Mapping[float, str] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Curves:
    """What changes with a number, over the width of a picture, and what it is held against.

    Attributes
    ----------
    series : mapping of str to ndarray, (steps,)
        By name; the values at ``step``, ``2 step`` and so on.
    lines : mapping of str to float
        Horizontal lines by name.
    xlabel, ylabel : str
    step : int
    log : bool
        Whether the values have a logarithmic scale, on which those not above 0 are left out.
    pale : tuple of str
        Names of series that are there for comparison only.
    """

    series: Mapping[str, NDArray[Any]]
    lines: Mapping[str, float]
    xlabel: str
    ylabel: str
    step: int = 1
    log: bool = True
    pale: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Gallery:
    """The same images in several versions, a row for each, over the width of a picture.

    Attributes
    ----------
    rows : mapping of str to ndarray, (images, height, width)
        By name; all of one shape.
    limits : (float, float)
        Values of black and of white.
    """

    rows: Mapping[str, NDArray[Any]]
    limits: tuple[float, float] = (0.0, 1.0)


@dataclass(frozen=True, eq=False)
class Picture:
    """A figure before it is drawn: rows of panels, and the words that go with them.

    Attributes
    ----------
    name : str
        Of its file, without suffix.
    caption : str
    alt : str
        What it shows, for those who do not see it.
    rows : tuple of tuple of Panel, Curves or Gallery
    """

    name: str
    caption: str
    alt: str
    rows: tuple[tuple[Panel, ...] | Curves | Gallery, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the words and the file, not the pixels."""
        return {"file": f"figures/{self.name}.png", "caption": self.caption, "alt": self.alt}


@dataclass(frozen=True, eq=False)
class Section:
    """One step of a study.

    Attributes
    ----------
    chapter, title : str
        Sections of one chapter follow each other.
    paragraphs : tuple of str
        Plain text; what stands in backticks is code.
    tables : tuple of Table
    pictures : tuple of Picture
    numbers : mapping of str to anything
        The figures in full, for `to_dict`.
    """

    chapter: str
    title: str
    paragraphs: tuple[str, ...]
    tables: tuple[Table, ...] = ()
    pictures: tuple[Picture, ...] = ()
    numbers: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return words, tables and complete numbers, ready for strict JSON."""
        return {
            "chapter": self.chapter,
            "title": self.title,
            "paragraphs": list(self.paragraphs),
            "tables": [table.to_dict() for table in self.tables],
            "pictures": [picture.to_dict() for picture in self.pictures],
            "numbers": plain(self.numbers),
        }


@dataclass(frozen=True)
class Part:
    """What one step of a study returns."""

    section: Section
    verdicts: tuple[Verdict, ...] = ()


Step = tuple[str, Callable[[], Part]]
"""What a step does, in a few words for a progress display, and the step."""


@dataclass(frozen=True, eq=False)
class StudyResults:
    """Everything that a study found.

    Attributes
    ----------
    verdicts : tuple of Verdict
    sections : tuple of Section
    settings : mapping
        What the study was asked for; ``settings["command"]`` repeats it.
    versions : mapping of str to str
    seconds : mapping of str to float
        How long each stage took.
    """

    verdicts: tuple[Verdict, ...]
    sections: tuple[Section, ...]
    settings: Mapping[str, Any]
    versions: Mapping[str, str]
    seconds: Mapping[str, float]

    @property
    def passed(self) -> bool:
        """Whether every published figure is met, and every check of our own."""
        return all(verdict.met for verdict in self.verdicts)

    @property
    def pictures(self) -> tuple[Picture, ...]:
        """All pictures in order."""
        return tuple(picture for section in self.sections for picture in section.pictures)

    def headline(self) -> str:
        """Say in one line how many of the course's figures are met, and which checks fail."""
        judged = [v.met for v in self.verdicts if v.source == NOTEBOOK]
        wrong = judged.count(False)
        text = (
            f"{wrong} of {len(judged)} published figures are NOT MET."
            if wrong
            else f"All {len(judged)} published figures are met."
        )
        failed = [v.name for v in self.verdicts if not v.met and v.source != NOTEBOOK]
        return f"{text} Of linconv's own checks, NOT MET: {'; '.join(failed)}." if failed else text

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the pixels, ready for strict JSON."""
        return {
            "passed": self.passed,
            "headline": self.headline(),
            "verdicts": [verdict.to_dict() for verdict in self.verdicts],
            "sections": [section.to_dict() for section in self.sections],
            "settings": plain(self.settings),
            "versions": dict(self.versions),
            "seconds": plain(self.seconds),
        }

"""The report: one page that needs nothing else, the numbers as JSON, the pictures as PNG."""

from __future__ import annotations

import pkgutil
from base64 import b64encode
from collections.abc import Mapping
from itertools import groupby
from pathlib import Path

from linconv.files import missing, to_json, write_file
from linconv.study.results import Cell, StudyResults
from linconv.study.values import shown

__all__ = ["render", "to_json", "write_report"]


def write_report(results: StudyResults, pictures: Mapping[str, bytes], folder: Path) -> Path:
    """Write the figures, `results.json` and, last, `report.html`; return the report's path.

    Parameters
    ----------
    results : StudyResults
    pictures : mapping of str to bytes
        PNG files by the pictures' names.
    folder : Path
        As `prepare_folder` returns it.

    Raises
    ------
    OutputError
        If a file cannot be written; no file is ever left half written.
    MissingPackageError
        If Jinja2 is absent.
    """
    page = render(results, pictures)
    for name, content in pictures.items():
        write_file(folder / "figures" / f"{name}.png", content)
    write_file(folder / "results.json", to_json(results).encode())
    report = folder / "report.html"
    write_file(report, page.encode())
    return report


def render(results: StudyResults, pictures: Mapping[str, bytes]) -> str:
    """Return the report as one HTML page with its pictures inlined.

    Raises
    ------
    MissingPackageError
        If Jinja2 is absent.
    """
    try:
        import jinja2
    except ImportError as error:
        raise missing("jinja2", "writing the report") from error
    source = pkgutil.get_data("linconv.study", "report.html.j2")
    if source is None:
        raise FileNotFoundError("report.html.j2 is no longer where linconv was installed")
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    environment.filters.update(shown=shown, deviations=_deviations)
    environment.tests["numeric"] = _is_numeric
    template = environment.from_string(source.decode("utf-8"))
    chapters = [
        (name, list(sections))
        for name, sections in groupby(results.sections, key=lambda section: section.chapter)
    ]
    inlined = {name: b64encode(content).decode() for name, content in pictures.items()}
    return template.render(results=results, chapters=chapters, pictures=inlined)


def _deviations(deviations: Mapping[str, float]) -> str:
    """Write the largest deviation of all dtypes."""
    worst = max(deviations.values(), default=None)
    return "none" if worst == 0 else "–" if worst is None else f"{worst:.1e}"


def _is_numeric(cell: Cell) -> bool:
    return isinstance(cell, int | float)

"""Inspection: what was found in a model, layer by layer, as a table, JSON, CSV or HTML."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass
from html import escape
from typing import Any

from linconv.files import json_number
from linconv.layers.findings import Finding

__all__ = ["COLUMNS", "Inspection", "LayerRow", "printable"]

Sizes = tuple[int, ...]

COLUMNS = (
    "layer",
    "kind",
    "kernel",
    "stride",
    "padding",
    "output",
    "parameters",
    "receptive field",
    "leftover",
    "overlap",
    "checkerboard",
    "norm at most",
)
"""The columns of the table, as `LayerRow.cells` fills them."""


def printable(text: str) -> str:
    """Return a name from a file with what a terminal would obey written out as escapes."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


@dataclass(frozen=True)
class LayerRow:
    """One linear spatial layer of a model; None wherever something is not known or not meant.

    Attributes
    ----------
    name, kind : str
        As the framework calls it.
    kernel_size, stride, dilation : tuple of int, or None
        Per spatial axis; None for layers without a kernel, such as an upsampling.
    groups : int or None
    padding : tuple of (low, high), or None
        Samples per side; of a transposed convolution, those cropped from its full output.
    padding_mode : tuple of str, or None
        What padding holds, per axis.
    transposed : bool or None
        Whether it is a transposed convolution.
    input_shape, output_shape : tuple of int, or None
        One sample, no batch axis, in the framework's layout.
    parameters : int
        Numbers in its kernel and bias.
    receptive_field : tuple of int, or None
        Samples of the model's input, per axis, that one of its output samples may depend on,
        borders aside: the largest over all paths and output phases.
    leftover : tuple of int, or None
        Padded samples after the last window, per axis. Exact.
    overlap : float or None
        See `linconv.overlap`; 1 is even. Exact.
    checkerboard : float or None
        See `linconv.checkerboard`, of the real kernel. Exact to rounding.
    norm_bound : float or None
        The operator's largest singular value is at most this. Certified.
    findings : tuple of Finding
        Warnings.
    """

    name: str
    kind: str
    kernel_size: Sizes | None = None
    stride: Sizes | None = None
    dilation: Sizes | None = None
    groups: int | None = None
    padding: tuple[tuple[int, int], ...] | None = None
    padding_mode: tuple[str, ...] | None = None
    transposed: bool | None = None
    input_shape: Sizes | None = None
    output_shape: Sizes | None = None
    parameters: int = 0
    receptive_field: Sizes | None = None
    leftover: Sizes | None = None
    overlap: float | None = None
    checkerboard: float | None = None
    norm_bound: float | None = None
    findings: tuple[Finding, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the row as plain values, None for what is unknown or infinite."""
        plain = {name: _plain(getattr(self, name)) for name in self.__dataclass_fields__}
        plain["findings"] = [{"check": f.check, "text": f.text} for f in self.findings]
        return plain

    def cells(self, unknown: str = "–") -> tuple[str, ...]:
        """Return the row as text, one entry per column of `COLUMNS`."""
        return tuple(
            unknown if cell is None else cell
            for cell in (
                printable(self.name),
                self._kind(),
                _times(self.kernel_size),
                _same(self.stride),
                self._padding(),
                _times(self.output_shape),
                str(self.parameters),
                _times(self.receptive_field),
                _same(self.leftover),
                None if self.overlap is None else f"{self.overlap:.3g}",
                None if self.checkerboard is None else f"{self.checkerboard:.3g}",
                None if self.norm_bound is None else f"{self.norm_bound:.4g}",
            )
        )

    def _kind(self) -> str:
        more = []
        if self.dilation is not None and set(self.dilation) != {1}:
            more.append(f"dilation {_same(self.dilation)}")
        if self.groups is not None and self.groups != 1 and self.parameters:
            more.append(f"{self.groups} groups")
        return ", ".join([printable(self.kind), *more])

    def _padding(self) -> str | None:
        if self.padding is None:
            return None
        pairs = [f"{low}+{high}" for low, high in self.padding]
        text = pairs[0] if len(set(pairs)) == 1 else ", ".join(pairs)
        modes = {
            mode
            for mode, pair in zip(self.padding_mode or (), self.padding, strict=False)
            if mode != "zeros" and any(pair)
        }
        return " ".join([text, *sorted(modes)])


@dataclass(frozen=True)
class Inspection:
    """What `linconv.inspect` found.

    Attributes
    ----------
    name : str
        The model's name or file.
    source : {"keras", "torch", "onnx", "weights", "linconv"}
        Whose model it is; ``"weights"`` have no geometry, and most of the rows is unknown.
    input_shapes : tuple of shape
        One sample of each input, no batch axis.
    rows : tuple of LayerRow
        The linear spatial layers, in the order of computation.
    passed_over : tuple of (name, kind, reason)
        Everything else, in the same order.
    """

    name: str
    source: str
    input_shapes: tuple[Sizes, ...]
    rows: tuple[LayerRow, ...]
    passed_over: tuple[tuple[str, str, str], ...]

    @property
    def findings(self) -> tuple[tuple[str, Finding], ...]:
        """All warnings, each with the name of its layer."""
        return tuple((row.name, finding) for row in self.rows for finding in row.findings)

    @property
    def parameters(self) -> int:
        """Numbers in the kernels and biases of all rows."""
        return sum(row.parameters for row in self.rows)

    def failed(self, checks: Iterable[str]) -> bool:
        """Tell whether there is a finding of one of these kinds."""
        kinds = set(checks)
        return any(finding.check in kinds for _, finding in self.findings)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain dicts, lists, strings and numbers."""
        return {
            "format": 1,
            "name": self.name,
            "source": self.source,
            "input_shapes": [list(shape) for shape in self.input_shapes],
            "parameters": self.parameters,
            "layers": [row.to_dict() for row in self.rows],
            "passed_over": [
                {"name": name, "kind": kind, "reason": reason}
                for name, kind, reason in self.passed_over
            ],
        }

    def headline(self) -> str:
        """Return one sentence: what was read, and how many warnings there are."""
        shapes = " and ".join(_times(shape) or "" for shape in self.input_shapes)
        where = f" on {shapes}" if shapes else ""
        found = len(self.findings)
        warned = "no warning" if not found else f"{found} warning{'s' if found > 1 else ''}"
        layers = f"{len(self.rows)} linear spatial layer{'s' if len(self.rows) != 1 else ''}"
        return (
            f"{printable(self.name)} ({self.source}){where}: {layers}, "
            f"{self.parameters} parameters, {warned}"
        )

    def notes(self) -> list[str]:
        """Return the warnings and what was passed over, a line each."""
        lines = [f"{printable(name)}: {f.text} [{f.check}]" for name, f in self.findings]
        if self.source == "weights":
            lines.append(
                "Weights have no stride, padding or shapes: those are unknown. Give the model "
                "itself (.keras, .onnx or .pt2) to see them."
            )
        if self.passed_over:
            kinds: dict[str, int] = {}
            for _, kind, _ in self.passed_over:
                kinds[kind] = kinds.get(kind, 0) + 1
            listed = ", ".join(
                printable(kind) if count == 1 else f"{count} x {printable(kind)}"
                for kind, count in kinds.items()
            )
            lines.append(f"Passed over, for not linear, not spatial or unknown: {listed}.")
        return lines

    def __str__(self) -> str:
        cells = [COLUMNS, *(row.cells(self.unknown) for row in self.rows)]
        widths = [max(len(line[i]) for line in cells) for i in range(len(COLUMNS))]
        table = [
            "  ".join(
                cell.ljust(width) if i < 2 else cell.rjust(width)
                for i, (cell, width) in enumerate(zip(line, widths, strict=True))
            ).rstrip()
            for line in cells
        ]
        return "\n".join([self.headline(), "", *table, "", *self.notes()]).rstrip()

    @property
    def unknown(self) -> str:
        """What a cell shows that has no value."""
        return "unknown" if self.source == "weights" else "–"

    def to_csv(self) -> str:
        """Return the rows as CSV, one line per layer, per-axis values with spaces between them.

        Texts that a spreadsheet would compute as formulas get an apostrophe before them.
        """
        stream = io.StringIO()
        writer = csv.writer(stream, lineterminator="\n")
        fields = [name for name in LayerRow.__dataclass_fields__ if name != "findings"]
        writer.writerow([*fields, "checks"])
        for row in self.rows:
            checks = " ".join(finding.check for finding in row.findings)
            writer.writerow([*(_spread(getattr(row, name)) for name in fields), checks])
        return stream.getvalue()

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{escape(column)}</th>" for column in COLUMNS)
        body = "".join(
            f"<tr{' class=warned' if row.findings else ''}>"
            + "".join(f"<td>{escape(cell)}</td>" for cell in row.cells(self.unknown))
            + "</tr>\n"
            for row in self.rows
        )
        notes = "".join(f"<li>{escape(note)}</li>\n" for note in self.notes())
        return (
            f"<p>{escape(self.headline())}</p>\n<table>\n<thead><tr>{head}</tr></thead>\n"
            f"<tbody>\n{body}</tbody>\n</table>\n<ul>\n{notes}</ul>\n"
        )

    def to_html(self) -> str:
        """Return a page with the table and the warnings; all names in it are escaped."""
        return _PAGE.format(title=escape(printable(self.name)), body=self._repr_html_())


_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}: its linear layers</title>
<link rel="icon" href="data:,">
<style>
:root {{ color-scheme: light dark; }}
body {{
  margin: 2rem auto; padding: 0 1rem; max-width: 90rem; font: 1rem/1.5 system-ui, sans-serif;
}}
table {{ border-collapse: collapse; display: block; overflow-x: auto; font-size: 0.9rem; }}
th, td {{
  padding: 0.3rem 0.7rem; text-align: right; white-space: nowrap; border-bottom: 1px solid #8884;
}}
th:nth-child(-n+2), td:nth-child(-n+2) {{ text-align: left; }}
tr.warned td:first-child {{ border-left: 4px solid #c9510c; }}
li {{ margin: 0.4rem 0; overflow-wrap: anywhere; }}
</style>
</head>
<body>
<h1>{title}</h1>
{body}</body>
</html>
"""


def _times(sizes: Sizes | None) -> str | None:
    return None if sizes is None else " x ".join(str(size) for size in sizes)


def _same(sizes: Sizes | None) -> str | None:
    """Write values per axis, once where they are all the same."""
    if sizes is None:
        return None
    return str(sizes[0]) if len(set(sizes)) == 1 else ", ".join(str(size) for size in sizes)


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(entry) for entry in value]
    return json_number(value) if isinstance(value, float) else value


def _spread(value: Any) -> str:
    """Write a value for CSV."""
    if value is None:
        return ""
    if isinstance(value, tuple):
        return " ".join(
            ":".join(str(side) for side in entry) if isinstance(entry, tuple) else str(entry)
            for entry in value
        )
    text = printable(str(value))
    return f"'{text}" if isinstance(value, str) and text[:1] in tuple("=+-@") else text

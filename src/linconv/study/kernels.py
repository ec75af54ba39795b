"""The kernel that a study starts from: a named one, or the user's file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from linconv.arguments import nearest
from linconv.errors import InputError
from linconv.files import (
    StrPath,
    check_real,
    read_npy,
    read_npy_header,
    reading,
    regular_file,
)

__all__ = ["KERNELS", "MAX_SIDE", "load_kernel"]

MAX_SIDE = 63
"""Largest height and width of a kernel."""

_MAX_BYTES = 1 << 20
_SMALLEST, _LARGEST = 1e-6, 1e6  # beyond, squares and their sums leave what the study can resolve


def _fixed(rows: ArrayLike) -> NDArray[np.float64]:
    """Return a read-only float64 array."""
    kernel = np.array(rows, dtype=np.float64)
    kernel.flags.writeable = False
    return kernel


_BINOMIAL = np.array([1, 4, 6, 4, 1]) / 16

KERNELS: Mapping[str, NDArray[np.float64]] = MappingProxyType(
    {
        "course": _fixed([[10, -4, 10], [10, 0, 30], [30, 30, -1]]),
        "box3": _fixed(np.full((3, 3), 1 / 9)),
        "box5": _fixed(np.full((5, 5), 1 / 25)),
        "gaussian5": _fixed(np.outer(_BINOMIAL, _BINOMIAL)),
        "sobel_x": _fixed([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]),
        "sobel_y": _fixed([[-1, -2, -1], [0, 0, 0], [1, 2, 1]]),
        "laplacian": _fixed([[0, 1, 0], [1, -4, 1], [0, 1, 0]]),
        "sharpen": _fixed([[0, -1, 0], [-1, 5, -1], [0, -1, 0]]),
        "emboss": _fixed([[-2, -1, 0], [-1, 1, 1], [0, 1, 2]]),
        "motion7": _fixed(np.eye(7) / 7),
    }
)
"""Kernels by name, as correlation uses them: ``sobel_x`` is positive where x brightens."""


def load_kernel(name_or_path: StrPath) -> NDArray[np.float64]:
    """Load a two-dimensional kernel by name, or from a NPY, JSON, CSV or text file.

    Parameters
    ----------
    name_or_path : str or path
        A name from `KERNELS`; or a file with the numbers, one row of the kernel per row: ``.npy``,
        ``.json`` (nested lists), ``.csv`` or ``.txt`` (separated by commas or blanks, ``#`` starts
        a comment). A name goes before a file of the same name.

    Returns
    -------
    ndarray of float64, (height, width)
        A writable copy.

    Raises
    ------
    InputError
        If the name is unknown, or the file is missing, of another type, damaged, pickled, larger
        than 1 MiB, or holds anything but finite real numbers in at most 63 rows and columns, the
        largest of them from 1e-6 to 1e6 in size or 0.
    """
    if isinstance(name_or_path, str):
        if name_or_path in KERNELS:
            return KERNELS[name_or_path].copy()
        path = Path(name_or_path)
        if path.name == name_or_path and not path.suffix and not path.exists():
            raise InputError(
                f"kernel {name_or_path!r} is neither a known name nor a file; "
                f"{nearest(name_or_path, KERNELS)}, or give a .npy, .json, .csv or .txt file"
            )
    file = regular_file(name_or_path)
    suffix = file.suffix.lower()
    if suffix not in {".npy", ".json", ".csv", ".txt"}:
        raise InputError(
            f"kernel file {file} has the suffix {suffix!r}; use .npy, .json, .csv or .txt"
        )
    if (size := file.stat().st_size) > _MAX_BYTES:
        raise InputError(
            f"kernel file {file} has {size} bytes, and at most {_MAX_BYTES} are read; "
            f"give a kernel of at most {MAX_SIDE} x {MAX_SIDE} numbers"
        )
    return _checked(_read_npy(file) if suffix == ".npy" else _read_text(file, suffix), file)


def _read_npy(file: Path) -> NDArray[Any]:
    with reading(file, "NPY"), file.open("rb") as stream:
        return read_npy(file, read_npy_header(stream, file.stat().st_size, file))


def _read_text(file: Path, suffix: str) -> NDArray[Any]:
    kind = "JSON numbers in nested lists" if suffix == ".json" else "rows of numbers"
    with reading(file, kind):
        text = file.read_text(encoding="utf-8-sig")
        if suffix != ".json":
            return _rows(text, file)
        lists = json.loads(text)
        try:
            # Without a dtype: NumPy would make numbers of strings and nulls.
            return np.asarray(lists)
        except ValueError as error:
            raise InputError(
                f"{file} must hold one list for each row of the kernel, all of one length; its "
                "lists differ in length or depth; write e.g. [[0, 1], [1, 0]]"
            ) from error


def _rows(text: str, file: Path) -> NDArray[np.float64]:
    """Return the numbers of a text, a row for each line that is not empty."""
    rows: list[list[float]] = []
    delimiter = None
    for number, line in enumerate(text.splitlines(), start=1):
        content = line.partition("#")[0].strip()
        if not content:
            continue
        if not rows:
            delimiter = "," if "," in content else None
        rows.append([_number(cell, number, file) for cell in content.split(delimiter)])
        if len(rows[-1]) != len(rows[0]):
            raise InputError(
                f"{file} must have as many numbers in each row; its first row has {len(rows[0])}, "
                f"and line {number} has {len(rows[-1])}; write every row of the kernel in full"
            )
    if not rows:
        raise InputError(f"{file} holds no numbers; write one row of the kernel per line")
    return np.array(rows)


def _number(cell: str, line: int, file: Path) -> float:
    try:
        return float(cell)
    except ValueError as error:
        raise InputError(
            f"{file} must hold numbers only; line {line} holds {cell.strip()[:40]!r}; separate "
            "numbers by commas or blanks, and start a comment with #"
        ) from error


def _checked(values: NDArray[Any], file: Path) -> NDArray[np.float64]:
    """Return a float64 copy of a kernel read from a file, or refuse it."""
    if values.dtype.kind not in "OU":
        check_real(values.dtype, file)
    elif file.suffix.lower() == ".json":
        raise InputError(
            f"{file} must hold numbers only; it holds {type(values.flat[0]).__name__} "
            "values; write nested lists such as [[0, 1], [1, 0]]"
        )
    if values.ndim != 2 or 0 in values.shape:
        raise InputError(
            f"{file} must hold a kernel with two axes; its shape is {values.shape}; "
            "write one list or line per row, e.g. [[0, 1], [1, 0]]"
        )
    if max(values.shape) > MAX_SIDE:
        raise InputError(
            f"{file} must hold at most {MAX_SIDE} rows and columns; its shape is {values.shape}; "
            "crop the kernel"
        )
    with np.errstate(over="ignore"):
        kernel = values.astype(np.float64)
    if not np.isfinite(kernel).all():
        count = kernel.size - int(np.isfinite(kernel).sum())
        raise InputError(
            f"{file} must hold finite numbers; {count} of {kernel.size} are NaN or infinite; "
            "replace them first"
        )
    largest = float(np.abs(kernel).max())
    if largest and not _SMALLEST <= largest <= _LARGEST:
        raise InputError(
            f"{file} must hold a kernel whose largest weight is from {_SMALLEST:g} to {_LARGEST:g} "
            f"in size, or 0; it is {largest:g}; scale the kernel, e.g. divide it by {largest:.3g}"
        )
    return kernel

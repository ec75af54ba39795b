"""Maps from the command line: a kernel from a file or written out, and the geometry's options."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
import numpy as np
from numpy.typing import NDArray

from linconv.errors import InputError, LinconvError
from linconv.files import read_npy, read_npy_header, reading, regular_file, temporary, unwritable
from linconv.padding import PADDING_MODES
from linconv.study.kernels import KERNELS, load_kernel

__all__ = ["can_write", "geometry_options", "named_padding", "read_kernel", "sizes"]

MAX_KERNEL_BYTES = 1 << 26

_WRITTEN_OUT = re.compile(r"[-+0-9.eE,;\s]*[0-9][-+0-9.eE,;\s]*")

F = TypeVar("F", bound=Callable[..., Any])


def geometry_options(command: F) -> F:
    """Give a command the options of a convolution's border and kernel."""
    options = (
        click.option(
            "--kernel",
            metavar="FILE|NAME|NUMBERS",
            required=True,
            help="A NPY, JSON, CSV or text file, a name (linconv study --help lists them), or the "
            'numbers, rows with semicolons between them: "1 2 1; 2 4 2; 1 2 1".',
        ),
        click.option(
            "--padding",
            metavar="WORD|SIZES",
            default="same",
            show_default=True,
            help="same, valid, or so many samples on either side, of each axis: 1 or 1,2.",
        ),
        click.option(
            "--padding-mode",
            type=click.Choice(PADDING_MODES),
            default="zeros",
            show_default=True,
            help="What stands outside of the input.",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


def read_kernel(text: str, ndim: int = 2) -> NDArray[Any]:
    """Read a kernel: a name, a file, or numbers; one row of numbers is 1-D where `ndim` is 1.

    A NPY file may hold a kernel of any number of axes, channels among them.

    Raises
    ------
    InputError
        If it is no kernel, or holds NaN or infinity.
    """
    kernel = _read(text, ndim)
    if kernel.dtype.kind in "fc" and (bad := int(kernel.size - np.isfinite(kernel).sum())):
        raise InputError(
            f"--kernel must be finite; got {bad} NaN or infinite values of {kernel.size} in "
            f"{text!r}; replace them by numbers"
        )
    return kernel


def _read(text: str, ndim: int) -> NDArray[Any]:
    if text in KERNELS or not _WRITTEN_OUT.fullmatch(text) or Path(text).exists():
        file = Path(text)
        if text in KERNELS or file.suffix.lower() != ".npy":
            return _axes(load_kernel(text), ndim)
        return _read_npy(regular_file(file))
    rows = [row.replace(",", " ").split() for row in text.strip().strip(";").split(";")]
    try:
        numbers = [[float(number) for number in row] for row in rows]
    except ValueError:
        raise InputError(
            f"--kernel must be a file, a name or numbers; got {text!r}, which has something "
            f'between its numbers; write it as "1 2 1; 2 4 2; 1 2 1"'
        ) from None
    lengths = [len(row) for row in numbers]
    if len(set(lengths)) > 1 or not lengths[0]:
        raise InputError(
            f"--kernel must have as many numbers in each row; got rows of {lengths}; put "
            f'semicolons between rows: "1 2 1; 2 4 2; 1 2 1"'
        )
    return _axes(np.array(numbers), ndim)


def _axes(kernel: NDArray[Any], ndim: int) -> NDArray[Any]:
    return kernel[0] if ndim == 1 and len(kernel) == 1 else kernel


def _read_npy(file: Path) -> NDArray[Any]:
    size = file.stat().st_size
    if size > MAX_KERNEL_BYTES:
        raise InputError(
            f"kernel file {file} has {size} bytes, and at most {MAX_KERNEL_BYTES} are read; give "
            f"one layer's kernel"
        )
    with reading(file, "NPY"), file.open("rb") as stream:
        return np.array(read_npy(file, read_npy_header(stream, size, file)))


def sizes(option: str, text: str) -> int | tuple[int, ...]:
    """Read ``2`` or ``2,1``."""
    try:
        numbers = tuple(int(part) for part in text.split(","))
    except ValueError:
        raise LinconvError(
            f"{option} must be whole numbers with commas between them; got {text!r}; write it as "
            f"2 or 2,1"
        ) from None
    return numbers[0] if len(numbers) == 1 else numbers


def named_padding(text: str) -> Any:
    """Read a padding: a word as it is, numbers as numbers."""
    return sizes("--padding", text) if re.match(r"\s*[-+0-9]", text) else text


def can_write(path: Path) -> None:
    """Prove, before any work, that a file can be written there.

    Raises
    ------
    OutputError
        If it cannot.
    """
    probe = temporary(path)
    try:
        if path.is_dir():
            raise IsADirectoryError(0, "it is a directory")
        probe.touch()
        probe.unlink()
        if path.exists() and not os.access(path, os.W_OK):
            raise PermissionError(0, "the file there is write-protected")
    except (OSError, ValueError) as error:
        raise unwritable(path, error) from error

"""What commands that take a kernel share: its argument, and the options of a convolution."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from linconv.errors import LinconvError
from linconv.padding import PADDING_MODES, PADDINGS
from linconv.study.kernels import load_kernel

__all__ = ["convolution_options", "read_kernel", "read_padding"]


def read_kernel(text: str) -> NDArray[np.float64]:
    """Read a kernel: a name, a file, or its rows with semicolons between them."""
    if ";" not in text:
        return load_kernel(text)
    try:
        rows = [[float(v) for v in row.replace(",", " ").split()] for row in text.split(";")]
        kernel = np.array(rows)
    except ValueError:
        kernel = np.empty(0)
    if kernel.ndim != 2 or not kernel.size or not np.isfinite(kernel).all():
        raise LinconvError(
            f"a kernel given by its rows must have finite numbers, as many in each row; got "
            f"{text!r}; write it as '1 2 1; 2 4 2; 1 2 1', or give a name or a file"
        )
    return kernel


def read_padding(text: str) -> Any:
    """Read a padding: a name, or samples on each side."""
    return int(text) if text.lstrip("-").isdigit() else text


def convolution_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of a convolution's border to a command."""
    names = ", ".join(PADDINGS)
    command = click.option(
        "--padding-mode",
        type=click.Choice(PADDING_MODES),
        default="zeros",
        show_default=True,
        help="What the padding holds.",
    )(command)
    return click.option(
        "--padding",
        default="same",
        show_default=True,
        help=f"One of {names}, or samples on each side.",
    )(command)

"""A cheap certified bound of an operator's norm, from the sums of its rows and columns."""

from __future__ import annotations

from math import prod, sqrt
from typing import Any

import numpy as np

from linconv.convolution import Conv, ConvTranspose
from linconv.engines.arrays import Array
from linconv.factors import Pad
from linconv.geometry import Geometry
from linconv.layers.parts import parts
from linconv.linear_map import LinearMap
from linconv.padding import padded_sources
from linconv.resampling import Diagonal, Resize
from linconv.shuffling import Shuffle

__all__ = ["norm_bound"]


def norm_bound(operator: LinearMap) -> float | None:
    """Return an upper bound of the largest singular value, None for a map of no known kind.

    Certified: the product over the parts of ``sqrt(largest row sum * largest column sum)`` of
    absolute values (Schur's test), for any border; rounding is allowed for. A column of a
    strided convolution sees only the taps of one phase, and the sums run over the channels of a
    group. Cost: a few passes over the kernel.

    Notes
    -----
    Schur, J. reine angew. Math. 140 (1911), section 2; Golub and Van Loan, "Matrix
    computations", 4th ed., corollary 2.3.2.
    """
    bounds = [_part(part) for part in parts(operator)]
    if any(bound is None for bound in bounds):
        return None
    return float(prod(bound for bound in bounds if bound is not None))


def _part(op: LinearMap) -> float | None:
    if isinstance(op, ConvTranspose):
        op = op.T
    if isinstance(op, Conv):
        return _convolution(op)
    if isinstance(op, Pad):
        return _border(op.geometry)
    if isinstance(op, Resize):
        axes = [op.axis_matrix(a) for a, (n, o) in enumerate(_sizes(op)) if n != o]
        return prod(_schur(m.sum(1), m.sum(0), m.size) for m in axes)
    if isinstance(op, Diagonal):
        return float(np.abs(op.weights).max())
    return 1.0 if isinstance(op, Shuffle) else None


def _sizes(op: Resize) -> Any:
    return zip(op.input_shape, op.output_shape, strict=True)


def _convolution(op: Conv) -> float:
    g = op.geometry
    magnitude = np.abs(op.layout.kernels_first(op.kernel)).astype(np.float64)
    grouped = magnitude.reshape(g.groups, -1, *magnitude.shape[1:])
    rows = magnitude.sum(axis=tuple(range(1, magnitude.ndim)))
    columns = grouped.sum(axis=1)  # (groups, in/groups, *size)
    for axis, (k, s, d) in enumerate(zip(g.kernel_size, g.stride, g.dilation, strict=True), 2):
        phase = np.arange(k) * d % s
        columns = np.stack([np.compress(phase == p, columns, axis).sum(axis) for p in range(s)])
        columns = np.moveaxis(columns, 0, axis)
    return _schur(rows, columns, magnitude.size) * _border(g)


def _schur(rows: Array, columns: Array, terms: int) -> float:
    slack = 1 + 4 * terms * float(np.finfo(np.float64).eps)
    return sqrt(float(rows.max()) * float(columns.max())) * slack


def _border(g: Geometry) -> float:
    """Bound padding: it repeats a sample at most so often."""
    total = 1
    for n, (low, high), mode in zip(g.input_size, g.padding, g.padding_mode, strict=True):
        read = padded_sources(n, low, high, mode)
        read = read[read >= 0]
        total *= int(np.bincount(read).max()) if read.size else 0
    return sqrt(total)

"""Matrices of a convolution, assembled from its geometry alone.

This is the oracle of the fast ways to compute a convolution: it knows where each kernel sample
stands in the matrix, and applies nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
import scipy
from numpy.typing import NDArray

from linconv.errors import SizeError
from linconv.geometry import Geometry
from linconv.layout import Layout

__all__ = [
    "DENSE_LIMIT",
    "SPARSE_LIMIT",
    "check_bytes",
    "convolution_csr",
    "incidence",
    "selection_csr",
]

DENSE_LIMIT = 2**30
SPARSE_LIMIT = 2**33

Array = NDArray[Any]


def check_bytes(what: str, shape: tuple[int, int], needed: int, limit: int, remedy: str) -> None:
    """Refuse a matrix of more than `limit` bytes before any memory is taken."""
    if needed > limit:
        raise SizeError(
            f"{what} of shape {shape} may take at most {limit / 2**30:.4g} GiB; it needs "
            f"{needed / 2**30:.4g} GiB; {remedy}"
        )


def convolution_csr(
    geometry: Geometry, layout: Layout, kernel: Array, max_bytes: int = SPARSE_LIMIT
) -> Any:
    """Return the matrix of a convolution as a SciPy CSR array.

    Rows and columns follow the C order of one output and one input sample in `layout`. Every
    kernel sample that reads the input is stored, also where it is zero, so that the pattern
    depends on the geometry alone; where padding reads an input sample twice in a row, the two
    are summed.

    Parameters
    ----------
    kernel : array in the layout's kernel layout
        Its dtype is the matrix's.

    Raises
    ------
    SizeError
        If data and indices would take more than `max_bytes`.

    Notes
    -----
    Time and memory are proportional to the number of stored entries: at most
    ``output samples * out_channels * kernel samples * in_channels / groups``.
    """
    tables = _tables(geometry, layout)
    size, _, out_channels = layout.split_kernel(kernel.shape)
    if layout.channels_last:
        values = np.moveaxis(kernel, -1, 0)
    else:
        values = kernel
    rows = layout.join((1,) * geometry.ndim, out_channels)
    taps = layout.join(size, geometry.in_channels // geometry.groups)
    input_shape = layout.join(geometry.input_size, geometry.in_channels)
    return _csr(tables, values.reshape(*rows, *taps), input_shape, max_bytes)


def selection_csr(
    sources: Sequence[NDArray[np.int64]],
    input_shape: tuple[int, ...],
    dtype: np.dtype[Any],
    max_bytes: int = SPARSE_LIMIT,
) -> Any:
    """Return the matrix whose every row copies one sample: `sources` tells which, per axis."""
    ones = np.ones((1,) * (2 * len(sources)), dtype)
    return _csr([source[:, None] for source in sources], ones, input_shape, max_bytes)


def incidence(geometry: Geometry, layout: Layout) -> tuple[Array, Array, Array]:
    """Return every product that a convolution sums, as three index arrays of equal length.

    Returns
    -------
    outputs, inputs, weights : ndarray of int64
        Output sample ``outputs[j]`` receives input sample ``inputs[j]`` times kernel sample
        ``weights[j]``, each in the C order of its own array in `layout`.
    """
    tables = _tables(geometry, layout)
    input_shape = layout.join(geometry.input_size, geometry.in_channels)
    columns, valid = _columns(tables, input_shape, np.dtype(np.int64))
    row_shape, tap_shape = columns.shape[: len(tables)], columns.shape[len(tables) :]
    ones = (1,) * len(tables)
    outputs = np.arange(prod(row_shape)).reshape(*row_shape, *ones)
    taps = np.arange(prod(tap_shape)).reshape(*ones, *tap_shape)
    if layout.channels_last:
        weights = taps * geometry.out_channels + np.arange(geometry.out_channels).reshape(-1, *ones)
    elif layout.bare:
        weights = taps
    else:
        channel = np.arange(geometry.out_channels).reshape(-1, *(1,) * (columns.ndim - 1))
        weights = taps + channel * prod(tap_shape)
    full = columns.shape
    outputs, weights = np.broadcast_to(outputs, full), np.broadcast_to(weights, full)
    return _chosen(outputs, valid), _chosen(columns, valid), _chosen(weights, valid)


def _tables(geometry: Geometry, layout: Layout) -> tuple[NDArray[np.int64], ...]:
    """Per array axis, the input index that each output index reads with each tap."""
    g = geometry
    per_group = g.in_channels // g.groups
    group = np.arange(g.out_channels)[:, None] // (g.out_channels // g.groups)
    channels = group * per_group + np.arange(per_group)
    return layout.join([g.sources(axis) for axis in range(g.ndim)], channels)


def _columns(
    tables: Sequence[NDArray[np.int64]], input_shape: tuple[int, ...], dtype: np.dtype[Any]
) -> tuple[Array, NDArray[np.bool_] | None]:
    """Column of every (row, tap), shape (*rows, *taps), and which read no padded zero."""
    naxes = len(tables)
    columns: Array = np.zeros((1,) * (2 * naxes), dtype)
    valid: Any = np.True_
    for axis, table in enumerate(tables):
        shape = [1] * (2 * naxes)
        shape[axis], shape[naxes + axis] = table.shape
        columns = columns + (table * prod(input_shape[axis + 1 :])).astype(dtype).reshape(shape)
        if (table < 0).any():
            valid = valid & (table >= 0).reshape(shape)
    full = tuple(t.shape[0] for t in tables) + tuple(t.shape[1] for t in tables)
    columns = np.broadcast_to(columns, full)
    return columns, None if valid is np.True_ else np.broadcast_to(valid, full)


def _chosen(array: Array, valid: NDArray[np.bool_] | None) -> Array:
    """Return the chosen entries in C order, as a new array; None chooses all."""
    return array.flatten() if valid is None else array[valid]


def _csr(
    tables: Sequence[NDArray[np.int64]],
    values: Array,
    input_shape: tuple[int, ...],
    max_bytes: int,
) -> Any:
    rows, width = prod(t.shape[0] for t in tables), prod(t.shape[1] for t in tables)
    shape = (rows, prod(input_shape))
    wide = max(*shape, rows * width) > np.iinfo(np.int32).max
    index = np.dtype(np.int64 if wide else np.int32)
    needed = rows * width * (values.itemsize + index.itemsize)
    check_bytes(
        "a sparse matrix", shape, needed, max_bytes, "apply the map, or raise the limit max_bytes"
    )
    columns, valid = _columns(tables, input_shape, index)
    counts = np.ones(1, np.int64)
    for table in tables:
        counts = np.multiply.outer(counts, (table >= 0).sum(axis=1)).ravel()
    pointers = np.zeros(rows + 1, index)
    np.cumsum(counts, out=pointers[1:])
    data = _chosen(np.broadcast_to(values, columns.shape), valid)
    matrix = scipy.sparse.csr_array((data, _chosen(columns, valid), pointers), shape=shape)
    if not all(_increasing(table) for table in tables):
        matrix.sum_duplicates()
    return matrix


def _increasing(table: NDArray[np.int64]) -> bool:
    """Whether each row's valid entries come in strictly increasing order."""
    smaller = table[:, :-1] < table[:, 1:]
    return bool((smaller | (table[:, :-1] < 0) | (table[:, 1:] < 0)).all())

"""Products of few rows with long vectors, stretch by stretch.

A product as short as a stretch stays on the thread that asks for it. Over whole vectors a BLAS
would wake threads of its own, and those wait for more work in a loop for a while: beside the
threads of the native engine, which comes next, they take its cores.
"""

from __future__ import annotations

import numpy as np

from linconv.engines.arrays import Array

__all__ = ["combined", "inner", "length"]

_LONGEST, _SHORTEST = 512, 8  # columns of a stretch
_PRODUCTS = 2**17  # of numbers in a stretch; OpenBLAS shares them from 2**18, complex from 2**16


def inner(rows: Array, vector: Array) -> Array:
    """Return the inner products ``row^H vector`` of rows, shape (n, columns), in double precision.

    Sums of many products in single precision err by more than a singular vector may: those of a
    stretch do not, and stretches are summed in double.
    """
    cut = vector.size - vector.size % _LONGEST
    turned = vector.conj()  # a vector alone; the rows stay where they are
    stretches = rows[:, :cut].reshape(len(rows), -1, _LONGEST).swapaxes(0, 1)
    parts = stretches @ turned[:cut].reshape(-1, _LONGEST, 1)
    sums: Array = parts[..., 0].sum(axis=0, dtype=np.result_type(vector.dtype, np.float64))
    sums += rows[:, cut:] @ turned[cut:]
    return sums.conj()


def length(vector: Array) -> float:
    """Return the Euclidean length of a vector, summed in double precision."""
    return float(np.sqrt(inner(vector[None], vector)[0].real))


def combined(coefficients: Array, rows: Array) -> Array:
    """Return ``coefficients @ rows``, of shape (..., m, n) and (..., n, columns)."""
    *_, m, n = coefficients.shape
    dtype = np.result_type(coefficients, rows)
    products = _PRODUCTS // (4 if dtype.kind == "c" else 1)
    few = max(1, products // (n * _SHORTEST))
    if m > few:
        strips = (coefficients[..., i : i + few, :] for i in range(0, m, few))
        return np.concatenate([combined(strip, rows) for strip in strips], axis=-2)
    width = min(max(products // (m * n), _SHORTEST), _LONGEST)
    columns = rows.shape[-1]
    cut = columns - columns % width
    result: Array = np.empty((*rows.shape[:-2], m, columns), dtype)
    whole, every = (_cut(array[..., :cut], width) for array in (result, rows))
    np.matmul(coefficients[..., None, :, :], every, out=whole)
    np.matmul(coefficients, rows[..., cut:], out=result[..., cut:])
    return result


def _cut(array: Array, width: int) -> Array:
    """Return (..., n, columns) as a view (..., stretches, n, width)."""
    return array.reshape(*array.shape[:-1], -1, width).swapaxes(-3, -2)

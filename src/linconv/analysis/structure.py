"""Structure: all singular values of a map, by the closed form or decomposition that it allows."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import scipy

from linconv.analysis import circular
from linconv.analysis.direct import double_sparse
from linconv.analysis.parts import embedded, group_parts
from linconv.analysis.separable import Separable, band_values, separable
from linconv.analysis.spectral_values import Vectors
from linconv.analysis.symbol import circulant
from linconv.convolution import Conv, ConvTranspose
from linconv.engines.arrays import Array
from linconv.errors import SizeError
from linconv.linear_map import LinearMap
from linconv.matrix import DENSE_LIMIT, check_bytes

__all__ = ["AllValues", "all_values", "basis_of", "quick"]

_REMEDY = "use the largest or smallest few, svdvals(op, k), or a smaller input_shape"
_QUICK = 4e9  # multiplications that a decomposition may take without being asked for
_BLOCK_LIMIT = 2**26


@dataclass(frozen=True, eq=False)
class AllValues:
    """All singular values of a map, descending, with what made them."""

    values: Array
    method: str
    cost: str
    vectors: Vectors | None


def quick(op: LinearMap) -> bool:
    """Whether all singular values take little enough not to prefer an iteration."""
    form = circulant(op)
    if form is not None:
        rows, columns = form.block_shape
        return form.count * 4.0 * min(rows, columns) ** 2 * max(rows, columns) <= 25 * _QUICK
    parts = group_parts(op)
    if parts is not None:
        return quick(parts[0]) and len(parts) * _dense_work(parts[0]) <= 4 * _QUICK
    if isinstance(op, Conv | ConvTranspose):
        g = op.geometry
        sides = zip(g.input_size, g.output_size, strict=True)
        if any(_work(*lengths) > _QUICK for lengths in sides):  # of one axis, at least
            return False
    kron = _separable(op)
    if kron is not None:
        return kron.work <= _QUICK
    return _dense_work(op) <= _QUICK


def _dense_work(op: LinearMap) -> float:
    return _work(*op.shape)


def _work(rows: int, columns: int) -> float:
    return 4.0 * min(rows, columns) ** 2 * max(rows, columns)


def all_values(op: LinearMap, max_bytes: int = DENSE_LIMIT) -> AllValues:
    """Return all singular values, by the structure of the map; `SizeError` if nothing can."""
    form = circulant(op)
    if form is not None and prod(form.block_shape) * 16 <= _BLOCK_LIMIT:
        values, where = circular.singular_values(form)
        rows, columns = form.block_shape
        cost = f"{form.count} decompositions of {rows} x {columns} blocks"
        method = "Fourier blocks (circular)"
        return AllValues(values, method, cost, circular.vectors_of(form, where))
    parts = group_parts(op)
    if parts is not None:
        return _merged(op, [all_values(part, max_bytes) for part in parts])
    kron = _separable(op)
    if kron is not None:
        sizes = " and ".join(f"{a} x {b}" for a, b in (f.shape for f in kron.factors))
        cost = f"decompositions of {sizes}"
        return AllValues(kron.values(), "Kronecker product (separable)", cost, _pairs(op, kron))
    _refuse(op, max_bytes)
    if isinstance(op, Conv | ConvTranspose) and op.geometry.ndim == 1 and max(op.shape) > 1200:
        cost = f"one band of {max(op.shape)} rows"
        method = "banded or dense decomposition"
        return AllValues(
            band_values(double_sparse(op)), method, cost, _dense_vectors(op, max_bytes)
        )
    rows, columns = op.shape
    matrix = _matrix(op, max_bytes)
    values = np.linalg.svd(matrix, compute_uv=False)

    cost = f"one decomposition of {rows} x {columns}"
    return AllValues(values, "dense decomposition", cost, _dense_vectors(op, max_bytes))


def _dense_vectors(op: LinearMap, max_bytes: int) -> Vectors:
    def vectors(position: int) -> tuple[Array, Array]:
        u, _, vh = np.linalg.svd(_matrix(op, max_bytes), full_matrices=False)
        left, right = u[:, position], vh[position].conj()
        return left.reshape(op.output_shape), right.reshape(op.input_shape)

    return vectors


def _refuse(op: LinearMap, max_bytes: int) -> None:
    needed = op.shape[0] * op.shape[1] * 8 * (2 if op.dtype.kind == "c" else 1)
    check_bytes("a dense decomposition", op.shape, needed, max_bytes, _REMEDY)


def _matrix(op: LinearMap, max_bytes: int) -> Array:
    _refuse(op, max_bytes)
    return np.asarray(double_sparse(op).toarray())


def _separable(op: LinearMap) -> Separable | None:
    if isinstance(op, ConvTranspose):
        found = _separable(op.T)
        return None if found is None else Separable(tuple(f.T for f in found.factors))
    return separable(op) if isinstance(op, Conv) else None


def _pairs(op: LinearMap, kron: Separable) -> Vectors:
    def vectors(position: int) -> tuple[Array, Array]:
        left, right = kron.pair(position)
        return left.reshape(op.output_shape), right.reshape(op.input_shape)

    return vectors


def _merged(op: LinearMap, parts: list[AllValues]) -> AllValues:
    """Merge the values of a grouped convolution's groups: the largest of all is the largest."""
    joined = np.concatenate([part.values for part in parts])
    order = np.argsort(-joined, kind="stable")
    length = len(parts[0].values)

    def vectors(position: int) -> tuple[Array, Array]:
        group, number = divmod(int(order[position]), length)
        find = parts[group].vectors
        assert find is not None
        left, right = find(number)
        return (
            embedded(op, left, group, inputs=False),
            embedded(op, right, group, inputs=True),
        )

    known = all(part.vectors is not None for part in parts)
    cost = f"{len(parts)} groups, each: {parts[0].cost}"
    return AllValues(joined[order], parts[0].method, cost, vectors if known else None)


def basis_of(op: LinearMap, tolerance: float, count: int, *, null: bool, max_bytes: int) -> Array:
    """Return an orthonormal basis of the null space or range, of a dimension that is known.

    Returns
    -------
    array, shape (count, *input_shape) or (count, *output_shape)
    """
    shape = op.input_shape if null else op.output_shape
    dtype = np.result_type(op.dtype, np.float64)
    needed = count * prod(shape) * dtype.itemsize
    if needed > max_bytes:
        raise SizeError(
            f"a basis of {count} arrays of shape {shape} may take at most {max_bytes / 2**30:.4g} "
            f"GiB; it needs {needed / 2**30:.4g} GiB; use a smaller input_shape, or raise the "
            f"limit with max_bytes"
        )
    if count == 0:
        return np.zeros((0, *shape), dtype)
    return _basis(op, tolerance, null, max_bytes)


def _basis(op: LinearMap, tolerance: float, null: bool, max_bytes: int) -> Array:
    shape = op.input_shape if null else op.output_shape
    form = circulant(op)
    if form is not None and prod(form.block_shape) * 16 <= _BLOCK_LIMIT:
        return circular.space(form, tolerance, null=null)
    parts = group_parts(op)
    if parts is not None:
        bases = [_basis(part, tolerance, null, max_bytes) for part in parts]
        return np.concatenate(
            [embedded(op, basis, group, inputs=null) for group, basis in enumerate(bases)]
        )
    kron = _separable(op)
    if kron is not None:
        return kron.space(tolerance, null=null).reshape(-1, *shape)
    _refuse(op, max_bytes)
    u, values, vh = scipy.linalg.svd(_matrix(op, max_bytes), full_matrices=True)
    rank = int((values > tolerance).sum())
    basis: Any = vh[rank:].conj() if null else u[:, :rank].T
    return np.ascontiguousarray(basis).reshape(-1, *shape)

"""The smallest singular value of a map too large to decompose or factorise: how small it is."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from math import inf
from typing import Any

import numpy as np
import scipy
from numpy.typing import NDArray

from linconv.analysis.preconditioner import circulant_preconditioner
from linconv.linear_map import LinearMap

__all__ = ["Smallest", "found_smallest", "smallest_by_inverse", "smallest_vectors"]

Array = NDArray[Any]

BLOCK = 4
STEPS = 60
DIGITS = 1e-7  # of the vectors that the inverse stretches most: twice as many of its norm
SHIFT = 1e-6  # of the preconditioner: what is looked for is among the smallest


@dataclass(frozen=True)
class Smallest:
    """What an iteration has found of the smallest of ``min(op.shape)`` singular values.

    Attributes
    ----------
    value : float
        The smallest singular value is at most this: the map shrinks some array by it.
    residual : float
        A singular value, if hardly surely the smallest, is at most so far away:
        ``||op.H(u) - value v||`` of the two unit arrays with ``op(v) = value u``.
    """

    value: float
    residual: float


def found_smallest(op: LinearMap) -> Smallest:
    """Look for the smallest singular value, of the shorter side; see `smallest_vectors`.

    It comes to rounding where the map is well conditioned, and to no more than a bound where it is
    a blur, whose smallest values crowd at zero. Cost: about 600 applications.
    """
    tall = op.H if op.shape[0] < op.shape[1] else op
    basis, _ = np.linalg.qr(smallest_vectors(tall, min(BLOCK, tall.shape[1])))
    left, values, mixed = np.linalg.svd(tall.matmat(basis), full_matrices=False)
    right, value = basis @ mixed[-1].conj(), float(values[-1])
    residual = np.linalg.norm(tall.rmatmat(left[:, -1:])[:, 0] - value * right)
    return Smallest(value, float(residual))


def smallest_by_inverse(size: int, dtype: Any, inverse: Any, about: float) -> Smallest:
    """Find the smallest singular value of a square matrix of which the inverse is known.

    Parameters
    ----------
    size : int
        Rows of the matrix.
    dtype : dtype
        float64 or complex128.
    inverse : callable
        ``inverse(columns, "N")`` multiplies by the inverse, ``inverse(columns, "H")`` by its
        adjoint.
    about : float
        The order of magnitude of what is looked for: as a unit, so that no square overflows.

    Notes
    -----
    LOBPCG looks for the largest one of the inverse: nothing is lost to the condition. If θ is the
    one found and r its residual there, ``1 / θ`` is at most ``r / (θ (θ - r))`` away from one.
    """

    def undo(columns: Array, which: str) -> Array:
        return np.asarray(inverse(columns, which) * about)

    squared = scipy.sparse.linalg.LinearOperator(
        (size, size),
        matvec=lambda v: undo(undo(v.reshape(-1, 1), "H"), "N").reshape(v.shape),
        matmat=lambda v: undo(undo(v, "H"), "N"),
        dtype=dtype,
    )
    start = _random(size, min(BLOCK, size), np.dtype(dtype))
    basis, _ = np.linalg.qr(_lobpcg(squared, start, tol=DIGITS, largest=True))
    left, values, mixed = np.linalg.svd(undo(basis, "H"), full_matrices=False)
    top, right = float(values[0]), basis @ mixed[0].conj()
    residual = float(np.linalg.norm(undo(left[:, :1], "N")[:, 0] - top * right))
    away = residual / (top * (top - residual)) if residual < top else inf
    return Smallest(about / top, about * away)


def smallest_vectors(tall: LinearMap, count: int) -> Array:
    """Return arrays that a map shrinks most, (columns, count), those that it shrinks most first.

    Notes
    -----
    LOBPCG on ``AᴴA`` for 60 steps at most (Knyazev, "Toward the optimal preconditioned
    eigensolver", SIAM J. Sci. Comput. 23, 2001), preconditioned by the periodic twin.
    """
    shape, columns = tall.input_shape, tall.shape[1]
    adjoint, dtype = tall.H, np.result_type(tall.dtype, np.float64)
    inverse = circulant_preconditioner(tall, 0.0, SHIFT)

    def operator(call: Any) -> Any:
        def product(vectors: Array) -> Array:
            arrays = np.ascontiguousarray(vectors.T, dtype).reshape(-1, *shape)
            result: Array = call(arrays).reshape(len(arrays), columns).T
            return result.reshape(vectors.shape)

        return scipy.sparse.linalg.LinearOperator(
            (columns, columns), matvec=product, matmat=product, dtype=dtype
        )

    gram = operator(lambda arrays: adjoint._apply(tall._apply(arrays)))
    start = _random(columns, count, dtype)
    return _lobpcg(gram, start, M=None if inverse is None else operator(inverse), largest=False)


def _random(rows: int, count: int, dtype: Any) -> Array:
    rng = np.random.default_rng(0)
    start = rng.standard_normal((rows, count)).astype(dtype)
    if dtype.kind == "c":
        start += 1j * rng.standard_normal(start.shape)
    return start


def _lobpcg(operator: Any, start: Array, tol: float = 1e-15, **options: Any) -> Array:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that it stopped: the residual tells
        _, vectors = scipy.sparse.linalg.lobpcg(operator, start, tol=tol, maxiter=STEPS, **options)
    return np.asarray(np.where(np.isfinite(vectors), vectors, 0))

"""Singular values of maps too large to decompose: estimates, each with its residual."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import Any

import numpy as np
import scipy

from linconv.analysis.balance import balanced
from linconv.analysis.davidson import Precondition, Triplet, largest_triplet, of_adjoint
from linconv.analysis.direct import double_sparse
from linconv.analysis.smallest import smallest_vectors
from linconv.analysis.stretches import length
from linconv.analysis.supremum import symbol_supremum
from linconv.analysis.wave_packets import packets_around
from linconv.convolution import Conv, ConvTranspose
from linconv.engines.arrays import Array
from linconv.errors import LinconvError
from linconv.linear_map import LinearMap

__all__ = ["estimated_norm", "estimated_values"]

_RTOL = 1e-6
_MOST = 4000
_RESTARTS = 300  # of the search for the smallest
_SMALL = 1000  # samples for which random vectors are as good a start as any
_GRAM_LIMIT = 4_000_000  # stored entries of a Gram matrix that is still factorised


@dataclass(frozen=True, eq=False)
class Beginning:
    """Where an iteration for the largest values starts, and what helps it.

    Attributes
    ----------
    start : array, shape (n, *input_shape)
        For a convolution the wave packet that its symbol amplifies most, if its kernel is real
        the packet's real and imaginary parts, the first with a little noise; otherwise, and for
        small inputs, noise.
    upper : float
        An upper bound of the norm, where it came along; otherwise inf.
    single : LinearMap or None
        A multiple of the map that keeps arrays of single precision.
    precondition : callable or None
    """

    start: Array
    upper: float
    single: LinearMap | None
    precondition: Precondition | None


def beginning(op: LinearMap) -> Beginning:
    """Return where to start from for a map that is no `ConvTranspose`."""
    noise = np.random.default_rng(0).standard_normal((1, *op.input_shape))
    if noise.size < _SMALL:
        return Beginning(noise, inf, None, None)
    single = _single(op)
    if not isinstance(op, Conv) or not np.any(op.kernel):
        return Beginning(noise, inf, single, None)
    kernel = op.layout.kernels_first(op.kernel)
    found = symbol_supremum(kernel, op.geometry, spare=1.15)
    packets = packets_around(op, found.peaks)
    start = packets.lowest()
    if not len(start):
        return Beginning(noise, inf, single, None)
    zeros = all(mode == "zeros" for mode in op.geometry.padding_mode)
    noise *= min(1, 300 / noise.size) / length(noise.ravel())
    start = np.concatenate([start[:1] + noise, start[1:]])
    return Beginning(start, found.upper if zeros else inf, single, packets.precondition)


def _single(op: LinearMap) -> LinearMap | None:
    """Return a multiple of a map that keeps arrays of single precision, or None."""
    if op.dtype in (np.float32, np.complex64):
        return op
    if not isinstance(op, Conv):
        return None
    peak = float(np.abs(op.kernel).max())
    if not 0 < peak < inf:
        return None
    narrow = np.complex64 if op.dtype.kind == "c" else np.float32
    return Conv.of((op.kernel / peak).astype(narrow), op.layout, op.geometry)


def estimated_norm(op: LinearMap, rtol: float = _RTOL, most: int = _MOST) -> tuple[Triplet, float]:
    """Return the largest singular triplet, and an upper bound of the norm, maybe inf.

    Parameters
    ----------
    op : LinearMap
    rtol : float
        For the residual.
    most : int
        Largest number of applications.
    """
    shorter = not isinstance(op, Conv) and op.shape[0] < op.shape[1]
    if isinstance(op, ConvTranspose) or shorter:
        found, upper = _estimated(op.T.conj(), rtol, most - 2)
        return of_adjoint(op, found), upper
    return _estimated(op, rtol, most)


def _estimated(op: LinearMap, rtol: float, most: int) -> tuple[Triplet, float]:
    begin = beginning(op)
    found = largest_triplet(
        op,
        begin.start,
        rtol=rtol,
        most=most,
        single=begin.single,
        precondition=begin.precondition,
    )
    return found, begin.upper


def estimated_values(op: LinearMap, k: int, which: str) -> tuple[Array, Array, Array, Array, str]:
    """Return k singular triplets, the largest or the smallest, by decreasing value.

    Returns
    -------
    values, residuals : array, shape (k,)
        Residuals ``‖Aᴴu - σv‖`` relative to the largest singular value.
    left, right : array, shape (k, rows) and (k, columns)
    method : str

    Raises
    ------
    LinconvError
        If the iteration for the largest fails.
    """
    dtype = np.result_type(op.dtype, np.float64)
    peak = float(np.abs(op.matvec(np.random.default_rng(0).standard_normal(op.shape[1]))).max())
    if not peak:
        zeros = np.zeros(k)
        left, right = (np.eye(k, n, dtype=dtype) for n in op.shape)
        return zeros, zeros, left, right, "the map is zero"
    even = balanced(op, seen=peak)
    if even.unit != 1:  # or squares would leave the numbers there are
        values, residuals, left, right, method = estimated_values(even.op, k, which)
        return values / even.unit, residuals, left, right, method
    if which == "largest":
        turned = isinstance(op, ConvTranspose)
        begin = beginning(op.T.conj() if turned else op)
        start = begin.start[0].reshape(-1).astype(dtype)
        if turned != (op.shape[0] < op.shape[1]):  # ARPACK works on the shorter side
            start = op.rmatvec(start) if turned else op.matvec(start)
        solver = scipy.sparse.linalg.svds
        try:
            _, _, vh = solver(_doubled(op), k=k, which="LM", v0=start, tol=1e-9, solver="arpack")
        except scipy.sparse.linalg.ArpackError as error:
            raise LinconvError(
                f"the {k} largest singular values of {op!r} must be found by Lanczos' iteration, "
                f"which failed: {error}; ask for fewer, or for norm(op)"
            ) from error
        return (*_ritz(op, vh.conj().T, None), "implicitly restarted Lanczos (ARPACK)")
    scale = estimated_norm(op)[0].value
    few = op.shape[0] < op.shape[1]
    tall = op.H if few else op
    vectors, method = _smallest_vectors(tall, k, scale)
    values, residuals, left, right = _ritz(tall, vectors, scale)
    if few:
        left, right = right, left
    return values, residuals, left, right, method


def _doubled(op: LinearMap) -> Any:
    """Return a map as SciPy's operator in double precision."""
    dtype = np.result_type(op.dtype, np.float64)
    return scipy.sparse.linalg.LinearOperator(
        op.shape,
        dtype=dtype,
        matvec=lambda v: op.matvec(np.asarray(v, dtype)),
        rmatvec=lambda u: op.rmatvec(np.asarray(u, dtype)),
        matmat=lambda v: op.matmat(np.asarray(v, dtype)),
        rmatmat=lambda u: op.rmatmat(np.asarray(u, dtype)),
    )


def _smallest_vectors(op: LinearMap, k: int, scale: float) -> tuple[Array, str]:
    """Return right singular vectors, (columns, k), of the smallest values of a tall map."""
    matrix = double_sparse(op) if _entries(op) <= _GRAM_LIMIT else None
    gram = None if matrix is None else (matrix.conj().T @ matrix).tocsc()
    if gram is not None and gram.nnz <= _GRAM_LIMIT:
        shift = -1e-14 * scale**2
        start = np.random.default_rng(0).standard_normal(gram.shape[0])
        _, vectors = scipy.sparse.linalg.eigsh(gram, k=k, sigma=shift, which="LM", v0=start)
        return vectors, "shift-invert Lanczos on a sparse factorisation"
    rng = np.random.default_rng(0)
    start = rng.standard_normal((op.shape[1], k)).astype(np.result_type(op.dtype, np.float64))
    doubled = _doubled(op)
    gram = scipy.sparse.linalg.LinearOperator(
        (op.shape[1], op.shape[1]),
        dtype=doubled.dtype,
        matvec=lambda v: doubled.rmatvec(doubled.matvec(v)) / scale**2,
        matmat=lambda v: doubled.rmatmat(doubled.matmat(v)) / scale**2,
    )
    try:
        _, vectors = scipy.sparse.linalg.eigsh(
            gram, k=k, which="SA", v0=start[:, 0], maxiter=_RESTARTS
        )
    except scipy.sparse.linalg.ArpackNoConvergence:  # values that crowd at zero
        return smallest_vectors(op, max(k, 4))[:, :k], "LOBPCG, preconditioned"
    return vectors, "Lanczos (ARPACK)"


def _entries(op: LinearMap) -> float:
    """Return how many entries the sparse matrix has at most."""
    if isinstance(op, ConvTranspose):
        return _entries(op.T)
    if isinstance(op, Conv):
        return float(op.shape[0] * op.kernel.size / op.geometry.out_channels)
    return inf


def _ritz(op: LinearMap, vectors: Array, scale: float | None) -> tuple[Array, Array, Array, Array]:
    """Return the singular triplets of a map in the span of columns, and their residuals."""
    q, _ = np.linalg.qr(vectors)
    u, values, wh = np.linalg.svd(op.matmat(q), full_matrices=False)
    right = q @ wh.conj().T
    back = op.rmatmat(u)
    errors = np.linalg.norm(back - right * values, axis=0)
    return values, errors / (scale or max(values[0], 1e-300)), u.T, right.T

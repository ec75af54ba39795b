"""Singular values of maps too large to decompose: estimates, each with its residual."""

from __future__ import annotations

from math import inf
from typing import Any

import numpy as np
import scipy

from linconv.analysis.bidiagonal import Triplet, largest_triplet
from linconv.analysis.plane_wave import tapered_wave
from linconv.analysis.smallest import smallest_vectors
from linconv.analysis.supremum import symbol_supremum
from linconv.convolution import Conv, ConvTranspose
from linconv.engines.arrays import Array
from linconv.linear_map import LinearMap

__all__ = ["estimated_norm", "estimated_values", "start_vector"]

_RTOL = 1e-6
_MOST = 4000
_SMALL = 300  # restarts of the search for the smallest
_GRAM_LIMIT = 4_000_000  # stored entries of a Gram matrix that is still factorised


def start_vector(op: LinearMap) -> tuple[Array, float]:
    """Return where to start from, shape input_shape, and an upper bound of the norm, maybe inf.

    For a convolution the tapered plane wave that its symbol amplifies most; otherwise a fixed
    random array.
    """
    conv = op.T.conj() if isinstance(op, ConvTranspose) else op
    if isinstance(conv, Conv) and np.any(conv.kernel):
        kernel = conv.layout.kernels_first(conv.kernel)
        found = symbol_supremum(kernel, conv.geometry, spare=1.15)
        wave = tapered_wave(conv, found.angles)
        zeros = all(mode == "zeros" for mode in conv.geometry.padding_mode)
        if isinstance(op, ConvTranspose):
            wave = conv(wave)
        if np.linalg.norm(wave) > 0:
            noise = np.random.default_rng(0).standard_normal(op.input_shape)
            noise *= 0.03 * np.linalg.norm(wave) / np.linalg.norm(noise)
            return wave + noise, found.upper if zeros else inf
    return np.random.default_rng(0).standard_normal(op.input_shape), inf


def estimated_norm(op: LinearMap) -> tuple[Triplet, float]:
    """Return the largest singular triplet, and an upper bound of the norm, maybe inf."""
    start, upper = start_vector(op)
    return largest_triplet(op, start, rtol=_RTOL, most=_MOST), upper


def estimated_values(op: LinearMap, k: int, which: str) -> tuple[Array, Array, Array, Array, str]:
    """Return k singular triplets, the largest or the smallest, by decreasing value.

    Returns
    -------
    values, residuals : array, shape (k,)
        Residuals ``‖Aᴴu - σv‖`` relative to the largest singular value.
    left, right : array, shape (k, rows) and (k, columns)
    method : str
    """
    if which == "largest":
        start, _ = start_vector(op)
        dtype = np.result_type(op.dtype, np.float64)
        start = start.reshape(-1).astype(dtype)
        if op.shape[0] < op.shape[1]:
            start = op.matvec(start)
        solver = scipy.sparse.linalg.svds
        _, _, vh = solver(_doubled(op), k=k, which="LM", v0=start, tol=1e-9, solver="arpack")
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
    matrix = op.sparse() if _entries(op) <= _GRAM_LIMIT else None
    gram = None if matrix is None else (matrix.conj().T @ matrix).tocsc()
    if gram is not None and gram.nnz <= _GRAM_LIMIT:
        gram = gram.astype(np.result_type(gram.dtype, np.float64))
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
            gram, k=k, which="SA", v0=start[:, 0], maxiter=_SMALL
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

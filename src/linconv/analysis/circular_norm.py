"""The norm of a periodic map: the largest singular value of all blocks, without decomposing all."""

from __future__ import annotations

import numpy as np

from linconv.analysis.circular import block_values
from linconv.analysis.symbol import Circulant
from linconv.engines.arrays import Array

__all__ = ["circular_norm"]

_CHEAP = 0.03  # seconds' worth of decompositions that need no screening
_STEPS = 10
_MARGIN = 0.01
_BATCH = 8


def circular_norm(
    form: Circulant, *, every: bool = False
) -> tuple[float, tuple[int, ...], str, bool]:
    """Return the largest singular value of all blocks, its frequency, how, and whether for sure.

    Few or small blocks are all decomposed. Otherwise every block at once goes through some steps
    of Golub-Kahan bidiagonalisation from a random vector, which costs two applications of the map
    a step: one array holds one vector per frequency. That bounds each block's largest value from
    below; blocks are decomposed from the highest estimate down, until those that are left fall
    short of the largest value by more than four times what any estimate fell short of its own.
    So what screening finds is a singular value, but that it is the largest is not proven. With
    `every`, all blocks are decomposed whatever it takes.
    """
    rows, columns = form.block_shape
    few = min(rows, columns)
    seconds = form.count * (2e-6 + 3e-9 * few * few * max(rows, columns))
    if every or few <= _STEPS or seconds <= _CHEAP:
        tops = block_values(form)[..., 0].max(axis=-1)
        best = np.unravel_index(int(tops.argmax()), tops.shape)
        return float(tops[best]), tuple(int(i) for i in best), "every block decomposed", True
    estimates = screen(form)
    order = np.argsort(-estimates, axis=None)
    largest, where, shortfall, count = 0.0, order[0], 0.0, 0
    for first in range(0, len(order), _BATCH):
        indices = order[first : first + _BATCH]
        margin = max(_MARGIN, 4 * shortfall)
        if estimates.flat[indices[0]] * (1 + margin) < largest:
            break
        points = np.stack(np.unravel_index(indices, estimates.shape), axis=1)
        tops = np.linalg.svd(form.blocks_at(points), compute_uv=False)[..., 0].max(axis=-1)
        count += len(points)
        short = 1 - estimates.flat[indices] / tops
        shortfall = max(shortfall, float(short.max()))
        if tops.max() > largest:
            largest, where = float(tops.max()), indices[tops.argmax()]
    index = tuple(int(i) for i in np.unravel_index(where, estimates.shape))
    how = f"all blocks screened by {_STEPS} Lanczos steps, {count} decomposed"
    return largest, index, how, False


def screen(form: Circulant) -> Array:
    """Return lower bounds of the largest singular value at every kept frequency, (*kept,)."""
    domain, codomain = form.domain, form.codomain
    dtype = np.complex64 if form.op.dtype.kind == "c" else np.float32
    rng = np.random.default_rng(0)

    def forward(v: Array) -> Array:
        arrays = domain.from_frequency(v)[None].astype(dtype, copy=False)
        return np.asarray(codomain.to_frequency(form.op._apply(arrays))[0])

    def adjoint(u: Array) -> Array:
        arrays = codomain.from_frequency(u)[None].astype(dtype, copy=False)
        applied = form.op._apply_transpose(arrays.conj()).conj()
        return np.asarray(domain.to_frequency(applied)[0])

    start = rng.standard_normal(form.op.input_shape).astype(np.float32)
    v, _ = _unit(domain.to_frequency(start.astype(dtype)))
    u, alpha = _unit(forward(v))
    alphas, betas = [alpha], []
    for _ in range(_STEPS - 1):
        v, beta = _unit(adjoint(u) - alphas[-1] * v)
        u, alpha = _unit(forward(v) - beta * u)
        alphas.append(alpha)
        betas.append(beta)
    bidiagonal = np.zeros((*alphas[0].shape[:-1], _STEPS, _STEPS), np.float32)
    steps = np.arange(_STEPS)
    bidiagonal[..., steps, steps] = np.concatenate(alphas, axis=-1)
    bidiagonal[..., steps[:-1], steps[1:]] = np.concatenate(betas, axis=-1)
    gram = bidiagonal @ bidiagonal.swapaxes(-1, -2)
    tops: Array = np.sqrt(np.linalg.eigvalsh(gram)[..., -1].max(axis=-1))
    return tops


def _unit(vectors: Array) -> tuple[Array, Array]:
    """Return vectors (..., width) of norm 1, and their norms; zero stays zero."""
    norms = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors / np.where(norms > 0, norms, 1), norms

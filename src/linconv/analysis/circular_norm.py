"""The norm of a periodic map: the largest singular value of all blocks, without decomposing all."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import prod

import numpy as np

from linconv.analysis.circular import block_values
from linconv.analysis.symbol import Circulant
from linconv.engines.arrays import Array

__all__ = ["circular_norm"]

_CHEAP = 0.03  # seconds' worth of decompositions that need no screening
_STEPS, _SEED_STEPS = 4, 12
_MARGIN = 0.004
_BATCH = 8
_STRETCH = 2**26  # bytes of blocks at once
_STRIP = 2**11  # numbers of a strip of a block


def circular_norm(
    form: Circulant, *, every: bool = False
) -> tuple[float, tuple[int, ...], str, bool]:
    """Return the largest singular value of all blocks, its frequency, how, and whether for sure.

    Few or small blocks are all decomposed. Otherwise every block at once goes through a few steps
    of Golub-Kahan bidiagonalisation, which costs two applications of the map a step: one array
    holds one vector per frequency. They start from the top vectors of blocks here and there,
    for a symbol is smooth. That bounds each block's largest value from
    below; blocks are decomposed from the highest estimate down, until those that are left fall
    short of the largest value by more than four times what any estimate fell short of its own.
    So what screening finds is a singular value, but that it is the largest is not proven. With
    `every`, all blocks are decomposed whatever it takes.
    """
    rows, columns = form.block_shape
    few = min(rows, columns)
    seconds = form.count * (2e-6 + 3e-9 * few * few * max(rows, columns))
    if every or few <= _SEED_STEPS or seconds <= _CHEAP:
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

    def forward(v: Array) -> Array:
        arrays = domain.from_frequency(v)[None].astype(dtype, copy=False)
        return np.asarray(codomain.to_frequency(form.op._apply(arrays))[0])

    def adjoint(u: Array) -> Array:
        arrays = codomain.from_frequency(u)[None].astype(dtype, copy=False)
        applied = form.op._apply_transpose(arrays.conj()).conj()
        return np.asarray(domain.to_frequency(applied)[0])

    # What stands at frequencies that are their own opposites is made real, and shorter, on the way.
    start = domain.to_frequency(domain.from_frequency(_seeds(form)).astype(dtype, copy=False))
    tops, _ = _bidiagonalised(forward, adjoint, start, _STEPS)
    return np.asarray(tops.max(axis=-1))


def _seeds(form: Circulant) -> Array:
    """Return a vector for every block, (*kept, groups, columns): the top one of a block nearby."""
    domain = form.domain
    chosen, nearest = [], []
    for kept, size, degree in zip(domain.kept, domain.grid, form.degrees, strict=True):
        step = max(1, size // (4 * degree + 8))
        places = np.arange(min(step // 2, kept - 1), kept, step)
        chosen.append(places)
        nearest.append(abs(np.arange(kept)[:, None] - places).argmin(axis=1))
    counts = tuple(map(len, chosen))
    points = np.stack(np.meshgrid(*chosen, indexing="ij"), axis=-1).reshape(-1, len(counts))
    rng = np.random.default_rng(0)
    several = max(1, _STRETCH // (16 * domain.groups * prod(form.block_shape)))
    found = []
    for first in range(0, len(points), several):
        blocks = form.blocks_at(points[first : first + several]).astype(np.complex64)
        adjoints = blocks.conj().swapaxes(-1, -2)
        parts = rng.standard_normal((2, *blocks.shape[:2], blocks.shape[-1])).astype(np.float32)
        _, vectors = _bidiagonalised(
            partial(_times, blocks),
            partial(_times, adjoints),
            parts[0] + 1j * parts[1],
            _SEED_STEPS,
        )
        found.append(vectors)
    seeds = np.concatenate(found).reshape(*counts, domain.groups, domain.width)
    noise = rng.standard_normal(seeds.shape).astype(np.float32) * (0.03 / domain.width**0.5)
    return np.asarray((seeds + noise)[np.ix_(*nearest)])


def _times(blocks: Array, vectors: Array) -> Array:
    """Return every block (..., rows, columns) times its vector, by strips of rows.

    Products as small as a strip's wake no threads of a BLAS: see stretches.py.
    """
    strip = max(1, _STRIP // blocks.shape[-1])
    firsts = range(0, blocks.shape[-2], strip)
    parts = [blocks[..., i : i + strip, :] @ vectors[..., None] for i in firsts]
    return np.concatenate(parts, axis=-2)[..., 0]


def _bidiagonalised(
    forward: Callable[[Array], Array], adjoint: Callable[[Array], Array], start: Array, steps: int
) -> tuple[Array, Array]:
    """Return the largest singular values of many maps from below, and right vectors.

    All maps at once take some steps of Golub-Kahan bidiagonalisation.

    Parameters
    ----------
    forward, adjoint : callable
        From arrays (*maps, columns) to (*maps, rows), and back.
    start : array, shape (*maps, columns)
    steps : int

    Returns
    -------
    values : array, shape (*maps,)
    vectors : array, shape (*maps, columns)
    """
    v, _ = _unit(start)
    u, alpha = _unit(forward(v))
    alphas, betas, basis = [alpha], [], [v]
    for _ in range(steps - 1):
        v, beta = _unit(adjoint(u) - alphas[-1] * v)
        u, alpha = _unit(forward(v) - beta * u)
        alphas.append(alpha)
        betas.append(beta)
        basis.append(v)
    bidiagonal = np.zeros((*start.shape[:-1], steps, steps), np.float32)
    places = np.arange(steps)
    bidiagonal[..., places, places] = np.concatenate(alphas, axis=-1)
    bidiagonal[..., places[:-1], places[1:]] = np.concatenate(betas, axis=-1)
    squares, turns = np.linalg.eigh(bidiagonal.swapaxes(-1, -2) @ bidiagonal)
    vectors = sum(turns[..., i, -1:] * part for i, part in enumerate(basis))
    return np.sqrt(np.maximum(squares[..., -1], 0)), np.asarray(vectors)


def _unit(vectors: Array) -> tuple[Array, Array]:
    """Return vectors (..., width) of norm 1, and their norms; zero stays zero."""
    norms = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors / np.where(norms > 0, norms, 1), norms

"""Singular values, vectors and subspaces of periodic maps, exact, from their blocks."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

import numpy as np
from numpy.typing import NDArray

from linconv.analysis.real_form import Orbit, arrays_of, orbits, real_block
from linconv.analysis.spectral_values import Vectors
from linconv.analysis.symbol import Circulant
from linconv.engines.arrays import Array

__all__ = [
    "block_values",
    "lost_frequencies",
    "singular_values",
    "space",
    "top_vectors",
    "vectors_of",
]

_STRETCH = (
    2**25
)  # bytes of blocks at once: what fits a cache is no slower, what fits memory is safe


def stretches(form: Circulant) -> Iterator[Array]:
    """Yield all blocks, (n, ..., groups, rows, columns), a bounded number at once."""
    line = form.count // form.domain.kept[0] * prod(form.block_shape) * 16
    step = max(1, _STRETCH // line)
    for first in range(0, form.domain.kept[0], step):
        yield form.blocks(slice(first, first + step))


def block_values(form: Circulant) -> Array:
    """Return the singular values of every block, (*kept, groups, min(rows, columns)), descending.

    Cost: one singular value decomposition per kept frequency and group.
    """
    return np.concatenate([_values(blocks) for blocks in stretches(form)])


def _values(blocks: Array) -> Array:
    if min(blocks.shape[-2:]) == 1:  # one row or column: its norm
        scale = np.abs(blocks).max(axis=(-2, -1), keepdims=True)
        scaled = np.abs(blocks / np.where(scale > 0, scale, 1)) ** 2
        norms: Array = scale[..., 0] * np.sqrt(scaled.sum(axis=(-2, -1)))[..., None]
        return norms
    values: Array = np.linalg.svd(blocks, compute_uv=False)
    return values


def singular_values(form: Circulant) -> tuple[Array, NDArray[np.int64]]:
    """Return all singular values, descending, and where in `block_values` each one stands.

    A value of a frequency that stands for two appears twice in a row.
    """
    values = block_values(form)
    copies = np.ones(values.shape, np.int64)
    copies *= form.domain.multiplicity[:, None, None]
    where = np.repeat(np.arange(values.size), copies.ravel())
    order = np.argsort(-values.ravel()[where], kind="stable")
    return values.ravel()[where[order]], where[order]


def vectors_of(form: Circulant, where: NDArray[np.int64]) -> Vectors:
    """Return the function that computes the singular vectors of the i-th largest value."""
    shape = (*form.domain.kept, form.domain.groups, min(form.block_shape))

    def vectors(position: int) -> tuple[Array, Array]:
        *index, group, number = (int(i) for i in np.unravel_index(where[position], shape))
        second = position > 0 and where[position - 1] == where[position]
        opposite = tuple(-m % n for m, n in zip(index, form.domain.grid, strict=True))
        copies = 2 if form.domain.half and opposite != tuple(index) else 1
        both_kept = form.domain.half and opposite[-1] < form.domain.kept[-1]
        if both_kept and opposite < tuple(index):  # the same wave's imaginary part
            index, second = list(opposite), True
        orbit = Orbit(tuple(index), copies)
        left, _, right = decompose(form, orbit, full=False)
        sides = []
        for side, columns in ((form.codomain, left), (form.domain, right)):
            one = columns[group][:, number : number + 1]
            arrays = arrays_of(side, orbit, group, one, True)
            sides.append(arrays[1 if second and len(arrays) == 2 else 0])
        return sides[0], sides[1]

    return vectors


def top_vectors(form: Circulant, index: tuple[int, ...]) -> Vectors:
    """Return the function that computes the singular vectors of a frequency's largest value."""
    tops = _values(form.blocks_at(np.array([index]))[0])[..., 0]
    shape = (*form.domain.kept, form.domain.groups, min(form.block_shape))
    where = np.ravel_multi_index((*index, int(tops.argmax()), 0), shape)
    return vectors_of(form, np.array([where]))


def decompose(form: Circulant, orbit: Orbit, *, full: bool) -> tuple[Array, Array, Array]:
    """Return left vectors, values and right vectors of one frequency's blocks, per group.

    The vectors are columns, those of a frequency opposite to itself coefficients of real arrays.
    """
    block = form.blocks_at(np.array([orbit.index]))[0]
    if form.domain.half and orbit.copies == 1:
        real, left, right = real_block(block, form.domain, form.codomain, orbit.index)
        u, values, vh = np.linalg.svd(real, full_matrices=full)
        return left @ u, values, right @ vh.swapaxes(-1, -2)
    u, values, vh = np.linalg.svd(block, full_matrices=full)
    return u, values, vh.conj().swapaxes(-1, -2)


def space(form: Circulant, tolerance: float, *, null: bool) -> Array:
    """Return an orthonormal basis of the null space, or of the range.

    Parameters
    ----------
    tolerance : float
        Singular values up to it count as zero.
    null : bool
        Null space, shape (n, *input_shape); otherwise the range, shape (n, *output_shape).
    """
    side = form.domain if null else form.codomain
    shape = form.op.input_shape if null else form.op.output_shape
    values = block_values(form)
    few = null and form.block_shape[0] >= form.block_shape[1]
    found: Array = np.ones(form.domain.kept, bool)
    if few:
        found = np.asarray((values <= tolerance).any(axis=(-2, -1)))
    parts = []
    for orbit in orbits(form.domain):
        if not found[orbit.index]:
            continue
        left, values, right = decompose(form, orbit, full=True)
        for group in range(form.domain.groups):
            rank = int((values[group] > tolerance).sum())
            columns = right[group][:, rank:] if null else left[group][:, :rank]
            if columns.shape[1]:
                parts.append(arrays_of(side, orbit, group, columns, True))
    if not parts:
        return np.zeros((0, *shape), float if form.domain.half else complex)
    return np.concatenate(parts)


def lost_frequencies(form: Circulant, tolerance: float) -> NDArray[np.int64]:
    """Return the frequencies, on the coarse grid, at which a block maps some vector to zero.

    Returns
    -------
    array of int, shape (n, axes)
        Of the kept half where the map is real; ``2 pi index / grid`` radians per output sample.
    """
    values = block_values(form)
    few = form.block_shape[0] < form.block_shape[1]
    lost = (values[..., -1] <= tolerance).any(axis=-1) | few
    return np.argwhere(lost)

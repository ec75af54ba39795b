"""Real form: frequencies of real maps in pairs, and blocks that are their own conjugate as real.

The blocks of a real map at two opposite frequencies are conjugates of each other. A singular vector
of one gives two real ones, the real and the imaginary part of its plane wave. A frequency opposite
to itself has real singular vectors of its own, found from the block in a real basis.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from linconv.analysis.frequencies import Frequencies
from linconv.engines.arrays import Array

__all__ = ["Orbit", "arrays_of", "orbits"]


@dataclass(frozen=True)
class Orbit:
    """A kept frequency and its opposite.

    Attributes
    ----------
    index : tuple of int
        The frequency on the coarse grid, the one of the two that stands for both.
    copies : int
        1 where it is its own opposite, or the map complex; otherwise 2.
    """

    index: tuple[int, ...]
    copies: int


def orbits(side: Frequencies) -> list[Orbit]:
    """Return the kept frequencies, one of each pair, in C order."""
    found = []
    for index in np.ndindex(*side.kept):
        if not side.half:
            found.append(Orbit(index, 1))
            continue
        opposite = tuple(-m % n for m, n in zip(index, side.grid, strict=True))
        if opposite == index:
            found.append(Orbit(index, 1))
        elif opposite[-1] >= side.kept[-1] or opposite > index:
            found.append(Orbit(index, 2))
    return found


def real_basis(side: Frequencies, index: tuple[int, ...]) -> Array:
    """Return the unitary basis in which arrays of a self-opposite frequency are real numbers.

    Returns
    -------
    array of complex128, shape (aliases, aliases)
        Its columns are the coefficients of real arrays.
    """
    axes = []
    for m, grid, aliases in zip(index, side.grid, side.aliases, strict=True):
        axes.append((-np.arange(aliases) - 2 * m // grid) % aliases)
    mesh = np.meshgrid(*axes, indexing="ij")
    mirror: NDArray[np.int64] = np.ravel_multi_index(mesh, side.aliases).ravel()
    count = prod(side.aliases)
    basis = np.zeros((count, count), complex)
    for j, opposite in enumerate(mirror):
        if j == opposite:
            basis[j, j] = 1
        elif j < opposite:
            basis[[j, opposite], j] = 1 / sqrt(2)
            basis[[j, opposite], opposite] = 1j / sqrt(2), -1j / sqrt(2)
    return basis


def real_block(
    block: Array, domain: Frequencies, codomain: Frequencies, index: tuple[int, ...]
) -> tuple[Array, Array, Array]:
    """Return the real block of a self-opposite frequency, and the bases of its two sides.

    Returns
    -------
    real : array of float64, shape (groups, rows, columns)
    left, right : array of complex128, shape (rows, rows) and (columns, columns)
        ``block == left @ real @ rightᴴ`` for each group.
    """
    bases = []
    for side in (codomain, domain):
        channels = side.channels // side.groups
        bases.append(np.kron(np.eye(channels), real_basis(side, index)))
    left, right = bases
    return (left.conj().T @ block @ right).real, left, right


def arrays_of(
    side: Frequencies, orbit: Orbit, group: int, vectors: Array, self_real: bool
) -> Array:
    """Return the arrays of coefficient vectors at one frequency.

    Parameters
    ----------
    vectors : array, shape (width, n)
        Orthonormal columns.
    self_real : bool
        Whether the vectors are coefficients of real arrays.

    Returns
    -------
    array, shape (copies * n, *shape)
        Orthonormal; real where half of the frequencies is kept.
    """
    n = vectors.shape[1]
    whole = Frequencies(side.layout, side.size, side.grid, side.channels, side.groups, False)
    coefficients = np.zeros((n, *whole.kept, side.groups, side.width), complex)
    where: tuple[Any, ...] = (slice(None), *orbit.index, group)
    coefficients[where] = vectors.T
    arrays = whole.from_frequency(coefficients)
    if not side.half:
        return arrays
    if orbit.copies == 1 and self_real:
        return np.ascontiguousarray(arrays.real)
    scaled = arrays * sqrt(2)
    return np.concatenate([scaled.real, scaled.imag])

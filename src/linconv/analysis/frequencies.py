"""Frequencies: the unitary change of basis in which periodic convolutions fall into blocks."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import scipy
from numpy.typing import NDArray

from linconv.engines.arrays import Array
from linconv.engines.threads import workers
from linconv.errors import DTypeError
from linconv.layout import Layout

__all__ = ["Frequencies"]


@dataclass(frozen=True)
class Frequencies:
    """The unitary change of basis between arrays and their frequencies on a coarse grid.

    Attributes
    ----------
    layout : Layout
        Of the arrays.
    size, grid : tuple of int
        Samples per axis of the arrays and of the coarse grid; each divides.
    channels, groups : int
        Groups are stretches of channels that no block mixes.
    half : bool
        Whether only the half of the last axis is kept, from 0 to ``grid[-1] // 2``, of which the
        other half is the conjugate where arrays are real.
    """

    layout: Layout
    size: tuple[int, ...]
    grid: tuple[int, ...]
    channels: int
    groups: int
    half: bool

    @property
    def aliases(self) -> tuple[int, ...]:
        """Fine frequencies per coarse one along each axis."""
        return tuple(n // m for n, m in zip(self.size, self.grid, strict=True))

    @property
    def width(self) -> int:
        """Entries per frequency and group: channels of the group times aliases, C order."""
        return self.channels // self.groups * prod(self.aliases)

    @property
    def kept(self) -> tuple[int, ...]:
        """The coarse grid, its last axis halved if `half`."""
        return (*self.grid[:-1], self.grid[-1] // 2 + 1) if self.half else self.grid

    @property
    def multiplicity(self) -> NDArray[np.int64]:
        """How many frequencies of the whole grid each kept one stands for, shape (kept[-1],).

        1 or 2, the same for all indices of the other axes.
        """
        last = np.ones(self.kept[-1], np.int64)
        if self.half:
            last[1 : (self.grid[-1] + 1) // 2] = 2
        return last

    def to_frequency(self, arrays: Array) -> Array:
        """Return the coefficients of arrays (*batch, *shape), shape (*batch, *kept, groups, width).

        Complex, of the arrays' precision. The sum of squares is that of the arrays, each square
        counted as often as `multiplicity` tells.

        Raises
        ------
        DTypeError
            If the arrays are complex and only half of the frequencies is kept.
        """
        if self.half and arrays.dtype.kind == "c":
            raise DTypeError(
                f"half of the frequencies holds real arrays only; got {arrays.dtype}; take the "
                f"two parts one by one, or ask for all frequencies with half=False"
            )
        first = self.layout.arrays_first(arrays)
        ndim = len(self.size)
        axes = tuple(range(-ndim, 0))
        batch = first.shape[: -ndim - 1]
        transform = scipy.fft.rfftn if self.half and self.aliases[-1] == 1 else scipy.fft.fftn
        fine = transform(first, axes=axes, norm="ortho", workers=workers(first.size))
        split = [part for pair in zip(self.aliases, self.grid, strict=True) for part in pair]
        if self.half and self.aliases[-1] == 1:
            split[-1] = self.kept[-1]
        fine = fine.reshape(*batch, self.groups, -1, *split)[..., : self.kept[-1]]
        start = len(batch)
        order = [
            *range(start),
            *(start + 3 + 2 * axis for axis in range(ndim)),
            start,
            start + 1,
            *(start + 2 + 2 * axis for axis in range(ndim)),
        ]
        moved: Array = fine.transpose(order)
        return moved.reshape(*batch, *self.kept, self.groups, self.width)

    def from_frequency(self, coefficients: Array) -> Array:
        """Return the arrays (*batch, *shape) of coefficients (*batch, *kept, groups, width).

        Real where only half of the frequencies is kept, complex otherwise. The inverse of
        `to_frequency`; on coefficients that no real array has (a frequency that is its own
        conjugate with an imaginary part) the real part of what they stand for.
        """
        ndim = len(self.size)
        start = coefficients.ndim - ndim - 2
        batch = coefficients.shape[:start]
        spread = coefficients.reshape(*batch, *self.kept, self.groups, -1, *self.aliases)
        order = [*range(start), start + ndim, start + ndim + 1]
        for axis in range(ndim):
            order += [start + ndim + 2 + axis, start + axis]
        spread = spread.transpose(order)
        sizes = list(self.size)
        if self.half and self.aliases[-1] == 1:
            sizes[-1] = self.kept[-1]
        elif self.half:
            spread = self._whole(spread)
        fine = spread.reshape(*batch, self.channels, *sizes)
        axes = tuple(range(-ndim, 0))
        options: dict[str, Any] = {"axes": axes, "norm": "ortho", "workers": workers(fine.size)}
        if self.half:
            fine = fine[..., : self.size[-1] // 2 + 1]
            arrays = scipy.fft.irfftn(fine, s=self.size, **options)
        else:
            arrays = scipy.fft.ifftn(fine, **options)
        back: Array = self.layout.arrays_back(arrays)
        return back

    def _whole(self, spread: Array) -> Array:
        """Add the frequencies of the last axis that are conjugates of those kept."""
        kept, last = self.kept[-1], self.grid[-1]
        whole = np.zeros((*spread.shape[:-1], last), spread.dtype)
        whole[..., :kept] = spread
        ndim = len(self.size)
        fine = whole.reshape(*spread.shape[: -2 * ndim], *self.size)
        mirrored = fine.conj()
        for axis in range(-ndim, 0):
            mirrored = np.roll(np.flip(mirrored, axis), 1, axis)
        missing = np.flatnonzero(np.arange(self.size[-1]) % last >= kept)
        fine[..., missing] = mirrored[..., missing]
        return fine

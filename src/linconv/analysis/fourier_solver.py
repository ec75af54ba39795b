"""Least squares of periodic maps, block by block in the Fourier basis."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy
from numpy.typing import NDArray

from linconv.analysis.direct import gains, rounding
from linconv.analysis.frequencies import Frequencies
from linconv.analysis.spectral_filter import SpectralFilter
from linconv.analysis.symbol import Blocks, circulant, circulant_blocks, layouts
from linconv.linear_map import LinearMap, Product
from linconv.matrix import DENSE_LIMIT

__all__ = [
    "FourierSolver",
    "by_blocks",
    "filter_squares",
    "fourier_blocks",
    "fourier_fits",
    "peeled",
]

Array = NDArray[Any]

OPERATIONS = 5e10  # of the singular value decompositions of all blocks, at most


def fourier_fits(op: LinearMap) -> bool:
    """Whether a map is block-diagonal, in blocks that can be kept and decomposed."""
    form = circulant(peeled(op)[1])
    if form is None:
        return False
    rows, columns = form.block_shape
    needed = form.count * rows * columns
    work = 20.0 * needed * min(rows, columns)
    return needed * 16 <= DENSE_LIMIT // 2 and (min(rows, columns) == 1 or work <= OPERATIONS)


def peeled(op: LinearMap) -> tuple[SpectralFilter | None, LinearMap, SpectralFilter | None]:
    """Return a product without the spectral filter that it begins or ends with, and these.

    A filter stays where it is unless all convolutions of the rest are in its layout.
    """
    if not isinstance(op, Product):
        return None, op, None
    maps = list(op.maps)
    first = maps.pop(0) if isinstance(maps[0], SpectralFilter) else None
    last = maps.pop() if maps and isinstance(maps[-1], SpectralFilter) else None
    inner = Product(*maps) if len(maps) > 1 else maps[0] if maps else None
    filters = [one for one in (first, last) if isinstance(one, SpectralFilter)]
    if inner is None or any(layouts(inner) != {one.layout} for one in filters):
        return None, op, None
    return (
        first if isinstance(first, SpectralFilter) else None,
        inner.maps[0] if isinstance(inner, Product) and len(inner.maps) == 1 else inner,
        last if isinstance(last, SpectralFilter) else None,
    )


def fourier_blocks(op: LinearMap) -> Blocks:
    """Return the blocks of a map whose core (`peeled`) is periodic, its filters multiplied in."""
    first, inner, last = peeled(op)
    form = circulant_blocks(inner)
    assert form is not None  # asked for only where `circulant` has found it
    blocks = form.blocks
    if last is not None:
        blocks = blocks * _arranged(last, form.domain)[..., None, :]
    if first is not None:
        blocks = blocks * _arranged(first, form.codomain)[..., None]
    return Blocks(blocks, form.domain, form.codomain)


def filter_squares(op: LinearMap, side: Frequencies) -> Array:
    """Return the squared gains of the filter that a map begins with, (*kept, groups, width)."""
    last = peeled(op)[2]
    return np.ones((1, 1)) if last is None else _arranged(last, side) ** 2


def _arranged(spectral: SpectralFilter, side: Frequencies) -> Array:
    """Return a filter's transfer function where the coefficients of a basis stand."""
    size = spectral.transfer.shape
    impulse = scipy.fft.ifftn(spectral.transfer, norm="ortho").real
    whole = np.broadcast_to(impulse, (side.channels, *size))
    return np.asarray(side.to_frequency(side.layout.arrays_back(whole)).real)


def _multiplied(blocks: Array, coefficients: Array) -> Array:
    """Return blocks (*frequencies, groups, rows, columns) times coefficients (..., columns).

    The coefficients are used up: theirs may be the memory of the result.
    """
    if blocks.shape[-2:] == (1, 1):
        fits = np.result_type(blocks, coefficients) == coefficients.dtype
        return np.multiply(coefficients, blocks[..., 0], out=coefficients if fits else None)
    product: Array = (blocks @ coefficients[..., None])[..., 0]
    return product


def by_blocks(inverse: Array, form: Blocks, y: Array) -> Array:
    """Apply blocks that map from the codomain of a form to its domain."""
    if form.domain.half and y.dtype.kind == "c":
        parts = (by_blocks(inverse, form, part) for part in (y.real, y.imag))
        real, imaginary = parts
        return np.asarray(real + 1j * imaginary)
    return form.domain.from_frequency(_multiplied(inverse, form.codomain.to_frequency(y)))


class FourierSolver:
    """By the pseudo-inverse of every block: exact for any stride, with and without ridge."""

    method = "fft"
    how = "one small matrix per frequency"

    def __init__(self, op: LinearMap, ridge: float) -> None:
        form = fourier_blocks(op)
        self._form = form
        blocks = form.blocks
        rows, columns = blocks.shape[-2:]
        if min(rows, columns) == 1:
            flat = blocks.reshape(*blocks.shape[:-2], -1)
            values = np.linalg.norm(flat, axis=-1, keepdims=True)
        else:
            left, values, right = np.linalg.svd(blocks, full_matrices=False)
        self.norm = float(values.max())
        self.smallest: float | None = float(values.min())
        self.cutoff = rounding(op, self.norm)
        kept = np.moveaxis(values > self.cutoff, len(form.domain.kept) - 1, -1)
        self.rank: int | None = int((kept * form.domain.multiplicity).sum())
        factor = gains(values, ridge, self.cutoff)
        if min(rows, columns) == 1:
            unit = np.divide(factor, values, out=np.zeros_like(values), where=values > 0)
            self._inverse = blocks.conj().swapaxes(-1, -2) * unit[..., None]
        else:
            scaled = right.conj().swapaxes(-1, -2) * factor[..., None, :]
            self._inverse = scaled @ left.conj().swapaxes(-1, -2)
        self.ranks = (values > self.cutoff).sum(axis=-1)  # (*kept, groups)

    def solve(self, y: Array) -> Array:
        """Return the solutions (n, *input_shape)."""
        return by_blocks(self._inverse, self._form, y)

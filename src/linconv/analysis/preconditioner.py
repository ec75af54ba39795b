"""A circulant preconditioner: the normal equations of the same convolution, made periodic."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from math import inf, prod, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from linconv.analysis.fourier_solver import by_blocks, filter_squares, fourier_blocks, peeled
from linconv.analysis.spectral_filter import SpectralFilter
from linconv.analysis.symbol import Blocks, circulant
from linconv.convolution import Conv, ConvTranspose
from linconv.linear_map import LinearMap, Product, Scaled

__all__ = ["circulant_preconditioner", "periodic_twin"]

Array = NDArray[Any]

OPERATIONS = 2e10
BYTES = 2**29
SHIFT = 0.03  # of the largest eigenvalue, the least that is added to all
INSIDE = 4  # kernels that an image must have room for along every axis


def periodic_twin(op: LinearMap) -> LinearMap | None:
    """Return the same map of the same inputs with borders that wrap around, or None.

    Strides that do not divide the input size are made 1, and the kernel smaller in proportion:
    the normal equations are the same on average.
    """
    if isinstance(op, ConvTranspose):
        return _with_output(op.T).T
    if isinstance(op, Conv):
        return _with_input(op)
    if isinstance(op, Scaled):
        twin = periodic_twin(op.of)
        return None if twin is None else op.factor * twin
    if isinstance(op, Product):
        known = [twin for part in op.maps if (twin := periodic_twin(part)) is not None]
        fits = all(a.input_shape == b.output_shape for a, b in pairwise(known))
        return Product(*known) if len(known) == len(op.maps) and fits else None
    return op if isinstance(op, SpectralFilter) or circulant(op) is not None else None


def _roomy(op: LinearMap) -> bool:
    """Whether most windows of all convolutions touch no border."""
    if isinstance(op, ConvTranspose):
        return _roomy(op.T)
    if isinstance(op, Scaled):
        return _roomy(op.of)
    if isinstance(op, Product):
        return all(map(_roomy, op.maps))
    if not isinstance(op, Conv):
        return True
    axes = zip(op.geometry.input_size, op.geometry.effective_kernel_size, strict=True)
    return all(n >= INSIDE * k for n, k in axes)


def _with_input(op: Conv) -> Conv:
    g = op.geometry
    strides = [s if n % s == 0 else 1 for n, s in zip(g.input_size, g.stride, strict=True)]
    lost = prod(s / kept for s, kept in zip(g.stride, strides, strict=True))
    return _periodic(op, g.input_size, strides, 1 / sqrt(lost))


def _with_output(op: Conv) -> Conv:
    g = op.geometry
    size = tuple(m * s for m, s in zip(g.output_size, g.stride, strict=True))
    return _periodic(op, size, list(g.stride), 1.0)


def _periodic(op: Conv, size: tuple[int, ...], strides: list[int], factor: float) -> Conv:
    g = op.geometry
    pads = [
        (low, reach - s - low)
        for (low, _), reach, s in zip(g.padding, g.effective_kernel_size, strides, strict=True)
    ]
    around = g.replace(input_size=size, stride=strides, padding=pads, padding_mode="circular")
    kernel = np.asarray(op.kernel, np.result_type(op.dtype, np.float64)) * factor
    return Conv.of(kernel, op.layout, around)


def circulant_preconditioner(
    op: LinearMap, ridge: float, least: float = SHIFT
) -> Callable[[Array], Array] | None:
    """Return the map ``(CᴴC + shift)^-1`` on arrays (n, *input_shape), C the periodic twin.

    None where there is no twin, its blocks are too large, or an axis of the image is shorter than
    four kernels, for then the borders are most of it.

    Notes
    -----
    Strang's circulant: the kernel wrapped around (R. Chan and Ng, "Conjugate gradient methods for
    Toeplitz systems", SIAM Review 38, 1996). The shift is the ridge, but at least `least` of the
    largest eigenvalue, 0.03: a smaller one would magnify what the borders do not share with their
    twins, of which there are as many directions as samples near the border (an oblique
    blur of 15 x 15 on 192 x 192 with zeros, ridge 1e-4, to 1e-6: 109 steps, 275 with the ridge
    alone, 274 without; a disk: 105, 209, 288).
    """
    twin = periodic_twin(op) if _roomy(op) else None
    form = None if twin is None else circulant(peeled(twin)[1])
    if twin is None or form is None or twin.input_shape != op.input_shape:
        return None
    rows, columns = form.block_shape
    needed = 16 * form.count * columns * max(rows, columns)
    if needed > BYTES or form.count * float(columns) ** 2 * max(rows, columns) > OPERATIONS:
        return None
    found = fourier_blocks(twin)
    gram = found.blocks.conj().swapaxes(-1, -2) @ found.blocks
    diagonal = np.arange(columns)
    squares = filter_squares(twin, found.domain)
    traces = gram[..., diagonal, diagonal].real.sum(axis=-1, keepdims=True)
    largest = float(np.divide(traces, squares, out=np.zeros_like(traces), where=squares > 0).max())
    if not 0 < largest < inf:
        return None
    gram[..., diagonal, diagonal] += np.maximum(ridge, least * largest * squares)
    inverse = 1 / gram if columns == 1 else np.linalg.inv(gram)
    if not np.isfinite(inverse).all():
        return None
    square = Blocks(inverse, found.domain, found.domain)
    return lambda arrays: by_blocks(inverse, square, arrays)

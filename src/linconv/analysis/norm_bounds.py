"""norm_bounds: an interval that provably holds the norm, at any size and for any padding mode."""

from __future__ import annotations

from math import prod, sqrt
from typing import Any

import numpy as np

from linconv.analysis.circular_norm import circular_norm
from linconv.analysis.iterative import estimated_norm
from linconv.analysis.spectral_values import SpectralValue
from linconv.analysis.spectrum import checked_map
from linconv.analysis.supremum import symbol_supremum
from linconv.analysis.symbol import circulant
from linconv.convolution import Conv, ConvTranspose
from linconv.errors import LinconvError
from linconv.factors import Correlate, Decimate, Pad
from linconv.geometry import Geometry
from linconv.identity import Identity
from linconv.linear_map import (
    Conjugate,
    LinearMap,
    Product,
    Scaled,
    Sum,
    Transpose,
)

__all__ = ["norm_bounds"]

_EPS = float(np.finfo(np.float64).eps)
_STEPS = 96  # applications that the lower bound may take


def norm_bounds(op: LinearMap) -> SpectralValue:
    """Return an interval that provably holds the spectral norm of a map.

    Parameters
    ----------
    op : LinearMap
        Convolutions with any padding mode, their transposes, factors, products and sums.

    Returns
    -------
    SpectralValue
        Certified. Its value is the upper bound, its interval both. For zero padding the upper
        bound is the supremum of the symbol over all frequencies, and holds at *every* input size;
        the lower bound is attained at this size. Both are within 1 % of each other where the
        input is large against the kernel.

    Raises
    ------
    LinconvError
        If `op` is no map, a kernel is not finite, or `op` is of a kind without a bound.

    Notes
    -----
    Upper bound, zero padding: the map is a part of the convolution on the infinite grid, whose norm
    is the supremum of the symbol (polyphase blocks where strided). It is proven from a finite grid
    by the inequality of Riesz, and Ehlich and Zeller (see `linconv.analysis.supremum`). Other
    padding modes: the norm of ``S C`` times that of the padding P, whose square is the largest
    number of padded samples that copy one sample. Circular maps: their blocks. Products and
    sums: products and sums of bounds. Lower bound: ``‖A v‖ / ‖v‖`` of an explicit vector v, after
    some steps of Davidson's method. Rounding is included in both.

    Examples
    --------
    >>> from linconv import Conv
    >>> op = Conv([[0.0, 1.0, 0.0], [1.0, 4.0, 1.0], [0.0, 1.0, 0.0]], (64, 64), padding=1)
    >>> low, high = norm_bounds(op).interval
    >>> low < 4 + 4 * np.cos(np.pi / 65) < 8 < high < 1.01 * low
    True
    """
    checked_map("norm_bounds", op)
    upper, method = _upper(op)
    if circulant(op) is not None:
        return _exactly(op, upper, method)
    lower = min(_lower(op), upper)
    cost = (
        f"a grid of frequencies, and {_STEPS} applications of a {op.shape[0]} x {op.shape[1]} map"
    )
    return SpectralValue(upper, "certified", (lower, upper), None, method, cost)


def _exactly(op: LinearMap, upper: float, method: str) -> SpectralValue:
    lower = upper * (1 - 256 * _EPS * max(op.shape))
    return SpectralValue(upper, "certified", (lower, upper), None, method, "every block decomposed")


def _upper(op: LinearMap) -> tuple[float, str]:
    """Return a proven upper bound, and how it was found."""
    form = circulant(op)
    if form is not None:
        value = circular_norm(form, every=True)[0]
        return value * (1 + 64 * _EPS * max(form.block_shape)), "Fourier blocks (circular)"
    if isinstance(op, ConvTranspose | Transpose):
        return _upper(op.T)
    if isinstance(op, Conjugate):
        return _upper(op.of)
    if isinstance(op, Conv | Correlate):
        kernel = op.layout.kernels_first(op.kernel)
        wide = kernel.astype(np.result_type(kernel.dtype, np.float64))
        copies = _copies(op.geometry)
        bound = symbol_supremum(wide, op.geometry).upper * sqrt(copies)
        method = "supremum of the symbol"
        return bound, method if copies == 1 else f"{method}, times the norm of the padding"
    if isinstance(op, Identity | Decimate):
        return 1.0, "selects samples"
    if isinstance(op, Pad):
        return sqrt(_copies(op.geometry)), "copies samples"
    if isinstance(op, Scaled):
        bound, method = _upper(op.of)
        return abs(op.factor) * bound * (1 + 2 * _EPS), method
    if isinstance(op, Product | Sum):
        parts: Any = op.maps if isinstance(op, Product) else op.terms
        bounds = [_upper(part) for part in parts]
        values = [bound for bound, _ in bounds]
        joined = prod(values) if isinstance(op, Product) else sum(values)
        word = "product" if isinstance(op, Product) else "sum"
        return joined * (1 + 4 * _EPS * len(values)), f"{word} of bounds"
    raise LinconvError(
        f"norm_bounds knows convolutions, their transposes, factors, products and sums; got "
        f"{type(op).__name__}; use norm for an estimate"
    )


def _copies(geometry: Geometry) -> int:
    """Return the largest number of padded samples that copy one input sample."""
    border, _ = geometry.split_border()
    most = 1
    for counts in border.overlap():
        most *= max(1, int(counts.max()))
    return most


def _lower(op: LinearMap) -> float:
    """Return ``‖A v‖ / ‖v‖`` of a good vector, less what rounding may have added."""
    found, _ = estimated_norm(op, rtol=1e-5, most=_STEPS)
    if found.value == 0:
        return 0.0
    right = found.right.reshape(op.input_shape)
    value = float(np.linalg.norm(op(right))) / float(np.linalg.norm(right))
    terms = 1
    for kernel in _kernels(op):
        terms += kernel.size
    return max(0.0, value - 16 * _EPS * terms * max(value, found.value))


def _kernels(op: Any) -> list[Any]:
    found = [op.kernel] if isinstance(getattr(op, "kernel", None), np.ndarray) else []
    for inner in (*getattr(op, "maps", ()), *getattr(op, "terms", ())):
        found += _kernels(inner)
    if isinstance(getattr(op, "of", None), LinearMap):
        found += _kernels(op.of)
    return found

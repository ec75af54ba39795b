"""Which direct method fits a map: the one place that chooses."""

from __future__ import annotations

from math import prod

import numpy as np

from linconv.analysis.direct import DenseSolver, Direct
from linconv.analysis.fourier_solver import FourierSolver, fourier_fits, peeled
from linconv.analysis.kronecker import SeparableSolver, is_separable
from linconv.analysis.sparse_solvers import (
    BandedSolver,
    SingularError,
    SparseSolver,
    band_fits,
    with_kernel,
)
from linconv.analysis.symbol import circulant
from linconv.convolution import Conv, ConvTranspose
from linconv.errors import LinconvError
from linconv.linear_map import LinearMap

__all__ = ["METHODS", "direct_solver", "is_direct"]

METHODS = ("auto", "fft", "separable", "dense", "banded", "sparse", "cg", "lsmr")

DENSE_WORK = 1e9
SAFE_RIDGE = 1e-8  # relative to the squared norm, for normal equations to keep their digits
SPARSE_UNKNOWNS = 20_000
SPARSE_TAPS = 400


def direct_solver(op: LinearMap, ridge: float, method: str) -> Direct | None:
    """Return the direct solver of a method, or for "auto" the best, or None if none fits.

    Raises
    ------
    LinconvError
        If a method asked for by name cannot solve this map.
    SizeError
        If its matrix would not fit.
    """
    if method == "fft":
        if circulant(peeled(op)[1]) is None:
            raise LinconvError(
                f"method 'fft' needs a map whose windows wrap around on every axis, padding_mode="
                f"'circular' and stride * output size = input size; got {op!r}; use method='auto'"
            )
        return FourierSolver(op, ridge)
    if method == "separable":
        if not is_separable(op):
            raise LinconvError(
                f"method 'separable' needs two axes or more and a kernel that is an outer product "
                f"of one vector per axis; got {op!r}; use method='auto'"
            )
        return SeparableSolver(op, ridge)
    if method == "dense":
        return DenseSolver(op, ridge)
    if method == "banded":
        return BandedSolver(op, ridge)
    if method == "sparse":
        return SparseSolver(op, ridge)
    return _automatic(op, ridge)


def is_direct(op: LinearMap, ridge: float) -> bool:
    """Whether "auto" has a direct method for a map, as far as sizes and structure tell."""
    return fourier_fits(op) or is_separable(op) or _small(op) or _narrow(op, ridge)


def _automatic(op: LinearMap, ridge: float) -> Direct | None:
    if fourier_fits(op):
        return FourierSolver(op, ridge)
    if is_separable(op, strictly=True):
        return SeparableSolver(op, ridge)
    if _small(op):
        return DenseSolver(op, ridge)
    if is_separable(op):
        return SeparableSolver(op, ridge)
    try:
        if _narrow(op, ridge):
            return BandedSolver(op, ridge)
        if _fillable(op, ridge):
            return SparseSolver(op, ridge)
    except SingularError:  # an iteration finds the least-norm solution
        return None
    return None


def _small(op: LinearMap) -> bool:
    return float(prod(op.shape)) * min(op.shape) <= DENSE_WORK


def _narrow(op: LinearMap, ridge: float) -> bool:
    """Whether a map has one axis, a band that fits, and a ridge that makes it safe."""
    if not isinstance(op, Conv | ConvTranspose) or op.geometry.ndim != 1 or not ridge:
        return False
    size = with_kernel(op, np.abs)
    assert size is not None
    rows, columns = (m._apply(np.ones((1, *m.input_shape))).max() for m in (size, size.T))
    return bool(ridge >= SAFE_RIDGE * rows * columns) and band_fits(op)


def _fillable(op: LinearMap, ridge: float) -> bool:
    """Whether a map is square, without a ridge, and small enough for its LU factors."""
    if not isinstance(op, Conv | ConvTranspose) or ridge or op.shape[0] != op.shape[1]:
        return False
    g = op.geometry
    taps = prod(g.kernel_size) * g.in_channels // g.groups
    return op.shape[0] <= SPARSE_UNKNOWNS and taps <= SPARSE_TAPS

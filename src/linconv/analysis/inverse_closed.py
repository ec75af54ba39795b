"""The best inverse kernel on an image without borders, from the kernel's autocorrelation alone."""

from __future__ import annotations

from itertools import product
from math import prod
from typing import Any

import numpy as np
import scipy
from numpy.typing import NDArray

from linconv.analysis.least_squares import Solution
from linconv.geometry import Geometry

__all__ = ["closed_form"]

Array = NDArray[Any]


def closed_form(
    kernel: Array,
    geometry: Geometry,
    inverse: Geometry,
    spectrum: Array,
    noise: float,
    ridge: float,
) -> list[Solution]:
    """Solve the normal equations of the inverse's kernel for a stationary process, per group.

    The unknowns of a group are (feature channel, tap) in C order, the targets its image channels.
    With y the features, laid on the image's samples, and p any of these,

        sum over (c', t') of R_yy[c, c'](d (t' - t)) w[c', t'] = R_yx[c](low' - low - d t),

    where t and t' reach p together: those with d (t - t') divisible by the stride. Both
    correlations are inverse transforms of the kernel's and the process's spectra.

    Parameters
    ----------
    kernel : array, shape (out, in/groups, *size), float64
        Of the convolution.
    geometry, inverse : Geometry
        Of the convolution, and of that which the inverse transposes.
    spectrum : array, shape (*input_size), or larger
        Power of every frequency of the image, taken to repeat.
    noise, ridge : float
        Variance of the features' noise; weight of the kernel's sum of squares, for one sample of
        each output phase.

    Notes
    -----
    Exact where both convolutions wrap around; otherwise it is the optimum for
    samples that no border touches. Wiener's normal equations for a filter of finite length: see
    e.g. Hayes, "Statistical Digital Signal Processing and Modeling" (1996).
    """
    g = geometry
    size, axes = spectrum.shape, tuple(range(-g.ndim, 0))
    taps = np.array(list(product(*map(range, inverse.kernel_size))))
    spread = np.zeros((*kernel.shape[:2], *size))
    for tap in product(*map(range, g.kernel_size)):
        place = [t * d % n for t, d, n in zip(tap, g.dilation, size, strict=True)]
        where: Any = (..., *place)
        which: Any = (..., *tap)
        spread[where] += kernel[which]
    transfer = scipy.fft.fftn(spread, axes=axes).conj()
    steps = (taps[None] - taps[:, None]) * np.array(g.dilation)
    together = (steps % np.array(g.stride) == 0).all(axis=-1)
    lags = tuple(np.moveaxis(steps % np.array(size), -1, 0))
    offset = np.array([b[0] - a[0] for a, b in zip(g.padding, inverse.padding, strict=True)])
    shifts = tuple(np.moveaxis((offset - taps * np.array(g.dilation)) % np.array(size), -1, 0))
    power, phases = float(spectrum.mean()), prod(g.stride)
    per_group = g.out_channels // g.groups
    solutions = []
    for group in range(g.groups):
        mine = transfer[group * per_group : (group + 1) * per_group]
        gram = np.empty((per_group, len(taps), per_group, len(taps)))
        for c in range(per_group):
            cross = (mine[c] * mine.conj() * spectrum).sum(axis=1)
            correlation = scipy.fft.ifftn(cross, axes=axes).real
            correlation[(c, *(0,) * g.ndim)] += noise
            gram[c] = np.moveaxis(correlation[(slice(None), *lags)] * together, 0, 1)
        right = scipy.fft.ifftn(mine * spectrum, axes=axes).real[(..., *shifts)]
        right = np.moveaxis(right, 1, -1).reshape(per_group * len(taps), -1)
        matrix = gram.reshape(len(right), len(right))
        solutions.append(_solved(matrix, right, ridge, power, phases))
    return solutions


def _solved(gram: Array, right: Array, ridge: float, power: float, phases: int) -> Solution:
    """Solve normal equations; the residual is the mean squared error, summed over targets."""
    values, vectors = np.linalg.eigh(gram + ridge * np.eye(len(gram)))
    cutoff = max(values[-1], 0.0) * np.finfo(float).eps * len(gram)
    kept = values > cutoff
    basis = vectors[:, kept]
    found: Array = basis @ ((basis.T @ right) / values[kept, None])
    gained = 2 * (found * right).sum() - (found * (gram @ found)).sum()
    residual = max(0.0, power * right.shape[1] - float(gained) / phases)
    rank = int(kept.sum())
    condition = float(np.sqrt(values[-1] / values[kept][0])) if rank else float("inf")
    return Solution(found, residual, rank, condition)

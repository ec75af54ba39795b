"""The best inverse kernel for a process instead of given images, borders included."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import scipy
from numpy.typing import NDArray

from linconv.analysis.decoder_fit import DecoderFit
from linconv.analysis.design import fold_kernel, unknowns
from linconv.analysis.inverse_closed import closed_form
from linconv.analysis.symbol import circulant
from linconv.convolution import Conv
from linconv.geometry import Geometry
from linconv.layout import Layout

__all__ = ["PriorFit", "fit_prior"]

Array = NDArray[Any]

OPERATIONS = 4e11  # up to which the exact problem with borders is solved
PIECE_BYTES = 2**26


@dataclass(frozen=True)
class PriorFit:
    """The kernel (features, images / groups, *size) that is best for a process, and its figures."""

    kernel: Array
    mse: float
    rank: int
    unknowns: int
    condition: float
    exact: bool


def fit_prior(
    op: Conv, g: Geometry, spectrum: Array, *, white: bool, noise: float, ridge: float
) -> PriorFit:
    """Return the best kernel of geometry `g` for images of a power spectrum.

    Least expected sum of squared errors over all samples of the image, borders included, where
    that is affordable (white images: nearly always) or the convolution is circulant; otherwise
    the optimum for samples that no border touches, and `exact` is False.
    """
    kernel = op.layout.kernels_first(op.kernel).astype(np.float64)
    layout = Layout(g.ndim, "channels_first", bare=False)
    plain = Conv.of(kernel, layout, op.geometry)
    back = Conv.of(np.zeros((g.out_channels, g.in_channels // g.groups, *g.kernel_size)), layout, g)
    if circulant(plain) is not None and circulant(back) is not None:
        return _without_borders(plain, g, spectrum, noise, ridge, exact=True)
    small = _small_size(op.geometry, g) if white else g.input_size
    if _operations(g, small) > OPERATIONS:
        if white:  # on a grid so large that no window meets itself
            reach = np.add(op.geometry.effective_kernel_size, g.effective_kernel_size)
            spectrum = np.full(np.maximum(spectrum.shape, reach), spectrum.flat[0])
        return _without_borders(plain, g, spectrum, noise, ridge, exact=False)
    return _with_borders(plain, g, small, spectrum, noise, ridge)


def _without_borders(
    op: Conv, g: Geometry, spectrum: Array, noise: float, ridge: float, *, exact: bool
) -> PriorFit:
    per_phase = prod(g.input_size) / prod(g.stride)
    solutions = closed_form(op.kernel, op.geometry, g, spectrum, noise, ridge / per_phase)
    return PriorFit(
        fold_kernel([s.unknowns for s in solutions], g),
        sum(s.residual for s in solutions) / g.in_channels,
        sum(s.rank for s in solutions),
        unknowns(g) * g.groups,
        max(s.condition for s in solutions),
        exact,
    )


def _with_borders(
    op: Conv, g: Geometry, small: tuple[int, ...], spectrum: Array, noise: float, ridge: float
) -> PriorFit:
    """Fit to images that span the process: sums over them are its expectations.

    White images are spanned by single samples, and of those that no border touches one stride
    stands for all: an image of size `small` holds all that differ, the others are counted.
    """
    inner = Conv.of(op.kernel, op.layout, op.geometry.replace(input_size=small))
    names = ("kernel_size", "stride", "padding", "padding_mode", "dilation", "groups")
    fit = DecoderFit(
        **{name: getattr(g, name) for name in names},
        bias=False,
        ridge=ridge,
        data_format="channels_first",
    )
    repeats = tuple((n - k) // s for n, k, s in zip(g.input_size, small, g.stride, strict=True))
    borders = _borders(op.geometry, g)
    counts = np.ones(small)
    for axis, (more, (left, _)) in enumerate(zip(repeats, borders, strict=True)):
        line = np.ones(small[axis])
        line[left : left + g.stride[axis]] += more
        counts *= line.reshape([-1 if a == axis else 1 for a in range(g.ndim)])
    for images in _spanning(inner.input_shape, counts, spectrum):
        fit.update(inner(images), images)
    if noise:
        tally = np.ones(inner.geometry.output_size)
        for axis, more in enumerate(repeats):
            line = np.ones(tally.shape[axis])
            line[_inner_output(g, small, axis)] += more
            tally *= line.reshape([-1 if a == axis else 1 for a in range(g.ndim)])
        for features in _spanning(inner.output_shape, noise * tally, np.ones(tally.shape)):
            fit.update(features, np.zeros((len(features), *inner.input_shape)))
    found = fit.solve()
    residual = found.mse * fit.images * prod(small)
    return PriorFit(
        np.asarray(found.kernel),
        residual / prod(g.input_size),
        found.rank,
        found.unknowns,
        found.condition,
        True,
    )


def _spanning(shape: tuple[int, ...], weights: Array, spectrum: Array) -> Iterator[Array]:
    """Yield batches (n, *shape) whose sum of outer products is that of the process, weighted."""
    channels, size = shape[0], shape[1:]
    axes = tuple(range(2, 2 + len(size)))
    root = np.sqrt(spectrum) if (spectrum != spectrum.flat[0]).any() else None
    scale = np.sqrt(weights if root is not None else weights * spectrum.flat[0])
    piece = max(1, PIECE_BYTES // (8 * prod(shape)))
    total = prod(size)
    for channel in range(channels):
        for start in range(0, total, piece):
            which = np.arange(start, min(start + piece, total))
            batch = np.zeros((len(which), channels, total))
            batch[np.arange(len(which)), channel, which] = scale.ravel()[which]
            images = batch.reshape(-1, *shape)
            if root is not None:
                images = scipy.fft.ifftn(scipy.fft.fftn(images, axes=axes) * root, axes=axes).real
            yield images


def _borders(geometry: Geometry, inverse: Geometry) -> list[tuple[int, int]]:
    """Per axis, how many samples at either end may see a border, through both convolutions."""
    g, found = geometry, []
    for axis, (low, high) in enumerate(g.padding):
        reach, back = g.effective_kernel_size[axis] - 1, inverse.effective_kernel_size[axis] - 1
        shift = low - inverse.padding[axis][0]
        copied = 0 if g.padding_mode[axis] == "zeros" else max(low, high) + 1
        unread = reach - low - high + g.leftover[axis]
        left = max(0, reach - shift, reach - low, copied)
        right = max(0, shift + back, low + unread, copied)
        found.append((left, right))
    return found


def _small_size(geometry: Geometry, inverse: Geometry) -> tuple[int, ...]:
    """Return the smallest image that holds every border and one stride that sees none."""
    sizes = []
    for axis, (left, right) in enumerate(_borders(geometry, inverse)):
        n, s = geometry.input_size[axis], geometry.stride[axis]
        least = left + right + s
        sizes.append(n if n <= least else least + (n - least) % s)
    return tuple(sizes)


def _inner_output(inverse: Geometry, small: tuple[int, ...], axis: int) -> int:
    """Return an output sample whose window in an image of size `small` lies within the image."""
    low, s = inverse.padding[axis][0], inverse.stride[axis]
    first = max(0, -(-low // s))
    windows = inverse.replace(input_size=small).output_size[axis]
    return min(first, windows - 1)


def _operations(g: Geometry, small: tuple[int, ...]) -> float:
    """Estimate the multiplications of the exact fit."""
    images = prod(small) * g.in_channels
    columns = unknowns(g) / prod(g.stride)
    return 4.0 * images * prod(small) * g.groups * columns**2

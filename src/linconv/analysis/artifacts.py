"""Checkerboard artifacts: where a strided map makes them, how strong they are, their removal.

A transposed convolution of stride s is s interleaved convolutions along each axis, one per output
phase (the samples p, p + s, p + 2 s, ...), each with the kernel samples (taps) that reach it. A
flat region stays flat if the taps of every phase have the same sum, the gain of that phase.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce
from math import gcd, prod
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from linconv.arguments import PerAxis, per_axis
from linconv.convolution import Conv, ConvTranspose
from linconv.engines.arrays import Array, as_array, cast_back, working_dtype
from linconv.engines.kinds import as_numpy
from linconv.errors import GeometryError, LinconvError, ShapeError
from linconv.files import json_number
from linconv.layout import Layout

__all__ = [
    "Checkerboard",
    "Overlap",
    "checkerboard",
    "overlap",
    "phase_gains",
    "remove_checkerboard",
]

Phases = tuple[NDArray[np.int64], ...]
"""Per axis, the output phase that each kernel sample reaches."""


@dataclass(frozen=True, eq=False)
class Overlap:
    """Contributions to each output sample of a transposed convolution; NumPy reads it as an array.

    Attributes
    ----------
    counts : array of int64, shape (*output_size)
        (Input sample, tap) pairs that reach each output sample, per pair of channels.
    ratio : float
        The largest count over the smallest away from the border; 1 is even, and infinity tells
        of output samples that nothing reaches.
    """

    counts: NDArray[np.int64]
    ratio: float

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> Array:
        return np.array(self.counts, dtype=dtype, copy=copy)

    def to_dict(self) -> dict[str, Any]:
        """Return counts and ratio as plain lists and numbers, an infinite ratio as None."""
        return {"counts": self.counts.tolist(), "ratio": json_number(self.ratio)}


def overlap(op: Conv | ConvTranspose) -> Overlap:
    """Count the contributions that each output sample of a transposed convolution receives.

    Parameters
    ----------
    op : ConvTranspose or Conv
        Of a `Conv`, the contributions that each *input* sample gives: what its transpose, which
        carries the gradient back, receives.

    Returns
    -------
    Overlap
        Exact. It depends on the geometry alone, the border included; the kernel does not matter.

    Raises
    ------
    LinconvError
        If `op` is neither a `ConvTranspose` nor a `Conv`.

    Notes
    -----
    With ``n_p`` taps in output phase p along an axis, the ratio is the product over the axes of
    ``max n_p / min n_p``: 1 if and only if every kernel size is a multiple of its stride (for
    dilations that share no factor with it). Even counts do not make a flat region stay flat; see
    `checkerboard`. Odena, Dumoulin and Olah, "Deconvolution and checkerboard artifacts",
    Distill 2016.

    Examples
    --------
    >>> counted = overlap(ConvTranspose(np.ones(3), (4,), stride=2))
    >>> counted.counts, counted.ratio
    (array([1, 1, 2, 1, 2, 1, 2, 1, 1]), 2.0)
    """
    geometry = _map(op).geometry
    counts: NDArray[np.int64] = reduce(np.multiply.outer, geometry.overlap())
    per_axis_taps = _taps(_phases(op), geometry.stride)
    fewest = prod(int(taps.min()) for taps in per_axis_taps)
    most = prod(int(taps.max()) for taps in per_axis_taps)
    return Overlap(counts, most / fewest if fewest else float("inf"))


def phase_gains(op: Conv | ConvTranspose) -> Array:
    """Return the sum of the kernel's taps per output phase and pair of channels.

    Parameters
    ----------
    op : ConvTranspose or Conv
        Of a `Conv`, the gains of its transpose.

    Returns
    -------
    array
        In the kernel's layout, phases in the place of kernel samples: (*stride) without channels,
        (*stride, out/groups, in) channels last, (in, out/groups, *stride) channels first. In the
        kernel's dtype.

    Raises
    ------
    LinconvError
        If `op` is neither a `ConvTranspose` nor a `Conv`.

    Notes
    -----
    With the kernel h, stride s, dilation d and padding ``low``, the gain of phase p is the sum
    of ``h[t]`` over the taps t with ``t d = low + p (mod s)``, and 0 if there are none. It is
    what an output sample p, p + s, ... away from the border shows for a constant input of 1.

    Examples
    --------
    >>> phase_gains(ConvTranspose([1.0, 2.0, 3.0], (4,), stride=2))
    array([4., 2.])
    """
    conv = _map(op)
    gains = _gains(
        conv.layout.kernels_first(as_numpy(op.kernel)), _phases(op), conv.geometry.stride
    )
    return np.ascontiguousarray(conv.layout.kernels_back(gains))


@dataclass(frozen=True, eq=False)
class Checkerboard:
    """How far the phases' gains are from equal: 0 where a flat region stays flat.

    Attributes
    ----------
    value : float
        The largest entry of `by_channel`; ``float()`` of the result gives it.
    by_channel : array, shape (out/groups, in), (in, out/groups) channels first, () without
        The largest deviation of a phase's gain from the mean over phases, for each pair of
        channels, relative to the mean absolute gain of the whole kernel.
    gains : array
        As `phase_gains` returns them.
    """

    value: float
    by_channel: NDArray[np.floating[Any]]
    gains: Array

    def __float__(self) -> float:
        return self.value

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain lists and numbers."""
        return {
            "value": self.value,
            "by_channel": self.by_channel.tolist(),
            "gains": self.gains.tolist(),
        }


def checkerboard(op: Conv | ConvTranspose) -> Checkerboard:
    """Measure the checkerboard that a transposed convolution makes of a flat region.

    Parameters
    ----------
    op : ConvTranspose or Conv
        Of a `Conv`, what its transpose makes, as in the gradient that it carries back.

    Returns
    -------
    Checkerboard
        Exact to rounding.

    Raises
    ------
    LinconvError
        If `op` is neither a `ConvTranspose` nor a `Conv`.

    Notes
    -----
    With the gains ``g[p, c]`` of phase p and channel pair c, and their mean ``m[c]`` over phases,
    the value is ``max |g[p, c] - m[c]| / mean |g[p, c]|``, and 0 where all gains are. It stays
    finite for kernels that sum to zero, does not change when the kernel is multiplied by a
    number, and is 0 if and only if every flat input gives a flat output away from the border.
    That condition is from Sugawara, Shiota and Kiya, "Super-resolution using convolutional neural
    networks without any checkerboard artifacts", ICIP 2018.

    Examples
    --------
    >>> kernel = [1.0, 2.0, 3.0, 2.0]
    >>> float(checkerboard(ConvTranspose(kernel, (4,), stride=2)))
    0.0
    >>> float(checkerboard(ConvTranspose(kernel, (4,), stride=4)))
    0.5
    """
    gains = phase_gains(op)
    layout = op.layout
    first = layout.kernels_first(gains)
    phases = tuple(range(2, first.ndim))
    deviation = np.abs(first - first.mean(axis=phases, keepdims=True)).max(axis=phases)
    scale = np.abs(first).mean()
    relative = deviation / scale if scale != 0 else np.zeros_like(deviation)
    pairs = relative.T if layout.channels_last else relative
    return Checkerboard(float(relative.max()), pairs[0, 0] if layout.bare else pairs, gains)


def remove_checkerboard(
    kernel: Any,
    stride: PerAxis,
    *,
    keep_sum: bool = True,
    dilation: PerAxis = 1,
    data_format: str = "channels_last",
) -> Array:
    """Return the nearest kernel whose phases have equal gains: flat regions stay flat.

    Parameters
    ----------
    kernel : array
        Of a transposed convolution layer, as `ConvTranspose` takes it: (*size), (*size,
        out/groups, in), or (in, out/groups, *size) channels first.
    stride : int or sequence of int
        One per spatial axis also tells whether the kernel has channels. With an int, kernels of 1
        or 2 axes have none, kernels of 4 and more have; 3 axes could mean either and are refused.
    keep_sum : bool
        Whether each pair of channels keeps the sum of its taps, and with it the mean brightness.
    dilation : int or sequence of int
        Of the kernel.
    data_format : {"channels_last", "channels_first"}
        Ignored where there are no channel axes.

    Returns
    -------
    array, shape of `kernel`
        Nearest in the sum of squared differences; integers become float64, other dtypes stay.

    Raises
    ------
    GeometryError
        If a phase has no tap, so that only zero gains are equal.
    ShapeError, DTypeError
        If `kernel` is no such array.

    Notes
    -----
    Closed form. Where phase p has the gain ``g_p`` and ``n_p`` taps, each of its taps is moved by
    ``(G - g_p) / n_p``. The common gain G of a pair of channels is the mean of the ``g_p`` to keep
    the sum, and otherwise their mean with weights ``1 / n_p``. Cost: a few passes over the kernel.
    Aitken et al., "Checkerboard artifact free sub-pixel convolution" (arXiv 1707.02937), start
    training from such a kernel, with equal taps; here it is the nearest to a trained one.

    Examples
    --------
    >>> remove_checkerboard([1.0, 2.0, 3.0], 2)
    array([0.5, 3. , 2.5])
    >>> remove_checkerboard([1.0, 2.0, 3.0], 2, keep_sum=False)
    array([0.33333333, 2.66666667, 2.33333333])
    """
    array, layout, steps = _read_kernel(kernel, stride, data_format)
    size, _, _ = layout.split_kernel(array.shape)
    spacing = per_axis("dilation", dilation, layout.ndim, minimum=1)
    phases = tuple(np.arange(k) * d % s for k, s, d in zip(size, steps, spacing, strict=True))
    per_axis_taps = _taps(phases, steps)
    for axis, taps in enumerate(per_axis_taps):
        if not taps.all():
            s, d = steps[axis], spacing[axis]
            coprime, larger = gcd(s, d) == 1, f"a kernel size of at least {s}"
            raise GeometryError(
                f"every output phase must have a tap, or only zero gains are equal; got none in "
                f"phase {int(taps.argmin())} of axis {axis} (kernel size {size[axis]}, stride {s}, "
                f"dilation {d}); use "
                f"{larger if coprime else 'a dilation that shares no factor with the stride'}"
            )
    working = array.astype(working_dtype("the kernel", array.dtype))
    first = layout.kernels_first(working)
    gains = _gains(first, phases, steps)
    counts = reduce(np.multiply.outer, per_axis_taps)
    weights = np.ones(counts.shape) if keep_sum else 1 / counts
    over = tuple(range(2, first.ndim))
    common = (gains * weights).sum(axis=over, keepdims=True) / weights.sum()
    shift = (common - gains) / counts
    for axis, phase in enumerate(phases):
        shift = shift.take(phase, axis=axis + 2)
    moved = layout.kernels_back((first + shift).astype(working.dtype, copy=False))
    return cast_back(np.ascontiguousarray(moved), array.dtype)


def _map(op: Any) -> Conv:
    if isinstance(op, ConvTranspose):
        return op.T
    if isinstance(op, Conv):
        return op
    raise LinconvError(
        f"artifacts are those of a ConvTranspose or a Conv; got {type(op).__name__}; give the "
        f"layer's map, for a Decoder its to_conv_transpose()"
    )


def _phases(op: Conv | ConvTranspose) -> Phases:
    g = op.geometry
    axes = zip(g.kernel_size, g.stride, g.dilation, g.padding, strict=True)
    return tuple((np.arange(k) * d - low) % s for k, s, d, (low, _) in axes)


def _taps(phases: Phases, stride: tuple[int, ...]) -> Phases:
    """Count, per axis, the taps of each phase."""
    return tuple(np.bincount(p, minlength=s) for p, s in zip(phases, stride, strict=True))


def _gains(kernel: Array, phases: Phases, stride: tuple[int, ...]) -> Array:
    """Sum a kernel (out, in/groups, *size) over the taps of each phase, empty ones to zero."""
    for axis, (phase, s) in enumerate(zip(phases, stride, strict=True), start=2):
        # Selected and summed, not multiplied by zeros: a NaN stays in its own phase.
        sums = [np.compress(phase == p, kernel, axis).sum(axis) for p in range(s)]
        kernel = np.stack(sums, axis)
    return kernel


def _read_kernel(
    kernel: Any, stride: PerAxis, data_format: str
) -> tuple[Array, Layout, tuple[int, ...]]:
    """Tell from the number of strides, or of axes, whether a kernel has channels."""
    array = as_array("the kernel", kernel)
    given = len(tuple(stride)) if isinstance(stride, Iterable) else None
    ndim = given or (array.ndim if array.ndim <= 2 else array.ndim - 2)
    ambiguous = given is None and array.ndim == 3
    if ambiguous or ndim == 0 or array.ndim not in (ndim, ndim + 2):
        raise ShapeError(
            f"the kernel must have one axis per stride, or two more for channels; got shape "
            f"{array.shape} for stride {stride}; give one stride per spatial axis"
        )
    sizes = (1,) * (ndim if array.ndim == ndim else ndim + 1)
    layout = Layout.read(array.shape, sizes, data_format)
    return array, layout, per_axis("stride", stride, ndim, minimum=1)

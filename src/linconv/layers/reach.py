"""Reach: which input samples of a model an output sample depends on, through any layers.

`linconv.receptive_field.ReceptiveField` says it for layers whose windows move in whole steps.
Behind a transposed convolution or an upsampling neighbouring samples read alike, so that here each
output phase has its own window, as if the input had no border. First and last sample are exact but
where a dilated kernel reads what a stride longer than its kernel left empty: then they are bounds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from math import gcd

import numpy as np

from linconv.convolution import Conv, ConvTranspose
from linconv.errors import GeometryError
from linconv.factors import Pad
from linconv.geometry import Geometry
from linconv.linear_map import LinearMap
from linconv.receptive_field import ReceptiveField
from linconv.resampling import Diagonal, Resize
from linconv.shuffling import DepthToSpace, SpaceToDepth

__all__ = ["SAME_PLACE", "AxisReach", "Reach", "joined", "reach_of_map", "reach_of_windows", "then"]

_LONGEST_PERIOD = 4096


@dataclass(frozen=True)
class AxisReach:
    """The first and last input sample that each output sample reads, along one axis.

    Output sample ``o`` reads from ``first[o % p] + step * (o // p)`` to ``last[o % p] + step *
    (o // p)``, with ``p = len(first)``.

    Examples
    --------
    >>> conv = AxisReach((-1,), (1,), 2)  # kernel 3, stride 2, padding 1
    >>> up = AxisReach((0, 0), (0, 0), 1)  # every sample twice
    >>> up.after(conv)
    AxisReach(first=(-1, -1), last=(1, 1), step=2)
    """

    first: tuple[int, ...]
    last: tuple[int, ...]
    step: int

    @property
    def size(self) -> int:
        """Samples from the first to the last, in the phase that reads most."""
        return max(b - a + 1 for a, b in zip(self.first, self.last, strict=True))

    def window(self, o: int) -> tuple[int, int]:
        """Return the first and the last input sample that output sample `o` reads."""
        turn, phase = divmod(o, len(self.first))
        return self.first[phase] + self.step * turn, self.last[phase] + self.step * turn

    def over(self, first: int, last: int) -> tuple[int, int]:
        """Return the first and the last sample that the outputs `first` to `last` read together."""
        # Windows of later turns are the same ones, moved on: one turn at each end is enough.
        period = len(self.first)
        near = range(first, min(last, first + period - 1) + 1)
        far = range(max(first, last - period + 1), last + 1)
        firsts = [a for a, b in map(self.window, near) if a <= b]
        lasts = [b for a, b in map(self.window, far) if a <= b]
        return (min(firsts), max(lasts)) if firsts and lasts else self._nothing(first)

    def _nothing(self, o: int) -> tuple[int, int]:
        """Return an empty window, one that ends before it begins."""
        place = self.window(o)[1]
        return place + 1, place

    def after(self, earlier: AxisReach) -> AxisReach | None:
        """Return the reach of this layer behind an earlier one; None if its period grows too long.

        The earlier layer's output is this one's input.
        """
        turns = len(earlier.first) // gcd(len(earlier.first), self.step)
        period = len(self.first) * turns
        if period > _LONGEST_PERIOD:
            return None
        reads = [self.window(o) for o in range(period)]
        windows = [earlier.over(a, b) if a <= b else earlier._nothing(b) for a, b in reads]
        step = self.step * turns // len(earlier.first) * earlier.step
        return _axis(windows, step)

    def beside(self, other: AxisReach) -> AxisReach | None:
        """Return what two paths reach together; None if their samples lie at different scales."""
        if self.step * len(other.first) != other.step * len(self.first):
            return None
        common = len(self.first) * len(other.first) // gcd(len(self.first), len(other.first))
        if common > _LONGEST_PERIOD:
            return None
        pairs = [(self.window(o), other.window(o)) for o in range(common)]
        windows = [_hull(a, b) for a, b in pairs]
        return _axis(windows, self.step * common // len(self.first))


def _hull(a: tuple[int, int], b: tuple[int, int]) -> tuple[int, int]:
    """Return the window from the first to the last sample of two, either of which may be empty."""
    if a[0] > a[1]:
        return b
    return a if b[0] > b[1] else (min(a[0], b[0]), max(a[1], b[1]))


def _axis(windows: Sequence[tuple[int, int]], step: int) -> AxisReach:
    """Return a reach in its shortest period."""
    period = len(windows)
    for p in (p for p in range(1, period) if period % p == 0 and step * p % period == 0):
        moved = step * p // period
        if all(
            (a + moved, b + moved) == windows[i + p]
            for i, (a, b) in enumerate(windows[: period - p])
        ):
            windows, step = windows[:p], moved
            break
    first, last = zip(*windows, strict=True)
    return AxisReach(first, last, step)


Reach = tuple[AxisReach, ...]
"""One `AxisReach` per spatial axis."""

SAME_PLACE = AxisReach((0,), (0,), 1)
"""Of layers that see each sample by itself."""


def then(earlier: Reach | None, later: Reach | None) -> Reach | None:
    """Return the reach of two layers in a row, None if one is unknown or they do not fit."""
    if earlier is None or later is None or len(earlier) != len(later):
        return None
    axes = [b.after(a) for a, b in zip(earlier, later, strict=True)]
    return None if None in axes else tuple(axis for axis in axes if axis is not None)


def joined(reaches: Sequence[Reach | None]) -> Reach | None:
    """Return what several paths reach together, None if one is unknown or they do not fit."""
    known = [reach for reach in reaches if reach is not None]
    if not known or len(known) < len(reaches) or len({len(reach) for reach in known}) > 1:
        return None
    axes = [
        reduce(lambda a, b: None if a is None else a.beside(b), axis[1:], axis[0])
        for axis in zip(*known, strict=True)
    ]
    return None if None in axes else tuple(axis for axis in axes if axis is not None)


def reach_of_windows(field: ReceptiveField) -> Reach:
    """Return the reach of windows that move in whole steps, as of pooling."""
    axes = zip(field.size, field.stride, field.start, strict=True)
    return tuple(AxisReach((start,), (start + size - 1,), stride) for size, stride, start in axes)


def reach_of_map(op: LinearMap, spatial: tuple[int, ...]) -> Reach | None:
    """Return the reach of one map, None if it is of no known kind.

    Parameters
    ----------
    op : LinearMap
        One of the maps that `linconv.layers.parts.parts` takes an operator apart to.
    spatial : tuple of int
        The axes of its input that are not channels.
    """
    if isinstance(op, Conv):
        return reach_of_windows(op.geometry.receptive_field)
    if isinstance(op, ConvTranspose):
        return tuple(_transposed(op.geometry, axis) for axis in range(op.geometry.ndim))
    if isinstance(op, Pad):
        low = [op.geometry.padding[axis][0] for axis in spatial]
        return tuple(AxisReach((-a,), (-a,), 1) for a in low)
    if isinstance(op, Diagonal):
        return (SAME_PLACE,) * len(spatial)
    if isinstance(op, DepthToSpace):
        return tuple(AxisReach((0,) * b, (0,) * b, 1) for b in op.block)
    if isinstance(op, SpaceToDepth):
        return tuple(AxisReach((0,), (b - 1,), b) for b in op.block)
    if isinstance(op, Resize):
        axes = [_resized(op, axis) for axis in spatial]
        return None if None in axes else tuple(axis for axis in axes if axis is not None)
    return None


def _transposed(g: Geometry, axis: int) -> AxisReach:
    """Tell what each output phase of a transposed convolution reads."""
    stride, dilation, low = g.stride[axis], g.dilation[axis], g.padding[axis][0]
    windows = []
    for o in range(stride):
        read = [
            (o + low - t * dilation) // stride
            for t in range(g.kernel_size[axis])
            if (o + low - t * dilation) % stride == 0
        ]
        # A phase without a tap reads nothing: a window that ends before it begins.
        nothing = (o + low) // stride
        windows.append((min(read, default=nothing + 1), max(read, default=nothing)))
    return _axis(windows, 1)


def _resized(op: Resize, axis: int) -> AxisReach | None:
    """Tell what each output phase reads, from a longer axis at the same scale."""
    size, out = op.input_shape[axis], op.output_shape[axis]
    if size == out and op.scale[axis] in (None, 1):
        return SAME_PLACE
    scale = op.scale[axis]
    whole = scale is None or abs(float(scale) * out / size - 1) < 1e-6
    if op.coordinates == "align_corners" or not whole:
        return None  # no phase repeats, or not in whole numbers
    step, period = size // gcd(size, out), out // gcd(size, out)
    if period > _LONGEST_PERIOD or step > _LONGEST_PERIOD:
        return None
    turns = 3 + 4 // step
    try:
        longer = Resize(
            (turns * step,), (turns * period,), op.method, coordinates=op.coordinates
        ).axis_matrix(0)
    except GeometryError:
        return None
    middle = turns // 2
    rows = [np.flatnonzero(row) for row in longer[middle * period : (middle + 1) * period]]
    windows = [(int(row[0]) - middle * step, int(row[-1]) - middle * step) for row in rows]
    return _axis(windows, step)

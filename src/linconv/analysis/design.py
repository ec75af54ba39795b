"""The design matrix of a transposed convolution's kernel, one block per output phase and group."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from linconv.engines.windows import windows, zero_pad
from linconv.geometry import Geometry
from linconv.kernel_map import KernelMap
from linconv.layout import Layout
from linconv.phases import Phase

__all__ = ["Block", "blocks", "fold_kernel", "shared_columns", "unknowns"]

Array = NDArray[Any]


@dataclass(frozen=True)
class Block:
    """The output samples of one phase, which see the same unknowns, in one group.

    The unknowns of a group are the kernel's samples (channel of the group, tap), in C order.
    """

    geometry: Geometry
    phases: tuple[Phase, ...] | None
    group: int

    @property
    def columns(self) -> NDArray[np.int64]:
        """Which of the group's unknowns this block's columns are."""
        size = self.geometry.kernel_size
        taps = np.arange(_channels(self.geometry) * prod(size)).reshape(-1, *size)
        if self.phases is None:
            return taps.ravel()
        # Correlation with the flipped taps: the columns run through the taps backwards.
        which: tuple[Any, ...] = (..., *(phase.taps for phase in self.phases))
        chosen = taps[which]
        backwards = np.flip(chosen, tuple(range(1, chosen.ndim)))
        columns: NDArray[np.int64] = np.moveaxis(backwards, 0, -1).ravel()
        return columns

    def rows(self, features: Array, bias: bool = False, targets: int = 0) -> Array:
        """Return the block of the design matrix for features (n, channels, *feature_size).

        Returns
        -------
        array, shape (n * samples, len(columns) + bias + targets), float64
            The bias's column of ones follows the block's; columns for targets are left unset.
        """
        view = self._windows(features)
        width = prod(view.shape[len(view.shape) - self._column_axes :])
        rows = np.empty((len(features) * self.samples, width + bias + targets))
        rows[:, :width].reshape(view.shape)[...] = view
        rows[:, width : width + bias] = 1.0
        return rows

    @property
    def _column_axes(self) -> int:
        return 1 if self.phases is None else self.geometry.ndim + 1

    def _windows(self, features: Array) -> Array:
        """Return the rows as a view (n, *samples, *taps, channels), channels moving fastest."""
        g = self.geometry
        per_group = _channels(g)
        mine = features[:, self.group * per_group : (self.group + 1) * per_group]
        if self.phases is None:
            single = g.replace(in_channels=1, out_channels=per_group, groups=1)
            layout = Layout(g.ndim, "channels_first", bare=False)
            dense: Array = KernelMap(single, layout, mine, transposed=True).matrix()
            return dense
        pads = tuple(phase.padding for phase in self.phases)
        padded = zero_pad(np.ascontiguousarray(np.moveaxis(mine, 1, -1)), pads, 1)
        size = tuple(len(range(n)[p.taps]) for n, p in zip(g.kernel_size, self.phases, strict=True))
        spacing = tuple(phase.dilation for phase in self.phases)
        if not prod(size):
            return np.zeros((len(mine), *self._outputs, *size, per_group))
        return np.moveaxis(windows(padded, 1, size, (1,) * g.ndim, spacing), 1 + g.ndim, -1)

    def targets(self, images: Array) -> Array:
        """Return the samples of images (n, channels, *image_size) that the rows stand for.

        Returns
        -------
        array, shape (n * output samples of the phase, channels of the group)
        """
        per_group = self.geometry.in_channels // self.geometry.groups
        mine = images[:, self.group * per_group : (self.group + 1) * per_group]
        if self.phases is not None:
            outputs: tuple[Any, ...] = (..., *(phase.outputs for phase in self.phases))
            mine = mine[outputs]
        return np.moveaxis(mine, 1, -1).reshape(-1, per_group)

    @property
    def samples(self) -> int:
        """Output samples of the phase in one image and channel."""
        return prod(self._outputs)

    @property
    def _outputs(self) -> tuple[int, ...]:
        size = self.geometry.input_size
        if self.phases is None:
            return size
        return tuple(len(range(n)[p.outputs]) for n, p in zip(size, self.phases, strict=True))


def blocks(geometry: Geometry) -> Iterator[Block]:
    """Return the blocks of the design matrix for the transpose of a convolution's geometry.

    With zero padding there is one per group and output phase; a border that is folded back mixes
    the phases, and there is one per group.
    """
    border, rest = geometry.split_border()
    folded = any(map(any, border.padding))
    for group in range(geometry.groups):
        if folded:
            yield Block(geometry, None, group)
            continue
        for phases in product(*(rest.phases(axis) for axis in range(rest.ndim))):
            yield Block(rest, phases, group)


def shared_columns(block: Block, unknowns: int, bias: bool) -> NDArray[np.int64]:
    """Which of a group's unknowns the columns of its rows are; the bias is the last."""
    return np.append(block.columns, unknowns - 1) if bias else block.columns


def unknowns(geometry: Geometry) -> int:
    """Count the kernel samples that each output channel of one group sees."""
    return _channels(geometry) * prod(geometry.kernel_size)


def fold_kernel(solutions: list[Array], geometry: Geometry) -> Array:
    """Return the kernel (channels, image channels / groups, *size) from each group's unknowns."""
    stacked = np.stack(solutions)
    split = stacked.reshape(geometry.out_channels, *geometry.kernel_size, -1)
    return np.moveaxis(split, -1, 1)


def _channels(geometry: Geometry) -> int:
    return geometry.out_channels // geometry.groups

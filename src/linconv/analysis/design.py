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

__all__ = ["Block", "blocks", "design_rows", "fold_kernel", "shared_columns", "unknowns"]

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
        backwards: NDArray[np.int64] = np.flip(chosen, tuple(range(1, chosen.ndim))).ravel()
        return backwards

    def rows(self, features: Array) -> Array:
        """Return the block of the design matrix for features (n, channels, *feature_size).

        Returns
        -------
        array, shape (n * output samples of the phase, len(columns)), float64
        """
        g = self.geometry
        per_group = _channels(g)
        mine = features[:, self.group * per_group : (self.group + 1) * per_group]
        if self.phases is None:
            single = g.replace(in_channels=1, out_channels=per_group, groups=1)
            layout = Layout(g.ndim, "channels_first", bare=False)
            dense: Array = KernelMap(single, layout, mine, transposed=True).matrix()
            return dense
        padded = zero_pad(mine, tuple(phase.padding for phase in self.phases), 2)
        size = tuple(len(range(n)[p.taps]) for n, p in zip(g.kernel_size, self.phases, strict=True))
        if not prod(size):
            return np.zeros((len(mine) * self.samples, 0))
        spacing = tuple(phase.dilation for phase in self.phases)
        view = windows(padded, 2, size, (1,) * g.ndim, spacing)
        ordered = np.moveaxis(view, 1, 1 + g.ndim)
        return ordered.reshape(len(mine) * self.samples, -1)

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
        size = self.geometry.input_size
        if self.phases is None:
            return prod(size)
        return prod(len(range(n)[p.outputs]) for n, p in zip(size, self.phases, strict=True))


def blocks(geometry: Geometry) -> Iterator[Block]:
    """Return the blocks of the design matrix for the transpose of a convolution's geometry.

    With zero padding there is one per group and output phase; a border that is folded back mixes
    the phases, and there is one per group.
    """
    _, rest = geometry.split_border()
    for group in range(geometry.groups):
        if rest.input_size != geometry.input_size:
            yield Block(geometry, None, group)
            continue
        for phases in product(*(rest.phases(axis) for axis in range(rest.ndim))):
            yield Block(rest, phases, group)


def design_rows(block: Block, features: Array, bias: bool) -> Array:
    """Return a block's rows of the design matrix, the bias's column last."""
    rows = block.rows(features)
    return np.concatenate([rows, np.ones((len(rows), 1))], axis=1) if bias else rows


def shared_columns(block: Block, unknowns: int, bias: bool) -> NDArray[np.int64]:
    """Which of a group's unknowns the columns of `design_rows` are; the bias is the last."""
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

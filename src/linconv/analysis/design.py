"""The design matrix of a transposed convolution's kernel, one block per output phase and group."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from linconv.engines.windows import line_blocks, windows, zero_pad
from linconv.errors import SizeError
from linconv.geometry import Geometry
from linconv.kernel_map import KernelMap
from linconv.layout import Layout
from linconv.phases import Phase

__all__ = ["Block", "blocks", "fold_kernel", "shared_columns", "unknowns"]

Array = NDArray[Any]

ALL = slice(None)


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

    def cuts(self, images: int, limit: int) -> Iterator[tuple[slice, slice]]:
        """Cut images, and lines along the first axis, so that rows take at most `limit` bytes.

        A single line may take more; and a border that is folded back is not cut within an image.
        """
        lines = 1 if self.phases is None else self.outputs[0]
        line_bytes = 8 * (self.samples // lines) * (len(self.columns) + 2)
        return line_blocks(images, lines, limit // line_bytes)

    def rows(
        self, features: Array, bias: bool = False, targets: int = 0, lines: slice = ALL
    ) -> Array:
        """Return the block of the design matrix for features (n, channels, *feature_size).

        Parameters
        ----------
        lines : slice
            Which of the phase's output samples along the first axis, from `cuts`.

        Returns
        -------
        array, shape (n * samples, len(columns) + bias + targets), float64
            The bias's column of ones follows the block's; columns for targets are left unset.
        """
        view = self._folded(features) if self.phases is None else self._windows(features, lines)
        column_axes = 1 if self.phases is None else self.geometry.ndim + 1
        width = prod(view.shape[view.ndim - column_axes :])
        rows = np.empty((prod(view.shape[: view.ndim - column_axes]), width + bias + targets))
        rows[:, :width].reshape(view.shape)[...] = view
        rows[:, width : width + bias] = 1.0
        return rows

    def _mine(self, features: Array) -> Array:
        per_group = _channels(self.geometry)
        return features[:, self.group * per_group : (self.group + 1) * per_group]

    def _folded(self, features: Array) -> Array:
        """Return the rows (samples, unknowns) where a border is folded back onto the image."""
        g = self.geometry
        single = g.replace(in_channels=1, out_channels=_channels(g), groups=1)
        layout = Layout(g.ndim, "channels_first", bare=False)
        design = KernelMap(single, layout, self._mine(features), transposed=True)
        try:
            return design.matrix()
        except SizeError as error:
            raise SizeError(
                f"with padding_mode {g.padding_mode} an image is fitted as a whole: {error}; "
                f"fit smaller images or crops, or pad with zeros"
            ) from None

    def _windows(self, features: Array, lines: slice) -> Array:
        """Return the rows as a view (n, *samples, *taps, channels), channels moving fastest."""
        g, phases = self.geometry, self.phases or ()
        size = tuple(len(range(n)[p.taps]) for n, p in zip(g.kernel_size, phases, strict=True))
        mine = np.moveaxis(self._mine(features), 1, -1)
        first, last, _ = lines.indices(self.outputs[0])
        if not prod(size):
            outputs = (last - first, *self.outputs[1:])
            return np.zeros((len(mine), *outputs, *size, mine.shape[-1]))
        # Only the lines that these outputs read are padded and copied.
        reach = (size[0] - 1) * phases[0].dilation + 1
        start = first - phases[0].padding[0]
        stop = last - 1 + reach - phases[0].padding[0]
        inside = np.clip((start, stop), 0, mine.shape[1])
        before = int(np.clip(-start, 0, stop - start))
        after = stop - start - before - int(inside[1] - inside[0])
        pads = ((before, after), *(phase.padding for phase in phases[1:]))
        needed = np.ascontiguousarray(mine[:, inside[0] : inside[1]])
        spacing = tuple(phase.dilation for phase in phases)
        view = windows(zero_pad(needed, pads, 1), 1, size, (1,) * g.ndim, spacing)
        return np.moveaxis(view, 1 + g.ndim, -1)

    def targets(self, images: Array, lines: slice = ALL) -> Array:
        """Return the samples of images (n, channels, *image_size) that the rows stand for.

        Returns
        -------
        array, shape (n * output samples of the phase, channels of the group)
        """
        per_group = self.geometry.in_channels // self.geometry.groups
        mine = images[:, self.group * per_group : (self.group + 1) * per_group]
        if self.phases is not None:
            outputs: tuple[Any, ...] = (..., *(phase.outputs for phase in self.phases))
            mine = mine[outputs][:, :, lines]
        return np.moveaxis(mine, 1, -1).reshape(-1, per_group)

    @property
    def samples(self) -> int:
        """Output samples of the phase in one image and channel."""
        return prod(self.outputs)

    @property
    def outputs(self) -> tuple[int, ...]:
        """Output samples of the phase along each axis."""
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

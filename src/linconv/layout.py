"""Layout: where the channels stand in arrays and kernels, and reading both against each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from linconv.arguments import choice, shape
from linconv.errors import ShapeError

__all__ = ["DATA_FORMATS", "Layout", "exchanged_kernel", "moved"]

DATA_FORMATS = ("channels_last", "channels_first")

T = TypeVar("T")


@dataclass(frozen=True)
class Layout:
    """How one sample (no batch axis) and a kernel of a convolution are laid out.

    Parameters
    ----------
    ndim : int
        Number of spatial axes.
    data_format : {"channels_last", "channels_first"}
        Arrays ``(*size, channels)`` with kernels ``(*size, in/groups, out)``, or arrays
        ``(channels, *size)`` with kernels ``(out, in/groups, *size)``.
    bare : bool
        True where neither arrays nor kernel have channel axes.
    """

    ndim: int
    data_format: str
    bare: bool

    @classmethod
    def channels(cls, ndim: int, channels_last: bool) -> Layout:
        """Return the layout of arrays with channels, as engines get them."""
        return cls(ndim, "channels_last" if channels_last else "channels_first", bare=False)

    @classmethod
    def read(cls, kernel_shape: tuple[int, ...], input_shape: Any, data_format: str) -> Layout:
        """Return the layout that `kernel_shape` and `input_shape` agree on, or raise."""
        choice("data_format", data_format, DATA_FORMATS)
        sizes = shape("input_shape", input_shape)
        if not kernel_shape or 0 in kernel_shape:
            raise ShapeError(
                f"the kernel must have at least one axis and no empty one; got shape "
                f"{kernel_shape}; give at least one sample per axis"
            )
        bare = len(sizes) == len(kernel_shape)
        ndim = len(sizes) if bare else len(sizes) - 1
        if not bare and (len(kernel_shape) != len(sizes) + 1 or ndim < 1):
            raise ShapeError(
                f"input_shape must have as many axes as the kernel (no channels) or one fewer "
                f"(channels), without the batch axis; got input_shape {sizes} for a kernel of "
                f"shape {kernel_shape}; use {len(kernel_shape)} or {len(kernel_shape) - 1} axes"
            )
        return cls(ndim, data_format, bare)

    @property
    def channels_last(self) -> bool:
        """Whether channels follow the spatial axes; bare arrays count as channels first."""
        return self.data_format == "channels_last" and not self.bare

    def join(self, spatial: Sequence[T], channel: T) -> tuple[T, ...]:
        """Return one entry per array axis from the spatial axes' entries and the channels'."""
        if self.bare:
            return tuple(spatial)
        return (*spatial, channel) if self.channels_last else (channel, *spatial)

    def split(self, values: Sequence[T], bare_channel: T) -> tuple[tuple[T, ...], T]:
        """Return the spatial axes' entries and the channels', `bare_channel` if there is none."""
        if self.bare:
            return tuple(values), bare_channel
        if self.channels_last:
            return tuple(values[:-1]), values[-1]
        return tuple(values[1:]), values[0]

    def split_kernel(self, kernel_shape: tuple[int, ...]) -> tuple[tuple[int, ...], int, int]:
        """Return kernel size, input channels per group and output channels."""
        if self.bare:
            return kernel_shape, 1, 1
        if self.channels_last:
            return kernel_shape[:-2], kernel_shape[-2], kernel_shape[-1]
        return kernel_shape[2:], kernel_shape[1], kernel_shape[0]

    def arrays_first(self, arrays: Any) -> Any:
        """Return a view (*before, channels, *size) of arrays (*before, *shape)."""
        if self.bare:
            return arrays[(..., None, *self._whole())]
        if self.channels_last:
            return moved(arrays, (-1,), (-self.ndim - 1,))
        return arrays

    def arrays_back(self, arrays: Any) -> Any:
        """Return a view in this layout of arrays (*before, channels, *size)."""
        if self.bare:
            return arrays[(..., 0, *self._whole())]
        return moved(arrays, (-self.ndim - 1,), (-1,)) if self.channels_last else arrays

    def kernels_first(self, kernels: Any) -> Any:
        """Return a view (*before, out, in/groups, *size) of kernels in this layout."""
        if self.bare:
            return kernels[(..., None, None, *self._whole())]
        if self.channels_last:
            return moved(kernels, (-1, -2), (-self.ndim - 2, -self.ndim - 1))
        return kernels

    def kernels_back(self, kernels: Any) -> Any:
        """Return a view in this layout of kernels (*before, out, in/groups, *size)."""
        if self.bare:
            return kernels[(..., 0, 0, *self._whole())]
        if self.channels_last:
            return moved(kernels, (-self.ndim - 2, -self.ndim - 1), (-1, -2))
        return kernels

    def _whole(self) -> tuple[slice, ...]:
        return (slice(None),) * self.ndim


def moved(array: Any, source: tuple[int, ...], destination: tuple[int, ...]) -> Any:
    """Return a view with axes moved, as `numpy.moveaxis`, of an array of any kind."""
    if isinstance(array, np.ndarray):
        return np.moveaxis(array, source, destination)
    places = dict(zip([d % array.ndim for d in destination], source, strict=True))
    taken = {axis % array.ndim for axis in source}
    others = iter([axis for axis in range(array.ndim) if axis not in taken])
    order = [places[a] % array.ndim if a in places else next(others) for a in range(array.ndim)]
    return array.permute(order) if hasattr(array, "permute") else array.transpose(order)


def exchanged_kernel(kernel: Any, groups: int) -> Any:
    """Flip a kernel (out, in/groups, *size) and exchange its input and output channels."""
    out_channels, per_group, *size = kernel.shape
    by_group = kernel.reshape(groups, out_channels // groups, per_group, *size)
    swapped = by_group.swapaxes(1, 2).reshape(groups * per_group, -1, *size)
    if hasattr(swapped, "flip"):  # not NumPy's and JAX's, which have views instead
        return swapped.flip(tuple(range(2, swapped.ndim)))
    flipped = swapped[(..., *(slice(None, None, -1) for _ in size))]
    return np.ascontiguousarray(flipped) if isinstance(flipped, np.ndarray) else flipped

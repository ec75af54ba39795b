"""The three factors of a convolution, each with its exact transpose: Pad, Correlate, Decimate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from linconv.arguments import PerAxis, per_axis
from linconv.arguments import shape as read_shape
from linconv.engines import correlate, correlate_transpose
from linconv.engines.arrays import Array, read_only
from linconv.engines.choice import Choice, choose
from linconv.engines.kinds import alike, as_numpy, conjugate, kept_array, own, widened
from linconv.engines.ops import dilate, fold, gather, zero_crop, zero_pad
from linconv.errors import ShapeError
from linconv.geometry import Geometry
from linconv.layout import Layout
from linconv.linear_map import LinearMap
from linconv.matrix import convolution_csr, selection_csr
from linconv.padding import Padding, padded_sources

__all__ = ["Correlate", "Decimate", "Pad"]


class Pad(LinearMap):
    """P: pad (or, with negative numbers, crop) every axis of an array.

    Parameters
    ----------
    input_shape : int or sequence of int
        All axes of one sample, channels included.
    padding : int, sequence of int or sequence of (low, high)
        Samples per side and axis, as in `Geometry`; give (0, 0) for a channel axis.
    padding_mode : str or sequence of str
        As in `Geometry`, one for all axes or one per axis.

    Notes
    -----
    Its transpose crops zero padding, and folds any other padding back onto the samples that it
    copied. dtype is float32, so that it widens nothing; cost is one pass over the output.

    Examples
    --------
    >>> Pad((3,), 1, "reflect")([1.0, 2.0, 3.0])
    array([2., 1., 2., 3., 2.])
    """

    geometry: Geometry

    def __init__(
        self,
        input_shape: PerAxis,
        padding: Padding,
        padding_mode: str | Sequence[str] = "zeros",
    ) -> None:
        size = read_shape("input_shape", input_shape)
        geometry = Geometry(size, 1, padding=padding, padding_mode=padding_mode)
        self._set(size, geometry.output_size, np.float32, geometry=geometry)

    def _zeros(self) -> tuple[tuple[int, int], ...]:
        g = self.geometry
        split = zip(g.padding, g.padding_mode, strict=True)
        return tuple(pair if mode == "zeros" else (0, 0) for pair, mode in split)

    def _copied(self) -> list[int]:
        g = self.geometry
        return [a for a in range(g.ndim) if g.padding_mode[a] != "zeros" and any(g.padding[a])]

    def _sources(self, axis: int) -> Array:
        g = self.geometry
        return padded_sources(g.input_size[axis], *g.padding[axis], g.padding_mode[axis])

    def _apply(self, x: Any) -> Any:
        for axis in self._copied():
            x = gather(x, self._sources(axis), axis + 1)
        return zero_pad(x, self._zeros(), 1)

    def _apply_transpose(self, y: Any) -> Any:
        sizes = [
            n if mode == "zeros" else p
            for n, p, mode in zip(
                self.input_shape, self.output_shape, self.geometry.padding_mode, strict=True
            )
        ]
        x = zero_crop(y, tuple(sizes), self._zeros(), 1)
        for axis in self._copied():
            size, pads = self.input_shape[axis], self.geometry.padding[axis]
            x = fold(x, self._sources(axis), size, pads, axis + 1)
        return x

    def _sparse(self, max_bytes: int) -> Any:
        sources = [self._sources(axis) for axis in range(self.geometry.ndim)]
        return selection_csr(sources, self.input_shape, self.dtype, max_bytes)


class Decimate(LinearMap):
    """S: keep every `stride`-th sample of every axis of an array, the first one included.

    Its transpose dilates: it puts ``stride - 1`` zeros after each sample, as far as the axis
    goes.

    Parameters
    ----------
    input_shape : int or sequence of int
        All axes of one sample, channels included.
    stride : int or sequence of int
        One for all axes or one per axis; 1 for a channel axis.

    Notes
    -----
    dtype is float32, so that it widens nothing; cost is one pass over the smaller array.

    Examples
    --------
    >>> Decimate((5,), 2).T([1.0, 2.0, 3.0])
    array([1., 0., 2., 0., 3.])
    """

    geometry: Geometry

    def __init__(self, input_shape: PerAxis, stride: PerAxis) -> None:
        size = read_shape("input_shape", input_shape)
        geometry = Geometry(size, 1, stride=per_axis("stride", stride, len(size), minimum=1))
        self._set(size, geometry.output_size, np.float32, geometry=geometry)

    def _apply(self, x: Any) -> Any:
        return own(x[(slice(None), *(slice(None, None, s) for s in self.geometry.stride))])

    def _apply_transpose(self, y: Any) -> Any:
        return dilate(y, self.geometry.stride, self.input_shape, 1)

    def _sparse(self, max_bytes: int) -> Any:
        sources = [self.geometry.sources(axis)[:, 0] for axis in range(self.geometry.ndim)]
        return selection_csr(sources, self.input_shape, self.dtype, max_bytes)


class Correlate(LinearMap):
    """C: correlate with a kernel at every position where it fits, stride 1, no padding.

    Parameters
    ----------
    kernel : array, shape (*size, in/groups, out), (out, in/groups, *size) or (*size)
        By `data_format`, or bare.
    input_shape : int or sequence of int
        One sample, without batch axis.
    dilation, groups, data_format
        As in `Conv`.

    Notes
    -----
    Computed by the engine; cost is one multiplication and addition per output sample, kernel
    sample and input channel of its group.
    """

    kernel: Any
    geometry: Geometry
    layout: Layout
    path: str | None

    def __init__(
        self,
        kernel: Any,
        input_shape: PerAxis,
        *,
        dilation: PerAxis = 1,
        groups: int = 1,
        data_format: str = "channels_last",
    ) -> None:
        array, layout, options = read_kernel(kernel, input_shape, data_format, groups)
        self._fill(array, layout, Geometry(dilation=dilation, **options))

    @classmethod
    def of(
        cls, kernel: Any, layout: Layout, geometry: Geometry, path: str | None = None
    ) -> Correlate:
        """Return the map of any zero-padded, strided geometry: what one call of an engine does.

        By default the engines choose how to compute it; `path` names one of their ways.
        """
        made = cls.__new__(cls)
        made._fill(kernel, layout, geometry, path)
        return made

    def _fill(
        self, kernel: Any, layout: Layout, geometry: Geometry, path: str | None = None
    ) -> None:
        g = geometry
        if isinstance(kernel, np.ndarray):
            kernel = np.ascontiguousarray(read_only(kernel))
        self._set(
            layout.join(g.input_size, g.in_channels),
            layout.join(g.output_size, g.out_channels),
            widened("the kernel", kernel),
            kernel=kernel,
            layout=layout,
            geometry=g,
            path=path,
        )

    def _apply(self, x: Any) -> Any:
        return self._by(correlate, x, self.output_shape)

    def _apply_transpose(self, y: Any) -> Any:
        return self._by(correlate_transpose, y, self.input_shape)

    def _by(self, operation: Any, array: Any, shape: tuple[int, ...]) -> Any:
        kernel = self.kernel
        both = type(kernel) is np.ndarray and type(array) is np.ndarray
        if not both or kernel.dtype != array.dtype:
            kernel = alike(kernel, array)
        if not self.layout.bare:
            return operation(array, kernel, self.geometry, self.layout.channels_last, self.path)
        kernel = kernel[None, None]
        result = operation(array[:, None], kernel, self.geometry, False, self.path)
        return result.reshape(len(array), *shape)

    def explain(self, *, transposed: bool) -> Choice:
        """Return how the engines compute this map, or its transpose, and why."""
        last = self.layout.channels_last
        return choose(self.geometry, last, transposed=transposed, dtype=self.dtype)

    def _sparse(self, max_bytes: int) -> Any:
        return convolution_csr(self.geometry, self.layout, as_numpy(self.kernel), max_bytes)

    def conj(self) -> LinearMap:
        """Return the correlation with the conjugate kernel."""
        return Correlate.of(conjugate(self.kernel), self.layout, self.geometry, self.path)


def read_kernel(
    kernel: Any, input_shape: Any, data_format: str, groups: Any
) -> tuple[Any, Layout, dict[str, Any]]:
    """Read a kernel against an input shape: a copy, the layout, the geometry's options.

    The copy is read-only; a tensor or JAX array stays itself.

    Raises
    ------
    DTypeError, ShapeError
        If the kernel holds no numbers, or does not fit the input shape or its channels.
    """
    array = kept_array("the kernel", kernel)
    layout = Layout.read(tuple(array.shape), input_shape, data_format)
    sizes = read_shape("input_shape", input_shape)
    input_size, in_channels = layout.split(sizes, 1)
    kernel_size, per_group, out_channels = layout.split_kernel(tuple(array.shape))
    channels = {"in_channels": in_channels, "out_channels": out_channels, "groups": groups}
    checked = Geometry(1, 1, **channels)
    if per_group * checked.groups != in_channels:
        fitting = in_channels % per_group == 0 and out_channels % (in_channels // per_group) == 0
        remedy = f"groups={in_channels // per_group}" if fitting else "a kernel that fits"
        raise ShapeError(
            f"the kernel must have in_channels / groups = {in_channels} / {checked.groups} input "
            f"channels; got {per_group} in a {data_format} kernel of shape "
            f"{tuple(array.shape)} for input_shape {sizes}; use {remedy}, or check data_format"
        )
    options = {"input_size": input_size, "kernel_size": kernel_size, **channels}
    return array, layout, options

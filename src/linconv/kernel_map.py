"""KernelMap: a convolution as a linear map of its *kernel*, for a fixed input."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
import scipy

from linconv.engines import correlate, correlate_transpose
from linconv.engines.arrays import read_only
from linconv.engines.kernel_gradient import kernel_gradient
from linconv.engines.kinds import alike, any_array, as_numpy, bare, widened
from linconv.errors import ShapeError
from linconv.factors import Pad
from linconv.geometry import Geometry
from linconv.layout import Layout, moved
from linconv.linear_map import LinearMap
from linconv.matrix import check_bytes, incidence

__all__ = ["KernelMap", "fixed_input"]


class KernelMap(LinearMap):
    """The linear map from a kernel to the output of a (transposed) convolution of a fixed array.

    A convolution sums products of one input sample and one kernel sample, so that it is linear
    in either. The transpose of this map is the gradient with respect to the kernel, itself a
    correlation in which stride and dilation change places.

    Parameters
    ----------
    geometry : Geometry
        Of the convolution, also where the transposed convolution is meant.
    layout : Layout
    fixed : array, shape (*batch, *shape)
        The input: of the convolution, or of the transposed convolution. A tensor or a JAX array
        is kept as it is.
    transposed : bool
        Which of the two.

    Notes
    -----
    Its matrix is the design matrix of a least-squares fit of the kernel.
    """

    geometry: Geometry
    layout: Layout
    fixed: Any
    transposed: bool

    def __init__(self, geometry: Geometry, layout: Layout, fixed: Any, *, transposed: bool) -> None:
        g = geometry
        per_group = g.in_channels // g.groups
        kernel = layout.join(g.kernel_size, per_group)
        if layout.channels_last:
            kernel = (*kernel, g.out_channels)
        elif not layout.bare:
            kernel = (g.out_channels, *kernel)
        result = layout.join(g.input_size, g.in_channels)
        if not transposed:
            result = layout.join(g.output_size, g.out_channels)
        ndim = g.ndim if layout.bare else g.ndim + 1
        batch = tuple(fixed.shape)[: fixed.ndim - ndim]
        self._set(
            kernel,
            (*batch, *result),
            widened("the fixed array", fixed),
            geometry=geometry,
            layout=layout,
            fixed=fixed,
            transposed=transposed,
        )

    def _apply(self, x: Any) -> Any:
        g, batch, fixed = self.geometry, len(x), alike(self.fixed, x)
        _, rest = g.split_border()
        kernels = self.layout.kernels_first(x)
        # All kernels at once: side by side among the channels that the result has.
        if self.transposed:
            stacked = moved(kernels, (0,), (1,)).reshape(g.out_channels, -1, *g.kernel_size)
            wide = rest.replace(in_channels=g.in_channels * batch)
            result = correlate_transpose(self._first(fixed), stacked, wide, False)
        else:
            grouped = kernels.reshape(batch, g.groups, -1, *kernels.shape[2:])
            stacked = moved(grouped, (0,), (1,)).reshape(-1, *kernels.shape[2:])
            wide = rest.replace(out_channels=g.out_channels * batch)
            result = correlate(self._padded(fixed), stacked, wide, False)
        n = len(result)
        split = result.reshape(n, g.groups, batch, -1, *result.shape[2:])
        channels = split.shape[1] * split.shape[3]
        result = moved(split, (2,), (0,)).reshape(batch, n, channels, *result.shape[2:])
        if self.transposed:
            result = self._folded(result)
        return self.layout.arrays_back(result).reshape(batch, *self.output_shape)

    def _apply_transpose(self, y: Any) -> Any:
        batch, fixed = len(y), alike(self.fixed, y)
        if self.transposed:
            x, outputs = self._padded(y), self._first(fixed)[None]
            x = x.reshape(batch, -1, *x.shape[1:])
        else:
            x, outputs = self._padded(fixed)[None], self._first(y)
            outputs = outputs.reshape(batch, -1, *outputs.shape[1:])
        _, g = self.geometry.split_border()
        gradient = kernel_gradient(x, outputs, g, correlate)
        return self.layout.kernels_back(gradient).reshape(batch, *self.input_shape)

    def _first(self, arrays: Any) -> Any:
        """Return arrays (*batch, *shape) as (n, channels, *size)."""
        first = self.layout.arrays_first(arrays)
        return first.reshape(-1, *first.shape[first.ndim - self.geometry.ndim - 1 :])

    def _border(self) -> Pad:
        border, _ = self.geometry.split_border()
        shape = (self.geometry.in_channels, *border.input_size)
        return Pad(shape, ((0, 0), *border.padding), ("zeros", *border.padding_mode))

    def _padded(self, arrays: Any) -> Any:
        return self._border()._apply(self._first(arrays))

    def _folded(self, arrays: Any) -> Any:
        flat = arrays.reshape(-1, *arrays.shape[2:])
        folded = self._border()._apply_transpose(flat)
        return folded.reshape(*arrays.shape[:2], *folded.shape[1:])

    def _sparse(self, max_bytes: int) -> Any:
        outputs, inputs, weights = incidence(self.geometry, self.layout)
        rows, reads = (inputs, outputs) if self.transposed else (outputs, inputs)
        one = prod(self.output_shape[self.fixed.ndim - self._sample_ndim() :])
        images = as_numpy(self.fixed)
        images = images.reshape(-1, prod(images.shape[-self._sample_ndim() :]))
        needed = len(images) * len(rows) * (self.dtype.itemsize + 16)
        check_bytes("a sparse matrix", self.shape, needed, max_bytes, "fit in batches")
        offsets = np.arange(len(images))[:, None] * one
        where = ((rows + offsets).ravel(), np.tile(weights, len(images)))
        entries = (images[:, reads].ravel(), where)
        return scipy.sparse.coo_array(entries, shape=self.shape).tocsr()

    def _sample_ndim(self) -> int:
        return self.geometry.ndim + (not self.layout.bare)


def fixed_input(name: str, x: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Any:
    """Check the fixed input of a kernel map, and copy it in the dtype that is computed in.

    A tensor or a JAX array is kept as it is.
    """
    array = any_array(name, x)
    if array.shape[max(0, array.ndim - len(shape)) :] != shape:
        raise ShapeError(
            f"{name} must have shape (*batch, {', '.join(map(str, shape))}); got "
            f"{tuple(array.shape)}; reshape it, or make the map for that input_shape"
        )
    if not isinstance(array, np.ndarray):
        return bare(array)
    return read_only(array.astype(np.result_type(dtype, widened(name, array))))

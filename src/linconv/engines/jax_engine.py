"""The JAX engine: XLA's general convolution, which pads, crops, dilates and groups by itself.

Whatever JAX transforms (`jit`, `vmap`, `grad`) it transforms. Products are of full precision on
every device. Arrays whose values are known, on the processor, go to the compiled kernels: JAX
differentiates what it traces, so that nobody will ask for derivatives of them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from linconv.engines.by_path import operation
from linconv.engines.choice import engine_in_use
from linconv.engines.jax_arrays import traced
from linconv.geometry import Geometry
from linconv.layout import Layout, exchanged_kernel

__all__ = ["correlate", "correlate_transpose"]


def correlate(x: Any, kernel: Any, geometry: Geometry, channels_last: bool) -> Any:
    """Correlate `x` with `kernel`; see `linconv.engines.correlate` for the contract."""
    if _native(x, kernel):
        return _by_numpy(x, kernel, geometry, channels_last, transposed=False)
    first = Layout.channels(geometry.ndim, channels_last).kernels_first(kernel)
    return _convolve(x, first, geometry, (1,) * geometry.ndim, channels_last)


def correlate_transpose(y: Any, kernel: Any, geometry: Geometry, channels_last: bool) -> Any:
    """Transpose of `correlate`: the ordinary convolution of the dilated array."""
    if _native(y, kernel):
        return _by_numpy(y, kernel, geometry, channels_last, transposed=True)
    g, layout = geometry, Layout.channels(geometry.ndim, channels_last)
    turned = exchanged_kernel(layout.kernels_first(kernel), g.groups)
    return _convolve(y, turned, g.transposed(), g.stride, channels_last)


def _native(array: Any, kernel: Any) -> bool:
    """Return whether the compiled kernels compute: real values, known, in memory."""
    return (
        not (traced(array) or traced(kernel))
        and array.dtype.name in ("float32", "float64")
        and array.is_fully_addressable
        and {device.platform for device in array.devices() | kernel.devices()} == {"cpu"}
        and engine_in_use()[0] == "native"
    )


def _by_numpy(
    array: Any, kernel: Any, g: Geometry, channels_last: bool, *, transposed: bool
) -> Any:
    import jax

    given, weights = np.asarray(array), np.asarray(kernel)
    result = operation(None, g, channels_last, transposed, given.dtype)(given, weights)
    return jax.device_put(result, array.sharding)


def _convolve(
    x: Any, kernel: Any, g: Geometry, dilated_by: tuple[int, ...], channels_last: bool
) -> Any:
    """Convolve an array, dilated first, with a kernel (out, in/groups, *size)."""
    import jax

    axes = tuple(range(1, g.ndim + 1))
    arrays = (0, g.ndim + 1, *axes) if channels_last else (0, 1, *(axis + 1 for axis in axes))
    kernels = (0, 1, *(axis + 1 for axis in axes))
    return jax.lax.conv_general_dilated(
        x,
        kernel,
        g.stride,
        g.padding,
        lhs_dilation=dilated_by,
        rhs_dilation=g.dilation,
        dimension_numbers=jax.lax.ConvDimensionNumbers(arrays, kernels, arrays),
        feature_group_count=g.groups,
        precision=jax.lax.Precision.HIGHEST,
    )

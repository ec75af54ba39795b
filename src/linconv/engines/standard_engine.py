"""The engine of the array API standard, for CuPy and other libraries: one product per tap.

The samples that one kernel tap meets are a strided slice; its weights times them is a product of
matrices, and the taps are summed. Nothing is written in place.
"""

from __future__ import annotations

from itertools import product
from math import prod
from typing import Any

from linconv.engines.ops import dilate, zero_pad
from linconv.geometry import Geometry
from linconv.layout import Layout, exchanged_kernel

__all__ = ["correlate", "correlate_transpose"]


def correlate(x: Any, kernel: Any, geometry: Geometry, channels_last: bool) -> Any:
    """Correlate `x` with `kernel`; see `linconv.engines.correlate` for the contract."""
    layout = Layout.channels(geometry.ndim, channels_last)
    result = _correlate(layout.arrays_first(x), layout.kernels_first(kernel), geometry)
    return layout.arrays_back(result)


def correlate_transpose(y: Any, kernel: Any, geometry: Geometry, channels_last: bool) -> Any:
    """Transpose of `correlate`: the ordinary convolution of the dilated array."""
    g, layout = geometry, Layout.channels(geometry.ndim, channels_last)
    dilated = dilate(layout.arrays_first(y), g.stride, g.dilated_size, 2)
    turned = exchanged_kernel(layout.kernels_first(kernel), g.groups)
    return layout.arrays_back(_correlate(dilated, turned, g.transposed()))


def _correlate(x: Any, kernel: Any, g: Geometry) -> Any:
    """Correlate (n, channels, *size) with a kernel (out, in/groups, *size)."""
    padded = zero_pad(x, g.padding, 2)
    grouped = padded.reshape(len(x), g.groups, -1, *g.padded_size)
    weights = kernel.reshape(g.groups, g.out_channels // g.groups, -1, *g.kernel_size)
    total: Any = None
    for tap in product(*map(range, g.kernel_size)):
        reads = [
            slice(t * d, t * d + (n - 1) * s + 1, s)
            for t, d, s, n in zip(tap, g.dilation, g.stride, g.output_size, strict=True)
        ]
        samples = grouped[(..., *reads)].reshape(len(x), g.groups, -1, prod(g.output_size))
        part = weights[(..., *tap)] @ samples
        total = part if total is None else total + part
    return total.reshape(len(x), g.out_channels, *g.output_size)

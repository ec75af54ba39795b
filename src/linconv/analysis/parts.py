"""Parts: a grouped convolution as one convolution per group, whose spectra are merged."""

from __future__ import annotations

import numpy as np

from linconv.convolution import Conv, ConvTranspose
from linconv.engines.arrays import Array
from linconv.linear_map import LinearMap

__all__ = ["embedded", "group_parts"]


def group_parts(op: LinearMap) -> list[LinearMap] | None:
    """Return the convolutions of a grouped convolution's groups, or None if it has one group.

    The matrix of the map is, up to the order of channels, block-diagonal with their matrices.
    """
    if isinstance(op, ConvTranspose):
        parts = group_parts(op.T)
        return None if parts is None else [part.T for part in parts]
    if not isinstance(op, Conv) or op.geometry.groups == 1:
        return None
    g, layout = op.geometry, op.layout
    outs, ins = g.out_channels // g.groups, g.in_channels // g.groups
    one = g.replace(in_channels=ins, out_channels=outs, groups=1)
    kernel = layout.kernels_first(op.kernel)
    return [
        Conv.of(layout.kernels_back(kernel[first : first + outs]), layout, one)
        for first in range(0, g.out_channels, outs)
    ]


def embedded(op: LinearMap, arrays: Array, group: int, *, inputs: bool) -> Array:
    """Return arrays (*batch, *shape) of one group's map as arrays of the whole, zero elsewhere."""
    conv = op.T if isinstance(op, ConvTranspose) else op
    assert isinstance(conv, Conv)
    shape = op.input_shape if inputs else op.output_shape
    batch = arrays.shape[: arrays.ndim - len(shape)]
    whole = np.zeros((*batch, *shape), arrays.dtype)
    axis = -1 if conv.layout.channels_last else -len(shape)
    width = arrays.shape[axis]
    stretch = [slice(None)] * whole.ndim
    stretch[axis] = slice(group * width, (group + 1) * width)
    whole[tuple(stretch)] = arrays
    return whole

"""Engines: how a zero-padded correlation and its transpose are computed; nobody above knows which.

The contract is narrow, so that a faster engine slots in: two functions of a batch of arrays, a
kernel in the layout of the data format, and a `Geometry` whose padding is zeros. Both arrays are
already of the dtype that is computed in.
"""

from __future__ import annotations

from linconv.engines import numpy_engine
from linconv.engines.arrays import Array
from linconv.geometry import Geometry

__all__ = ["correlate", "correlate_transpose"]


def correlate(x: Array, kernel: Array, geometry: Geometry, channels_last: bool) -> Array:
    """Correlate a batch with a kernel: strided, dilated, grouped, zero-padded or cropped.

    Parameters
    ----------
    x : array, shape (batch, *input_size, in_channels) or (batch, in_channels, *input_size)
        The second where `channels_last` is false.
    kernel : array, shape (*size, in/groups, out_channels) or (out_channels, in/groups, *size)
        Of the same dtype as `x`.
    geometry : Geometry
        Its padding mode is zeros on every padded axis.
    channels_last : bool
        Which of the two layouts both arrays have.

    Returns
    -------
    array, shape (batch, *output_size, out_channels) or (batch, out_channels, *output_size)
    """
    return numpy_engine.correlate(x, kernel, geometry, channels_last)


def correlate_transpose(y: Array, kernel: Array, geometry: Geometry, channels_last: bool) -> Array:
    """Transpose of `correlate` for the same kernel and geometry (nothing is conjugated).

    Takes an array of the shape that `correlate` returns, and returns one of the shape it takes.
    """
    return numpy_engine.correlate_transpose(y, kernel, geometry, channels_last)

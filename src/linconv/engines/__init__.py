"""Engines: how a zero-padded correlation and its transpose are computed; nobody above knows which.

The contract is narrow, so that a faster engine slots in: two functions of a batch of arrays, a
kernel in the layout of the data format, and a `Geometry` whose padding is zeros. Both arrays are
already of the dtype that is computed in.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from linconv.engines import fft_engine, native_engine, numpy_engine
from linconv.engines.arrays import Array
from linconv.engines.choice import choose
from linconv.geometry import Geometry

__all__ = ["correlate", "correlate_transpose"]


def correlate(
    x: Array, kernel: Array, geometry: Geometry, channels_last: bool, path: str | None = None
) -> Array:
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
    path : str, optional
        One of `linconv.engines.choice.paths`; by default the cheapest.

    Returns
    -------
    array, shape (batch, *output_size, out_channels) or (batch, out_channels, *output_size)
    """
    return _operation(path, geometry, channels_last, False, x.dtype)(x, kernel)


def correlate_transpose(
    y: Array, kernel: Array, geometry: Geometry, channels_last: bool, path: str | None = None
) -> Array:
    """Transpose of `correlate` for the same kernel and geometry (nothing is conjugated).

    Takes an array of the shape that `correlate` returns, and returns one of the shape it takes.
    """
    return _operation(path, geometry, channels_last, True, y.dtype)(y, kernel)


@lru_cache(maxsize=1024)
def _operation(
    path: str | None,
    geometry: Geometry,
    channels_last: bool,
    transposed: bool,
    dtype: np.dtype[Any],
) -> Callable[[Array, Array], Array]:
    """Return the function of array and kernel that computes a geometry by a path."""
    if path is None:
        path = choose(geometry, channels_last, transposed=transposed, dtype=dtype).path
    if path in native_engine.PATHS:
        return native_engine.operation(path, geometry, channels_last, transposed=transposed)
    engine = fft_engine if path == "fft" else numpy_engine
    function = engine.correlate_transpose if transposed else engine.correlate
    if path != "fft":
        return lambda array, kernel: function(array, kernel, geometry, channels_last)

    def by_transforms(array: Array, kernel: Array) -> Array:
        with np.errstate(invalid="ignore", over="ignore"):
            result: Array = function(array, kernel, geometry, channels_last)
        if np.isfinite(result).all():
            return result
        # A transform carries a NaN to the whole tile, where a window would not.
        cycles = choose(geometry, channels_last, transposed=transposed, dtype=dtype).cycles
        direct = min(set(cycles) - {"fft"}, key=cycles.__getitem__)
        return _operation(direct, geometry, channels_last, transposed, dtype)(array, kernel)

    return by_transforms

"""NumPy arrays by the path that costs least, or by a named one."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from linconv.engines import fft_engine, native_engine, numpy_engine
from linconv.engines.arrays import Array
from linconv.engines.choice import choose
from linconv.geometry import Geometry

__all__ = ["operation"]


@lru_cache(maxsize=1024)
def operation(
    path: str | None,
    geometry: Geometry,
    channels_last: bool,
    transposed: bool,
    dtype: np.dtype[Any],
) -> Callable[[Any, Any], Any]:
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
        again = operation(direct, geometry, channels_last, transposed, dtype)
        result = again(array, kernel)
        return result

    return by_transforms

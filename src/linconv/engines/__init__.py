"""Engines: how a zero-padded correlation and its transpose are computed; nobody above knows which.

The contract is narrow, so that a faster engine slots in: two functions of a batch of arrays, a
kernel in the layout of the data format, and a `Geometry` whose padding is zeros. Both arrays are
already of the dtype that is computed in. Arrays that are not NumPy's go to their library's engine.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from linconv.engines import jax_engine, standard_engine, torch_engine
from linconv.engines.by_path import operation
from linconv.engines.kinds import kind
from linconv.errors import DTypeError
from linconv.geometry import Geometry

__all__ = ["correlate", "correlate_transpose"]

FOREIGN: dict[str, Any] = {
    "torch": torch_engine,
    "jax": jax_engine,
    "array_api": standard_engine,
}
"""The engine of each kind of array that is not NumPy's."""


def correlate(
    x: Any, kernel: Any, geometry: Geometry, channels_last: bool, path: str | None = None
) -> Any:
    """Correlate a batch with a kernel: strided, dilated, grouped, zero-padded or cropped.

    Parameters
    ----------
    x : array, shape (batch, *input_size, in_channels) or (batch, in_channels, *input_size)
        The second where `channels_last` is false.
    kernel : array, shape (*size, in/groups, out_channels) or (out_channels, in/groups, *size)
        Of the same kind and dtype as `x`.
    geometry : Geometry
        Its padding mode is zeros on every padded axis.
    channels_last : bool
        Which of the two layouts both arrays have.
    path : str, optional
        One of `linconv.engines.choice.paths`, for NumPy arrays; by default the cheapest.

    Returns
    -------
    array, shape (batch, *output_size, out_channels) or (batch, out_channels, *output_size)
    """
    if type(x) is np.ndarray:
        return operation(path, geometry, channels_last, False, x.dtype)(x, kernel)
    return _foreign(x, path).correlate(x, kernel, geometry, channels_last)


def correlate_transpose(
    y: Any, kernel: Any, geometry: Geometry, channels_last: bool, path: str | None = None
) -> Any:
    """Transpose of `correlate` for the same kernel and geometry (nothing is conjugated).

    Takes an array of the shape that `correlate` returns, and returns one of the shape it takes.
    """
    if type(y) is np.ndarray:
        return operation(path, geometry, channels_last, True, y.dtype)(y, kernel)
    return _foreign(y, path).correlate_transpose(y, kernel, geometry, channels_last)


def _foreign(array: Any, path: str | None) -> Any:
    """Return the engine of an array that is not NumPy's."""
    if path is not None:
        raise DTypeError(
            f"the path {path!r} takes NumPy arrays; got a {kind(array)} array; convert it with "
            f"numpy.asarray, or apply the map itself"
        )
    return FOREIGN[kind(array)]

"""Arrays: which kinds are taken, and which dtype they are computed in.

float32, float64, complex64 and complex128 are kept and promoted as NumPy does; float16 and
bfloat16 are computed in float32 (or the map's wider dtype) and cast back; integers and bools are
computed in float64. Anything else is refused by name.
"""

from __future__ import annotations

from typing import Any

import array_api_compat
import numpy as np
from numpy.typing import NDArray

from linconv.errors import DTypeError, LinconvError

__all__ = [
    "Array",
    "as_array",
    "cast_back",
    "computed_in",
    "finite_real",
    "read_only",
    "working_dtype",
]

Array = NDArray[Any]

_KEPT = {np.dtype(t) for t in (np.float32, np.float64, np.complex64, np.complex128)}
_HALF = ("float16", "bfloat16")


def as_array(name: str, value: Any) -> Array:
    """Return `value` as a NumPy array of a dtype that can be computed with.

    Raises
    ------
    DTypeError
        For arrays of another library, and for object, string, date and long double arrays.
    """
    if type(value) is np.ndarray and value.dtype in _KEPT:
        return value
    if array_api_compat.is_torch_array(value) or array_api_compat.is_jax_array(value):
        kind = type(value).__module__.split(".")[0]
        raise DTypeError(
            f"{name} must be a NumPy array or nested lists; got a {kind} array; "
            f"convert it with numpy.asarray first"
        )
    if isinstance(value, np.ma.MaskedArray):
        raise DTypeError(
            f"{name} must not be masked, for there is no convolution of what is not there; got a "
            f"masked array; use .filled(0), or what else stands for the missing values"
        )
    try:
        array = np.asarray(value)
    except (ValueError, RuntimeError) as error:
        raise DTypeError(
            f"{name} must be a rectangular array of numbers; got {type(value).__name__} "
            f"({error}); make all rows equally long, or give a NumPy array"
        ) from None
    working_dtype(name, array.dtype)
    return array


def finite_real(name: str, value: Any) -> Array:
    """Return `value` in float64 for a fit or a measurement, which takes real, finite numbers.

    Raises
    ------
    DTypeError
        As `as_array`, or if `value` is complex.
    LinconvError
        If a value is NaN or infinite.
    """
    array = as_array(name, value)
    if array.dtype.kind == "c":
        raise DTypeError(f"{name} must be real; got {array.dtype}; take its two parts one by one")
    array = array.astype(np.float64, copy=False)
    if bad := int(array.size - np.isfinite(array).sum()):
        raise LinconvError(
            f"{name} must be finite; got {bad} NaN or infinite values of {array.size}; "
            f"remove them first"
        )
    return array


def read_only(array: Any) -> Any:
    """Return an array that nobody can write to: `array` itself if it is one, else a copy.

    Tensors and JAX arrays stay what they are, for gradients must find them.
    """
    if not isinstance(array, np.ndarray) or not array.flags.writeable:
        return array
    copy = array.copy()
    copy.flags.writeable = False
    return copy


def working_dtype(name: str, dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the dtype, in native byte order, that an array of `dtype` is computed in."""
    native = dtype.newbyteorder("=")
    if native in _KEPT:
        return native
    if dtype.name in _HALF:
        return np.dtype(np.float32)
    if dtype.kind in "iub":
        return np.dtype(np.float64)
    raise DTypeError(
        f"{name} must hold real or complex numbers of at most 64 bits a part; got dtype "
        f"{dtype}; convert it with .astype('float64') or .astype('complex128')"
    )


def computed_in(dtype: np.dtype[Any], array: Array) -> Array:
    """Return `array` in the dtype in which a map of `dtype` computes with it."""
    if array.dtype == dtype:
        return array
    return array.astype(np.result_type(dtype, working_dtype("the array", array.dtype)), copy=False)


def cast_back(result: Array, given: np.dtype[Any]) -> Array:
    """Return `result` in half precision if the array given was; complex results stay complex."""
    if given not in _KEPT and given.name in _HALF and result.dtype.kind == "f":
        return result.astype(given)
    return result

"""Kinds of array: NumPy's and those of other libraries told apart, read, and made alike.

The one place where kinds are told apart: a library has one file of functions, named in `LIBRARIES`,
and an engine, named in `linconv.engines`. No framework is imported: whoever passes an array of one
has imported it already. dtypes follow the rule of `linconv.engines.arrays` in every kind; JAX
without 64-bit numbers has the narrower ones.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from linconv.engines import jax_arrays, standard_arrays, torch_arrays
from linconv.engines.arrays import Array, as_array, cast_back, working_dtype
from linconv.engines.standard_arrays import StandardArray, follows_standard
from linconv.errors import DTypeError

__all__ = [
    "alike",
    "any_array",
    "as_computed",
    "as_given",
    "as_numpy",
    "bare",
    "conjugate",
    "kept_array",
    "kind",
    "library",
    "own",
    "widened",
    "worn",
]

LIBRARIES: dict[str, Any] = {
    "torch": torch_arrays,
    "jax": jax_arrays,
    "array_api": standard_arrays,
}
_CLASSES = (
    ("torch", "Tensor"),
    ("jax", "Array"),
    ("tensorflow", "Tensor"),
    ("tensorflow", "Variable"),
)
_NUMPY = (np.ndarray, np.generic)
_KEPT = ("float32", "float64", "complex64", "complex128")
_HALF = ("float16", "bfloat16")


def kind(array: Any) -> str:
    """Return the kind of an array: "numpy" for all that NumPy makes an array of."""
    if isinstance(array, _NUMPY):
        return "numpy"
    for name, class_name in _CLASSES:
        known = getattr(sys.modules.get(name), class_name, None)
        if known is not None and isinstance(array, known):
            return name
    if isinstance(array, StandardArray) or follows_standard(array):
        return "array_api"
    return "numpy"


def library(array: Any) -> Any:
    """Return the functions for an array that is not NumPy's."""
    return LIBRARIES[kind(array)]


def any_array(name: str, value: Any) -> Any:
    """Return `value` as an array that can be computed with: a tensor or JAX array as it is.

    Raises
    ------
    DTypeError
        As `as_array`, or for an array of a framework whose dtype cannot be computed with, a
        sparse tensor, or a tensor of TensorFlow.
    """
    if type(value) is np.ndarray or (found := kind(value)) == "numpy":
        return as_array(name, value)
    if found == "tensorflow":
        raise DTypeError(
            f"{name} must be of NumPy, PyTorch, JAX or the array API; got a TensorFlow tensor; "
            f"give its .numpy(), or use the Keras layer where TensorFlow must compute"
        )
    LIBRARIES[found].check(name, value)
    _working_name(name, value)
    return worn(value)


def worn(array: Any) -> Any:
    """Return an array with NumPy's methods: of the array API in a `StandardArray`, others as is."""
    if type(array) is np.ndarray or type(array) is StandardArray or kind(array) != "array_api":
        return array
    return StandardArray(array)


def bare(array: Any) -> Any:
    """Return the array itself that a `StandardArray` wears; others as they are."""
    return array if type(array) is not StandardArray else array.array


def widened(name: str, array: Any) -> np.dtype[Any]:
    """Return the dtype, as NumPy names it, that an array of any kind is computed in."""
    if isinstance(array, np.ndarray):
        return working_dtype(name, array.dtype)
    return np.dtype(_working_name(name, array))


def _working_name(name: str, array: Any) -> str:
    """Return the name of the dtype that an array not of NumPy is computed in."""
    given = library(array).dtype_name(array)
    if given in _KEPT:
        return str(given)
    if working := _widened_name(given):
        return working
    raise DTypeError(
        f"{name} must hold real or complex numbers of 16 to 64 bits a part; got {kind(array)} "
        f"dtype {given}; convert it to float32 or complex64"
    )


def _widened_name(given: str) -> str:
    """Return the name of the dtype that one is computed in; empty if in none."""
    if given in _HALF:
        return "float32"
    if given.startswith(("int", "uint", "bool")):
        return "float64"
    return given if given in _KEPT else ""


def _promoted(a: str, b: str) -> str:
    """Return the name of the dtype that two are promoted to, by names, as compilers can trace."""
    double = "float64" in (a, b) or "complex128" in (a, b)
    if "complex64" in (a, b) or "complex128" in (a, b):
        return "complex128" if double else "complex64"
    return "float64" if double else "float32"


def kept_array(name: str, value: Any) -> Any:
    """Return a read-only copy in the dtype computed in; an array of another library as it is.

    Gradients must find it, and a parameter that learns is seen as it is when it is used.
    """
    array = any_array(name, value)
    if not isinstance(array, np.ndarray):
        return bare(array)
    copy = array.astype(working_dtype(name, array.dtype))
    copy.flags.writeable = False
    return copy


def as_computed(name: str, array: Any) -> Any:
    """Return an array, not NumPy's, in the dtype in which a map of the dtype `name` computes."""
    ours = library(array)
    given = ours.dtype_name(array)
    return array if given == name else ours.cast(array, _promoted(name, _widened_name(given)))


def as_given(result: Any, array: Any) -> Any:
    """Return `result` in half precision if `array` was; complex results stay complex."""
    if isinstance(array, np.ndarray):
        return cast_back(result, array.dtype)
    ours = library(array)
    given = ours.dtype_name(array)
    if given not in _HALF or ours.dtype_name(result).startswith("complex"):
        return result
    return ours.cast(result, given)


def alike(value: Any, array: Any) -> Any:
    """Return `value`, a kernel or a fixed input, in the kind and dtype of `array`.

    NumPy's values serve every kind, and every kind's values NumPy. Gradients flow back to `value`
    where both are of one library.

    Raises
    ------
    DTypeError
        If the two are of two frameworks, or on two devices.
    """
    if isinstance(array, np.ndarray):
        value = as_numpy(value)
        return value if value.dtype == array.dtype else value.astype(array.dtype)
    ours, wanted = kind(value), kind(array)
    if ours == wanted:
        return LIBRARIES[wanted].matched(worn(value), array)
    if ours != "numpy":
        raise DTypeError(
            f"kernel and array must be of one framework, or one of them NumPy's; got one of "
            f"{ours} and one of {wanted}; convert one with numpy.asarray first"
        )
    return LIBRARIES[wanted].from_numpy(value, array)


def as_numpy(value: Any) -> Array:
    """Return the values of an array of any kind as a NumPy array, in the dtype computed in.

    Raises
    ------
    DTypeError
        If the values are not known, because JAX traces the array.
    """
    if isinstance(value, np.ndarray):
        return value
    dtype = _working_name("the array", value)
    found: Array = library(value).to_numpy(worn(value), dtype)
    return found


def own(array: Any) -> Any:
    """Return an array that shares no memory a caller could write to; NumPy's as is."""
    return array if isinstance(array, np.ndarray) else library(array).own(array)


def conjugate(array: Any) -> Any:
    """Return the complex conjugate, of any kind."""
    return array.conj() if isinstance(array, np.ndarray) else library(array).conjugate(worn(array))

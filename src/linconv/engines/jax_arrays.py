"""JAX's arrays: what `linconv.engines.kinds` and `linconv.engines.ops` need of them.

The functions are those of `linconv.engines.torch_arrays`, and mean the same.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from linconv.engines.arrays import Array
from linconv.errors import DTypeError

__all__ = [
    "cast",
    "check",
    "conjugate",
    "dtype_name",
    "fold",
    "from_numpy",
    "matched",
    "own",
    "pad",
    "take",
    "to_numpy",
    "traced",
]


def dtype_name(array: Any) -> str:
    """Return the dtype's name, as NumPy has it."""
    return str(array.dtype)


def check(name: str, array: Any) -> None:
    """Refuse nothing: every array of JAX is dense."""


def traced(array: Any) -> bool:
    """Return whether the array stands for one whose values are not known yet."""
    import jax

    return isinstance(array, jax.core.Tracer)


def cast(array: Any, dtype: str) -> Any:
    """Return the array in a dtype, or the narrower one that JAX has without 64-bit numbers."""
    import jax

    return array.astype(jax.dtypes.canonicalize_dtype(dtype))


def from_numpy(value: Array, like: Any) -> Any:
    """Return a NumPy array as one of JAX in the dtype of another; JAX moves it as needed."""
    import jax.numpy as jnp

    return jnp.asarray(value, like.dtype)


def matched(value: Any, like: Any) -> Any:
    """Return an array in the dtype of another; JAX itself refuses those of two devices."""
    return value.astype(like.dtype)


def to_numpy(array: Any, dtype: str) -> Array:
    """Return the values in a dtype; they share the array's memory where that is possible."""
    if traced(array):
        raise DTypeError(
            "what meets an array that JAX traces must be a JAX array too; got a NumPy array, or a "
            "request for values; convert the other array with jax.numpy.asarray"
        )
    return np.asarray(array).astype(dtype, copy=False)


def conjugate(array: Any) -> Any:
    """Return the complex conjugate."""
    return array.conj()


def own(array: Any) -> Any:
    """Return the array itself, for nobody can write to it."""
    return array


def pad(array: Any, widths: list[tuple[int, int]]) -> Any:
    """Pad every axis with zeros, by no negative width."""
    import jax.numpy as jnp

    return jnp.pad(array, widths)


def take(array: Any, sources: Array, axis: int) -> Any:
    """Return the samples of an axis that `sources` names, in that order."""
    import jax.numpy as jnp

    return jnp.take(array, sources, axis=axis)


def fold(array: Any, sources: Array, size: int, axis: int) -> Any:
    """Add each sample of an axis to the one that `sources` names, of `size`."""
    import jax.numpy as jnp

    shape = (*array.shape[:axis], size, *array.shape[axis + 1 :])
    return jnp.zeros(shape, array.dtype).at[(slice(None),) * axis + (sources,)].add(array)

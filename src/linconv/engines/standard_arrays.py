"""Arrays of any library that follows the array API standard, CuPy's among them.

The standard knows functions where NumPy's arrays have methods: `StandardArray` wears an array and
gives it those that maps call. The functions are those of `linconv.engines.torch_arrays`.

Standard: https://data-apis.org/array-api/2023.12.
"""

from __future__ import annotations

from typing import Any

import array_api_compat
import numpy as np

from linconv.engines.arrays import Array

__all__ = [
    "StandardArray",
    "cast",
    "check",
    "conjugate",
    "dtype_name",
    "fold",
    "follows_standard",
    "from_numpy",
    "matched",
    "own",
    "pad",
    "take",
    "to_numpy",
]


def follows_standard(value: Any) -> bool:
    """Return whether a value is an array of a library that follows the standard, or CuPy's."""
    return hasattr(value, "__array_namespace__") or array_api_compat.is_cupy_array(value)


class StandardArray:
    """An array with the methods of NumPy's that maps call; `array` is the array itself."""

    __slots__ = ("array", "xp")
    __array_ufunc__ = None

    def __init__(self, array: Any) -> None:
        self.array = array
        self.xp = array_api_compat.array_namespace(array)

    def _new(self, array: Any) -> StandardArray:
        made = StandardArray.__new__(StandardArray)
        made.array, made.xp = array, self.xp
        return made

    @property
    def shape(self) -> tuple[int, ...]:
        """Its axes' lengths."""
        return tuple(self.array.shape)

    @property
    def ndim(self) -> int:
        """How many axes it has."""
        return len(self.shape)

    @property
    def dtype(self) -> Any:
        """Its dtype, as its library has it."""
        return self.array.dtype

    @property
    def T(self) -> StandardArray:
        """The transpose of a matrix."""
        return self.permute((1, 0))

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Any) -> StandardArray:
        index = index if isinstance(index, tuple) else (index,)
        return self._new(self.array[index if Ellipsis in index else (*index, ...)])

    def __add__(self, other: StandardArray) -> StandardArray:
        return self._new(self.array + other.array)

    def __rmul__(self, factor: complex) -> StandardArray:
        return self._new(factor * self.array)

    def __matmul__(self, other: StandardArray) -> StandardArray:
        return self._new(self.xp.matmul(self.array, other.array))

    def reshape(self, *shape: Any) -> StandardArray:
        """Return the samples, in C order, in another shape."""
        wanted = shape[0] if isinstance(shape[0], tuple) else shape
        return self._new(self.xp.reshape(self.array, wanted))

    def permute(self, order: Any) -> StandardArray:
        """Return the array with its axes in that order."""
        return self._new(self.xp.permute_dims(self.array, tuple(order)))

    def swapaxes(self, a: int, b: int) -> StandardArray:
        """Return the array with two axes exchanged."""
        order = list(range(self.ndim))
        order[a], order[b] = order[b], order[a]
        return self.permute(order)

    def flip(self, axes: tuple[int, ...]) -> StandardArray:
        """Return the array reversed along these axes."""
        return self._new(self.xp.flip(self.array, axis=axes))


def dtype_name(array: Any) -> str:
    """Return the dtype's name, as NumPy has it."""
    return str(array.dtype).rpartition(".")[2]


def check(name: str, array: Any) -> None:
    """Refuse nothing that follows the standard."""


def cast(array: StandardArray, dtype: str) -> StandardArray:
    """Return the array in a dtype; itself if it has that."""
    wanted = getattr(array.xp, dtype)
    return array._new(array.xp.astype(array.array, wanted, copy=False))


def from_numpy(value: Array, like: StandardArray) -> StandardArray:
    """Return a NumPy array as one of another's library, on its device and in its dtype."""
    device = array_api_compat.device(like.array)
    return like._new(like.xp.asarray(value.copy(), dtype=like.dtype, device=device))


def matched(value: StandardArray, like: StandardArray) -> StandardArray:
    """Return an array in the dtype of another; the library refuses those of two devices."""
    return value._new(value.xp.astype(value.array, like.dtype, copy=False))


def to_numpy(array: StandardArray, dtype: str) -> Array:
    """Return the values in a dtype."""
    plain = array.array
    if array_api_compat.is_cupy_array(plain):
        plain = plain.get()
    return np.asarray(plain).astype(dtype, copy=False)


def conjugate(array: StandardArray) -> StandardArray:
    """Return the complex conjugate; of real numbers the array itself."""
    if not dtype_name(array).startswith("complex"):
        return array
    return array._new(array.xp.conj(array.array))


def own(array: StandardArray) -> StandardArray:
    """Return an array that shares no memory which a caller could write to."""
    return array._new(array.xp.asarray(array.array, copy=True))


def pad(array: StandardArray, widths: list[tuple[int, int]]) -> StandardArray:
    """Pad every axis with zeros, by no negative width."""
    for axis, sides in enumerate(widths):
        low, high = (_zeros(array, width, axis) for width in sides)
        parts = [part for part in (low, array.array, high) if part.shape[axis]]
        if len(parts) > 1:
            array = array._new(array.xp.concat(parts, axis=axis))
        elif parts:
            array = array._new(parts[0])
    return array


def take(array: StandardArray, sources: Array, axis: int) -> StandardArray:
    """Return the samples of an axis that `sources` names, in that order."""
    xp, device = array.xp, array_api_compat.device(array.array)
    index = xp.asarray(sources.copy(), device=device)
    return array._new(xp.take(array.array, index, axis=axis))


def fold(array: StandardArray, sources: Array, size: int, axis: int) -> StandardArray:
    """Add each sample of an axis to the one that `sources` names, of `size`.

    Samples that go to neighbours, forwards or backwards, are added at once.
    """
    result = _zeros(array, size, axis)
    whole = (slice(None),) * axis
    start = 0
    while start < len(sources):
        step = int(sources[start + 1] - sources[start]) if start + 1 < len(sources) else 1
        stop = start + 1
        while abs(step) == 1 and stop < len(sources) and sources[stop] - sources[stop - 1] == step:
            stop += 1
        part = array.array[(*whole, slice(start, stop), ...)]
        if step == -1:
            part = array.xp.flip(part, axis=axis)
        first = int(min(sources[start], sources[stop - 1]))
        where = (*whole, slice(first, first + stop - start), ...)
        result[where] = result[where] + part
        start = stop
    return array._new(result)


def _zeros(array: StandardArray, size: int, axis: int) -> Any:
    shape = (*array.shape[:axis], size, *array.shape[axis + 1 :])
    device = array_api_compat.device(array.array)
    return array.xp.zeros(shape, dtype=array.dtype, device=device)

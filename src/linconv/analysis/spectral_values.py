"""SpectralValue and SpectralValues: numbers that know how they were found and how far to trust."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from math import ceil, floor, inf, trunc
from numbers import Real
from typing import Any

import numpy as np

from linconv.engines.arrays import Array
from linconv.errors import LinconvError, ShapeError
from linconv.files import json_number

__all__ = ["KINDS", "SpectralValue", "SpectralValues", "Vectors"]

KINDS = ("exact", "certified", "estimate")

Vectors = Callable[[int], tuple[Array, Array]]


class _Held:
    """What is held: its operators and public attributes, which give plain numbers or arrays."""

    @property
    def _held(self) -> Any:
        raise NotImplementedError

    def __getattr__(self, name: str) -> Any:
        """Return an attribute of the number or array: called for what this class has not itself."""
        if name.startswith("_") or name in self.__dataclass_fields__:  # not there yet, in a copy
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return getattr(self._held, name)

    def _with(self, operation: Callable[[Any, Any], Any], other: Any) -> Any:
        return operation(self._held, other._held if isinstance(other, _Held) else other)

    def __add__(self, other: Any) -> Any:
        return self._with(operator.add, other)

    def __radd__(self, other: Any) -> Any:
        return other + self._held

    def __sub__(self, other: Any) -> Any:
        return self._with(operator.sub, other)

    def __rsub__(self, other: Any) -> Any:
        return other - self._held

    def __mul__(self, other: Any) -> Any:
        return self._with(operator.mul, other)

    def __rmul__(self, other: Any) -> Any:
        return other * self._held

    def __truediv__(self, other: Any) -> Any:
        return self._with(operator.truediv, other)

    def __rtruediv__(self, other: Any) -> Any:
        return other / self._held

    def __floordiv__(self, other: Any) -> Any:
        return self._with(operator.floordiv, other)

    def __rfloordiv__(self, other: Any) -> Any:
        return other // self._held

    def __mod__(self, other: Any) -> Any:
        return self._with(operator.mod, other)

    def __rmod__(self, other: Any) -> Any:
        return other % self._held

    def __divmod__(self, other: Any) -> Any:
        return self._with(divmod, other)

    def __rdivmod__(self, other: Any) -> Any:
        return divmod(other, self._held)

    def __pow__(self, other: Any) -> Any:
        return self._with(operator.pow, other)

    def __rpow__(self, other: Any) -> Any:
        return other**self._held

    def __matmul__(self, other: Any) -> Any:
        return self._with(operator.matmul, other)

    def __rmatmul__(self, other: Any) -> Any:
        return other @ self._held

    def __pos__(self) -> Any:
        return +self._held

    def __neg__(self) -> Any:
        return -self._held

    def __abs__(self) -> Any:
        return abs(self._held)

    def __eq__(self, other: object) -> Any:
        return self._with(operator.eq, other)

    def __ne__(self, other: object) -> Any:
        return self._with(operator.ne, other)

    def __lt__(self, other: Any) -> Any:
        return self._with(operator.lt, other)

    def __le__(self, other: Any) -> Any:
        return self._with(operator.le, other)

    def __gt__(self, other: Any) -> Any:
        return self._with(operator.gt, other)

    def __ge__(self, other: Any) -> Any:
        return self._with(operator.ge, other)

    def __hash__(self) -> int:
        return hash(self._held)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        held = self._held
        if hasattr(held, "detach"):
            held = held.detach().cpu()
        array: Array = np.asarray(held, dtype)
        return array.copy() if copy else array


@dataclass(frozen=True, eq=False)
class SpectralValue(_Held):
    """A number found from a map's singular values; it behaves as the number.

    Operators and the number's own attributes and methods are those of `value`.

    Attributes
    ----------
    value : float or int
        A scalar tensor or JAX array where the kernel is one.
    kind : {"exact", "certified", "estimate"}
        ``"exact"``: a closed form or a complete decomposition, so that rounding is the only error.
        ``"certified"``: the number lies within `interval`, proven. ``"estimate"``: from an
        iteration; see `residual`.
    interval : (float, float)
        Where the number is: proven if certified; the reach of rounding if exact; for an estimate
        the best that is known.
    residual : float or None
        Of an estimate: ``‖Aᴴu - σv‖ / σ`` of the singular triplets found, the largest.
    method : str
        How it was found.
    cost : str
        What that took, in the terms that matter.
    """

    value: Any
    kind: str
    interval: tuple[float, float]
    residual: float | None
    method: str
    cost: str

    @property
    def _held(self) -> Any:
        return self.value

    def __float__(self) -> float:
        return float(self.value)

    def __int__(self) -> int:
        return int(self.value)

    def __complex__(self) -> complex:
        return complex(self.value)

    def __index__(self) -> int:
        return operator.index(self.value)

    def __trunc__(self) -> Any:
        return trunc(self.value)

    def __floor__(self) -> Any:
        return floor(self.value)

    def __ceil__(self) -> Any:
        return ceil(self.value)

    def __bool__(self) -> bool:
        return bool(self.value)

    def __round__(self, digits: int | None = None) -> Any:
        return round(float(self.value), digits)

    def __format__(self, form: str) -> str:
        return format(self.value, form) if form else str(self)

    def __str__(self) -> str:
        return str(self.value)

    def to_dict(self) -> dict[str, Any]:
        """Return every field as plain numbers and strings, None for what is not finite."""
        held = self.value if isinstance(self.value, int) else json_number(float(self.value))
        return {"value": held, **_described(self)}


Real.register(SpectralValue)


@dataclass(frozen=True, eq=False)
class SpectralValues(_Held):
    """Singular values of a map, from the largest to the smallest; it behaves as their array.

    Operators and the array's own attributes and methods, such as ``shape`` and ``max()``, are
    those of `values`.

    Attributes
    ----------
    values : array of float64, shape (k,)
        A tensor or JAX array where the kernel is one.
    kind, method, cost
        As in `SpectralValue`.
    interval : (array, array)
        Lower and upper ends, shape (k,) each.
    residual : array or None
        Of estimates: ``‖Aᴴu - σv‖`` of each, relative to the largest value.
    """

    values: Any
    kind: str
    interval: tuple[Array, Array]
    residual: Array | None
    method: str
    cost: str
    _vectors: Vectors | None = field(default=None, repr=False)

    @property
    def _held(self) -> Any:
        return self.values

    def __len__(self) -> int:
        return len(self.values)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.values)

    def __getitem__(self, index: Any) -> Any:
        return self.values[index]

    def vectors(self, index: int) -> tuple[Array, Array]:
        """Return the singular vectors that belong to one of the values.

        Parameters
        ----------
        index : int
            Position of the value.

        Returns
        -------
        left : array, shape output_shape
        right : array, shape input_shape
            Both of norm 1, with ``op(right) == values[index] * left``; real where the map is.
            Vectors of equal values are orthogonal to one another.

        Raises
        ------
        ShapeError
            If there is no such value.
        LinconvError
            If the values were found without vectors.
        """
        if not -len(self) <= index < len(self):
            raise ShapeError(
                f"the index must be that of one of the {len(self)} values; got {index}; use "
                f"{-len(self)} to {len(self) - 1}"
            )
        if self._vectors is None:
            raise LinconvError(
                f"singular vectors need a method that computes them; got values by {self.method}; "
                f"ask for the largest ones, svdvals(op, k), or take numpy.linalg.svd of op.matrix()"
            )
        return self._vectors(index % len(self))

    def to_dict(self) -> dict[str, Any]:
        """Return every field as plain lists, numbers and strings."""
        return {"values": np.asarray(self).tolist(), **_described(self)}


def _described(found: SpectralValue | SpectralValues) -> dict[str, Any]:
    low, high = found.interval
    ends = [np.asarray(end).tolist() for end in (low, high)]
    return {
        "kind": found.kind,
        "interval": [None if end in (inf, -inf) else end for end in ends],
        "residual": None if found.residual is None else np.asarray(found.residual).tolist(),
        "method": found.method,
        "cost": found.cost,
    }

"""How an argument is read: whole numbers, one value or one per axis, and names."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from math import gcd
from numbers import Real
from typing import Any, SupportsIndex

import numpy as np

from linconv.errors import DTypeError, GeometryError

__all__ = [
    "PerAxis",
    "check_groups",
    "choice",
    "finite_number",
    "integer",
    "nearest",
    "per_axis",
    "plain_number",
    "several",
    "shape",
]

PerAxis = SupportsIndex | Sequence[SupportsIndex]


def integer(name: str, value: Any, minimum: int | None = None) -> int:
    """Return `value` as an int, or raise `GeometryError` naming the argument."""
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise GeometryError(f"{name} must be a whole number; got {value!r}; use an int")
    number = operator.index(value)
    if minimum is not None and number < minimum:
        raise GeometryError(
            f"{name} must be at least {minimum}; got {number}; use {minimum} or more"
        )
    return number


def finite_number(name: str, value: Any, usual: str) -> float:
    """Return `value` as a float that is finite and not negative, or raise `GeometryError`."""
    number = isinstance(value, Real) and not isinstance(value, bool)
    if not (number and math.isfinite(value) and value >= 0):
        raise GeometryError(
            f"{name} must be a finite number of at least 0; got {value!r}; use {usual}"
        )
    return float(value)


def plain_number(value: Any) -> Any:
    """Return a number of Python or NumPy as it is, another real one as a float; or `DTypeError`."""
    if isinstance(value, (int, float, complex, np.number)):
        return value
    if isinstance(value, Real):
        return float(value)
    raise DTypeError(
        f"a map can be multiplied by a number; got {type(value).__name__}; use @ for maps"
    )


def per_axis(name: str, value: Any, ndim: int, minimum: int | None = None) -> tuple[int, ...]:
    """Return one int per spatial axis from one int for all axes or a sequence of `ndim` ints."""
    if not several(value):
        return (integer(name, value, minimum),) * ndim
    values = tuple(value)
    if len(values) != ndim:
        raise GeometryError(
            f"{name} must be one int or one per spatial axis; got {len(values)} values {values} "
            f"for {ndim} axes; use {ndim}"
        )
    return tuple(integer(f"{name} of axis {axis}", v, minimum) for axis, v in enumerate(values))


def shape(name: str, value: Any, minimum: int = 1) -> tuple[int, ...]:
    """Return `value` as a non-empty tuple of sizes of at least `minimum`."""
    sizes = tuple(value) if several(value) else (value,)
    if not sizes:
        raise GeometryError(f"{name} must have at least one axis; got (); give one size per axis")
    return tuple(integer(f"{name} of axis {axis}", v, minimum) for axis, v in enumerate(sizes))


def several(value: Any) -> bool:
    """Whether `value` holds values, as a sequence or an array with an axis does."""
    return (
        isinstance(value, Iterable) and not isinstance(value, str) and getattr(value, "ndim", 1) > 0
    )


def nearest(name: str, choices: Iterable[str]) -> str:
    """Say which of `choices` are legal, the one nearest to a mistyped `name` first."""
    known = list(choices)
    close = get_close_matches(name.lower(), known, n=1, cutoff=0.5)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f"{hint}use one of {', '.join(repr(c) for c in known)}"


def choice(name: str, value: Any, choices: Iterable[str], instead: str = "") -> str:
    """Return `value` if it is one of `choices`; otherwise raise, naming the nearest."""
    known = list(choices)
    if isinstance(value, str) and value in known:
        return value
    raise GeometryError(
        f"{name} must be one of the known names{instead}; got {value!r}; "
        f"{nearest(str(value), known)}"
    )


def check_groups(groups: int, **channels: int) -> None:
    """Raise `GeometryError` unless `groups` divides each of the named numbers of channels."""
    common = gcd(*channels.values())
    for name, count in channels.items():
        if count % groups:
            legal = ", ".join(str(d) for d in range(1, common + 1) if common % d == 0)
            raise GeometryError(
                f"groups must divide {name}; got groups={groups}, {name}={count}; "
                f"use one of {legal}"
            )

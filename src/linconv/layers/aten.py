"""Exported programs of PyTorch as plain data: calls of ATen operators, shapes, weights.

Both a program in memory and one in a file become the same `Program`, so that one reader serves both
and files need neither PyTorch nor pickle.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from linconv.engines.arrays import Array

__all__ = ["Call", "Program", "Ref"]


@dataclass(frozen=True)
class Ref:
    """A tensor of the program, by name, as an argument."""

    name: str


@dataclass(frozen=True, eq=False)
class Call:
    """One call of an ATen operator.

    Attributes
    ----------
    name : str
        Of its result.
    operator : str
        Such as ``"conv2d"``, without namespace and overload.
    arguments : mapping of str to object
        By the names of the operator's schema; those left at their default may be absent.
    shape : tuple of (int or None), or None
        Of its result, batch axis included; None where a size is not fixed.
    module, module_kind : str
        The innermost module that it stands in, such as ``"down.conv"`` and ``"Conv2d"``.
    """

    name: str
    operator: str
    arguments: Mapping[str, Any]
    shape: tuple[int | None, ...] | None
    module: str
    module_kind: str

    def tensors(self) -> tuple[str, ...]:
        """Return the names of the tensors among the arguments."""
        found: list[str] = []
        for value in self.arguments.values():
            values = value if isinstance(value, list | tuple) else (value,)
            found += [v.name for v in values if isinstance(v, Ref)]
        return tuple(found)


@dataclass(frozen=True, eq=False)
class Program:
    """An exported program.

    Attributes
    ----------
    inputs : mapping of str to shape
        The user's inputs.
    weights : mapping of str to (str, array)
        By the names that calls use: a parameter's or buffer's own name, and its values.
    calls : tuple of Call
        In the order of computation.
    """

    inputs: Mapping[str, tuple[int | None, ...] | None]
    weights: Mapping[str, tuple[str, Array]]
    calls: tuple[Call, ...]

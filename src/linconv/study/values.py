"""Values as strict JSON can hold them, and as a reader sees them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

__all__ = ["plain", "shown"]


def plain(value: Any) -> Any:
    """Return a value as lists, dicts, strings and numbers that strict JSON can hold.

    What is not finite becomes None: JSON has no word for it.
    """
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if hasattr(value, "to_dict"):
        return plain(value.to_dict())
    return str(value)


def shown(value: Any) -> str:
    """Write a number, or an array in short, for a reader."""
    if value is None:
        return "–"
    if isinstance(value, str):
        return value
    array = np.asarray(value)
    if array.ndim == 0:
        return _number(array.item())
    rows = array if array.ndim == 2 else array.reshape(1, -1)
    if array.size <= 4:
        return "; ".join(" ".join(_number(v) for v in row) for row in rows.tolist())
    size = " × ".join(str(n) for n in array.shape)
    first, *_, last = array.ravel().tolist()
    return f"{size}: {_number(first, 4)} … {_number(last, 4)}"


def _number(value: float, digits: int = 6) -> str:
    if isinstance(value, int) or (value.is_integer() and abs(value) < 1e9):
        return str(int(value))
    return "∞" if value == math.inf else f"{value:.{digits}g}"

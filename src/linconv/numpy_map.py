"""NumPyMap: the base of maps that compute with NumPy arrays alone."""

from __future__ import annotations

from typing import Any

from linconv.engines.kinds import kind
from linconv.errors import DTypeError
from linconv.linear_map import LinearMap

__all__ = ["NumPyMap"]


class NumPyMap(LinearMap):
    """A map that knows NumPy arrays alone; it refuses any other kind by name."""

    def _check_kind(self, array: Any) -> None:
        raise DTypeError(
            f"{type(self).__name__} takes NumPy arrays; got a {kind(array)} array; convert it with "
            f"numpy.asarray, or use a map that keeps the kind (Conv, ConvTranspose, Pad, Decimate "
            f"and what is made of them)"
        )

"""The identity map, which widens nothing it is multiplied with."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy

from linconv.arguments import shape as read_shape
from linconv.engines.kinds import own
from linconv.linear_map import LinearMap
from linconv.matrix import check_bytes

__all__ = ["Identity", "identity"]


class Identity(LinearMap):
    """The identity; float32, so that it widens nothing it is multiplied with."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self._set(shape, shape, np.float32)

    def _apply(self, x: Any) -> Any:
        return own(x)

    def _apply_transpose(self, y: Any) -> Any:
        return own(y)

    def _sparse(self, max_bytes: int) -> Any:
        remedy = "apply the map, or raise the limit max_bytes"
        check_bytes("a sparse matrix", self.shape, 12 * self.shape[0], max_bytes, remedy)
        return scipy.sparse.eye_array(self.shape[0], dtype=self.dtype, format="csr")

    @property
    def T(self) -> LinearMap:
        """The identity itself."""
        return self


def identity(shape: Any) -> LinearMap:
    """Return the identity map on arrays of the given shape.

    Parameters
    ----------
    shape : int or sequence of int
        Of one sample, without batch axes.

    Returns
    -------
    LinearMap

    Examples
    --------
    >>> identity((2, 2)).matrix().trace()
    np.float32(4.0)
    """
    return Identity(read_shape("shape", shape))

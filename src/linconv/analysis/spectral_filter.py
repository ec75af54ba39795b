"""SpectralFilter: multiply every frequency of an image by a number of its own."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy

from linconv.engines.arrays import Array, read_only
from linconv.engines.threads import workers
from linconv.layout import Layout
from linconv.linear_map import LinearMap
from linconv.matrix import check_bytes
from linconv.numpy_map import NumPyMap

__all__ = ["SpectralFilter"]


class SpectralFilter(NumPyMap):
    """A circular filter, given by its transfer function, on every channel of an image.

    Parameters
    ----------
    transfer : array, shape (*size)
        What each frequency of the FFT is multiplied by: real, and the same at a frequency and its
        negative, so that the map is real and its own transpose.
    layout : Layout
        Where the channels stand.
    channels : int

    Notes
    -----
    Exact up to rounding; float32, so that it widens nothing. Cost: two FFTs.
    """

    transfer: Array
    layout: Layout

    def __init__(self, transfer: Array, layout: Layout, channels: int) -> None:
        shape = layout.join(transfer.shape, channels)
        self._set(shape, shape, np.float32, transfer=read_only(transfer), layout=layout)

    def _apply(self, x: Array) -> Array:
        if x.dtype.kind == "c":
            return np.asarray(self._apply(x.real) + 1j * self._apply(x.imag)).astype(x.dtype)
        first, size = self.layout.arrays_first(x), self.transfer.shape
        axes = tuple(range(first.ndim - len(size), first.ndim))
        half = self.transfer[..., : size[-1] // 2 + 1].astype(x.dtype)
        options: dict[str, Any] = {"axes": axes, "workers": workers(first.size)}
        spectrum = scipy.fft.rfftn(first, **options)
        spectrum *= half
        result = scipy.fft.irfftn(spectrum, s=size, **options)
        return np.ascontiguousarray(self.layout.arrays_back(result))

    def _apply_transpose(self, y: Array) -> Array:
        return self._apply(y)

    @property
    def T(self) -> LinearMap:
        """The map itself."""
        return self

    def _sparse(self, max_bytes: int) -> Any:
        needed = self.shape[0] * self.shape[1] * 16
        check_bytes("a filter's matrix", self.shape, needed, max_bytes, "apply the map")
        eye = np.eye(self.shape[1]).reshape(-1, *self.input_shape)
        return scipy.sparse.csr_array(self._apply(eye).reshape(self.shape[1], -1).T)

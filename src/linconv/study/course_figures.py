"""The course's exact figures, computed by linconv in float64 and in float32."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from linconv.convolution import Conv, ConvTranspose
from linconv.study.published import IMAGE, KERNEL, NOTEBOOK, PUBLISHED
from linconv.study.verdicts import Verdict

__all__ = ["CourseFigures", "Maps"]

Array = NDArray[Any]

_NAMES = {
    "valid_convolution": "convolution",
    "convolution_matrix": "convolution matrix",
    "transposed_convolution_stride_1": "transposed",
    "padded_input_stride_1": "padded input",
    "transposed_convolution_stride_2": "transposed, stride 2",
    "dilated_padded_input_stride_2": "dilated, padded input",
}


@dataclass(frozen=True, eq=False)
class Maps:
    """The image and the maps of the experiment, in one dtype."""

    image: Array
    conv: Conv
    up2: ConvTranspose

    @classmethod
    def of(cls, dtype: type[np.floating[Any]]) -> Maps:
        """Build the maps from the published image and kernel."""
        kernel = KERNEL.astype(dtype)
        conv = Conv(kernel, IMAGE.shape)
        up2 = ConvTranspose(kernel, conv.output_shape, stride=2)
        return cls(IMAGE.astype(dtype), conv, up2)

    def figures(self) -> dict[str, Array]:
        """Return every exact figure by its published name."""
        y = self.conv(self.image)
        return {
            "valid_convolution": y,
            "convolution_matrix": self.conv.matrix(),
            "transposed_convolution_stride_1": self.conv.T(y),
            "padded_input_stride_1": self.conv.T.as_conv().prepared(y),
            "transposed_convolution_stride_2": self.up2(y),
            "dilated_padded_input_stride_2": self.up2.as_conv().prepared(y),
        }


class CourseFigures:
    """All maps and exact figures, twice: in float64 and in float32.

    Attributes
    ----------
    maps, single : Maps
        In float64 and float32.
    found, found32 : dict of str to ndarray
        The figures by their published names.
    image, y : ndarray
        The image and its convolution, in float64.
    """

    def __init__(self) -> None:
        self.maps, self.single = Maps.of(np.float64), Maps.of(np.float32)
        self.found, self.found32 = self.maps.figures(), self.single.figures()
        self.image, self.y = self.maps.image, self.found["valid_convolution"]

    @property
    def both(self) -> tuple[Maps, Maps]:
        """The maps in float64 and in float32."""
        return self.maps, self.single

    def verdict(self, key: str, name: str = "", ours: tuple[Array, Array] | None = None) -> Verdict:
        """Judge a figure, or another computation of it in float64 and float32."""
        float64, float32 = (self.found[key], self.found32[key]) if ours is None else ours
        title = name or _NAMES[key]
        return Verdict.exact(title, float64, float32, PUBLISHED.exact[key], NOTEBOOK)

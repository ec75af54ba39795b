"""The optimal decoder: the transposed convolution that best rebuilds images from features."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
from numpy.typing import NDArray

from linconv.analysis.activations import activation as known_activation
from linconv.arguments import choice
from linconv.convolution import Conv, ConvTranspose
from linconv.engines.arrays import as_array, cast_back, computed_in, read_only
from linconv.errors import DTypeError, ShapeError
from linconv.files import json_number, read_npz_member, reading, regular_file, write_file
from linconv.geometry import Geometry
from linconv.layout import DATA_FORMATS, Layout

__all__ = ["Decoder"]

Array = NDArray[Any]

FILE_LIMIT = 2**30


@dataclass(frozen=True, eq=False)
class Decoder:
    """A transposed convolution with bias and activation, fitted to rebuild images from features.

    Attributes
    ----------
    kernel : array
        As the framework's transposed layer stores it: (*size, image channels / groups, feature
        channels), or (feature channels, image channels / groups, *size) channels first.
    bias : array, shape (image channels,)
        Zero where none was fitted.
    activation : str
        ``"linear"``, ``"tanh"`` or ``"sigmoid"``.
    geometry : Geometry
        Of the convolution images -> features, which the decoder transposes.
    data_format : str
    mse : float
        Mean squared error over all samples that it was fitted to.
    rank, unknowns : int
        Of the least-squares problem (of its last linearisation): all groups together.
    condition : float
        Ratio of its largest singular value to the smallest that counts towards the rank.
    iterations : int
        0 for a linear decoder, which is found in one pass.
    converged : bool
    reason : str
        Why the fit ended, and what a user should know of it.
    linear_mse : float
        That of the best linear decoder, clipped to the activation's range.
    """

    kernel: Array
    bias: Array
    activation: str
    geometry: Geometry
    data_format: str
    mse: float
    rank: int
    unknowns: int
    condition: float
    iterations: int
    converged: bool
    reason: str
    linear_mse: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "kernel", read_only(self.kernel))
        object.__setattr__(self, "bias", read_only(self.bias))

    @property
    def psnr(self) -> float:
        """Peak signal-to-noise ratio in decibels, for images with values from 0 to 1."""
        return float(-10 * np.log10(self.mse)) if self.mse > 0 else float("inf")

    @cached_property
    def _map(self) -> ConvTranspose:
        layout = Layout(self.geometry.ndim, self.data_format, bare=False)
        return Conv.of(self.kernel, layout, self.geometry).T

    def to_conv_transpose(self) -> ConvTranspose:
        """Return the decoder's linear part, without bias and activation, as a map."""
        return self._map

    def __call__(self, features: Any) -> Array:
        """Return the images rebuilt from features.

        Parameters
        ----------
        features : array, shape (*batch, *feature_size, channels) or channels first

        Returns
        -------
        array, shape (*batch, *image_size, channels) or channels first
        """
        array = as_array("features", features)
        linear = self._map(computed_in(self._map.dtype, array))
        shape = self._map.layout.join((1,) * self.geometry.ndim, len(self.bias))
        shifted = linear + self.bias.reshape(shape).astype(linear.dtype)
        return cast_back(known_activation(self.activation).apply(shifted), array.dtype)

    apply = __call__

    def to_dict(self) -> dict[str, Any]:
        """Return everything, arrays as nested lists, infinite figures as None."""
        return {
            **self._settings(),
            "kernel": self.kernel.tolist(),
            "bias": self.bias.tolist(),
            "psnr": json_number(self.psnr),
            "condition": json_number(self.condition),
        }

    def _settings(self) -> dict[str, Any]:
        arrays = ("kernel", "bias")
        plain = {k: getattr(self, k) for k in self.__dataclass_fields__ if k not in arrays}
        return {**plain, "geometry": self.geometry.to_dict()}

    def save(self, path: str | Path) -> None:
        """Write the decoder to an ``.npz`` file: its arrays, and its settings as JSON text.

        Raises
        ------
        OutputError
            If the file cannot be written; what was there before is then still there.
        """
        settings = np.frombuffer(json.dumps(self._settings()).encode(), np.uint8)
        stream = BytesIO()
        np.savez(stream, kernel=self.kernel, bias=self.bias, settings=settings)
        write_file(Path(path), stream.getvalue())

    @classmethod
    def load(cls, path: str | Path) -> Decoder:
        """Read a decoder that `save` wrote.

        Raises
        ------
        InputError
            If the file is missing, not such a file, or holds an array of more than 1 GiB.
            Nothing in it is executed: pickled arrays are refused.
        """
        file = regular_file(path)
        with reading(file, "a decoder"), ZipFile(file) as archive:
            kernel, bias, text = (
                read_npz_member(archive, name, FILE_LIMIT, file)
                for name in ("kernel", "bias", "settings")
            )
            settings = json.loads(text.tobytes())
            geometry = Geometry.from_dict(settings.pop("geometry"))
            decoder = cls(kernel=kernel, bias=bias, geometry=geometry, **settings)
            decoder._check()
        return decoder

    def _check(self) -> None:
        """Raise if what a file said does not make a decoder."""
        known_activation(self.activation)
        choice("data_format", self.data_format, DATA_FORMATS)
        g = self.geometry
        needed = (*g.kernel_size, g.in_channels // g.groups, g.out_channels)
        if self.data_format == "channels_first":
            needed = (g.out_channels, g.in_channels // g.groups, *g.kernel_size)
        for name, shape in (("kernel", needed), ("bias", (g.in_channels,))):
            if getattr(self, name).shape != shape:
                raise ShapeError(f"{name} must have shape {shape}; got {getattr(self, name).shape}")
        for name in ("mse", "condition", "linear_mse"):
            if not isinstance(getattr(self, name), int | float):
                raise DTypeError(f"{name} must be a number; got {getattr(self, name)!r}")

"""DecoderFit: the best linear decoder from any number of batches, by accumulation."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from linconv.analysis.decoder import Decoder
from linconv.analysis.design import (
    Block,
    blocks,
    fold_kernel,
    shared_columns,
    unknowns,
)
from linconv.analysis.least_squares import LeastSquares, solve_shared
from linconv.arguments import PerAxis, choice, finite_number, integer, per_axis, several
from linconv.engines.arrays import finite_real
from linconv.errors import GeometryError, LinconvError, ShapeError
from linconv.geometry import Geometry
from linconv.layout import DATA_FORMATS, Layout
from linconv.padding import Padding

__all__ = ["DecoderFit"]

Array = NDArray[Any]

BATCH_BYTES = 2**22


class DecoderFit:
    """The best linear decoder from any number of batches: an accumulator that can be merged.

    It keeps, per output phase and group, the triangular factor of the design matrix: memory does
    not depend on the number of images, and merging in any order gives the same decoder to
    rounding. All of it is float64.

    Parameters
    ----------
    kernel_size, stride, padding, padding_mode, dilation, groups
        Of the convolution images -> features which the decoder transposes; see `Geometry`.
    bias : bool
        Whether to fit one bias per image channel.
    ridge : float
        Weight of the kernel's sum of squares, added to the sum of squared errors.
    data_format : {"channels_last", "channels_first"}
        Of features, images and kernel.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> images = rng.random((20, 8, 8, 1))
    >>> fit = DecoderFit(3)
    >>> for batch in np.split(images, 4):
    ...     fit = fit.update(2 * batch + 1, batch)
    >>> decoder = fit.solve()
    >>> round(decoder.mse, 12), decoder.bias.round(6)
    (0.0, array([-0.5]))
    """

    def __init__(
        self,
        kernel_size: PerAxis,
        *,
        stride: PerAxis = 1,
        padding: Padding = "same",
        padding_mode: str | Sequence[str] = "zeros",
        dilation: PerAxis = 1,
        groups: int = 1,
        bias: bool = True,
        ridge: float = 0.0,
        data_format: str = "channels_last",
    ) -> None:
        ridge = finite_number("ridge", ridge, "0.0")
        self._options: dict[str, Any] = {
            "kernel_size": plain_option(kernel_size),
            "stride": plain_option(stride),
            "padding": plain_option(padding),
            "padding_mode": plain_option(padding_mode),
            "dilation": plain_option(dilation),
            "groups": integer("groups", groups, minimum=1),
        }
        for name, value in (
            ("kernel_size", kernel_size),
            ("stride", stride),
            ("dilation", dilation),
        ):
            per_axis(name, value, len(plain_option(value)) if several(value) else 1, minimum=1)
        choice("data_format", data_format, DATA_FORMATS)
        self._settings = (bool(bias), ridge, data_format)
        self.geometry: Geometry | None = None
        self._blocks: list[Block] = []
        self._sums: list[LeastSquares] = []
        self.images = 0

    @property
    def bias(self) -> bool:
        """Whether a bias is fitted."""
        return self._settings[0]

    @property
    def ridge(self) -> float:
        """Weight of the kernel's sum of squares."""
        return self._settings[1]

    @property
    def data_format(self) -> str:
        """``"channels_last"`` or ``"channels_first"``."""
        return self._settings[2]

    def update(self, features: Any, images: Any) -> DecoderFit:
        """Add a batch, in pieces of bounded memory, and return self.

        Parameters
        ----------
        features : array, shape (n, *feature_size, channels) or (n, channels, *feature_size)
        images : array, shape (n, *image_size, channels) or (n, channels, *image_size)

        Raises
        ------
        ShapeError, GeometryError
            If the shapes do not fit each other, the options or the batches before.
        LinconvError
            If a value is NaN or infinite.
        """
        y, x = self.read(features, images)
        for block, total in zip(self._blocks, self._sums, strict=True):
            for part, lines in block.cuts(len(y), BATCH_BYTES):
                rows = block.rows(y[part], self.bias, total.targets, lines)
                rows[:, total.unknowns :] = block.targets(x[part], lines)
                total.add(rows)
        self.images += len(x)
        return self

    def __add__(self, other: DecoderFit) -> DecoderFit:
        """Return the fit to the batches of both; options and sizes must be the same."""
        if not isinstance(other, DecoderFit):
            return NotImplemented
        mine = (self._options, self._settings)
        known = self.geometry is not None and other.geometry is not None
        alike = known or self._options == other._options
        if not alike or self._settings != other._settings:
            raise GeometryError(
                f"fits can be added if their options are the same; got {mine} and "
                f"{(other._options, other._settings)}; make both alike"
            )
        if self.geometry is None or other.geometry is None:
            return self._copy() if other.geometry is None else other._copy()
        if self.geometry != other.geometry:
            raise ShapeError(
                f"fits can be added if their images have the same sizes; got {self.geometry} and "
                f"{other.geometry}; fit images of one size"
            )
        total = self._copy()
        total._sums = [a + b for a, b in zip(self._sums, other._sums, strict=True)]
        total.images = self.images + other.images
        return total

    def solve(self) -> Decoder:
        """Return the decoder with the least sum of squared errors over all batches so far.

        Of least norm where the data do not determine it, as `Decoder.rank` then tells.

        Raises
        ------
        LinconvError
            If there were no batches.
        """
        if self.geometry is None or not self.images:
            raise LinconvError("a decoder needs images; got none; call update(features, images)")
        g, count = self.geometry, unknowns(self.geometry) + self.bias
        ridge = np.full(count, self.ridge)
        ridge[count - self.bias :] = 0
        solutions = []
        for group in range(g.groups):
            pairs = zip(self._blocks, self._sums, strict=True)
            system = [
                (total, shared_columns(block, count, self.bias))
                for block, total in pairs
                if block.group == group
            ]
            solutions.append(solve_shared(system, count, ridge))
        found = [s.unknowns for s in solutions]
        kernel = fold_kernel([u[: count - self.bias] for u in found], g)
        bias = np.concatenate([u[-1] for u in found]) if self.bias else np.zeros(g.in_channels)
        samples = self.images * prod(g.input_size) * g.in_channels
        mse = sum(s.residual for s in solutions) / samples
        return Decoder(
            kernel=Layout(g.ndim, self.data_format, bare=False).kernels_back(kernel),
            bias=bias,
            activation="linear",
            geometry=g,
            data_format=self.data_format,
            mse=mse,
            rank=sum(s.rank for s in solutions),
            unknowns=count * g.groups,
            condition=max(s.condition for s in solutions),
            iterations=0,
            converged=True,
            reason="the global least-squares optimum, found in one pass",
            linear_mse=mse,
        )

    def _copy(self) -> DecoderFit:
        twin = DecoderFit.__new__(DecoderFit)
        twin._options, twin._settings = self._options, self._settings
        twin.geometry, twin._blocks = self.geometry, self._blocks
        twin._sums = [total + LeastSquares(total.unknowns, total.targets) for total in self._sums]
        twin.images = self.images
        return twin

    def read(self, features: Any, images: Any) -> tuple[Array, Array]:
        """Check a batch, and return it channels first in float64."""
        y, x = finite_real("features", features), finite_real("images", images)
        if y.ndim != x.ndim or x.ndim < 3 or len(y) != len(x):
            raise ShapeError(
                f"features and images must have shapes (n, *size, channels) with the same n and "
                f"number of axes; got {y.shape} and {x.shape}; give as many of both, with channels"
            )
        layout = Layout(x.ndim - 2, self.data_format, bare=False)
        size, channels = layout.split(x.shape[1:], 1)
        feature_size, feature_channels = layout.split(y.shape[1:], 1)
        geometry = Geometry(
            size, in_channels=channels, out_channels=feature_channels, **self._options
        )
        if geometry.output_size != feature_size:
            raise ShapeError(
                f"the convolution images -> features gives features of size "
                f"{geometry.output_size} for images of size {size}; got {feature_size}; "
                f"check stride, padding and kernel_size"
            )
        if self.geometry is None:
            self.geometry = geometry
            self._blocks = list(blocks(geometry))
            per_group = geometry.in_channels // geometry.groups
            self._sums = [
                LeastSquares(len(block.columns) + self.bias, per_group) for block in self._blocks
            ]
        elif geometry != self.geometry:
            raise ShapeError(
                f"all batches must have images and features of the same sizes; got {geometry} "
                f"after {self.geometry}; use one DecoderFit for each"
            )
        return layout.arrays_first(y), layout.arrays_first(x)


def plain_option(value: Any) -> Any:
    """Return an option of `Geometry` with tuples for any sequences, so that it can be compared."""
    return tuple(plain_option(v) for v in value) if several(value) else value

"""Geometry: every size, padding convention and index of a convolution, in whole numbers only."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, SupportsIndex

import numpy as np
from numpy.typing import NDArray

from linconv.arguments import PerAxis, check_groups, integer, per_axis, shape
from linconv.errors import GeometryError
from linconv.padding import (
    Padding,
    Pairs,
    check_border,
    padded_sources,
    resolve_modes,
    resolve_output_padding,
    resolve_padding,
    resolve_transposed,
)
from linconv.phases import Phase, output_phases
from linconv.receptive_field import ReceptiveField

__all__ = ["Geometry"]


@dataclass(frozen=True, init=False, repr=False)
class Geometry:
    """The geometry of a convolution: sizes, stride, dilation, padding, channels and groups.

    Every parameter that is per axis takes one int for all spatial axes or one per axis.

    Parameters
    ----------
    input_size, kernel_size : int or sequence of int
        Samples along each spatial axis; an int means one axis for `input_size`.
    stride : int or sequence of int
        Distance between neighbouring windows, in input samples.
    padding : str, int, sequence of int or sequence of (low, high)
        ``"valid"`` (none), ``"same"`` (output size ``ceil(input / stride)``, the odd sample at
        the end, as TensorFlow and XLA do), ``"same_lower"`` (the odd sample at the start),
        ``"full"`` (every window that touches a sample), ``"causal"`` (all of it before the
        first sample), or samples per side; a negative number crops.
    padding_mode : str or sequence of str
        What the padding holds: ``"zeros"``, ``"circular"`` (the axis repeats), ``"reflect"``
        (mirrored, the border sample once), ``"replicate"`` (the border sample repeats) or
        ``"symmetric"`` (mirrored, the border sample twice).
    dilation : int or sequence of int
        Distance between neighbouring kernel samples, in input samples.
    in_channels, out_channels, groups : int
        Output channels of group g read only the input channels of group g.

    Attributes
    ----------
    padding : tuple of (low, high)
        Resolved to samples per axis; `padding_mode` is resolved to one name per axis.

    Raises
    ------
    GeometryError
        If the options describe no convolution; the message names the axis and the remedy.

    Notes
    -----
    Sizes follow Dumoulin and Visin, "A guide to convolution arithmetic for deep learning"
    (arXiv 1603.07285), with the effective kernel size ``k + (k - 1) * (dilation - 1)``.

    Examples
    --------
    >>> g = Geometry((224, 224), 7, stride=2, padding="same")
    >>> g.padding, g.output_size
    (((2, 3), (2, 3)), (112, 112))
    >>> Geometry.input_sizes(12, 3, stride=2, padding="same")
    (range(23, 25),)
    """

    input_size: tuple[int, ...]
    kernel_size: tuple[int, ...]
    stride: tuple[int, ...]
    padding: Pairs
    padding_mode: tuple[str, ...]
    dilation: tuple[int, ...]
    in_channels: int
    out_channels: int
    groups: int

    def __init__(
        self,
        input_size: PerAxis,
        kernel_size: PerAxis,
        *,
        stride: PerAxis = 1,
        padding: Padding = "valid",
        padding_mode: str | Sequence[str] = "zeros",
        dilation: PerAxis = 1,
        in_channels: SupportsIndex = 1,
        out_channels: SupportsIndex = 1,
        groups: SupportsIndex = 1,
    ) -> None:
        size = shape("input_size", input_size)
        ndim = len(size)
        kernel, steps, spacing, reach = _read_axes(ndim, kernel_size, stride, dilation)
        values: dict[str, Any] = {
            "input_size": size,
            "kernel_size": kernel,
            "stride": steps,
            "padding": resolve_padding(padding, size, reach, steps),
            "padding_mode": resolve_modes(padding_mode, ndim),
            "dilation": spacing,
            "in_channels": integer("in_channels", in_channels, minimum=1),
            "out_channels": integer("out_channels", out_channels, minimum=1),
            "groups": integer("groups", groups, minimum=1),
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)
        check_groups(self.groups, in_channels=self.in_channels, out_channels=self.out_channels)
        check_border(self.input_size, self.padding, self.padding_mode)
        self._check_kernel()

    def _check_kernel(self) -> None:
        for axis, (padded, reach, _) in enumerate(self._windows()):
            if reach > padded:
                raise GeometryError(
                    f"the kernel must not be larger than the padded input; got effective kernel "
                    f"size {reach} (kernel {self.kernel_size[axis]}, dilation "
                    f"{self.dilation[axis]}) on padded size {padded} (input "
                    f"{self.input_size[axis]}, padding {self.padding[axis]}) at axis {axis}; use "
                    f"a smaller kernel or dilation, or at least {reach - padded} more samples of "
                    f"padding"
                )

    def _windows(self) -> Iterator[tuple[int, int, int]]:
        """Yield padded size, effective kernel size and stride per axis."""
        return zip(self.padded_size, self.effective_kernel_size, self.stride, strict=True)

    @classmethod
    def for_transpose(
        cls,
        input_size: PerAxis,
        kernel_size: PerAxis,
        *,
        stride: PerAxis = 1,
        padding: Padding = "valid",
        output_padding: PerAxis | None = None,
        padding_mode: str | Sequence[str] = "zeros",
        dilation: PerAxis = 1,
        in_channels: SupportsIndex = 1,
        out_channels: SupportsIndex = 1,
        groups: SupportsIndex = 1,
    ) -> Geometry:
        """Return the geometry of the convolution that a transposed convolution transposes.

        Parameters are those of `Geometry`, seen from the transposed layer: `input_size` and
        `in_channels` are its input, and the returned geometry has them as its *output*.

        Parameters
        ----------
        output_padding : int or sequence of int, optional
            Samples computed beyond the end of the output, at least 0 and less than the larger
            of stride and dilation. None means Keras' default output size for ``"same"``,
            ``"same_lower"`` (``n * s``) and ``"valid"`` (``(n - 1) * s + max(k, s)``), and 0 for
            any other padding.

        Raises
        ------
        GeometryError
            As `Geometry`, or if `output_padding` is out of range or the output has no sample.

        Notes
        -----
        With n the input size, s the stride, k the effective kernel size and op the output
        padding, the output size is ``(n - 1) * s - low - high + k + op`` (PyTorch), and for
        ``"same"`` with a given op ``(n - 1) * s + k % 2 + op`` (Keras).
        """
        size = shape("input_size", input_size)
        ndim = len(size)
        kernel, steps, spacing, reach = _read_axes(ndim, kernel_size, stride, dilation)
        check_groups(
            integer("groups", groups, minimum=1),
            in_channels=integer("in_channels", in_channels, minimum=1),
            out_channels=integer("out_channels", out_channels, minimum=1),
        )
        extra = resolve_output_padding(output_padding, steps, spacing)
        sizes, pairs = resolve_transposed(padding, size, reach, steps, extra)
        return cls(
            sizes,
            kernel,
            stride=steps,
            padding=pairs,
            padding_mode=padding_mode,
            dilation=spacing,
            in_channels=out_channels,
            out_channels=in_channels,
            groups=groups,
        )

    @staticmethod
    def input_sizes(
        output_size: PerAxis,
        kernel_size: PerAxis,
        *,
        stride: PerAxis = 1,
        padding: Padding = "valid",
        dilation: PerAxis = 1,
    ) -> tuple[range, ...]:
        """Return, per axis, every input size that gives the wanted output size, as a range."""
        wanted = shape("output_size", output_size)
        _, steps, _, reach = _read_axes(len(wanted), kernel_size, stride, dilation)
        if isinstance(padding, str) and padding.startswith("same"):
            firsts = [(o - 1) * s + 1 for o, s in zip(wanted, steps, strict=True)]
        else:
            pairs = resolve_padding(padding, wanted, reach, steps)
            firsts = [
                (o - 1) * s + k - low - high
                for o, s, k, (low, high) in zip(wanted, steps, reach, pairs, strict=True)
            ]
        return tuple(
            range(max(1, first), max(1, first + s)) for first, s in zip(firsts, steps, strict=True)
        )

    @property
    def ndim(self) -> int:
        """Number of spatial axes."""
        return len(self.input_size)

    @property
    def effective_kernel_size(self) -> tuple[int, ...]:
        """Input samples from the first to the last tap: ``(kernel_size - 1) * dilation + 1``."""
        return _effective(self.kernel_size, self.dilation)

    @property
    def padded_size(self) -> tuple[int, ...]:
        """Samples along each axis after padding."""
        return tuple(n + a + b for n, (a, b) in zip(self.input_size, self.padding, strict=True))

    @property
    def output_size(self) -> tuple[int, ...]:
        """Number of windows along each axis."""
        return tuple((padded - k) // s + 1 for padded, k, s in self._windows())

    @property
    def leftover(self) -> tuple[int, ...]:
        """Padded samples after the last window, which no window reads."""
        return tuple((padded - k) % s for padded, k, s in self._windows())

    @property
    def dilated_size(self) -> tuple[int, ...]:
        """Size of the output with ``stride - 1`` zeros between its samples."""
        return tuple((o - 1) * s + 1 for o, s in zip(self.output_size, self.stride, strict=True))

    @property
    def receptive_field(self) -> ReceptiveField:
        """Which input samples each output sample reads."""
        start = tuple(-low for low, _ in self.padding)
        return ReceptiveField(self.effective_kernel_size, self.stride, start)

    def split_border(self) -> tuple[Geometry, Geometry]:
        """Split off the padding that is not zeros.

        Returns
        -------
        border, rest : Geometry
            The first pads the axes whose mode is not zeros (kernel size 1, stride 1); the second
            is the same convolution of the array so padded, itself padded with zeros only.
        """
        none = (0, 0)
        bordered = [mode != "zeros" for mode in self.padding_mode]
        split = list(zip(bordered, self.padding, strict=True))
        border = Geometry(
            self.input_size,
            1,
            padding=tuple(pair if is_border else none for is_border, pair in split),
            padding_mode=self.padding_mode,
        )
        rest = self.replace(
            input_size=border.output_size,
            padding=tuple(none if is_border else pair for is_border, pair in split),
            padding_mode="zeros",
        )
        return border, rest

    def transposed(self) -> Geometry:
        """Return the ordinary stride-1 convolution that equals the transpose.

        It reads the dilated output (`dilated_size`) with the flipped kernel. Axes whose padding
        mode is not zeros come out *padded*; the transpose of the padding folds them back.
        """
        _, rest = self.split_border()
        return rest.replace(
            input_size=self.dilated_size,
            stride=1,
            padding=tuple(
                (k - 1 - low, k - 1 - high + left)
                for k, (low, high), left in zip(
                    self.effective_kernel_size, rest.padding, self.leftover, strict=True
                )
            ),
            in_channels=self.out_channels,
            out_channels=self.in_channels,
        )

    def sources(self, axis: int) -> NDArray[np.int64]:
        """Return the input sample that each output sample reads with each tap along `axis`.

        Returns
        -------
        ndarray of int64, shape (output_size[axis], kernel_size[axis])
            -1 where a padded zero is read.
        """
        low, high = self.padding[axis]
        padded = padded_sources(self.input_size[axis], low, high, self.padding_mode[axis])
        windows = np.arange(self.output_size[axis])[:, None] * self.stride[axis]
        read: NDArray[np.int64] = padded[
            windows + np.arange(self.kernel_size[axis]) * self.dilation[axis]
        ]
        return read

    def overlap(self) -> tuple[NDArray[np.int64], ...]:
        """Return, per axis, how many (window, tap) pairs read each input sample.

        The transposed convolution's outputs receive as many; over several axes they multiply.
        """
        counts = []
        for axis, size in enumerate(self.input_size):
            read = self.sources(axis)
            counts.append(np.bincount(read[read >= 0], minlength=size).astype(np.int64))
        return tuple(counts)

    def phases(self, axis: int) -> tuple[Phase, ...]:
        """Return the output phases of the transposed convolution along `axis` (zero padding).

        There are as many as the stride, less those that no output sample belongs to.
        """
        names = ("input_size", "output_size", "kernel_size", "stride", "dilation")
        size, windows, kernel, stride, dilation = (getattr(self, name)[axis] for name in names)
        return output_phases(size, windows, kernel, stride, dilation, self.padding[axis][0])

    def with_kernel_size(self, kernel_size: PerAxis) -> Geometry:
        """Return the geometry for another kernel size, from the same input to the same output.

        It is padded "same" if this one is; otherwise its windows keep their centres.
        """
        kernel = per_axis("kernel_size", kernel_size, self.ndim, minimum=1)
        if self.padding == self.replace(padding="same").padding:
            return self.replace(kernel_size=kernel, padding="same")
        pairs = []
        for axis, reach in enumerate(_effective(kernel, self.dilation)):
            low = self.padding[axis][0] + (reach - self.effective_kernel_size[axis]) // 2
            spanned = self.dilated_size[axis] - 1 + reach
            pairs.append((low, spanned - self.input_size[axis] - low))
        return self.replace(kernel_size=kernel, padding=tuple(pairs))

    def replace(self, **changes: Any) -> Geometry:
        """Return a geometry with some of its parameters changed, validated anew."""
        return Geometry(**{**self._fields(), **changes})

    def to_dict(self) -> dict[str, Any]:
        """Return the geometry as plain lists, strings and ints; `from_dict` reads it back."""
        return {name: _plain(value) for name, value in self._fields().items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Geometry:
        """Return the geometry that `to_dict` described."""
        known = sorted(field.name for field in fields(cls))
        if set(values).difference(known) or not {"input_size", "kernel_size"} <= set(values):
            raise GeometryError(
                f"a geometry has the entries {known}, sizes included; got {list(values)}; use these"
            )
        return cls(**values)

    def _fields(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def __repr__(self) -> str:
        usual = {"stride": 1, "padding": (0, 0), "padding_mode": "zeros", "dilation": 1}
        defaults: dict[str, Any] = {name: (value,) * self.ndim for name, value in usual.items()}
        defaults |= {"in_channels": 1, "out_channels": 1, "groups": 1}
        shown = {k: v for k, v in self._fields().items() if k not in defaults or v != defaults[k]}
        return f"Geometry({', '.join(f'{name}={value!r}' for name, value in shown.items())})"


def _effective(kernel: tuple[int, ...], dilation: tuple[int, ...]) -> tuple[int, ...]:
    return tuple((k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True))


def _read_axes(
    ndim: int, kernel_size: PerAxis, stride: PerAxis, dilation: PerAxis
) -> tuple[tuple[int, ...], ...]:
    """Return kernel size, stride, dilation and effective kernel size, each one int per axis."""
    kernel = per_axis("kernel_size", kernel_size, ndim, minimum=1)
    steps = per_axis("stride", stride, ndim, minimum=1)
    spacing = per_axis("dilation", dilation, ndim, minimum=1)
    return kernel, steps, spacing, _effective(kernel, spacing)


def _plain(value: Any) -> Any:
    return [_plain(v) for v in value] if isinstance(value, tuple) else value

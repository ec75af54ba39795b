"""The layers that every law is tested on: one table with names, and the full grid.

A `Case` is a layer by its options alone, as a user writes them. It draws its own arrays (seeded by
its name) and resolves itself for `reference`, which shares no code with linconv.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from itertools import product
from typing import Any
from zlib import crc32

import numpy as np

import reference

MODES = ("zeros", "circular", "reflect", "replicate", "symmetric")
FORMATS = ("channels_last", "channels_first")
DTYPES = ("float32", "float64", "complex64", "complex128")
NAMES = ("valid", "same", "same_lower", "full", "causal")
TOLERANCE = {"float16": 4e-3, "bfloat16": 3e-2, "float32": 1e-5, "float64": 1e-11}


@dataclass(frozen=True)
class Case:
    """A layer as its user writes it; `channels` is (in, out), or None for bare arrays."""

    name: str
    input_size: tuple[int, ...]
    kernel_size: tuple[int, ...]
    stride: Any = 1
    padding: Any = "valid"
    padding_mode: Any = "zeros"
    dilation: Any = 1
    groups: int = 1
    channels: tuple[int, int] | None = None
    data_format: str = "channels_last"
    dtype: str = "float64"

    @property
    def ndim(self) -> int:
        return len(self.input_size)

    @property
    def layer(self) -> reference.Layer:
        """The same layer for the reference, every option resolved by the reference's own rules."""
        stride = reference.per_axis(self.stride, self.ndim)
        dilation = reference.per_axis(self.dilation, self.ndim)
        return reference.Layer(
            self.input_size,
            self.kernel_size,
            stride,
            reference.resolve_padding(
                self.padding, self.input_size, self.kernel_size, stride, dilation
            ),
            reference.per_axis(self.padding_mode, self.ndim),
            dilation,
            self.groups,
            self.data_format == "channels_last",
        )

    @property
    def options(self) -> dict[str, Any]:
        """The keyword arguments of `linconv.Conv`."""
        return {
            "stride": self.stride,
            "padding": self.padding,
            "padding_mode": self.padding_mode,
            "dilation": self.dilation,
            "groups": self.groups,
            "data_format": self.data_format,
        }

    @property
    def geometry_options(self) -> dict[str, Any]:
        """The keyword arguments of `linconv.Geometry`."""
        channels = self.channels or (1, 1)
        return {k: v for k, v in self.options.items() if k != "data_format"} | {
            "in_channels": channels[0],
            "out_channels": channels[1],
        }

    def shape_of(self, size: tuple[int, ...], side: int) -> tuple[int, ...]:
        """The shape of an array of that size; side 0 is the layer's input, 1 its output."""
        if self.channels is None:
            return size
        channels = (self.channels[side],)
        return size + channels if self.data_format == "channels_last" else channels + size

    @property
    def input_shape(self) -> tuple[int, ...]:
        return self.shape_of(self.input_size, 0)

    @property
    def output_shape(self) -> tuple[int, ...]:
        return self.shape_of(reference.output_size(self.layer), 1)

    @property
    def kernel_shape(self) -> tuple[int, ...]:
        if self.channels is None:
            return self.kernel_size
        inputs, outputs = self.channels[0] // self.groups, self.channels[1]
        if self.data_format == "channels_last":
            return (*self.kernel_size, inputs, outputs)
        return (outputs, inputs, *self.kernel_size)

    @property
    def rng(self) -> np.random.Generator:
        """A generator seeded by the name: the same arrays in every run, others in every case."""
        return np.random.default_rng(crc32(self.name.encode()))

    def arrays(self, *batch: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """A kernel, an input and an output; the last two with leading batch axes."""
        rng = self.rng
        return (
            draw(rng, self.kernel_shape, self.dtype),
            draw(rng, batch + self.input_shape, self.dtype),
            draw(rng, batch + self.output_shape, self.dtype),
        )

    def with_channels(self, array: np.ndarray, *, kernel: bool = False) -> np.ndarray:
        """The array with the channel axes that the reference wants, for bare cases too."""
        if self.channels is not None:
            return array
        axes = range(2 if kernel else 1)
        for _ in axes:
            array = array[..., None] if self.data_format == "channels_last" else array[None]
        return array

    def expected(self, x: np.ndarray, kernel: np.ndarray) -> np.ndarray:
        """The reference's output for one input without batch axes."""
        return reference.convolve(
            self.layer, self.with_channels(x), self.with_channels(kernel, kernel=True)
        ).reshape(self.output_shape)

    def expected_transpose(self, y: np.ndarray, kernel: np.ndarray) -> np.ndarray:
        """The reference's transpose for one output without batch axes."""
        return reference.convolve_transpose(
            self.layer, self.with_channels(y), self.with_channels(kernel, kernel=True)
        ).reshape(self.input_shape)

    def expected_matrix(self, kernel: np.ndarray) -> np.ndarray:
        """The reference's matrix, a unit vector at a time."""
        return reference.matrix(self.layer, self.with_channels(kernel, kernel=True))


def draw(rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """Normal numbers that single precision holds exactly, so that all dtypes see the same ones."""
    real = rng.standard_normal(shape).astype(np.float32)
    if np.dtype(dtype).kind != "c":
        return real.astype(dtype)
    return (real + 1j * rng.standard_normal(shape).astype(np.float32)).astype(dtype)


def assert_close(
    actual: Any, expected: np.ndarray, dtype: Any = "float64", where: str = ""
) -> None:
    """Same shape, and equal to rounding: an error relative to the largest expected value."""
    actual = np.asarray(actual)
    assert actual.shape == expected.shape, f"{where}: {actual.shape} instead of {expected.shape}"
    name = np.dtype(dtype).name.replace("complex64", "float32").replace("complex128", "float64")
    scale = max(1.0, float(np.abs(expected).max(initial=0.0)))
    error = float(np.abs(actual - expected).max(initial=0.0))
    assert error <= TOLERANCE[name] * scale, f"{where}: off by {error} where values reach {scale}"


# One case per line of thought; the comment tells which parameter it moves.
CASES = (
    # the smallest layer: one axis, one tap, no channels
    Case("one_tap", (4,), (1,)),
    # one axis, nothing set
    Case("line", (7,), (3,)),
    # two axes, different sizes and taps on each
    Case("image", (5, 6), (3, 2)),
    # three axes
    Case("volume", (4, 3, 5), (2, 3, 2)),
    # four axes: nothing may count on three
    Case("four_axes", (3, 2, 3, 2), (2, 1, 2, 2), stride=(1, 1, 1, 2), padding=(0, 1, 0, 1)),
    # the kernel covers the whole input
    Case("one_window", (3, 4), (3, 4)),
    # channels, more out than in
    Case("channels", (5, 4), (2, 3), channels=(2, 3)),
    # channels, the other layout
    Case("channels_first", (5, 4), (2, 3), channels=(2, 3), data_format="channels_first"),
    # bare arrays under the other layout
    Case("bare_channels_first", (5, 4), (2, 3), data_format="channels_first"),
    # two groups
    Case("groups", (5, 4), (2, 2), groups=2, channels=(4, 6)),
    # as many groups as channels, two outputs each
    Case("depthwise", (5, 4), (3, 3), groups=3, channels=(3, 6), padding="same"),
    # depthwise in the other layout
    Case(
        "depthwise_first", (4, 5), (3, 2), groups=2, channels=(2, 2), data_format="channels_first"
    ),
    # more channels than a vector has lanes, each filtered by itself
    Case("depthwise_wide", (4, 5), (3, 2), groups=19, channels=(19, 19), padding=(2, 1)),
    Case(
        "depthwise_wide_strided",
        (5, 6),
        (3, 3),
        stride=2,
        dilation=(1, 2),
        groups=16,
        channels=(16, 16),
        padding=((2, 0), (-1, 3)),
    ),
    Case("depthwise_line", (6,), (4,), groups=33, channels=(33, 33), stride=3, padding="full"),
    # stride that leaves samples unread at the end
    Case("stride_leftover", (8,), (3,), stride=2),
    # stride larger than the kernel: samples between the windows are never read
    Case("stride_gaps", (9, 8), (2, 1), stride=3),
    # a stride for each axis
    Case("stride_each_axis", (7, 8), (3, 2), stride=(2, 3), channels=(2, 2)),
    # dilation alone
    Case("dilation", (7, 8), (3, 2), dilation=2),
    # a dilation for each axis, larger than the stride
    Case("dilation_each_axis", (8, 9), (2, 3), dilation=(3, 2), stride=2),
    # stride and dilation with a common factor
    Case("stride_and_dilation", (9, 9), (3, 3), stride=4, dilation=2, padding="same"),
    # "same", odd kernel
    Case("same_odd", (5, 6), (3, 5), padding="same"),
    # "same", even kernel: the extra sample at the end
    Case("same_even", (5, 6), (2, 4), padding="same"),
    # "same_lower": the extra sample at the start
    Case("same_lower", (5, 6), (2, 4), padding="same_lower"),
    # "same" with stride: the total depends on the input size
    Case("same_stride", (7, 8), (3, 3), padding="same", stride=2, channels=(2, 2)),
    # "same" where the stride exceeds the kernel: nothing to pad
    Case("same_no_pad", (9,), (2,), padding="same", stride=3),
    # "full"
    Case("full", (4, 3), (3, 2), padding="full", dilation=(1, 2)),
    # "causal" with dilation
    Case("causal", (8,), (3,), padding="causal", dilation=2, channels=(2, 1)),
    # one number for all axes
    Case("pad_number", (4, 5), (3, 3), padding=2),
    # one number per axis
    Case("pad_numbers", (4, 5), (3, 3), padding=(0, 2)),
    # a pair per axis, different ends
    Case("pad_pairs", (4, 5), (3, 2), padding=((0, 2), (3, 1)), stride=2),
    # padding larger than the kernel: outputs that read zeros alone
    Case("pad_beyond_kernel", (3,), (2,), padding=4),
    # windows that read padding alone: not one sample arrives, the matrix is empty
    Case("reads_nothing", (3,), (1,), padding=((1, 2),), stride=5),
    # negative pads crop
    Case("crop", (7, 8), (2, 3), padding=((-1, -2), (-2, 0))),
    # crop one end and pad the other
    Case("crop_and_pad", (6, 6), (3, 2), padding=((-2, 3), (1, -1)), stride=2),
    # crop away as much as leaves one window
    Case("crop_to_one_window", (6,), (2,), padding=((-3, -1),)),
    # circular border
    Case("circular", (5, 4), (3, 3), padding="same", padding_mode="circular"),
    # circular, a whole turn
    Case("circular_turn", (3,), (2,), padding=3, padding_mode="circular"),
    # reflect border, as far as it goes
    Case("reflect", (4, 5), (3, 2), padding=3, padding_mode="reflect", stride=2),
    # replicate border, beyond the size of the axis
    Case("replicate", (2, 3), (3, 2), padding=4, padding_mode="replicate"),
    # symmetric border, as far as it goes
    Case("symmetric", (3, 4), (3, 3), padding=3, padding_mode="symmetric", channels=(2, 1)),
    # a border rule for each axis, with pairs and a crop
    Case(
        "mode_each_axis",
        (5, 4, 5),
        (2, 3, 2),
        padding=((2, 1), (1, 2), (-1, 2)),
        padding_mode=("reflect", "zeros", "circular"),
        stride=(1, 2, 1),
    ),
    # everything at once
    Case(
        "everything",
        (7, 6),
        (3, 2),
        stride=(2, 3),
        padding=((2, 1), (0, 3)),
        padding_mode=("symmetric", "reflect"),
        dilation=(1, 2),
        groups=2,
        channels=(4, 6),
        data_format="channels_first",
    ),
    # complex numbers
    Case("complex", (4, 5), (2, 3), padding="same", dtype="complex128", channels=(2, 2)),
    # single precision
    Case("single", (6, 5), (3, 3), padding=1, dtype="float32", channels=(3, 2)),
    # single precision, complex
    Case("single_complex", (6,), (3,), padding="same", dtype="complex64"),
)
BY_NAME = {case.name: case for case in CASES}

# The full grid. Sizes and taps differ on every axis, so that no two axes can be confused.
GRID_SIZES = {1: ((8,), (3,)), 2: ((6, 7), (2, 3)), 3: ((4, 6, 3), (2, 3, 1))}
GRID_STRIDES = (1, 2, 3)
GRID_DILATIONS = (1, 2)
GRID_PADDINGS = {name: name for name in NAMES} | {"one": 1, "ends": (0, 2), "crop": (-1, 2)}
GRID_CHANNELS = {
    "bare": (1, None),
    "dense": (1, (2, 3)),
    "groups": (2, (4, 2)),
    "depthwise": (3, (3, 6)),
}


def grid(rank: int, mode: str, stride: int, dtypes: tuple[str, ...] = DTYPES) -> Iterator[Case]:
    """One cell of the full grid: dilation x padding x channels x layout x dtype, all crossed."""
    size, taps = GRID_SIZES[rank]
    for dilation, (pad_name, padding), (channel_name, (groups, channels)) in product(
        GRID_DILATIONS, GRID_PADDINGS.items(), GRID_CHANNELS.items()
    ):
        name = f"{rank}d-{mode}-stride{stride}-dilation{dilation}-{pad_name}-{channel_name}"
        pads = (padding,) * rank if isinstance(padding, tuple) else padding
        # without channels there is one layout, whatever it is called
        formats = FORMATS if channels is not None else FORMATS[:1]
        for data_format, dtype in product(formats, dtypes):
            yield Case(
                f"{name}-{data_format}-{dtype}",
                size,
                taps,
                stride,
                pads,
                mode,
                dilation,
                groups,
                channels,
                data_format,
                dtype,
            )


@cache  # every cell is asked for by several tests, far apart
def _grid_answer(plain: Case) -> tuple[np.ndarray, ...]:
    """Kernel, input, output, and the reference's image of the last two, in double precision."""
    kernel, x, y = plain.arrays()
    return kernel, x, y, plain.expected(x, kernel), plain.expected_transpose(y, kernel)


def grid_answer(case: Case) -> tuple[np.ndarray, ...]:
    """As `_grid_answer`, in the layout and dtype of the case; the loops run once for all."""
    wide = "complex128" if np.dtype(case.dtype).kind == "c" else "float64"
    base = case.name.removesuffix(f"-{case.data_format}-{case.dtype}")
    plain = replace(case, name=f"{base}-{wide}", data_format="channels_last", dtype=wide)
    kernel, x, y, image, pullback = _grid_answer(plain)
    if case.channels is not None and case.data_format == "channels_first":
        kernel = np.moveaxis(kernel, (-1, -2), (0, 1))
        x, y, image, pullback = (np.moveaxis(a, -1, 0) for a in (x, y, image, pullback))
    return kernel.astype(case.dtype), x.astype(case.dtype), y.astype(case.dtype), image, pullback

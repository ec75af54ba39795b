"""Plain: a layer that is one convolution, channels first, and the ways to write it wrongly."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations, permutations, product
from typing import Any

import numpy as np

from linconv.convolution import Conv, ConvTranspose
from linconv.engines.arrays import Array
from linconv.errors import GeometryError
from linconv.factors import Pad
from linconv.geometry import Geometry
from linconv.layers.parts import kernel_first, parts
from linconv.layout import Layout
from linconv.linear_map import LinearMap
from linconv.padding import PADDING_MODES

__all__ = ["Plain", "Variant", "fitting", "mode_choices", "plain", "variants"]


@dataclass(frozen=True, eq=False)
class Plain:
    """One convolution (or its transpose) between arrays (channels, *size), in float64."""

    conv: Conv
    transposed: bool

    @property
    def geometry(self) -> Geometry:
        """Of the convolution, which the layer may transpose."""
        return self.conv.geometry

    @property
    def op(self) -> Conv | ConvTranspose:
        """The map itself."""
        return self.conv.T if self.transposed else self.conv

    @property
    def lows(self) -> tuple[int, ...]:
        """Samples of padding before the first one, per axis."""
        return tuple(low for low, _ in self.geometry.padding)

    def changed(self, kernel: Array, **changes: Any) -> Plain:
        """Return it with another kernel and geometry, which must fit each other."""
        geometry = self.geometry.replace(kernel_size=kernel.shape[2:], **changes)
        return Plain(Conv.of(kernel, self.conv.layout, geometry), self.transposed)


def plain(op: LinearMap) -> Plain | None:
    """Return a map as one convolution if it is one, between pads and crops that fold into it."""
    maps = list(parts(op))
    at = [i for i, part in enumerate(maps) if isinstance(part, Conv | ConvTranspose)]
    if len(at) != 1:
        return None
    (position,) = at
    middle = maps[position]
    before, after = maps[:position], maps[position + 1 :]
    transposed = isinstance(middle, ConvTranspose)
    outer = after if transposed else before
    if (before if transposed else after) or not all(isinstance(part, Pad) for part in outer):
        return None
    assert isinstance(middle, Conv | ConvTranspose)
    conv = middle.T if isinstance(middle, ConvTranspose) else middle
    dtype = np.result_type(conv.dtype, np.float64)
    geometry = conv.geometry
    for pad in outer if transposed else reversed(outer):
        assert isinstance(pad, Pad)
        pairs = pad.geometry.padding
        sizes, modes = pad.input_shape, pad.geometry.padding_mode
        if transposed:
            # what follows a transposed layer is the transpose of a pad before the convolution
            pairs = tuple((-low, -high) for low, high in pairs)
            sizes = pad.output_shape
        folded = _folded(geometry, conv.layout, sizes, pairs, modes)
        if folded is None:
            return None
        geometry = folded
    layout = Layout(geometry.ndim, "channels_first", bare=False)
    return Plain(Conv.of(kernel_first(conv).astype(dtype), layout, geometry), transposed)


def _folded(
    geometry: Geometry, layout: Layout, sizes: Any, pairs: Any, modes: Any
) -> Geometry | None:
    """Return the geometry of a convolution behind a pad, if it is one of a convolution alone."""
    size, _ = layout.split(sizes, 1)
    outer, channel = layout.split(pairs, (0, 0))
    if any(channel):
        return None
    folded, names = [], []
    outer_modes, _ = layout.split(modes, "zeros")
    for first, name, second, own in zip(
        outer, outer_modes, geometry.padding, geometry.padding_mode, strict=True
    ):
        if not any(second):
            folded.append(first)
            names.append(name)
        elif not any(first):
            folded.append(second)
            names.append(own)
        elif name == own == "zeros" and not any(
            f < 0 < s for f, s in zip(first, second, strict=True)
        ):
            folded.append((first[0] + second[0], first[1] + second[1]))
            names.append(own)
        else:
            return None
    return geometry.replace(input_size=size, padding=tuple(folded), padding_mode=tuple(names))


@dataclass(frozen=True, eq=False)
class Variant:
    """A kernel as it stands when somebody carried it over wrongly, with what was done to it.

    Attributes
    ----------
    causes : tuple of str
        Names of what was done, none for the kernel as it is.
    words : str
    details : dict
    """

    causes: tuple[str, ...]
    words: str
    details: dict[str, Any]
    kernel: Array
    stride: tuple[int, ...]
    dilation: tuple[int, ...]


def variants(given: Plain) -> Iterator[Variant]:
    """Yield a layer's kernel, then every wrong way to carry it over, the simplest first."""
    g, kernel = given.geometry, given.conv.kernel
    seen: list[Array] = []

    def new(values: Array, stride: tuple[int, ...], dilation: tuple[int, ...]) -> bool:
        same = (stride, dilation) == (g.stride, g.dilation)
        if same and any(k.shape == values.shape and np.array_equal(k, values) for k in seen):
            return False
        if same:
            seen.append(values)
        return True

    bases = list(_channel_orders(kernel, g.groups))
    turned = list(_turns(g))
    pairs = [(base, turn) for base in bases for turn in turned]
    pairs.sort(key=lambda pair: len(pair[0][0]) + len(pair[1][0]))  # stable: simple ones first
    for (causes, words, details, values), (more, more_words, more_details, turn) in pairs:
        order, flips, with_layer = turn
        changed = values.transpose(0, 1, *(2 + axis for axis in order))
        changed = np.ascontiguousarray(np.flip(changed, tuple(2 + axis for axis in flips)))
        stride, dilation = g.stride, g.dilation
        if with_layer:
            stride = tuple(stride[axis] for axis in order)
            dilation = tuple(dilation[axis] for axis in order)
        if new(changed, stride, dilation):
            both = " and ".join(filter(None, [words, more_words]))
            yield Variant(
                causes + more, both, {**details, **more_details}, changed, stride, dilation
            )


def _turns(g: Geometry) -> Iterator[tuple[tuple[str, ...], str, dict[str, Any], Any]]:
    """Yield every order and flip of the spatial axes, with its name."""
    axes = tuple(range(g.ndim))
    anisotropic = len(set(zip(g.stride, g.dilation, strict=True))) > 1
    for order in permutations(axes):
        for count in range(g.ndim + 1):
            for flips in combinations(axes, count):
                causes: tuple[str, ...] = ()
                words, details = [], {}
                if order != axes:
                    causes += ("axes",)
                    words.append(f"its spatial axes in the order {order}")
                    details["axes"] = order
                if flips:
                    causes += ("flip",)
                    words.append(f"the kernel flipped along {_axes_words(flips)}")
                    details["flipped"] = flips
                yield causes, " and ".join(words), details, (order, flips, False)
                if order != axes and anisotropic:
                    more = {**details, "with_stride": True}
                    yield causes, " and ".join(words), more, (order, flips, True)


def _axes_words(axes: tuple[int, ...]) -> str:
    named = f"spatial axis {axes[0]}" if len(axes) == 1 else f"spatial axes {axes}"
    return named


def _channel_orders(
    kernel: Array, groups: int
) -> Iterator[tuple[tuple[str, ...], str, dict[str, Any], Array]]:
    """Yield the kernel, and what becomes of it when its channel axes are read in another order."""
    yield (), "", {}, kernel
    out, per_group, *size = kernel.shape
    grouped = kernel.reshape(groups, out // groups, per_group, *size)
    if out // groups == per_group > 1:
        swapped = grouped.swapaxes(1, 2).reshape(kernel.shape)
        words = "the kernel's input and output channels exchanged"
        yield ("exchange",), words, {"exchanged": True}, swapped
    for first in sorted({groups, out // groups} - {1, out}):
        order = np.arange(out).reshape(first, out // first).T.ravel()
        words = (
            f"the kernel's {out} output channels read as ({first}, {out // first}) instead of "
            f"({out // first}, {first})"
        )
        yield ("groups",), words, {"kernel_output_order": tuple(order.tolist())}, kernel[order]


def fitting(
    given: Plain, variant: Variant, lows: tuple[int, ...], out: tuple[int, ...], modes: Any
) -> Plain | None:
    """Return the layer with a variant's kernel, `lows` before its input and the output size `out`.

    For a transposed layer `lows` are cropped from its output. None where there is none such.
    """
    g = given.geometry
    names = ("stride", "dilation", "kernel")
    stride, dilation, kernel = (getattr(variant, name) for name in names)
    reach = [(k - 1) * d + 1 for k, d in zip(kernel.shape[2:], dilation, strict=True)]
    windows = g.output_size if given.transposed else out
    size = out if given.transposed else g.input_size
    pads = tuple(
        (low, (count - 1) * s + k - n - low)
        for low, count, s, k, n in zip(lows, windows, stride, reach, size, strict=True)
    )
    try:
        return given.changed(
            kernel,
            input_size=size,
            stride=stride,
            dilation=dilation,
            padding=pads,
            padding_mode=modes,
        )
    except GeometryError:
        return None


def mode_choices(own: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Yield padding modes per axis: its own, each one for all axes, then every mixture."""
    yield own
    mixed = product(PADDING_MODES, repeat=len(own))
    yield from sorted((m for m in mixed if m != own), key=lambda modes: len(set(modes)))

"""Sides: the two layers of a comparison, run on arrays whose channels stand first for both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from linconv.engines.arrays import Array
from linconv.errors import LinconvError
from linconv.layers.plain import Plain, plain
from linconv.layers.reading import from_layer
from linconv.layers.runner import Runner

__all__ = [
    "Side",
    "border_sides",
    "centred",
    "close",
    "first_shape",
    "gap",
    "largest",
    "own_shape",
    "plain_of",
    "to_first",
    "to_own",
]


def to_first(arrays: Array, data_format: str | None) -> Array:
    """Return arrays (n, *sample) as (n, channels, *size)."""
    if data_format in ("bare", None):
        return arrays[:, None]
    return np.moveaxis(arrays, -1, 1) if data_format == "channels_last" else arrays


def to_own(arrays: Array, data_format: str | None) -> Array:
    """Return arrays (n, channels, *size) in a data format."""
    if data_format in ("bare", None):
        return arrays[:, 0]
    moved = np.moveaxis(arrays, 1, -1) if data_format == "channels_last" else arrays
    return np.ascontiguousarray(moved)


def first_shape(shape: tuple[int, ...], data_format: str | None) -> tuple[int, ...]:
    """Return the shape of a sample as (channels, *size)."""
    if data_format in ("bare", None):
        return (1, *shape)
    return (shape[-1], *shape[:-1]) if data_format == "channels_last" else shape


def own_shape(shape: tuple[int, ...], data_format: str | None) -> tuple[int, ...]:
    """Return the shape (channels, *size) of a sample in a data format."""
    if data_format in ("bare", None):
        if shape[0] != 1:
            raise LinconvError(
                f"a layer without channel axes is compared with one of one channel; got "
                f"{shape[0]} channels in {shape}, (channels, *size); give it channel axes"
            )
        return shape[1:]
    return (*shape[1:], shape[0]) if data_format == "channels_last" else shape


@dataclass(frozen=True, eq=False)
class Side:
    """One of the two layers: `letter` is ``"a"`` or ``"b"``, all arrays are channels first."""

    letter: str
    thing: Any
    run: Runner
    data_format: str | None

    @property
    def input_shape(self) -> tuple[int, ...]:
        """One input sample, (channels, *size)."""
        return first_shape(self.run.input_shape, self.data_format)

    @property
    def output_shape(self) -> tuple[int, ...]:
        """One output sample, (channels, *size)."""
        return first_shape(self.run.output_shape, self.data_format)

    @property
    def offset(self) -> Array:
        """What the layer gives for zeros, before the activation."""
        spread: Array = to_first(self.run.offset[None], self.data_format)[0]
        return spread

    def forward(self, x: Array) -> Array:
        """Run it, with bias and activation."""
        own = to_own(x, self.data_format).astype(self.run.dtype, copy=False)
        return to_first(self.run.forward(own), self.data_format)

    def linear(self, x: Array) -> Array:
        """Run it without bias and activation."""
        return to_first(self.run.linear(to_own(x, self.data_format)), self.data_format)

    def adjoint(self, y: Array) -> Array:
        """Run its adjoint."""
        return to_first(self.run.adjoint(to_own(y, self.data_format)), self.data_format)


def gap(ours: Array, theirs: Array) -> tuple[float, float]:
    """Return the largest difference: absolute, and relative to its sample's largest value.

    Where a sample's values cancel, rounding does not: it is held against a fiftieth of the largest
    value of all samples at least.
    """
    if not ours.size:
        return 0.0, 0.0
    flat = [np.abs(v).reshape(len(ours), -1) for v in (ours, theirs, ours - theirs)]
    errors = flat[2].max(axis=1)
    scales = np.maximum(flat[0].max(axis=1), flat[1].max(axis=1))
    scales = np.maximum(scales, scales.max() / 50)
    with np.errstate(invalid="ignore"):
        # NaN wins: two layers of which one gives NaN are not equal
        relative = np.divide(errors, scales, out=np.zeros_like(errors), where=errors != 0)
    return float(errors.max()), float(relative.max())


def close(ours: Array, theirs: Array, tolerance: float) -> bool:
    """Whether arrays of the same shape agree to a relative tolerance, sample by sample."""
    return ours.shape == theirs.shape and gap(ours, theirs)[1] <= tolerance


def centred(rng: np.random.Generator, shape: tuple[int, ...], margin: Any) -> Array:
    """Return a random sample (1, channels, *size) that is zero up to `margin` from the border."""
    x = np.zeros((1, *shape))
    inner: tuple[Any, ...] = (slice(None), slice(None))
    for n, wide in zip(shape[1:], margin, strict=True):
        keep = min(wide, (n - 1) // 2)
        inner += (slice(keep, n - keep),)
    x[inner] = rng.standard_normal(x[inner].shape)
    return x


def largest(ours: Array, theirs: Array) -> tuple[tuple[int, ...], Any, Any]:
    """Return where two arrays differ most, and both values."""
    place = np.unravel_index(int(np.argmax(np.abs(ours - theirs))), ours.shape)
    where = tuple(int(i) for i in place)
    return where, ours[where].item(), theirs[where].item()


def border_sides(ours: Array, theirs: Array, tolerance: float) -> list[str]:
    """Return at which ends of the spatial axes two results (n, channels, *size) differ."""
    scale = max(gap(ours, np.zeros_like(ours))[0], gap(theirs, np.zeros_like(theirs))[0])
    wrong = (np.abs(ours - theirs) > tolerance * scale).any(axis=(0, 1))
    found = []
    for axis in range(wrong.ndim):
        line = wrong.any(axis=tuple(i for i in range(wrong.ndim) if i != axis))
        half = (len(line) + 1) // 2
        # an axis whose lines all differ tells nothing: another axis' border runs along it
        if line.all():
            continue
        for end, part in (("start", line[:half]), ("end", line[half:])):
            if part.any():
                found.append(f"the {end} of axis {axis}")
    return found


def plain_of(side: Side, x: Array, tolerance: float) -> Plain | None:
    """Return a side as one convolution, if it can be read as one that does what the side does."""
    try:
        layer = from_layer(side.thing, side.run.input_shape)
        read = plain(layer.operator)
    except LinconvError:
        return None
    if read is None or read.op.input_shape != side.input_shape:
        return None
    return read if close(read.op(x), side.linear(x), tolerance) else None

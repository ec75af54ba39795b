"""The exact block-diagonal form of periodic convolutions, by the discrete Fourier transform.

A convolution that is periodic on every axis (its windows wrap around, and stride times output size
is the input size) only mixes frequencies that its stride folds onto each other. In the unitary
Fourier basis it is one small matrix, a block, per output frequency:

    op = F_outᴴ · blockdiag(B(m)) · F_in

where m runs over the coarse grid M = output size, and input frequency ``m + j * M`` is number j of
the stride's aliases: ``B(m)[o, (i, j)] = K(m + j M)[o, i] / sqrt(stride)`` with K the kernel's
symbol (Sedghi, Gupta, Long, arXiv 1805.10408, theorem 6, for stride 1). The same holds for
transposes, products and sums of such maps on one common coarse grid.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import gcd, prod

import numpy as np
from numpy.typing import NDArray

from linconv.analysis.frequencies import Frequencies
from linconv.analysis.waves import convolution_blocks, tap_positions
from linconv.convolution import Conv, ConvTranspose
from linconv.engines.arrays import Array
from linconv.errors import SizeError
from linconv.factors import Correlate, Decimate
from linconv.geometry import Geometry
from linconv.identity import Identity
from linconv.layout import Layout
from linconv.linear_map import LinearMap, Product, Scaled, Sum, Transpose
from linconv.matrix import DENSE_LIMIT
from linconv.padding import padded_sources
from linconv.shuffling import Shuffle

__all__ = ["Blocks", "Circulant", "circulant", "circulant_blocks", "gram_degrees", "layouts"]


@dataclass(frozen=True, eq=False)
class Blocks:
    """A periodic map as one small matrix per frequency.

    ``op(x) == codomain.from_frequency(apply(domain.to_frequency(x)))`` up to rounding.

    Attributes
    ----------
    blocks : array of complex128, shape (*kept, groups, rows, columns)
        By frequency of the coarse grid. Rows are output channels of the group and the output's
        aliases, columns input channels and the input's aliases, in C order.
    domain, codomain : Frequencies
        The unitary bases of inputs and outputs; both have the same grid, groups and `half`.
    """

    blocks: Array
    domain: Frequencies
    codomain: Frequencies

    @property
    def multiplicity(self) -> NDArray[np.int64]:
        """How many frequencies each block stands for, by the last axis; shape (kept[-1],)."""
        return self.domain.multiplicity

    def apply(self, coefficients: Array) -> Array:
        """Return the blocks times coefficients of inputs, (*batch, *kept, groups, columns)."""
        product: Array = (self.blocks @ coefficients[..., None])[..., 0]
        return product

    def apply_adjoint(self, coefficients: Array) -> Array:
        """Return the blocks' adjoints times coefficients of outputs."""
        product: Array = (coefficients.conj()[..., None, :] @ self.blocks)[..., 0, :].conj()
        return product


@dataclass(frozen=True, eq=False)
class Circulant:
    """How a map is block-diagonal: everything but the blocks, which are made when asked for.

    Attributes
    ----------
    op : LinearMap
    domain, codomain : Frequencies
    """

    op: LinearMap
    domain: Frequencies
    codomain: Frequencies

    @property
    def block_shape(self) -> tuple[int, int]:
        """Rows and columns of a block."""
        return self.codomain.width, self.domain.width

    @property
    def count(self) -> int:
        """Number of kept blocks: frequencies times groups."""
        return prod(self.domain.kept) * self.domain.groups

    @property
    def degrees(self) -> tuple[int, ...]:
        """Largest difference of output samples, per axis, that one input sample reaches.

        The entries of the blocks times their adjoints are trigonometric polynomials of this
        degree in the coarse frequency.
        """
        layout, grid = self.domain.layout, self.domain.grid
        leaf = _leaf(self.op.T if isinstance(self.op, ConvTranspose) else self.op, layout)
        if leaf is not None:  # whatever the origin of its windows
            return gram_degrees(leaf[1])
        return tuple(high - low for low, high in _lags(self.op, layout, grid))

    def blocks(self, first: slice = slice(None)) -> Array:
        """Return the blocks of a stretch of the first axis of frequencies.

        Returns
        -------
        array of complex128, shape (len, *kept[1:], groups, rows, columns)
        """
        indices = [np.arange(n, dtype=np.int64) for n in self.domain.kept]
        indices[0] = indices[0][first]
        grid = self.domain.grid
        at = _Place(self.domain.layout, grid, grid, indices, True)
        return _with_groups(_evaluate(self.op, at), self.domain.groups)

    def blocks_at(self, points: NDArray[np.int64], grid: tuple[int, ...] | None = None) -> Array:
        """Return the blocks at frequencies of one's choice.

        Parameters
        ----------
        points : array of int, shape (n, axes)
            Indices of frequencies, ``2 pi index / grid`` radians per output sample each.
        grid : tuple of int, optional
            By default the map's own. On another grid they are the blocks of the map of that size.

        Returns
        -------
        array of complex128, shape (n, groups, rows, columns)
        """
        own = self.domain.grid
        at = _Place(self.domain.layout, own, grid or own, list(points.T), False)
        return _with_groups(_evaluate(self.op, at), self.domain.groups)


@dataclass(frozen=True)
class _Place:
    """Where blocks are wanted: the map's layout and coarse grid, and indices of frequencies.

    Indices are on `grid`, which need not be the map's own; all combinations of the axes' indices
    if `crossed`, otherwise one frequency per index.
    """

    layout: Layout
    own: tuple[int, ...]
    grid: tuple[int, ...]
    indices: list[NDArray[np.int64]]
    crossed: bool


def circulant(op: LinearMap, *, half: bool | None = None) -> Circulant | None:
    """Return how a map is block-diagonal in the Fourier basis, or None if it is not.

    Parameters
    ----------
    op : LinearMap
        A `Conv` or `ConvTranspose` whose windows wrap around on every axis (padding mode
        circular, stride times output size equal to the input size, whatever the origin; or no
        padding at all where windows do not overlap), decimation, the identity, and products, sums
        and multiples of such maps in one layout.
    half : bool, optional
        Whether to keep half of the frequencies; by default where the map is real.

    Returns
    -------
    Circulant or None

    Notes
    -----
    Nothing is computed but sizes.
    """
    layout = _layout(op)
    if layout is None:
        return None
    found = _grid(op, layout)
    if found is None:
        return None
    grid, groups = found
    halved = op.dtype.kind != "c" if half is None else half
    sides = []
    for shape in (op.input_shape, op.output_shape):
        size, channels = layout.split(shape, 1)
        sides.append(Frequencies(layout, size, grid, channels, groups, halved))
    return Circulant(op, *sides)


def circulant_blocks(
    op: LinearMap, *, half: bool | None = None, max_bytes: int = DENSE_LIMIT
) -> Blocks | None:
    """Return the exact block-diagonal form of a periodic map, or None if it is not periodic.

    Parameters
    ----------
    op : LinearMap
        See `circulant`.
    half : bool, optional
        Whether to keep half of the frequencies, which serves real arrays only; by default
        where the map is real.
    max_bytes : int
        Largest memory for the blocks, 1 GiB.

    Returns
    -------
    Blocks or None

    Raises
    ------
    SizeError
        If the blocks would take more, before any is made.

    Examples
    --------
    >>> op = Conv([1.0, 1.0, 1.0], (9,), padding="same", padding_mode="circular")
    >>> (circulant_blocks(op).blocks.ravel().real.round(3) + 0.0).tolist()
    [3.0, 2.532, 1.347, 0.0, -0.879]
    """
    form = circulant(op, half=half)
    if form is None:
        return None
    needed = form.count * prod(form.block_shape) * 16
    if needed > max_bytes:
        raise SizeError(
            f"the blocks of {op!r} may take at most {max_bytes / 2**30:.4g} GiB; they need "
            f"{needed / 2**30:.4g} GiB; take them stretch by stretch from circulant(op), or raise "
            f"the limit with max_bytes"
        )
    return Blocks(form.blocks(), form.domain, form.codomain)


def _layout(op: LinearMap) -> Layout | None:
    """Return the one layout of all convolutions in a map; bare where there are none."""
    found = layouts(op)
    if len(found) > 1:
        return None
    return found.pop() if found else Layout(len(op.input_shape), "channels_first", True)


def layouts(op: LinearMap) -> set[Layout]:
    """Return the layouts of what a map is made of; bare ones are one, of any data format."""
    if isinstance(op, Conv | ConvTranspose | Correlate | Shuffle):
        one = op.layout
        return {Layout(one.ndim, "channels_first", True) if one.bare else one}
    return {layout for part in op._made_of() for layout in layouts(part)}


def _leaf(op: LinearMap, layout: Layout) -> tuple[Array, Geometry] | None:
    """Return a map as one convolution: a kernel (out, in/groups, *size) and its geometry."""
    if isinstance(op, Conv | Correlate):
        return layout.kernels_first(op.kernel), op.geometry
    if isinstance(op, Identity | Decimate):
        if len(op.input_shape) != layout.ndim + (not layout.bare):
            return None
        steps = op.geometry.stride if isinstance(op, Decimate) else (1,) * len(op.input_shape)
        stride, across = layout.split(steps, 1)
        if across != 1:
            return None
        size, n = layout.split(op.input_shape, 1)
        geometry = Geometry(
            size, (1,) * len(size), stride=stride, in_channels=n, out_channels=n, groups=n
        )
        return np.ones((n, 1, *(1,) * len(size))), geometry
    return None


def _grid(op: LinearMap, layout: Layout) -> tuple[tuple[int, ...], int] | None:
    """Return the finest coarse grid on which a map is block-diagonal, and its groups, or None."""
    if isinstance(op, ConvTranspose):
        return _grid(op.T, layout)
    if isinstance(op, Scaled | Transpose):
        return _grid(op.of, layout)
    if isinstance(op, Product | Sum):
        parts = op.maps if isinstance(op, Product) else op.terms
        found = [_grid(part, layout) for part in parts]
        sizes = [f for f in found if f is not None]
        if len(sizes) < len(found):
            return None
        grids = zip(*(grid for grid, _ in sizes), strict=True)
        return tuple(gcd(*axis) for axis in grids), gcd(*(groups for _, groups in sizes))
    leaf = _leaf(op, layout)
    if leaf is None or not all(_wraps(leaf[1], axis) for axis in range(layout.ndim)):
        return None
    return leaf[1].output_size, leaf[1].groups


def _wraps(geometry: Geometry, axis: int) -> bool:
    """Whether every window of an axis is the first one, moved around the circle."""
    g = geometry
    size, stride, outputs = g.input_size[axis], g.stride[axis], g.output_size[axis]
    if outputs * stride != size:
        return False
    if g.padding_mode[axis] == "circular":
        return True
    low, high = g.padding[axis]
    taps = tap_positions(g.kernel_size[axis], g.dilation[axis], low)
    starts = np.arange(outputs) * stride
    beyond = starts[(starts + taps[0] < 0) | (starts + taps[-1] >= size)]
    read = beyond[:, None] + taps
    padded = padded_sources(size, low, high, g.padding_mode[axis])
    return bool(np.array_equal(padded[read + low], read % size))


def _evaluate(op: LinearMap, place: _Place) -> Array:
    """Return blocks (*frequencies, groups, rows, columns) of a map known to have them."""
    if isinstance(op, ConvTranspose | Transpose):
        return _adjoint(_evaluate(op.T.conj(), place))
    if isinstance(op, Scaled):
        return op.factor * _evaluate(op.of, place)
    if isinstance(op, Product | Sum):
        parts = [_evaluate(p, place) for p in (op.maps if isinstance(op, Product) else op.terms)]
        common = gcd(*(part.shape[-3] for part in parts))
        result, *others = [_with_groups(part, common) for part in parts]
        for other in others:
            result = result @ other if isinstance(op, Product) else result + other
        return result
    leaf = _leaf(op, place.layout)
    assert leaf is not None  # `_grid` has seen to it
    sizes = zip(leaf[1].output_size, place.own, strict=True)
    extra = tuple(n // m for n, m in sizes)
    return convolution_blocks(*leaf, place.grid, place.indices, place.crossed, extra)


def _lags(op: LinearMap, layout: Layout, grid: tuple[int, ...]) -> list[tuple[int, int]]:
    """Return, per axis, which periods of the input a period of the output reads, relative to it."""
    if isinstance(op, ConvTranspose | Transpose):
        return [(-high, -low) for low, high in _lags(op.T, layout, grid)]
    if isinstance(op, Scaled):
        return _lags(op.of, layout, grid)
    if isinstance(op, Product | Sum):
        parts = [_lags(p, layout, grid) for p in (op.maps if isinstance(op, Product) else op.terms)]
        axes = [tuple(zip(*axis, strict=True)) for axis in zip(*parts, strict=True)]
        if isinstance(op, Product):
            return [(sum(lows), sum(highs)) for lows, highs in axes]
        return [(min(lows), max(highs)) for lows, highs in axes]
    leaf = _leaf(op, layout)
    assert leaf is not None
    lags = []
    for axis, m in enumerate(grid):
        g = leaf[1]
        period = g.input_size[axis] // m
        first = -g.padding[axis][0]
        reach = period - g.stride[axis] + g.effective_kernel_size[axis] - 1
        lags.append((first // period, (first + reach) // period))
    return lags


def gram_degrees(geometry: Geometry) -> tuple[int, ...]:
    """Return how many output samples apart two windows may be that share an input sample."""
    reach = zip(geometry.effective_kernel_size, geometry.stride, strict=True)
    return tuple((k - 1) // s for k, s in reach)


def _adjoint(blocks: Array) -> Array:
    return blocks.conj().swapaxes(-1, -2)


def _with_groups(blocks: Array, groups: int) -> Array:
    """Return blocks with fewer groups: each is the direct sum of several, in their order."""
    *before, many, rows, columns = blocks.shape
    if many == groups:
        return blocks
    each = many // groups
    merged = np.zeros((*before, groups, each, rows, each, columns), blocks.dtype)
    split = blocks.reshape(*before, groups, each, rows, columns)
    for part in range(each):
        merged[..., part, :, part, :] = split[..., part, :, :]
    return merged.reshape(*before, groups, each * rows, each * columns)

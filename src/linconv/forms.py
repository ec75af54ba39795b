"""The equivalent computations of a convolution, each a map of its own, compared and timed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from itertools import product
from math import prod
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
import scipy

from linconv.convolution import Conv, ConvTranspose
from linconv.engines.arrays import Array, as_array, working_dtype
from linconv.engines.choice import DESCRIPTIONS as PATHS
from linconv.engines.choice import paths
from linconv.engines.kinds import as_numpy
from linconv.errors import LinconvError, ShapeError, SizeError
from linconv.factors import Correlate
from linconv.geometry import Geometry
from linconv.layout import Layout, exchanged_kernel
from linconv.linear_map import LinearMap, Product
from linconv.matrix import DENSE_LIMIT, check_bytes
from linconv.numpy_map import NumPyMap

__all__ = ["DESCRIPTIONS", "Comparison", "FormResult", "compare", "forms"]

DESCRIPTIONS = {
    "direct": "as the engines choose to compute it; see `explain`",
    **PATHS,
    "matrix": "dense matrix times flattened array",
    "sparse": "sparse matrix times flattened array",
    "im2col": "all patches as rows, times the kernel",
    "factors": "pad, correlate at stride 1, decimate (transposed: the reverse)",
    "dilated": "dilate and pad the input, convolve with the flipped kernel",
    "polyphase": "one small convolution per output phase, interleaved",
}


@dataclass(frozen=True)
class FormResult:
    """How one form did: largest deviation from the float64 reference, and seconds a call."""

    name: str
    error: float
    relative: float
    seconds: float


@dataclass(frozen=True)
class Comparison:
    """The equivalent forms of one map side by side.

    Attributes
    ----------
    rows : tuple of FormResult
        `error` is the largest absolute deviation, `relative` that divided by the largest
        absolute value of the reference; `seconds` is the median of a few calls.
    skipped : dict
        Forms that were left out, with the reason.
    """

    rows: tuple[FormResult, ...]
    skipped: dict[str, str]

    def to_dict(self) -> dict[str, Any]:
        """Return the comparison as plain lists, strings and numbers."""
        return {"rows": [asdict(row) for row in self.rows], "skipped": dict(self.skipped)}

    def __str__(self) -> str:
        head = f"{'form':<10} {'deviation':>10} {'relative':>10} {'time':>10}  what it does"
        lines = [
            f"{r.name:<10} {r.error:>10.2e} {r.relative:>10.2e} {1e3 * r.seconds:>7.3f} ms  "
            f"{DESCRIPTIONS[r.name]}"
            for r in self.rows
        ]
        lines += [f"{name:<10} left out: {reason}" for name, reason in self.skipped.items()]
        return "\n".join([head, *lines])


def forms(op: Conv | ConvTranspose) -> dict[str, LinearMap]:
    """Return the equivalent computations of a (transposed) convolution by name.

    Parameters
    ----------
    op : Conv or ConvTranspose
        Of any geometry, in either layout.

    Returns
    -------
    dict of str to LinearMap
        ``direct``, ``matrix``, ``sparse``, ``im2col``, ``factors``; every path that the engines
        could take (``rows``, ``pixels``, ``channels``, ``spectra`` and ``winograd`` of the native
        engine, ``windows`` and ``fft`` of NumPy and SciPy); for a transposed convolution also
        ``dilated`` and ``polyphase`` (told in `DESCRIPTIONS`). Forms that would take more than
        1 GiB (dense) or 8 GiB (sparse) are left out; `compare` says so.

    Notes
    -----
    All are exact up to rounding; the matrices are built here, at the cost of their entries.

    Examples
    --------
    >>> up = ConvTranspose([1.0, 2.0, 3.0], (4,), stride=2)
    >>> list(forms(up))
    ['direct', 'matrix', 'sparse', 'im2col', 'factors', ..., 'fft', 'dilated', 'polyphase']
    """
    return _build(op)[0]


def compare(op: Conv | ConvTranspose, x: Any = None) -> Comparison:
    """Apply every form to the same array: deviation from a float64 reference, and time.

    Parameters
    ----------
    op : Conv or ConvTranspose
        Of any geometry, in either layout.
    x : array, shape (*batch, *op.input_shape), optional
        Default: standard normal values from a fixed seed, in the map's dtype.

    Returns
    -------
    Comparison
        Deviations are measured; the reference is the sparse matrix in float64 (complex128),
        assembled from the geometry alone, times `x` (the operator itself where that matrix
        would be too large).

    Examples
    --------
    >>> result = compare(Conv([1.0, 2.0, 1.0], (16,), padding="same"))
    >>> max(row.relative for row in result.rows) < 1e-14
    True
    """
    built, skipped = _build(op)
    if x is None:
        x = np.random.default_rng(0).standard_normal(op.input_shape).astype(op.dtype)
    array = as_array("x", x)
    exact = _in_double(op)
    if "sparse" in built:
        exact = MatrixMap(exact.sparse(), op.input_shape, op.output_shape)
    reference = exact(array.astype(np.result_type(array.dtype, np.float64)))
    scale = float(np.abs(reference).max(initial=0.0)) or 1.0
    rows = []
    for name, form in built.items():
        result, seconds = _timed(form, array)
        error = float(np.abs(result - reference).max(initial=0.0))
        rows.append(FormResult(name, error, error / scale, seconds))
    return Comparison(tuple(rows), skipped)


def _build(op: Conv | ConvTranspose) -> tuple[dict[str, LinearMap], dict[str, str]]:
    if not isinstance(op, Conv | ConvTranspose):
        raise LinconvError(
            f"forms are those of a Conv or a ConvTranspose; got {type(op).__name__}; "
            f"take the forms of its parts"
        )
    transposed = isinstance(op, ConvTranspose)
    conv = op.T if isinstance(op, ConvTranspose) else op
    decimate, correlate, pad = conv.factors()
    builders: dict[str, Callable[[], LinearMap]] = {
        "direct": lambda: conv,
        "matrix": lambda: MatrixMap(conv.matrix(), conv.input_shape, conv.output_shape),
        "sparse": lambda: MatrixMap(conv.sparse(), conv.input_shape, conv.output_shape),
        "im2col": lambda: Im2col(conv),
        "factors": lambda: Product(decimate, correlate, pad),
    }
    core = conv._core
    for path in paths(core.geometry, core.layout.channels_last):
        by_path = Correlate.of(core.kernel, core.layout, core.geometry, path)
        builders[path] = partial(Product, by_path, conv._pad)
    built, skipped = {}, {}
    for name, build in builders.items():
        try:
            form = build()
        except SizeError as error:
            skipped[name] = str(error)
        else:
            built[name] = form.T if transposed else form
    if isinstance(op, ConvTranspose):
        built["dilated"] = op.as_conv()
        built["polyphase"] = Polyphase(op)
    return built, skipped


def _in_double(op: Conv | ConvTranspose) -> LinearMap:
    conv = op.T if isinstance(op, ConvTranspose) else op
    double = np.result_type(conv.dtype, np.float64)
    exact = Conv.of(as_numpy(conv.kernel).astype(double), conv.layout, conv.geometry)
    return exact.T if isinstance(op, ConvTranspose) else exact


def _timed(form: LinearMap, x: Array) -> tuple[Array, float]:
    result = form(x)
    times: list[float] = []
    while len(times) < 5 and sum(times) < 0.1:
        start = perf_counter()
        form(x)
        times.append(perf_counter() - start)
    return result, median(times)


class MatrixMap(NumPyMap):
    """A dense or sparse matrix between arrays of given shapes, as a map."""

    by: Any

    def __init__(
        self, by: Any, input_shape: tuple[int, ...], output_shape: tuple[int, ...]
    ) -> None:
        needed = (prod(output_shape), prod(input_shape))
        if by.shape != needed:
            raise ShapeError(
                f"the matrix of a map {input_shape} -> {output_shape} must have shape {needed}; "
                f"got {by.shape}; check the two shapes"
            )
        dtype = working_dtype("the matrix", by.dtype)
        self._set(input_shape, output_shape, dtype, by=by.copy())

    def _apply(self, x: Array) -> Any:
        return self._times(self.by, x).reshape(len(x), *self.output_shape)

    def _apply_transpose(self, y: Array) -> Any:
        return self._times(self.by.T, y).reshape(len(y), *self.input_shape)

    @staticmethod
    def _times(matrix: Any, batch: Array) -> Array:
        result: Array = (matrix @ batch.reshape(len(batch), matrix.shape[1]).T).T
        return result

    def _sparse(self, max_bytes: int) -> Any:
        return scipy.sparse.csr_array(self.by, dtype=self.dtype, copy=True)


class Im2col(NumPyMap):
    """A convolution as the matrix of all patches of its input times the kernel."""

    conv: Conv

    def __init__(self, conv: Conv) -> None:
        g = conv.geometry
        samples = prod(g.output_size), prod(g.kernel_size) * g.in_channels
        needed = samples[0] * samples[1] * conv.dtype.itemsize
        check_bytes("the patches", samples, needed, DENSE_LIMIT, "use another form")
        self._set(conv.input_shape, conv.output_shape, conv.dtype, conv=conv)

    def _weights(self, dtype: np.dtype[Any]) -> Any:
        """Kernel as matrices (groups, out/groups, in/groups * taps)."""
        first = self.conv.layout.kernels_first(as_numpy(self.conv.kernel))
        groups = self.conv.geometry.groups
        return first.reshape(groups, len(first) // groups, -1).astype(dtype, copy=False)

    def _apply(self, x: Array) -> Any:
        layout, g = self.conv.layout, self.conv.geometry
        patches = layout.arrays_first(x)
        for axis in range(g.ndim):
            # An extra zero at the end is what the index -1 of a padded zero reads.
            position = 2 + 2 * axis
            widths = [(0, 0)] * patches.ndim
            widths[position] = (0, 1)
            patches = np.take(np.pad(patches, widths), g.sources(axis), axis=position)
        order = (0, 1, *range(3, patches.ndim, 2), *range(2, patches.ndim, 2))
        columns = patches.transpose(order).reshape(len(x), g.groups, -1, prod(g.output_size))
        result = self._weights(x.dtype) @ columns
        return layout.arrays_back(result.reshape(len(x), g.out_channels, *g.output_size))

    def _apply_transpose(self, y: Array) -> Any:
        layout, g = self.conv.layout, self.conv.geometry
        outputs = layout.arrays_first(y).reshape(len(y), g.groups, -1, prod(g.output_size))
        columns = self._weights(y.dtype).swapaxes(1, 2) @ outputs
        patches = columns.reshape(len(y), g.in_channels, *g.kernel_size, *g.output_size)
        for axis in range(g.ndim):
            # (n, channels, done axes..., taps left..., outputs left...): sum one pair of axes
            tap, out = 2 + axis, 2 + g.ndim
            pairs = np.moveaxis(patches, (out, tap), (0, 1))
            summed = np.zeros((g.input_size[axis] + 1, *pairs.shape[2:]), y.dtype)
            np.add.at(summed, g.sources(axis), pairs)
            patches = np.moveaxis(summed[:-1], 0, tap)
        return layout.arrays_back(patches)

    def _sparse(self, max_bytes: int) -> Any:
        return self.conv.sparse(max_bytes=max_bytes)


class Polyphase(NumPyMap):
    """A transposed convolution as one ordinary stride-1 convolution per output phase.

    Each phase of the output sees only its own samples of the kernel: no zero is multiplied.
    """

    op: ConvTranspose
    parts: tuple[tuple[tuple[slice, ...], Correlate], ...]

    def __init__(self, op: ConvTranspose) -> None:
        _, g = op.geometry.split_border()
        kernel = op.layout.kernels_first(as_numpy(op.kernel))
        parts = []
        for phases in product(*(g.phases(axis) for axis in range(g.ndim))):
            chosen: tuple[Any, ...] = (..., *(phase.taps for phase in phases))
            taps = kernel[chosen]
            if not taps.size:
                continue
            geometry = Geometry(
                g.output_size,
                taps.shape[2:],
                padding=tuple(phase.padding for phase in phases),
                dilation=tuple(phase.dilation for phase in phases),
                in_channels=g.out_channels,
                out_channels=g.in_channels,
                groups=g.groups,
            )
            flipped = exchanged_kernel(taps, g.groups)
            first = Layout(g.ndim, "channels_first", bare=False)
            outputs = (..., *(phase.outputs for phase in phases))
            parts.append((outputs, Correlate.of(flipped, first, geometry)))
        self._set(op.input_shape, op.output_shape, op.dtype, op=op, parts=tuple(parts))

    def _apply(self, x: Array) -> Any:
        layout = self.op.layout
        _, g = self.op.geometry.split_border()
        first = layout.arrays_first(x)
        interleaved = np.zeros((len(x), g.in_channels, *g.input_size), x.dtype)
        for outputs, part in self.parts:
            interleaved[outputs] = part._apply(first)
        return self.op.T._pad._apply_transpose(layout.arrays_back(interleaved))

    def _apply_transpose(self, y: Array) -> Any:
        layout = self.op.layout
        padded = layout.arrays_first(self.op.T._pad._apply(y))
        g = self.op.geometry
        summed = np.zeros((len(y), g.out_channels, *g.output_size), y.dtype)
        for outputs, part in self.parts:
            summed += part._apply_transpose(padded[outputs])
        return layout.arrays_back(summed)

    def _sparse(self, max_bytes: int) -> Any:
        return self.op.sparse(max_bytes=max_bytes)

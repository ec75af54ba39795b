"""The spectrum of a map: singular values, norm, condition and rank, as its structure allows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import inf
from typing import Any

import numpy as np

from linconv.analysis.circular import top_vectors
from linconv.analysis.circular_norm import circular_norm
from linconv.analysis.differentiable import attached, first_tensor, numpy_twin
from linconv.analysis.direct import EPS, rounding
from linconv.analysis.iterative import estimated_norm, estimated_values
from linconv.analysis.parts import group_parts
from linconv.analysis.solve import check_map
from linconv.analysis.spectral_values import SpectralValue, SpectralValues, Vectors
from linconv.analysis.structure import all_values, quick
from linconv.analysis.symbol import circulant
from linconv.arguments import choice, finite_number, integer
from linconv.convolution import Conv, ConvTranspose
from linconv.engines.arrays import Array
from linconv.engines.kinds import kind
from linconv.errors import DTypeError, LinconvError, SizeError
from linconv.linear_map import LinearMap, Scaled
from linconv.matrix import DENSE_LIMIT

__all__ = ["Rank", "condition", "norm", "rank", "svdvals"]

_WHICH = ("largest", "smallest", "all")


def checked_map(name: str, op: Any) -> LinearMap:
    """Return `op` if it is a map with finite entries; else raise."""
    if not isinstance(op, LinearMap):
        raise LinconvError(
            f"{name} takes a map of linconv; got {type(op).__name__}; make it with Conv, "
            f"ConvTranspose or their algebra"
        )
    _check_kernels(name, op)
    if first_tensor(op) is None:
        if not _only_kernels(op):
            check_map(op)
    elif name not in ("svdvals", "norm"):
        raise DTypeError(
            f"{name} takes maps with NumPy kernels; got a kernel of {kind(first_tensor(op))}; "
            f"convert it with numpy.asarray, or use norm and svdvals, which are differentiable"
        )
    return op


def _only_kernels(op: LinearMap) -> bool:
    """Whether all entries of a map are products and sums of kernels and factors."""
    parts = op._made_of()
    return all(map(_only_kernels, parts)) if parts else isinstance(op, Conv | ConvTranspose)


def _check_kernels(name: str, op: LinearMap) -> None:
    for inner in op._made_of():
        _check_kernels(name, inner)
    if isinstance(op, Scaled) and not np.isfinite(op.factor):
        raise LinconvError(
            f"{name} needs a map with a finite factor; got {op.factor}; multiply it by a number"
        )
    kernel = getattr(op, "kernel", None)
    if isinstance(kernel, np.ndarray) and not np.isfinite(kernel).all():
        bad = int(kernel.size - np.isfinite(kernel).sum())
        raise LinconvError(
            f"{name} needs a finite kernel; got {bad} NaN or infinite values of {kernel.size}; "
            f"remove them first"
        )


def svdvals(
    op: LinearMap, k: int | None = None, which: str = "largest", *, max_bytes: int = DENSE_LIMIT
) -> Any:
    """Return singular values of a map, from the largest to the smallest.

    Parameters
    ----------
    op : LinearMap
        Any map: strided, dilated, grouped, any padding mode, transposes, products.
    k : int, optional
        How many; by default all ``min(op.shape)``.
    which : {"largest", "smallest", "all"}
        Which k of them. ``"all"`` goes without k.
    max_bytes : int
        Largest memory for a dense matrix, 1 GiB.

    Returns
    -------
    SpectralValues
        float64, descending, also the smallest. Exact for circular maps (small decompositions in the
        Fourier basis), separable kernels (a Kronecker product), 1-D bands and whatever is small
        enough for a dense decomposition; groups one by one. Otherwise an estimate: the k largest by
        Lanczos, the k smallest by shift and invert, each with its residual. Where a kernel is a
        tensor or a JAX array, one of that kind instead, shape (k,), differentiable once with
        respect to the kernel; equal values have no derivative of their own, only their sum has.

    Raises
    ------
    LinconvError
        If `op` is no map, or a kernel is not finite.
    GeometryError
        If `k` or `which` is out of range.
    SizeError
        If all values were asked for and nothing but a dense matrix beyond `max_bytes` gives them.

    Notes
    -----
    Exact means to rounding: ``max(op.shape)`` units in the last place of the *largest* value.
    Circular: Sedghi, Gupta, Long (arXiv 1805.10408), theorem 6, with strides by aliases. Cost is
    told in the result.

    Examples
    --------
    >>> from linconv import Conv
    >>> blur = Conv([1.0, 1.0, 1.0], (6,), padding="same", padding_mode="circular")
    >>> svdvals(blur).values.round(6)
    array([3., 2., 2., 1., 0., 0.])
    """
    checked_map("svdvals", op)
    if first_tensor(op) is not None:
        plain = svdvals(numpy_twin(op), k, which, max_bytes=max_bytes)
        return attached(op, plain.vectors, range(len(plain)))
    choice("which", which, _WHICH)
    count = min(op.shape)
    if k is not None:
        integer("k", k, minimum=1)
        if which == "all" or k > count:
            raise SizeError(
                f"k must be at most {count}, the number of singular values, and left out for "
                f"which='all'; got k={k} with which={which!r}; leave k out, or ask for fewer"
            )
    if k is None or k == count or quick(op) or 4 * k > count:
        found = all_values(op, max_bytes)
        margin = rounding(op, float(found.values[0]))
        ends = (np.maximum(found.values - margin, 0), found.values + margin)
        exact = SpectralValues(
            found.values, "exact", ends, None, found.method, found.cost, found.vectors
        )
        return exact if k is None else _part(exact, k, which)
    values, residuals, left, right, method = estimated_values(op, k, which)
    scale = float(values[0]) if which == "largest" else estimated_norm(op)[0].value
    reach = residuals * scale + rounding(op, scale)

    def vectors(position: int) -> tuple[Array, Array]:
        return left[position].reshape(op.output_shape), right[position].reshape(op.input_shape)

    ends = (np.maximum(values - reach, 0), values + reach)
    cost = f"applications of a {op.shape[0]} x {op.shape[1]} map"
    return SpectralValues(values, "estimate", ends, residuals, method, cost, vectors)


def _part(found: SpectralValues, k: int, which: str) -> SpectralValues:
    first = 0 if which == "largest" else len(found) - k
    part = slice(first, first + k)
    inner = found._vectors

    def vectors(position: int) -> tuple[Array, Array]:
        assert inner is not None
        return inner(first + position)

    ends = (found.interval[0][part], found.interval[1][part])
    known = None if inner is None else vectors
    return replace(found, values=found.values[part], interval=ends, _vectors=known)


def norm(op: LinearMap) -> Any:
    """Return the spectral norm of a map: its largest singular value, its Lipschitz constant.

    Parameters
    ----------
    op : LinearMap
        Any map.

    Returns
    -------
    SpectralValue
        Exact where `svdvals` is, for groups the maximum over the groups; but for circular maps of
        many large blocks an estimate: a singular value exact to rounding, of which screening all
        blocks says that it is the largest. Otherwise an estimate from below, by a
        preconditioned Davidson method to a relative residual of 1e-6, begun at the wave packet
        that the symbol amplifies most; `norm_bounds` proves an interval. Where a kernel is a tensor
        or a JAX array, a number of that kind instead, differentiable once with respect to the
        kernel: a penalty for training.

    Raises
    ------
    LinconvError
        If `op` is no map, or a kernel is not finite.

    Notes
    -----
    Many large blocks of a circular map are first screened by a few Lanczos steps; those whose
    estimate comes near the largest are decomposed. ``svdvals(op)[0]`` and `norm_bounds` decompose
    every block. Cost is told in the result.

    Examples
    --------
    >>> from linconv import Conv
    >>> op = Conv([2.0, 7.0, -1.0], (20,), padding="same", padding_mode="circular")
    >>> round(norm(op), 9)
    8.005633638
    """
    checked_map("norm", op)
    if first_tensor(op) is not None:
        return attached(op, _top_vectors(numpy_twin(op)), [0])[0]
    form = circulant(op)
    if form is not None:
        value, _, how, proven = circular_norm(form)
        rows, columns = form.block_shape
        cost = f"{form.count} blocks of {rows} x {columns}"
        exact = _exact(op, value, f"Fourier blocks (circular): {how}", cost)
        if proven:
            return exact
        return replace(exact, kind="estimate", interval=(exact.interval[0], inf), residual=EPS)
    parts = group_parts(op)
    if parts is not None:
        norms = [norm(part) for part in parts]
        best = max(norms, key=float)
        high = max(one.interval[1] for one in norms)
        cost = f"{len(parts)} groups, each: {best.cost}"
        return replace(best, interval=(best.interval[0], high), cost=cost)
    if quick(op):
        found = all_values(op)
        return _exact(op, float(found.values[0]), found.method, found.cost)
    triplet, upper = estimated_norm(op)
    ends = (triplet.value * (1 - max(op.shape) * EPS), upper)
    method = "Davidson's method"
    cost = f"{triplet.applications} applications of a {op.shape[0]} x {op.shape[1]} map"
    return SpectralValue(triplet.value, "estimate", ends, triplet.residual, method, cost)


def _top_vectors(op: LinearMap) -> Vectors:
    """Return the function that gives the singular vectors of the largest value, as position 0."""
    form = circulant(op)
    if form is not None:
        return top_vectors(form, circular_norm(form)[1])
    if quick(op):
        found = svdvals(op, 1)
        vectors: Vectors = found.vectors
        return vectors
    triplet, _ = estimated_norm(op)
    pair = triplet.left.reshape(op.output_shape), triplet.right.reshape(op.input_shape)
    return lambda _: pair


def _exact(op: LinearMap, value: float, method: str, cost: str) -> SpectralValue:
    margin = rounding(op, value)
    return SpectralValue(
        value, "exact", (max(0.0, value - margin), value + margin), None, method, cost
    )


def condition(op: LinearMap) -> SpectralValue:
    """Return the condition number of a map: its largest singular value over its smallest.

    Parameters
    ----------
    op : LinearMap
        Any map; the smallest is that of all ``min(op.shape)`` singular values.

    Returns
    -------
    SpectralValue
        Infinite where the smallest value is zero to rounding. The interval tells what rounding
        (or an estimate's residuals) leaves open.

    Raises
    ------
    LinconvError
        As `norm`.

    Notes
    -----
    It is no ratio of eigenvalues, which is smaller for a map that is not normal. Cost: that of all
    singular values, or of the two estimates.

    Examples
    --------
    >>> from linconv import Conv
    >>> options = {"padding": "same", "padding_mode": "circular"}
    >>> [float(condition(Conv([1.0, 1.0, 1.0], (n,), **options)).__round__(3)) for n in (8, 9)]
    [7.243, inf]
    """
    checked_map("condition", op)
    try:
        values = svdvals(op) if quick(op) else None
    except SizeError:
        values = None
    if values is not None:
        return _ratio(op, values, values)
    return _ratio(op, svdvals(op, 1), svdvals(op, 1, "smallest"))


def _ratio(op: LinearMap, top: SpectralValues, bottom: SpectralValues) -> SpectralValue:
    largest, smallest = float(top.values[0]), float(bottom.values[-1])
    low, high = float(bottom.interval[0][-1]), float(bottom.interval[1][-1])
    margin = rounding(op, largest)
    singular = smallest <= margin
    value = inf if singular else largest / smallest
    ends = (
        float(top.interval[0][0]) / high if high > 0 else inf,
        inf if low <= 0 else float(top.interval[1][0]) / low,
    )
    kind = "exact" if top.kind == bottom.kind == "exact" else "estimate"
    residuals = [float(np.max(v.residual)) for v in (top, bottom) if v.residual is not None]
    residual = max(residuals) if residuals else None
    return SpectralValue(value, kind, ends, residual, bottom.method, bottom.cost)


@dataclass(frozen=True, eq=False)
class Rank(SpectralValue):
    """The rank of a map; it behaves as the int.

    Attributes
    ----------
    value : int
    interval : (int, int)
        Ranks for tolerances ten times larger and smaller: equal where there is a clear gap.
    tolerance : float
        Singular values up to it count as zero.
    gap : (float, float)
        The smallest singular value that counts, infinite if none does, and the largest that does
        not, zero if there is none.
    """

    tolerance: float
    gap: tuple[float, float]

    def to_dict(self) -> dict[str, Any]:
        """Return every field as plain numbers and strings."""
        gap = [None if end == inf else end for end in self.gap]
        return {**super().to_dict(), "tolerance": self.tolerance, "gap": gap}


def rank(op: LinearMap, rtol: float | None = None, *, max_bytes: int = DENSE_LIMIT) -> Rank:
    """Return the rank of a map: how many singular values are not zero.

    Parameters
    ----------
    op : LinearMap
        Any map whose singular values can all be computed; see `svdvals`.
    rtol : float, optional
        Values up to `rtol` times the largest count as zero; by default ``max(op.shape)`` times
        the spacing of float64 at 1, as in `numpy.linalg.matrix_rank`.
    max_bytes : int
        As in `svdvals`.

    Returns
    -------
    Rank
        Exact for its tolerance, with the gap between the values on either side of it.

    Raises
    ------
    LinconvError, SizeError
        As `svdvals`.
    GeometryError
        If `rtol` is negative or not finite.

    Notes
    -----
    Cost: that of all singular values.

    Examples
    --------
    >>> from linconv import Conv
    >>> blur = Conv([1.0, 1.0, 1.0], (9,), padding="same", padding_mode="circular")
    >>> int(rank(blur))
    7
    """
    checked_map("rank", op)
    values, tolerance = values_and_tolerance(op, rtol, max_bytes)
    found = values.values
    counted = int((found > tolerance).sum())
    ends = (int((found > 10 * tolerance).sum()), int((found > tolerance / 10).sum()))
    gap = (
        float(found[counted - 1]) if counted else inf,
        float(found[counted]) if counted < len(found) else 0.0,
    )
    return Rank(counted, "exact", ends, None, values.method, values.cost, tolerance, gap)


def values_and_tolerance(
    op: LinearMap, rtol: float | None, max_bytes: int
) -> tuple[SpectralValues, float]:
    """Return all singular values, and up to which of them counts as zero."""
    relative = None if rtol is None else finite_number("rtol", rtol, "1e-12")
    values = svdvals(op, max_bytes=max_bytes)
    largest = float(values.values[0])
    return values, rounding(op, largest) if relative is None else relative * largest

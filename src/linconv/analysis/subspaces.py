"""Null space and range: orthonormal bases of what a map loses, and of what it can make."""

from __future__ import annotations

from linconv.analysis.spectrum import checked_map, values_and_tolerance
from linconv.analysis.structure import basis_of
from linconv.engines.arrays import Array
from linconv.linear_map import LinearMap
from linconv.matrix import DENSE_LIMIT

__all__ = ["null_space", "range_space"]


def null_space(op: LinearMap, rtol: float | None = None, *, max_bytes: int = DENSE_LIMIT) -> Array:
    """Return an orthonormal basis of the inputs that a map takes to zero.

    Parameters
    ----------
    op : LinearMap
        Any map whose singular values can all be computed; see `svdvals`.
    rtol : float, optional
        Which singular values count as zero, as in `rank`.
    max_bytes : int
        Largest memory for the basis, and for a dense matrix, 1 GiB each.

    Returns
    -------
    array, shape (n, *input_shape)
        float64, or complex128 for a complex map; n is the number of columns less the rank, and
        may be 0. Exact to rounding; circular maps give plane waves, in pairs of real ones where
        the map is real.

    Raises
    ------
    LinconvError, GeometryError
        As `rank`.
    SizeError
        If the basis or a dense matrix would take more than `max_bytes`.

    Examples
    --------
    >>> from linconv import Conv
    >>> blur = Conv([1.0, 1.0, 1.0], (9,), padding="same", padding_mode="circular")
    >>> lost = null_space(blur)
    >>> lost.shape, bool(abs(blur(lost)).max() < 1e-14)
    ((2, 9), True)
    """
    checked_map("null_space", op)
    values, tolerance = values_and_tolerance(op, rtol, max_bytes)
    count = op.shape[1] - int((values.values > tolerance).sum())
    return basis_of(op, tolerance, count, null=True, max_bytes=max_bytes)


def range_space(op: LinearMap, rtol: float | None = None, *, max_bytes: int = DENSE_LIMIT) -> Array:
    """Return an orthonormal basis of the outputs that a map can make.

    Parameters
    ----------
    op, rtol, max_bytes
        As in `null_space`.

    Returns
    -------
    array, shape (n, *output_shape)
        float64, or complex128 for a complex map; n is the rank.

    Raises
    ------
    LinconvError, GeometryError, SizeError
        As `null_space`.

    Examples
    --------
    >>> from linconv import Conv
    >>> range_space(Conv([1.0, 1.0, 1.0], (4,))).shape
    (2, 2)
    """
    checked_map("range_space", op)
    values, tolerance = values_and_tolerance(op, rtol, max_bytes)
    count = int((values.values > tolerance).sum())
    return basis_of(op, tolerance, count, null=False, max_bytes=max_bytes)

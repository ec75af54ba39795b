"""The largest singular triplet of a map too large to decompose, by a generalised Davidson method.

Stathopoulos and Saad, Electronic Transactions on Numerical Analysis 7, 1998 (restarted with the
best vectors and the last best one), on the map's adjoint times the map. Without a preconditioner
it goes the way of Lanczos' method; with one it is Knyazev's locally optimal conjugate gradient
(SIAM J. Sci. Comput. 23, 2001) with a little more memory.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from linconv.analysis.stretches import combined, inner, length
from linconv.engines.arrays import Array
from linconv.linear_map import LinearMap

__all__ = ["Precondition", "Triplet", "largest_triplet", "of_adjoint"]

Precondition = Callable[[Array], Array]

_SIZE, _KEEP = 8, 3  # vectors at most, and of the best ones after a restart
_HELPED = 4, 1  # the same with a preconditioner that helps: more vectors save next to no steps
_STALE = 8  # steps without progress after which a precision, near its rounding, gives no more
_PATIENCE = 3  # times as many steps where it is far from its rounding
_CROWDED = 2  # steps without progress after which more vectors are kept
_UNFIT = 8  # steps without progress after which a preconditioner is given up


@dataclass(frozen=True)
class Triplet:
    """An approximate singular triplet.

    Attributes
    ----------
    value : float
        ``‖op(right)‖``: a lower bound of the norm, whatever the residual.
    left, right : array
        Unit vectors, flat.
    residual : float
        ``‖Aᴴ left - value right‖ / value``, computed from them in double precision.
    applications : int
        Of the map and its adjoint, together, in single and in double precision.
    """

    value: float
    left: Array
    right: Array
    residual: float
    applications: int


def largest_triplet(
    op: LinearMap,
    start: Array,
    *,
    rtol: float,
    most: int,
    single: LinearMap | None = None,
    precondition: Precondition | None = None,
) -> Triplet:
    """Return the largest singular triplet from some start vectors, until its residual is small.

    Parameters
    ----------
    op : LinearMap
    start : array, shape input_shape or (n, *input_shape)
        None of them zero, the best first.
    rtol : float
        For the residual.
    most : int
        Largest number of applications.
    single : LinearMap, optional
        The same map, or a multiple of it, that keeps arrays of single precision. It goes first,
        and ends where it gains nothing more; the rest is left to `op`.
    precondition : callable, optional
        A positive definite map of flat arrays, alike to the inverse of the largest value's
        distance.
    """
    wide = np.dtype(np.result_type(op.dtype, np.float64))
    vectors = start.reshape(-1, op.shape[1]).astype(wide)
    used = 0
    if single is not None:
        narrow = np.dtype(np.complex64 if wide.kind == "c" else np.float32)
        vectors, used = _improved(single, vectors, narrow, rtol, most, precondition)
    found = _measured(op, vectors[0].astype(wide), used)
    if found.residual > rtol and found.applications + 4 < most:
        left = most - found.applications
        vectors, used = _improved(op, vectors, wide, rtol, left, precondition)
        found = _measured(op, vectors[0], found.applications + used)
    return found


def of_adjoint(op: LinearMap, found: Triplet) -> Triplet:
    """Return a triplet of a map from one of its adjoint, value and residual computed anew."""
    if found.value == 0:
        return replace(found, left=found.right, right=found.left)
    return _measured(op, found.left, found.applications)


def _measured(op: LinearMap, right: Array, applications: int) -> Triplet:
    """Return the triplet of a right vector, its value and residual in double precision."""
    right = right / length(right)
    image = op(right.reshape(op.input_shape)).reshape(-1)
    peak = float(np.abs(image).max())
    if peak == 0:
        return Triplet(0.0, image, right, 0.0, applications + 1)
    image /= peak
    gain = length(image)
    left, value = image / gain, gain * peak
    back = op.H(left.reshape(op.output_shape)).reshape(-1)
    residual = length(back / value - right)
    return Triplet(value, left, right, residual, applications + 2)


def _improved(
    op: LinearMap,
    vectors: Array,
    dtype: np.dtype,
    rtol: float,
    most: int,
    precondition: Precondition | None,
) -> tuple[Array, int]:
    """Return the best vector and the one before, (n, columns), and how many applications it took.

    Parameters
    ----------
    vectors : array, shape (n, columns)
        Where to start from, the best first.
    dtype : dtype
        Of all vectors on the way.
    """
    space = _Space(op, vectors.shape[1], dtype)
    for vector in vectors:
        space.add(vector.astype(dtype))
    best, stale, eps = np.inf, 0, float(np.finfo(dtype).eps)
    while space.count and space.largest > 0:
        rest = space.rest()
        residual = length(rest) / space.largest
        if residual <= max(0.95 * rtol, 4 * eps) or space.applications + 4 > most:
            break
        best, stale = (residual, 0) if residual < 0.8 * best else (best, stale + 1)
        if stale >= _STALE * (1 if residual < eps**0.75 else _PATIENCE) and residual < eps**0.5:
            break
        if stale >= _UNFIT:
            precondition = None
        most_rows, keep = _HELPED if precondition and stale < _CROWDED else (_SIZE, _KEEP)
        if space.count >= min(most_rows, space.size):
            space.restart(keep)
        wanted = rest if precondition is None else precondition(rest)
        if not space.add(wanted) and not space.add(rest):
            break
    return (space.last_two() if space.count else vectors), space.applications


class _Space:
    """Orthonormal rows V, their images ``AᴴA V / scale²`` and ``V AᴴA Vᴴ``, the small matrix."""

    def __init__(self, op: LinearMap, columns: int, dtype: np.dtype) -> None:
        self.op, self.adjoint = op, op.H
        self.size = min(_SIZE, columns)
        self.rows = np.empty((self.size, columns), dtype)
        self.images = np.empty((self.size, columns), dtype)
        self.small = np.zeros((self.size, self.size), np.result_type(dtype, np.float64))
        self.count = self.applications = 0
        self.scale = 0.0
        self.largest, self.best = 0.0, self.small[:0, 0]
        self.before = self.best

    def add(self, vector: Array) -> bool:
        """Take a vector into the span, if it adds to it; False if not."""
        j = self.count
        if j == self.size:
            return False
        row, least = self.rows[j], 1e2 * float(np.finfo(vector.dtype).eps)
        row[:] = vector
        left = first = length(row)
        for _ in range(2 if j else 0):
            parts = inner(self.rows[:j], row).astype(row.dtype)
            row -= combined(parts[None], self.rows[:j])[0]
            before, left = left, length(row)
            if left > 0.5 * before:
                break
        if not left > least * first:
            return False
        row /= row.dtype.type(left)
        self._enter_image(row, self.images[j])
        column = inner(self.rows[: j + 1], self.images[j])
        if not np.isfinite(column).all():  # beyond the range of single precision
            return False
        self.small[: j + 1, j], self.small[j, : j + 1] = column, column.conj()
        self.count = j + 1
        values, vectors = np.linalg.eigh(self.small[: j + 1, : j + 1])
        self.before, self.best = self.best, vectors[:, -1]
        self.largest, self.vectors = float(values[-1]), vectors
        return True

    def _enter_image(self, row: Array, to: Array) -> None:
        image = self.op(row.reshape(self.op.input_shape))
        self.applications += 1
        self.scale = self.scale or float(np.abs(image).max())
        if self.scale == 0:
            to[:] = 0
            return
        self.applications += 1
        with np.errstate(over="ignore", invalid="ignore"):
            part = image.dtype.type(1 / self.scale)
            back = self.adjoint(image * part)
            np.multiply(back.reshape(-1), part, out=to)

    def rest(self) -> Array:
        """Return the image of the best vector, less the vector times its value."""
        j, best = self.count, self.best.astype(self.rows.dtype)[None]
        shift = self.rows.dtype.type(self.largest)
        rest: Array = combined(best, self.images[:j])[0]
        rest -= combined(shift * best, self.rows[:j])[0]
        return rest

    def restart(self, keep: int) -> None:
        """Keep the best vectors, and the best one of the step before."""
        chosen = np.column_stack([self.vectors[:, : -keep - 1 : -1], self._padded()])
        orthonormal, _ = np.linalg.qr(chosen)
        j, k = self.count, orthonormal.shape[1]
        narrow = orthonormal.T.astype(self.rows.dtype)
        self.rows[:k] = combined(narrow, self.rows[:j])
        self.images[:k] = combined(narrow, self.images[:j])
        self.small[:k, :k] = orthonormal.conj().T @ self.small[:j, :j] @ orthonormal
        self.count = k
        self.best = np.zeros(k, self.small.dtype)
        self.best[0] = 1

    def last_two(self) -> Array:
        """Return the best vector and that of the step before, shape (2, columns)."""
        both = np.stack([self.best, self._padded()]).astype(self.rows.dtype)
        return combined(both, self.rows[: self.count])

    def _padded(self) -> Array:
        padded = np.zeros(self.count, self.small.dtype)
        padded[: len(self.before)] = self.before
        return padded

"""Golub-Kahan bidiagonalisation: the largest singular triplet of a map too large to decompose.

Golub and Van Loan, Matrix Computations, section 10.4, with full reorthogonalisation, restarted with
the best vectors found (Baglama and Reichel, SIAM J. Sci. Comput. 27, 2005).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from linconv.engines.arrays import Array
from linconv.linear_map import LinearMap

__all__ = ["Triplet", "largest_triplet"]


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
        ``‖Aᴴ left - value right‖ / value``.
    applications : int
        Of the map and its adjoint, together.
    """

    value: float
    left: Array
    right: Array
    residual: float
    applications: int


def largest_triplet(
    op: LinearMap, start: Array, *, rtol: float, most: int, basis: int = 32, keep: int = 4
) -> Triplet:
    """Return the largest singular triplet from a start vector, until its residual is small.

    Parameters
    ----------
    op : LinearMap
    start : array, shape input_shape
        Not zero.
    rtol : float
        For the residual.
    most : int
        Largest number of applications.
    basis, keep : int
        Vectors kept at most, and after a restart.
    """
    if op.shape[0] < op.shape[1]:  # from the shorter side, whose vectors span all there is
        image = op(start)
        if not np.any(image):
            image = np.random.default_rng(0).standard_normal(op.output_shape)
        found = largest_triplet(op.H, image, rtol=rtol, most=most - 3, basis=basis, keep=keep)
        return _from_adjoint(op, found)
    work = _Bidiagonal(op, start, basis)
    while True:
        work.extend(rtol, most)
        found = work.best()
        if work.exhausted or found.residual <= rtol or found.applications + 2 > most:
            return found
        work.restart(keep)


def _from_adjoint(op: LinearMap, found: Triplet) -> Triplet:
    """Return a triplet of a map from one of its adjoint, value and residual computed anew."""
    if found.value == 0:
        return Triplet(0.0, found.right, found.left, 0.0, found.applications)
    right = found.left / np.linalg.norm(found.left)
    image = op(right.reshape(op.input_shape)).reshape(-1)
    value = float(np.linalg.norm(image))
    left = image / max(value, 1e-300)
    back = op.H(left.reshape(op.output_shape)).reshape(-1)
    residual = float(np.linalg.norm(back - value * right)) / max(value, 1e-300)
    return Triplet(value, left, right, residual, found.applications + 3)


class _Bidiagonal:
    """``A V = U B`` and ``Aᴴ U = V Bᴴ + r eᴴ``, with orthonormal rows of `right` V and `left` U."""

    def __init__(self, op: LinearMap, start: Array, basis: int) -> None:
        self.op, self.adjoint = op, op.H
        dtype = np.result_type(op.dtype, np.float64)
        rows, columns = op.shape
        self.size = min(basis, rows, columns)
        self.right = np.zeros((self.size, columns), dtype)
        self.left = np.zeros((self.size, rows), dtype)
        self.small = np.zeros((self.size, self.size), dtype)
        self.rest = start.reshape(-1).astype(dtype)
        self.rest /= np.linalg.norm(self.rest)
        self.beta = 1.0
        self.couplings = np.zeros(0, dtype)
        self.count = self.applications = 0
        self.exhausted = False

    def extend(self, rtol: float, most: int) -> None:
        """Add vectors until the basis is full, the residual small or the applications used up."""
        while self.count < self.size and not self.exhausted:
            j = self.count
            self.right[j] = self.rest
            u = self.op(self.rest.reshape(self.op.input_shape)).reshape(-1)
            projections = self.left[:j].conj() @ u
            u = u - projections @ self.left[:j]
            again = self.left[:j].conj() @ u
            u -= again @ self.left[:j]
            alpha = float(np.linalg.norm(u))
            self.small[:j, j] = projections + again
            self.small[j, j] = alpha
            scale = float(np.abs(self.small).max())
            if alpha > 1e-14 * scale and alpha > 0:
                self.left[j] = u / alpha
            v = self.adjoint(self.left[j].reshape(self.op.output_shape)).reshape(-1)
            for _ in range(2):
                v = v - (self.right[: j + 1].conj() @ v) @ self.right[: j + 1]
            self.beta = float(np.linalg.norm(v))
            self.count, self.applications = j + 1, self.applications + 2
            if self.beta <= 1e-14 * max(scale, alpha) or self.beta == 0:
                self.exhausted, self.beta = True, 0.0
                return
            self.rest = v / self.beta
            if self.applications + 2 > most or (self.count % 4 == 0 and self._residual() <= rtol):
                return

    def _decomposed(self) -> tuple[Array, Array, Array]:
        n = self.count
        u, values, vh = np.linalg.svd(self.small[:n, :n])
        return u, values, vh

    def _residual(self) -> float:
        u, values, _ = self._decomposed()
        return self.beta * float(abs(u[-1, 0])) / max(float(values[0]), 1e-300)

    def best(self) -> Triplet:
        """Return the largest triplet, its value and residual computed anew from its vectors."""
        _, _, vh = self._decomposed()
        right = vh[0].conj() @ self.right[: self.count]
        right /= np.linalg.norm(right)
        image = self.op(right.reshape(self.op.input_shape)).reshape(-1)
        value = float(np.linalg.norm(image))
        if value == 0:
            return Triplet(0.0, image, right, 0.0, self.applications + 1)
        left = image / value
        back = self.adjoint(left.reshape(self.op.output_shape)).reshape(-1)
        residual = float(np.linalg.norm(back - value * right)) / value
        self.applications += 2
        return Triplet(value, left, right, residual, self.applications)

    def restart(self, keep: int) -> None:
        """Keep the best vectors, and go on from the residual, which couples to all of them."""
        u, values, vh = self._decomposed()
        n = self.count
        keep = min(keep, n - 1)
        self.right[:keep] = vh[:keep].conj() @ self.right[:n]
        self.left[:keep] = u[:, :keep].T @ self.left[:n]
        self.small[:] = 0
        self.small[np.arange(keep), np.arange(keep)] = values[:keep]
        self.count = keep

"""invertibility: whether a map can be undone, and what it loses if it cannot."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import pi
from typing import Any

import numpy as np
from numpy.typing import NDArray

from linconv.analysis.balance import balanced
from linconv.analysis.direct import DenseSolver, Direct, double_sparse, rounding
from linconv.analysis.fourier_solver import FourierSolver, fourier_fits
from linconv.analysis.iterative import estimated_norm
from linconv.analysis.kronecker import SeparableSolver, is_separable
from linconv.analysis.pinv import RegularisedInverse
from linconv.analysis.separable import band_values, band_work
from linconv.analysis.smallest import found_smallest, smallest_by_inverse
from linconv.analysis.solve import check_map, read_map
from linconv.analysis.sparse_solvers import SingularError, SparseSolver, least_band
from linconv.analysis.symbol import circulant
from linconv.convolution import Conv, ConvTranspose
from linconv.files import json_number
from linconv.linear_map import LinearMap

__all__ = ["Invertibility", "LostFrequency", "invertibility"]

Array = NDArray[Any]

DENSE_WORK = 2e10
BASIS_COLUMNS = 2048
FREQUENCIES = 1000
BAND_WORK = 1e9
LU_WORK = 3.5e7  # rows times the width of the band, up to which a map is factorised


@dataclass(frozen=True)
class LostFrequency:
    """A frequency of the input of which something is lost.

    Attributes
    ----------
    cycles : tuple of int
        Cycles over the whole of each axis, from ``-N / 2`` to ``N / 2``; for a real map the
        negative of it is lost, too, and not listed.
    size : tuple of int
        N, samples per axis.
    dimensions : int
        Of the inputs lost, with those of the negative frequency.
    aliases : tuple of tuple of int
        The other frequencies that the stride folds onto it: what is lost is a mixture of all.
    """

    cycles: tuple[int, ...]
    size: tuple[int, ...]
    dimensions: int
    aliases: tuple[tuple[int, ...], ...] = ()

    @property
    def radians(self) -> tuple[float, ...]:
        """Radians per sample along each axis."""
        return tuple(2 * pi * c / n for c, n in zip(self.cycles, self.size, strict=True))

    def __str__(self) -> str:
        cycles = ", ".join(f"{c} per {n}" for c, n in zip(self.cycles, self.size, strict=True))
        radians = ", ".join(f"{r:.4g}" for r in self.radians)
        return f"cycles {cycles} ({radians} radians per sample)"


@dataclass(frozen=True, eq=False)
class Invertibility:
    """Whether a map can be undone, with the evidence.

    Attributes
    ----------
    verdict : str
        "exact inverse": both sides; "left inverse only": every input can be had back from its
        output; "right inverse only": every output is that of some input; "none": neither;
        "undecided": a large map of which only bounds are known.
    rank : int or None
        None where it is not known: of a large map that is singular, or undecided.
    shape : tuple of int
        Rows and columns of the matrix.
    condition : float
        Largest singular value over the smallest of ``min(shape)``; infinite below full rank.
    condition_kind : str
        "exact" (to rounding); "estimate", and so is the verdict then; or, where it is undecided,
        "at least".
    method : str
        "fft", "separable", "banded", "dense", "sparse" or "lobpcg".
    lost : array, shape (columns - rank, *input_shape), or None
        An orthonormal basis of the inputs that the map turns into nothing; None where it would
        be large. Empty if nothing is lost.
    lost_frequencies : tuple of LostFrequency or None
        For periodic maps: the frequencies at which inputs are lost, the lowest first, at most
        1000; None for other maps.
    inverse : LinearMap or None
        The inverse, left inverse or right inverse, which is the pseudo-inverse; None if there is
        none of these (see `pinv`), or it is undecided.
    residual : float or None
        Of the smallest singular value that "sparse" or "lobpcg" has found: how far it may be from
        one.
    """

    verdict: str
    rank: int | None
    shape: tuple[int, int]
    condition: float
    condition_kind: str
    method: str
    lost: Array | None
    lost_frequencies: tuple[LostFrequency, ...] | None
    inverse: LinearMap | None
    residual: float | None = None

    @property
    def deficit(self) -> int | None:
        """Dimensions of the inputs that are lost; None where the rank is not known."""
        return None if self.rank is None else self.shape[1] - self.rank

    @property
    def unreached(self) -> int | None:
        """Dimensions of the outputs that no input reaches; None where the rank is not known."""
        return None if self.rank is None else self.shape[0] - self.rank

    def __str__(self) -> str:
        rows, columns = self.shape
        rank = "unknown" if self.rank is None else self.rank
        text = f"{self.verdict}: rank {rank} of {rows} outputs and {columns} inputs"
        text += f", condition {self.condition:.6g} ({self.condition_kind}, by {self.method}"
        text += ")" if self.residual is None else f" with a residual of {self.residual:.1e})"
        if self.rank is None and rows != columns:
            text += f"; no {'left' if rows < columns else 'right'} inverse, by its shape"
        if self.deficit:
            text += f"; {self.deficit} dimensions of the input are lost"
        for frequency in (self.lost_frequencies or ())[:3]:
            text += f"; at {frequency}"
        return text

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the inverse as plain lists and numbers, None for infinite."""
        frequencies = self.lost_frequencies
        return {
            "verdict": self.verdict,
            "rank": self.rank,
            "shape": list(self.shape),
            "deficit": self.deficit,
            "unreached": self.unreached,
            "condition": json_number(self.condition),
            "condition_kind": self.condition_kind,
            "method": self.method,
            "residual": None if self.residual is None else json_number(self.residual),
            "lost": None if self.lost is None else _plain(self.lost),
            "lost_frequencies": None
            if frequencies is None
            else [
                {
                    "cycles": list(f.cycles),
                    "size": list(f.size),
                    "radians": list(f.radians),
                    "dimensions": f.dimensions,
                    "aliases": [list(a) for a in f.aliases],
                }
                for f in frequencies
            ],
        }


def invertibility(op: LinearMap) -> Invertibility:
    """Tell whether a map can be undone, how well, and what it loses.

    Parameters
    ----------
    op : LinearMap
        Any map.

    Returns
    -------
    Invertibility

    Raises
    ------
    DTypeError, LinconvError
        If `op` is no map, or not finite.

    Notes
    -----
    By the singular values: of every frequency for periodic maps, of every axis for outer products,
    of the band for one axis up to 1e9 operations, otherwise of the dense matrix up to 2e10. They
    count as zero up to ``max(shape) * 2.2e-16`` of the largest, as in NumPy and for `rank`. Beyond
    that a square map whose band is not too wide is factorised by sparse LU, and its smallest value
    found by LOBPCG on the inverse. What is left is looked at by LOBPCG: the value it finds is an
    upper bound of the smallest. If that counts as zero there is no inverse; if its residual keeps
    it from zero, full rank is an estimate; otherwise it is undecided, with a lower bound of the
    condition. Blurs of many samples mostly are: their smallest values crowd too near to zero.

    Examples
    --------
    >>> from linconv import Conv
    >>> for n in (8, 9):
    ...     blur = Conv(np.ones(3) / 3, (n,), padding="same", padding_mode="circular")
    ...     print(invertibility(blur))
    exact inverse: rank 8 of 8 outputs and 8 inputs, condition 7.24264 (exact, by fft)
    none: rank 7 of 9 outputs and 9 inputs, condition inf (exact, by fft); 2 dimensions of the
    input are lost; at cycles 3 per 9 (2.094 radians per sample)
    """
    read_map(op)
    even = balanced(op, seen=check_map(op))
    found = _told(even.op)
    inverse = None if found.inverse is None else RegularisedInverse(op, 0.0)
    residual = None if found.residual is None else found.residual / even.unit
    return replace(found, inverse=inverse, residual=residual)


def _told(op: LinearMap) -> Invertibility:
    """Return the answer for a map of ordinary scale."""
    solver = _decomposed(op) or _factorised(op)
    if solver is None:
        return _looked_at(op)
    rank, smallest = solver.rank, solver.smallest
    assert rank is not None
    assert smallest is not None
    full = rank == min(op.shape)
    return Invertibility(
        verdict=_verdict(op, rank),
        rank=rank,
        shape=op.shape,
        condition=solver.norm / smallest if full and smallest > 0 else float("inf"),
        condition_kind="estimate" if solver.method == "sparse" else "exact",
        method=solver.method,
        lost=_basis(op, rank),
        lost_frequencies=_lost_frequencies(op, solver),
        inverse=RegularisedInverse(op, 0.0) if full else None,
        residual=solver.residual if isinstance(solver, _Known) else None,
    )


@dataclass(frozen=True)
class _Known:
    """What is known of a map's singular values by a way that is no solver."""

    method: str
    norm: float
    smallest: float
    rank: int
    residual: float | None = None


def _verdict(op: LinearMap, rank: int) -> str:
    rows, columns = op.shape
    return {
        (True, True): "exact inverse",
        (True, False): "left inverse only",
        (False, True): "right inverse only",
        (False, False): "none",
    }[rank == columns, rank == rows]


def _decomposed(op: LinearMap) -> Direct | _Known | None:
    """Return what knows all singular values, or None."""
    if fourier_fits(op):
        return FourierSolver(op, 0.0)
    if is_separable(op, strictly=True):
        return SeparableSolver(op, 0.0)
    band = _banded(op)
    if band is not None:
        return band
    if float(op.shape[0]) * op.shape[1] * min(op.shape) <= DENSE_WORK:
        return DenseSolver(op, 0.0)
    return None


def _banded(op: LinearMap) -> _Known | None:
    """Return the values of a convolution of one axis by its band, where that is little work."""
    if not isinstance(op, Conv | ConvTranspose) or op.geometry.ndim > 1:
        return None
    if float(sum(op.shape)) ** 2 > BAND_WORK:
        return None
    matrix = double_sparse(op)
    if band_work(matrix) > BAND_WORK:
        return None
    values = band_values(matrix)
    norm = float(values[0])
    rank = int((values > rounding(op, norm)).sum())
    return _Known("banded", norm, float(values[-1]), rank)


def _factorised(op: LinearMap) -> _Known | None:
    """Return what the sparse factors of a square convolution tell, or None if it has none."""
    rows, columns = op.shape
    if rows != columns or not isinstance(op, Conv | ConvTranspose) or rows > LU_WORK:
        return None
    if least_band(op, LU_WORK / rows) > LU_WORK / rows:
        return None
    try:
        solver = SparseSolver(op, 0.0)
    except SingularError:
        return None
    assert solver.smallest is not None
    dtype = np.result_type(op.dtype, np.float64)
    found = smallest_by_inverse(rows, dtype, solver.undo, solver.smallest)
    norm = max(float(estimated_norm(op)[0].value), solver.norm)
    if found.value <= rounding(op, norm):
        return None
    return _Known(solver.method, norm, found.value, rows, found.residual)


def _looked_at(op: LinearMap) -> Invertibility:
    """Return what bounds of the extreme singular values tell."""
    found = found_smallest(op)
    largest = max(float(estimated_norm(op)[0].value), found.value)
    zero = rounding(op, largest)
    full = found.value - found.residual > zero
    if found.value <= zero:
        verdict, condition, kind = "none", float("inf"), "estimate"
    else:
        verdict = _verdict(op, min(op.shape)) if full else "undecided"
        condition, kind = largest / found.value, "estimate" if full else "at least"
    return Invertibility(
        verdict=verdict,
        rank=min(op.shape) if full else None,
        shape=op.shape,
        condition=condition,
        condition_kind=kind,
        method="lobpcg",
        lost=None,
        lost_frequencies=None,
        inverse=RegularisedInverse(op, 0.0) if full else None,
        residual=found.residual,
    )


def _basis(op: LinearMap, rank: int) -> Array | None:
    """Return an orthonormal basis of the null space, where it is small."""
    columns = op.shape[1]
    wide = np.result_type(op.dtype, np.float64)
    if rank == columns:
        return np.zeros((0, *op.input_shape), wide)
    if columns > BASIS_COLUMNS or max(op.shape) > 4 * BASIS_COLUMNS:
        return None
    _, _, right = np.linalg.svd(double_sparse(op).toarray())
    return np.asarray(right[rank:].conj().reshape(-1, *op.input_shape))


def _lost_frequencies(op: LinearMap, solver: Direct | _Known) -> tuple[LostFrequency, ...] | None:
    form = circulant(op)
    if form is None or not isinstance(solver, FourierSolver):
        return None
    side = form.domain
    missing = (side.width - solver.ranks).sum(axis=-1)
    missing = missing * side.multiplicity
    if side.half:  # at the ends of the last axis a frequency is kept beside its negative
        for one in np.argwhere(missing).tolist():
            other = [-i % m for i, m in zip(one, side.grid, strict=True)]
            if other[-1] == one[-1] and other != one:
                first, second = sorted((tuple(one), tuple(other)))
                missing[first] += missing[second]
                missing[second] = 0
    found = []
    for index in np.argwhere(missing):
        members = [
            tuple(
                _signed(int(i) + int(j) * m, n)
                for i, j, m, n in zip(index, alias, side.grid, side.size, strict=True)
            )
            for alias in np.ndindex(*side.aliases)
        ]
        members.sort(key=lambda c: sum((a / n) ** 2 for a, n in zip(c, side.size, strict=True)))
        dimensions = int(missing[tuple(index)])
        found.append(LostFrequency(members[0], side.size, dimensions, tuple(members[1:])))
    found.sort(key=lambda f: sum(r * r for r in f.radians))
    return tuple(found[:FREQUENCIES])


def _signed(cycles: int, size: int) -> int:
    """Return the same frequency, from above -N / 2 to N / 2."""
    return cycles - size if 2 * cycles > size else cycles


def _plain(array: Array) -> Any:
    if array.dtype.kind == "c":
        return {"real": array.real.tolist(), "imag": array.imag.tolist()}
    return array.tolist()

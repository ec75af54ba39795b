"""Wave packets: what a zero-padded convolution amplifies most, and a preconditioner made of it.

Near the frequency w at which the symbol's largest singular value s peaks, with right vector v, a
large zero-padded convolution acts like the infinite one, and its singular vectors like
``v(w) exp(i w x)`` under windows that vanish at both borders: half periods of sines, the
eigenvectors of a second difference. A window ``sin(k x)`` is two waves, of frequencies w + k and
w - k, whose own vectors are ``v(w) ± k v'(w)``: so

    packet_k(x) = exp(i w x) (v sin(k x) - i v' k cos(k x)),    s² falls short by s''² k² / 2.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import pi, prod

import numpy as np
from numpy.typing import NDArray

from linconv.analysis.symbol import gram_degrees
from linconv.analysis.waves import convolution_blocks
from linconv.convolution import Conv
from linconv.engines.arrays import Array

__all__ = ["WavePackets", "packets_around"]

_TURN = 2**26  # steps that a turn of 2 pi is cut into
_MODES = 16  # windows per axis
_TABLE = 2**21  # entries of a table of windows
_ROUNDS = 20
_NEAR = 0.1  # the part of the spectrum below the top that packets stand for


@dataclass(frozen=True, eq=False)
class WavePackets:
    """Packets around one frequency, in one group of channels.

    Attributes
    ----------
    op : Conv
    group : int
        The group of channels they live in.
    mixing : array, shape (channels of the group, n)
        From waves to channels. Of a complex kernel: the vector v and its derivatives along every
        axis, alias by alias. Of a real one: their real parts, then their imaginary parts negated.
    windows : tuple of array, one per axis, shape (2, stride, modes, size)
        Waves under sines, and under the derivatives that go with v'.
    gains : array of float32, shape (modes, ...)
        How much nearer to the top than the rest each packet is, less 1.
    """

    op: Conv
    group: int
    mixing: Array
    windows: tuple[Array, ...]
    gains: Array

    def first(self) -> Array:
        """Return the lowest packet, shape input_shape: real where the kernel is, not normalised."""
        modes = np.zeros(self.gains.shape, np.complex64)
        modes.flat[0] = 1
        spread = self._spread(modes)
        if self.op.dtype.kind != "c":
            other = self._spread(-1j * modes)  # the imaginary part
            spread = max(spread, other, key=np.linalg.norm)
        return self._whole(spread)

    def precondition(self, rest: Array) -> Array:
        """Return a flat array with its packets amplified by their gains; positive definite."""
        op = self.op
        groups = op.layout.arrays_first(rest.reshape(op.input_shape))
        groups = groups.reshape(op.geometry.groups, -1, prod(op.geometry.input_size))
        spread = self._spread(self._modes(groups[self.group]) * self.gains)
        if op.dtype.kind != "c":
            spread = 2 * spread
        better: Array = rest + self._whole(spread).reshape(-1).astype(rest.dtype, copy=False)
        return better

    def _spread(self, modes: Array) -> Array:
        """Return the sum of packets (channels of the group, samples), or its real part.

        Complex where the kernel is.
        """
        ndim = len(self.windows)
        order = [*range(0, 2 * ndim, 2), *range(1, 2 * ndim, 2)]
        every = []
        for term in range(1 + ndim):
            waves = modes
            for axis, windows in enumerate(self.windows):
                waves = np.tensordot(waves, windows[int(term == axis + 1)], axes=(0, 1))
            every.append(waves.transpose(order).reshape(prod(waves.shape[::2]), -1))
        stacked = np.concatenate(every)
        if self.mixing.dtype.kind != "c":
            stacked = np.concatenate([stacked.real, stacked.imag])
        spread: Array = self.mixing @ stacked
        return spread

    def _modes(self, group: Array) -> Array:
        """Return the inner products of packets with a group's array (channels, samples)."""
        g, ndim = self.op.geometry, len(self.windows)
        stacked = self.mixing.conj().T @ group
        if self.mixing.dtype.kind != "c":
            real, imaginary = np.split(stacked, 2)
            stacked = real + np.complex64(1j) * imaginary
        total: Array = np.zeros((), np.complex64)
        for term, waves in enumerate(np.split(stacked, 1 + ndim)):
            waves = waves.reshape(*g.stride, *g.input_size)
            for axis, windows in enumerate(self.windows):
                table = windows[int(term == axis + 1)].conj()
                waves = np.tensordot(waves, table, axes=((0, ndim - axis), (0, 2)))
            total = total + waves
        return total

    def _whole(self, spread: Array) -> Array:
        g = self.op.geometry
        whole = np.zeros((g.groups, *spread.shape), spread.dtype)
        whole[self.group] = spread
        array = self.op.layout.arrays_back(whole.reshape(g.in_channels, *g.input_size))
        return np.ascontiguousarray(array)


def packets_around(op: Conv, candidates: tuple[tuple[float, ...], ...]) -> WavePackets:
    """Return the packets around the highest of the symbol's peaks next to some frequencies.

    Parameters
    ----------
    op : Conv
    candidates : tuple of tuple of float
        Radians per output sample and axis.

    Notes
    -----
    Cost: some dozens of decompositions of the symbol.
    """
    g = op.geometry
    peak = max((_Peak(op, angles) for angles in candidates), key=lambda peak: peak.height)
    values, vectors, group, steps = peak.neighbourhood()
    top = float(values[0])
    parts, bends = [vectors[0]], []
    for axis in range(g.ndim):
        ahead, behind = vectors[1 + 2 * axis], vectors[2 + 2 * axis]
        slope = (_in_phase(ahead, parts[0]) - _in_phase(behind, parts[0])) / (2 * steps[axis])
        parts.append(slope - parts[0] * np.vdot(parts[0], slope))
        drop = top - float(values[1 + 2 * axis] + values[2 + 2 * axis]) / 2
        bends.append(max(drop, 0.0) / float(steps[axis]) ** 2)
    windows, shifts = [], []
    for axis, (size, stride) in enumerate(zip(g.input_size, g.stride, strict=True)):
        count = max(1, min(_MODES, size, _TABLE // (size * stride)))
        waves = pi * np.arange(1, count + 1) / (size + 1)
        samples = np.arange(size)
        phases = np.multiply.outer(waves, samples + 1)
        fine = (peak.angles[axis] + 2 * pi * np.arange(stride)) / stride
        carriers = np.exp(1j * np.multiply.outer(fine, samples))[:, None]
        shifts.append(waves * stride)
        slopes = -1j * shifts[-1][:, None] * np.cos(phases)
        pair = np.stack([np.sin(phases), slopes])[:, None] * carriers
        windows.append((pair * np.sqrt(2 / (size + 1))).astype(np.complex64))
    gains = _gains(top, bends, shifts, [float(np.linalg.norm(part)) for part in parts[1:]])
    stacked = np.stack(parts).reshape(len(parts), -1, prod(g.stride)).swapaxes(0, 1)
    mixing = stacked.reshape(len(stacked), -1).astype(np.complex64)
    if op.dtype.kind != "c":
        mixing = np.concatenate([mixing.real, -mixing.imag], axis=1)
    return WavePackets(op, group, mixing, tuple(windows), gains)


def _in_phase(vector: Array, reference: Array) -> Array:
    product = complex(np.vdot(vector, reference))
    turned: Array = vector * (product / max(abs(product), 1e-300))
    return turned


def _gains(top: float, bends: list[float], shifts: list[Array], slopes: list[float]) -> Array:
    """Return the gains of all packets: the reciprocal of how far they fall short of the top."""
    drop, size, ndim = np.zeros(()), np.ones(()), len(shifts)
    least = _NEAR * top
    for axis, (bend, shift, slope) in enumerate(zip(bends, shifts, slopes, strict=True)):
        squares = (shift**2).reshape(-1, *(1,) * (ndim - axis - 1))
        drop = drop + bend * (squares - shift[0] ** 2)
        size = size + slope**2 * squares
        if len(shift) > 1 and bend > 0:
            least = min(least, bend * float(shift[1] ** 2 - shift[0] ** 2) / 4)
    least = max(least, 1e-4 * _NEAR * top, 1e-300)
    gains: Array = (np.maximum(_NEAR * top / np.maximum(drop, least), 1) - 1) / size
    return gains.astype(np.float32)


class _Peak:
    """Where the symbol's largest singular value is highest, near a given frequency."""

    def __init__(self, op: Conv, angles: tuple[float, ...]) -> None:
        self.g = op.geometry
        self.kernel = op.layout.kernels_first(op.kernel)
        turns = np.asarray(angles) / (2 * pi) * _TURN
        self.centre: NDArray[np.int64] = np.rint(turns).astype(np.int64)
        sizes = np.asarray(self.g.output_size)
        self.finest = np.maximum(1, _TURN // (2 * sizes))  # a window's distance to the next
        self.height = self.ascend()

    @property
    def angles(self) -> Array:
        """Radians per output sample and axis."""
        found: Array = self.centre * (2 * pi / _TURN)
        return found

    def around(self, steps: NDArray[np.int64]) -> Array:
        """Return the blocks at the centre, a step ahead and behind along each axis, and both.

        Both: a step ahead along each pair of axes. The first ``1 + 2 axes`` are the others.
        """
        ndim = self.g.ndim
        shifts = np.zeros((1 + 2 * ndim, ndim), np.int64)
        axes = np.arange(ndim)
        shifts[1 + 2 * axes, axes], shifts[2 + 2 * axes, axes] = 1, -1
        first, second = np.triu_indices(ndim, 1)
        corners = np.eye(ndim, dtype=np.int64)[first] + np.eye(ndim, dtype=np.int64)[second]
        points = (self.centre + np.concatenate([shifts, corners]) * steps) % _TURN
        grid, ones = (_TURN,) * ndim, (1,) * ndim
        return convolution_blocks(self.kernel, self.g, grid, list(points.T), False, ones)

    def ascend(self) -> float:
        """Move to the peak by Newton's method on finer and finer differences; return its height."""
        ndim = self.g.ndim
        steps = np.asarray(_TURN // (8 * np.asarray(gram_degrees(self.g)) + 8))
        first, second = np.triu_indices(ndim, 1)
        for _ in range(_ROUNDS):
            tops = _largest(self.around(steps)).max(axis=-1)
            ahead, behind, corners = (
                tops[1 : 1 + 2 * ndim : 2],
                tops[2 : 2 + 2 * ndim : 2],
                tops[1 + 2 * ndim :],
            )
            bend = np.diag(2 * tops[0] - ahead - behind)
            bend[first, second] = ahead[first] + ahead[second] - corners - tops[0]
            slope = (ahead - behind) / 2
            values, vectors = np.linalg.eigh(bend, UPLO="U")
            along = vectors.T @ np.where(abs(slope) > 1e-12 * tops[0], slope, 0)
            uphill = np.where(along < 0, -1.0, 1.0)
            newton = along / np.maximum(values, abs(along) + 1e-300)
            saddle = values < -1e-9 * tops[0]
            part = np.clip(vectors @ np.where(saddle, uphill, newton), -1, 1)
            move = np.rint(part * steps).astype(np.int64)
            self.centre = self.centre + move
            if (5 * abs(move) <= self.finest).all() and (steps <= self.finest).all():
                break
            if (abs(part) < 0.5).all():
                steps = np.maximum(self.finest // 4, steps // 3)
        return float(tops[0])

    def neighbourhood(self) -> tuple[Array, Array, int, Array]:
        """Return squared singular values and right vectors around the peak, group and steps.

        Returns
        -------
        values : array, shape (1 + 2 axes,)
            At the centre, and ahead and behind along every axis.
        vectors : array, shape (1 + 2 axes, columns)
        group : int
            Whose block is the largest at the centre.
        steps : array of float, shape (axes,)
            Radians.
        """
        steps = np.minimum(self.finest, _TURN // 40)
        blocks = self.around(steps)[: 1 + 2 * self.g.ndim]
        group = int(_largest(blocks[:1])[0].argmax())
        _, values, vh = np.linalg.svd(blocks[:, group], full_matrices=False)
        return values[:, 0] ** 2, vh[:, 0].conj(), group, steps * (2 * pi / _TURN)


def _largest(blocks: Array) -> Array:
    """Return the squares of the largest singular values of blocks."""
    if blocks.shape[-2] > blocks.shape[-1]:
        gram = blocks.conj().swapaxes(-1, -2) @ blocks
    else:
        gram = blocks @ blocks.conj().swapaxes(-1, -2)
    values: Array = np.linalg.eigvalsh(gram)[..., -1]
    return values

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

from linconv.analysis.stretches import combined, length
from linconv.analysis.symbol import gram_degrees
from linconv.analysis.waves import convolution_blocks
from linconv.convolution import Conv
from linconv.engines.arrays import Array

__all__ = ["WavePackets", "packets_around"]

_TURN = 2**26  # steps that a turn of 2 pi is cut into
_MODES = 24  # windows per axis
_TABLE = 2**21  # entries of a table of windows, for each of its terms
_ROUNDS = 20
_SQUARINGS, _ALONE = 24, 1e-14
_VANISHING = 0.05  # length of a packet's real or imaginary part that is rounding, or nearly so
_SMALL, _LARGE = 64, 128  # rows or columns of a block
_NEAR = 0.1  # the part of the spectrum below the top that packets stand for
_RIVAL = 0.03  # how far below the highest peak's square others have packets of their own


@dataclass(frozen=True, eq=False)
class _Packets:
    """Packets around one frequency, in one group of channels.

    Attributes
    ----------
    group : int
        The group of channels they live in.
    mixing : array, shape (channels of the group, n)
        From waves to channels. Of a complex kernel: the vector v and its derivatives along every
        axis, alias by alias. Of a real one: their real parts, then their imaginary parts negated.
    windows : tuple of array, one per axis, shape (1 + axes, modes, stride * size)
        Waves under sines, but where the derivative along this axis goes with v'.
    strides : tuple of int
    gains : array of float32, shape (modes, ...)
        How much nearer to the top than the rest each packet is, less 1.
    """

    group: int
    mixing: Array
    windows: tuple[Array, ...]
    strides: tuple[int, ...]
    gains: Array

    def lowest(self) -> Array:
        """Return the lowest packet (n, channels of the group, samples), and its turns if real."""
        modes = np.zeros(self.gains.shape, np.complex64)
        modes.flat[0] = 1
        turns = (1,) if self.mixing.dtype.kind == "c" else (1, -1j)  # the real part, the imaginary
        return np.stack([self.spread(modes * turn) for turn in turns])

    def amplified(self, group: Array) -> Array:
        """Return the packets in a group's array (channels, samples), times their gains."""
        spread = self.spread(self.modes(group) * self.gains)
        if self.mixing.dtype.kind != "c":
            spread *= 2
        return spread

    def spread(self, modes: Array) -> Array:
        """Return the sum of packets (channels of the group, samples), or its real part.

        Complex where the kernel is.
        """
        terms = 1 + modes.ndim
        waves = np.repeat(modes[None], terms, axis=0)
        for windows in self.windows:
            by_mode = waves.reshape(terms, windows.shape[1], -1)
            waves = combined(windows.swapaxes(1, 2), by_mode).swapaxes(1, 2)
        stacked = waves.reshape(self._apart(terms))
        stacked = stacked.transpose(self._order()).reshape(self._features(), -1)
        if self.mixing.dtype.kind != "c":
            stacked = np.concatenate([stacked.real, stacked.imag])
        return combined(self.mixing, stacked)

    def modes(self, group: Array) -> Array:
        """Return the inner products of packets with a group's array (channels, samples)."""
        stacked = combined(self.mixing.conj().T, group)
        if self.mixing.dtype.kind != "c":
            waves = np.empty((len(stacked) // 2, stacked.shape[1]), np.complex64)
            waves.real, waves.imag = np.split(stacked, 2)
            stacked = waves
        apart, order = self._apart(1 + len(self.windows)), self._order()
        waves = stacked.reshape([apart[axis] for axis in order]).transpose(np.argsort(order))
        for windows in self.windows:
            by_sample = waves.reshape(len(windows), windows.shape[2], -1)
            waves = combined(windows.conj(), by_sample).swapaxes(1, 2)
        total: Array = waves.sum(axis=0).reshape(self.gains.shape)
        return total

    def _features(self) -> int:
        return len(self.windows[0]) * prod(self.strides)

    def _apart(self, terms: int) -> tuple[int, ...]:
        """Return the shape (terms, stride, size, stride, size, ...)."""
        pairs = (
            (stride, windows.shape[2] // stride)
            for stride, windows in zip(self.strides, self.windows, strict=True)
        )
        return (terms, *(count for pair in pairs for count in pair))

    def _order(self) -> tuple[int, ...]:
        """Return the axes of that shape in the order (terms, strides, sizes)."""
        last = 1 + 2 * len(self.windows)
        return (0, *range(1, last, 2), *range(2, last, 2))


@dataclass(frozen=True, eq=False)
class WavePackets:
    """Packets around the symbol's highest peaks.

    Attributes
    ----------
    op : Conv
    peaks : tuple of _Packets
        The highest first.
    """

    op: Conv
    peaks: tuple[_Packets, ...]

    def lowest(self) -> Array:
        """Return the highest peak's lowest packet as unit vectors, shape (n, *input_shape).

        Of a real kernel its real and its imaginary part, or that one which does not vanish.
        """
        highest, g = self.peaks[0], self.op.geometry
        found = []
        for spread in highest.lowest():
            whole = np.zeros((g.groups, *spread.shape), spread.dtype)
            whole[highest.group] = spread
            size = length(whole.ravel())
            if size > _VANISHING:
                found.append(self._back(whole) / size)
        return np.reshape(found, (-1, *self.op.input_shape))

    def precondition(self, rest: Array) -> Array:
        """Return a flat array with its packets amplified by their gains; positive definite."""
        op = self.op
        groups = op.layout.arrays_first(rest.reshape(op.input_shape))
        groups = groups.reshape(op.geometry.groups, -1, prod(op.geometry.input_size))
        better = groups.copy()
        for packets in self.peaks:
            amplified = packets.amplified(groups[packets.group])
            better[packets.group] += amplified.astype(better.dtype, copy=False)
        return self._back(better).reshape(-1)

    def _back(self, groups: Array) -> Array:
        g = self.op.geometry
        array = self.op.layout.arrays_back(groups.reshape(g.in_channels, *g.input_size))
        return np.ascontiguousarray(array)


def packets_around(op: Conv, candidates: tuple[tuple[float, ...], ...]) -> WavePackets:
    """Return the packets around the symbol's peaks next to some frequencies, where they are high.

    Parameters
    ----------
    op : Conv
    candidates : tuple of tuple of float
        Radians per output sample and axis.

    Notes
    -----
    Cost: some dozens of decompositions of the symbol.
    """
    found: list[_Peak] = []
    for angles in candidates:
        worth = (1 - _RIVAL) * max((peak.height for peak in found), default=0.0)
        found.append(_Peak(op, angles, worth))
    found.sort(key=lambda peak: -peak.height)
    top, kept = found[0].height, found[:1]
    for peak in found[1:]:
        if peak.height >= (1 - _RIVAL) * top and not any(map(peak.is_at, kept)):
            kept.append(peak)
    return WavePackets(op, tuple(_packets(op, peak, top) for peak in kept))


def _packets(op: Conv, peak: _Peak, top: float) -> _Packets:
    """Return the packets around a peak; `top` is the square of the highest one."""
    g = op.geometry
    values, vectors, group, steps = peak.neighbourhood()
    height = float(values[0])
    parts, bends = [vectors[0]], []
    for axis in range(g.ndim):
        ahead, behind = vectors[1 + 2 * axis], vectors[2 + 2 * axis]
        slope = (_in_phase(ahead, parts[0]) - _in_phase(behind, parts[0])) / (2 * steps[axis])
        parts.append(slope - parts[0] * np.vdot(parts[0], slope))
        drop = height - float(values[1 + 2 * axis] + values[2 + 2 * axis]) / 2
        bends.append(max(drop, 0.0) / float(steps[axis]) ** 2)
    windows, shifts = [], []
    for axis, (size, stride) in enumerate(zip(g.input_size, g.stride, strict=True)):
        count = max(1, min(_MODES, size, _TABLE // (size * stride)))
        waves = pi * np.arange(1, count + 1) / (size + 1)
        samples = np.arange(size)
        phases = np.multiply.outer(waves, samples + 1)
        fine = (peak.angles[axis] + 2 * pi * np.arange(stride)) / stride
        carriers = np.exp(1j * np.multiply.outer(fine, samples))[None, None]
        shifts.append(waves * stride)
        turned = -1j * shifts[-1][:, None] * np.cos(phases)
        every = np.stack([turned if term == axis else np.sin(phases) for term in range(-1, g.ndim)])
        table = every[:, :, None] * carriers * np.sqrt(2 / (size + 1))
        windows.append(table.reshape(*every.shape[:2], -1).astype(np.complex64))
    slopes = [float(np.linalg.norm(part)) for part in parts[1:]]
    gains = _gains(top, max(top - height, 0.0), bends, shifts, slopes)
    stacked = np.stack(parts).reshape(len(parts), -1, prod(g.stride)).swapaxes(0, 1)
    mixing = stacked.reshape(len(stacked), -1).astype(np.complex64)
    if op.dtype.kind != "c":
        mixing = np.concatenate([mixing.real, -mixing.imag], axis=1)
    return _Packets(group, mixing, tuple(windows), g.stride, gains)


def _in_phase(vector: Array, reference: Array) -> Array:
    product = complex(np.vdot(vector, reference))
    turned: Array = vector * (product / max(abs(product), 1e-300))
    return turned


def _gains(
    top: float, below: float, bends: list[float], shifts: list[Array], slopes: list[float]
) -> Array:
    """Return the gains of a peak's packets: the reciprocal of how far they fall short of the top.

    `below` is how far the peak itself does.
    """
    drop, size, ndim = np.full((), below), np.ones(()), len(shifts)
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
    """Where the symbol's largest singular value is highest, near a given frequency.

    A peak that will not reach the square `worth` is left halfway.
    """

    def __init__(self, op: Conv, angles: tuple[float, ...], worth: float) -> None:
        self.g = op.geometry
        kernel = op.layout.kernels_first(op.kernel)
        self.kernel = kernel / np.abs(kernel).max()  # squares of its symbol are of middling size
        turns = np.asarray(angles) / (2 * pi) * _TURN
        self.centre: NDArray[np.int64] = np.rint(turns).astype(np.int64)
        sizes = np.asarray(self.g.output_size)
        self.finest = np.maximum(1, _TURN // (2 * sizes))  # a window's distance to the next
        self.height = self.ascend(worth)

    @property
    def angles(self) -> Array:
        """Radians per output sample and axis."""
        found: Array = self.centre * (2 * pi / _TURN)
        return found

    def is_at(self, other: _Peak) -> bool:
        """Return whether this is the other peak, or of a real kernel its mirror image."""
        real = self.kernel.dtype.kind != "c"
        apart = [self.centre - other.centre, *([self.centre + other.centre] if real else [])]
        places = (abs((d + _TURN // 2) % _TURN - _TURN // 2) for d in apart)
        return any((place <= 2 * self.finest).all() for place in places)

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

    def ascend(self, worth: float) -> float:
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
                if not saddle.any() and tops[0] + along @ newton < worth:
                    break  # twice as much as Newton's model lets it rise
                steps = np.maximum(self.finest // 4, steps // 6)
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
        values = _largest(blocks[:, group])
        return values, _top_vectors(blocks[:, group]), group, steps * (2 * pi / _TURN)


def _largest(blocks: Array) -> Array:
    """Return the squares of the largest singular values of blocks."""
    if max(blocks.shape[-2:]) <= _SMALL:  # no more than by eigenvalues, and with a single thread
        return np.asarray(np.linalg.svd(blocks, compute_uv=False)[..., 0] ** 2)
    if blocks.shape[-2] > blocks.shape[-1]:
        gram = blocks.conj().swapaxes(-1, -2) @ blocks
    else:
        gram = blocks @ blocks.conj().swapaxes(-1, -2)
    values: Array = np.linalg.eigvalsh(gram)[..., -1]
    return values


def _top_vectors(blocks: Array) -> Array:
    """Return a right singular vector of the largest value of every block, (..., columns).

    By powers of the smaller Gram matrix, each the square of the one before: they tend to the
    projection on a singular vector. Where the second value is as large, to that on both.
    """
    if min(blocks.shape[-2:]) > _LARGE:
        return np.asarray(np.linalg.svd(blocks, full_matrices=False)[2][..., 0, :].conj())
    adjoints = blocks.conj().swapaxes(-1, -2)
    wide = blocks.shape[-2] < blocks.shape[-1]
    power = combined(blocks, adjoints) if wide else combined(adjoints, blocks)
    scale = np.trace(power, axis1=-2, axis2=-1).real
    for _ in range(_SQUARINGS):
        power = power / np.maximum(scale, 1e-300)[..., None, None]
        power = combined(power, power)
        scale = np.trace(power, axis1=-2, axis2=-1).real
        if scale.min() > 1 - _ALONE:  # of a projection, divided by its trace: 1
            break
    longest = np.linalg.norm(power, axis=-2).argmax(axis=-1)
    vectors = np.take_along_axis(power, longest[..., None, None], axis=-1)
    if wide:  # those are left ones
        vectors = combined(adjoints, vectors)
    return np.asarray(vectors / np.linalg.norm(vectors, axis=-2, keepdims=True))[..., 0]

"""Tapered plane waves: what a zero-padded convolution amplifies almost as an infinite one."""

from __future__ import annotations

from math import pi

import numpy as np

from linconv.analysis.waves import kernel_symbol
from linconv.convolution import Conv
from linconv.engines.arrays import Array

__all__ = ["tapered_wave"]


def tapered_wave(op: Conv, angles: tuple[float, ...]) -> Array:
    """Return the plane wave that a convolution amplifies most at a frequency, tapered.

    Parameters
    ----------
    op : Conv
    angles : tuple of float
        Radians per output sample and axis.

    Returns
    -------
    array, shape input_shape
        Real where the kernel is; not normalised.

    Notes
    -----
    Half a period of a sine over each axis loses ``(pi d / N)² / 8`` of the norm or so: the least of
    all tapers, being the first eigenvector of a second difference.
    """
    g, layout = op.geometry, op.layout
    kernel = layout.kernels_first(op.kernel)
    kernel = kernel.astype(np.result_type(kernel.dtype, np.float64))
    aliases = [
        (angle + 2 * pi * np.arange(s)) / s for angle, s in zip(angles, g.stride, strict=True)
    ]
    waves = []
    for axis, fine in enumerate(aliases):
        taps = np.arange(g.kernel_size[axis]) * g.dilation[axis] - g.padding[axis][0]
        waves.append(np.exp(1j * np.multiply.outer(fine, taps)))
    symbol = kernel_symbol(kernel, waves)
    flat = symbol.reshape(-1, g.groups, g.out_channels // g.groups, symbol.shape[-1])
    blocks = np.moveaxis(flat, 0, -1).reshape(*flat.shape[1:3], -1)
    group = int(np.linalg.svd(blocks, compute_uv=False)[:, 0].argmax())
    best = np.linalg.svd(blocks[group])[2][0].conj()
    parts = best.reshape(symbol.shape[-1], *g.stride)
    wave: Array = parts
    for axis, fine in enumerate(aliases):
        samples = np.arange(g.input_size[axis])
        taper = np.sin(pi * (samples + 1) / (len(samples) + 1))
        along = np.exp(1j * np.multiply.outer(fine, samples)) * taper
        wave = np.tensordot(wave, along, axes=(1, 0))
    whole = np.zeros((g.groups, *wave.shape), wave.dtype)
    whole[group] = wave
    array = layout.arrays_back(whole.reshape(g.in_channels, *g.input_size))
    if op.dtype.kind == "c":
        return np.ascontiguousarray(array)
    real, imaginary = array.real, array.imag
    larger = real if np.linalg.norm(real) >= np.linalg.norm(imaginary) else imaginary
    return np.ascontiguousarray(larger)

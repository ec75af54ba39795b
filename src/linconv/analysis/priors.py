"""What is known of images beforehand: the power spectrum of a stationary process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy
from numpy.typing import NDArray

from linconv.analysis.spectral_filter import SpectralFilter
from linconv.arguments import choice
from linconv.engines.arrays import finite_real
from linconv.errors import DTypeError, LinconvError, ShapeError
from linconv.layout import Layout

__all__ = ["Prior", "frequencies", "power_spectrum", "prior_root", "read_prior"]

Array = NDArray[Any]
Prior = str | Array | Callable[..., Array]

NAMES = ("white", "natural")


def frequencies(size: tuple[int, ...]) -> tuple[Array, ...]:
    """Return the frequencies of the FFT of an array, radians per sample, one open grid per axis."""
    return tuple(np.meshgrid(*(2 * np.pi * np.fft.fftfreq(n) for n in size), indexing="ij"))


def read_prior(prior: Any, size: tuple[int, ...]) -> Array:
    """Return a prior's power spectrum on the frequencies of the FFT, shape `size`.

    Parameters
    ----------
    prior : {"white", "natural"}, array of shape `size`, or callable
        ``"white"``: samples of variance 1, uncorrelated. ``"natural"``: power 1 / |frequency|^2,
        at frequency zero that of the lowest other one, scaled to variance 1. An array: mean
        power of each frequency in the order of the FFT, all ones for ``"white"``. A callable is
        given one array of frequencies per axis, in radians per sample.
    size : tuple of int
        Of the image.

    Raises
    ------
    ShapeError, DTypeError, LinconvError
        If the spectrum has another shape, is complex, not finite, negative, zero or not even.
    """
    if isinstance(prior, str):
        if choice("prior", prior, NAMES, instead=", an array or a function") == "white":
            return np.ones(size)
        return _natural(size)
    given = prior(*frequencies(size)) if callable(prior) else prior
    try:
        spectrum = finite_real("the prior's power spectrum", given)
    except DTypeError as error:
        raise DTypeError(f"{error}; or give prior='white' or prior='natural'") from None
    if spectrum.shape != size:
        raise ShapeError(
            f"the prior's power spectrum must have the image's shape {size}, one number per "
            f"frequency of its FFT; got {spectrum.shape}; measure it with power_spectrum on "
            f"images of that size"
        )
    if (spectrum < 0).any() or not spectrum.any():
        raise LinconvError(
            f"the prior's power spectrum must be nowhere negative and somewhere positive; got a "
            f"least value of {spectrum.min():g} and a largest of {spectrum.max():g}; use mean "
            f"squares of a Fourier transform"
        )
    axes = tuple(range(spectrum.ndim))
    mirrored = np.roll(np.flip(spectrum, axes), 1, axes)  # of -frequency
    if np.abs(spectrum - mirrored).max() > 1e-9 * spectrum.max():
        raise LinconvError(
            f"the prior's power spectrum must be the same at a frequency and its negative, as that "
            f"of real images is; got a difference of {np.abs(spectrum - mirrored).max():g}; use "
            f"the order of numpy.fft.fftn, or power_spectrum"
        )
    return np.asarray((spectrum + mirrored) / 2)


def _natural(size: tuple[int, ...]) -> Array:
    squared = sum(f**2 for f in frequencies(size))
    power = np.asarray(squared)
    lowest = power[power > 0].min(initial=np.inf)
    spectrum = 1 / np.maximum(power, lowest) if np.isfinite(lowest) else np.ones(size)
    return np.asarray(spectrum / spectrum.mean())


def power_spectrum(images: Any, ndim: int | None = None) -> Array:
    """Measure the mean power spectrum of images: a prior for `inverse_kernel` and `wiener`.

    Parameters
    ----------
    images : array, shape (*batch, *size)
        Real and finite. Their mean over everything is taken off first.
    ndim : int, optional
        How many of the last axes are spatial; all of them by default.

    Returns
    -------
    array, shape (*size)
        Mean of ``|FFT|^2 / samples`` over the batch (the periodogram), float64, in the order of
        the FFT: independent samples of variance 1 give ones, up to chance.

    Raises
    ------
    DTypeError, LinconvError
        If the images are complex or not finite, or have no sample.

    Notes
    -----
    The periodogram takes the images as if they repeated, so that a jump from one border to the
    other shows as power along the axes. Cost: one FFT per image.

    Examples
    --------
    >>> import numpy as np
    >>> images = np.random.default_rng(0).standard_normal((500, 8, 8))
    >>> bool(np.allclose(power_spectrum(images, ndim=2), 1, atol=0.3))
    True
    """
    array = finite_real("images", images)
    count = array.ndim if ndim is None else ndim
    if not array.size or not 1 <= count <= array.ndim:
        raise LinconvError(
            f"images must have samples, and from 1 to all of their axes be spatial; got shape "
            f"{array.shape} and ndim={ndim}; give at least one image"
        )
    batch = array.reshape(-1, *array.shape[array.ndim - count :])
    spectra = scipy.fft.fftn(batch - batch.mean(), axes=range(1, count + 1))
    power: Array = (np.abs(spectra) ** 2).mean(axis=0) / batch[0].size
    return power


def prior_root(spectrum: Array, layout: Layout, channels: int) -> SpectralFilter:
    """Return the map R^(1/2) that makes images of a prior from white ones, channel by channel."""
    return SpectralFilter(np.sqrt(spectrum), layout, channels)

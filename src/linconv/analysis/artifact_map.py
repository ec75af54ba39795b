"""Artifacts in data: how much of a reconstruction's error follows the stride of the decoder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from linconv.arguments import PerAxis, per_axis
from linconv.engines.arrays import finite_real
from linconv.errors import GeometryError, LinconvError, ShapeError
from linconv.files import json_number, missing

__all__ = ["ArtifactMap", "artifact_map"]

Floats = NDArray[np.float64]

NEIGHBOURS = 2
"""Bins on either side, along an axis, that the energy at a frequency is compared with."""

SSIM_WINDOW = 7


@dataclass(frozen=True, eq=False)
class ArtifactMap:
    """The error of reconstructed images, and how much of it follows the stride.

    Attributes
    ----------
    mse : float
        Mean squared error over all samples.
    error_map : array of float64, shape (*size)
        Mean squared error of each sample, over images and channels.
    phase_mse : array of float64, shape (*stride)
        Mean squared error of each output phase: samples p, p + s, ... along each axis.
    phase_imbalance : float
        Largest deviation of `phase_mse` from its mean, relative to it; 0 for no error.
    energy_ratio : float
        Energy of the error's spectrum at the frequencies of the stride over that of their
        neighbourhood: about 1 for errors that know nothing of the stride.
    axis_energy_ratios : tuple of float
        The same at the frequencies along one axis alone; NaN where the stride is 1.
    psnr : float
        Peak signal-to-noise ratio in decibels; infinite for no error.
    ssim : float
        Mean structural similarity; NaN if an axis has fewer than 3 samples.
    """

    mse: float
    error_map: Floats
    phase_mse: Floats
    phase_imbalance: float
    energy_ratio: float
    axis_energy_ratios: tuple[float, ...]
    psnr: float
    ssim: float

    def to_dict(self) -> dict[str, Any]:
        """Return all but the error map as plain numbers and lists, None for what is not finite."""
        return {
            "mse": self.mse,
            "phase_mse": self.phase_mse.tolist(),
            "phase_imbalance": self.phase_imbalance,
            "energy_ratio": json_number(self.energy_ratio),
            "axis_energy_ratios": [json_number(ratio) for ratio in self.axis_energy_ratios],
            "psnr": json_number(self.psnr),
            "ssim": json_number(self.ssim),
        }


def artifact_map(
    images: Any, reconstructions: Any, stride: PerAxis, *, data_range: float = 1.0
) -> ArtifactMap:
    """Measure the error of reconstructed images per output phase and at the stride's frequencies.

    Parameters
    ----------
    images, reconstructions : array, shape (n, *size, channels)
        Channels last, whatever layer made them. Real and finite.
    stride : int or sequence of int
        Of the decoder, all of them together: the product of its layers' strides.
    data_range : float
        Largest less smallest value that an image can have.

    Returns
    -------
    ArtifactMap
        Computed in float64.

    Raises
    ------
    GeometryError
        If no stride is above 1, or an image has fewer than two strides along an axis.
    ShapeError, DTypeError, LinconvError
        If the arrays differ in shape, or are empty, complex or not finite.
    MissingPackageError
        If scikit-image, which computes the structural similarity, is not installed.

    Notes
    -----
    An artifact that repeats with the stride s has its energy at the frequencies ``2 pi j / s``
    radians per sample (j from 0 to s - 1 along each axis, not all 0). The energy there is summed
    and divided by the mean energy of the bins at most 2 away along the axes with j > 0, summed
    likewise; without any energy the ratio is 1. Axes are cut to whole strides, so that these
    frequencies are bins of the discrete Fourier transform; no window is applied. Cost: one such
    transform per image and channel. The structural similarity is that of Wang, Bovik, Sheikh and
    Simoncelli, "Image quality assessment: from error visibility to structural similarity" (IEEE
    Transactions on Image Processing, 2004), with a uniform window of 7 samples, or of as many as
    fit.

    Examples
    --------
    >>> images = np.random.default_rng(0).random((1, 16, 16, 1))
    >>> stripes = images.copy()
    >>> stripes[:, ::2] += 0.1
    >>> found = artifact_map(images, stripes, 2)
    >>> found.phase_mse.round(4), round(found.phase_imbalance, 4), round(found.psnr, 2)
    (array([[0.01, 0.01],
           [0.  , 0.  ]]), 1.0, 23.01)
    """
    original, rebuilt = _images("images", images), _images("reconstructions", reconstructions)
    if original.shape != rebuilt.shape:
        raise ShapeError(
            f"images and reconstructions must have the same shape; got {original.shape} and "
            f"{rebuilt.shape}; crop or transpose one of them"
        )
    if not (np.isfinite(data_range) and data_range > 0):
        raise LinconvError(
            f"data_range must be a finite number above 0; got {data_range}; use 1.0 for images "
            f"with values from 0 to 1"
        )
    size = original.shape[1:-1]
    steps = _image_stride(stride, size)
    errors = rebuilt - original
    error_map = np.square(errors).mean(axis=(0, -1))
    mse = float(error_map.mean())
    phase_mse = np.array(
        [error_map[_every(steps, phase)].mean() for phase in np.ndindex(steps)]
    ).reshape(steps)
    mean = phase_mse.mean()
    peaks, around = _stride_energy(errors, steps)
    return ArtifactMap(
        mse=mse,
        error_map=error_map,
        phase_mse=phase_mse,
        phase_imbalance=float(np.abs(phase_mse - mean).max() / mean) if mean else 0.0,
        energy_ratio=_ratio(peaks.sum(), around.sum()),
        axis_energy_ratios=tuple(_axis_ratio(peaks, around, axis) for axis in range(len(size))),
        psnr=float(10 * np.log10(data_range**2 / mse)) if mse else float("inf"),
        ssim=_ssim(original, rebuilt, data_range),
    )


def _images(name: str, value: Any) -> Floats:
    array = finite_real(name, value)
    if array.ndim < 3 or array.size == 0:
        raise ShapeError(
            f"{name} must have shape (n, *size, channels) and hold a sample; got {array.shape}; "
            f"add the missing axes"
        )
    return array


def _image_stride(stride: PerAxis, size: tuple[int, ...]) -> tuple[int, ...]:
    steps = per_axis("stride", stride, len(size), minimum=1)
    if max(steps) == 1:
        raise GeometryError(
            f"a stride above 1 must be given along some axis, or there are no phases to compare; "
            f"got {steps}; use the stride of the decoder"
        )
    for axis, (n, s) in enumerate(zip(size, steps, strict=True)):
        if n < 2 * s and s > 1:
            raise GeometryError(
                f"images must have at least two strides along each axis; got size {n} for stride "
                f"{s} at axis {axis}; use images of {2 * s} samples or more"
            )
    return steps


def _every(steps: tuple[int, ...], phase: tuple[int, ...]) -> tuple[slice, ...]:
    return tuple(slice(p, None, s) for p, s in zip(phase, steps, strict=True))


def _stride_energy(errors: Floats, steps: tuple[int, ...]) -> tuple[Floats, Floats]:
    """Return the energy at each of the stride's frequencies, and the mean of its neighbours."""
    size = tuple(n - n % s for n, s in zip(errors.shape[1:-1], steps, strict=True))
    axes = tuple(range(len(size)))
    power = np.zeros(size)
    for error in errors:
        spectrum = np.fft.fftn(error[tuple(slice(n) for n in size)], axes=axes)
        power += np.square(np.abs(spectrum)).sum(axis=-1)
    peaks, around = np.zeros(steps), np.zeros(steps)
    for index in np.ndindex(steps):
        if not any(index):
            continue
        bins = []
        for j, n, s in zip(index, size, steps, strict=True):
            reach = min(NEIGHBOURS, n // s - 1) if j else 0
            # The frequency itself comes first, its neighbours after it.
            bins.append((j * n // s + np.array([0, *range(-reach, 0), *range(1, reach + 1)])) % n)
        near = power[np.ix_(*bins)].ravel()
        peaks[index], around[index] = near[0], near[1:].mean()
    return peaks, around


def _ssim(images: Floats, reconstructions: Floats, data_range: float) -> float:
    try:
        from skimage.metrics import structural_similarity
    except ImportError:
        raise missing("scikit-image", "the structural similarity (SSIM)") from None
    window = min(SSIM_WINDOW, *(n - 1 + n % 2 for n in images.shape[1:-1]))
    if window < 3:
        return float("nan")
    options = {"win_size": window, "data_range": data_range, "channel_axis": -1}
    pairs = zip(images, reconstructions, strict=True)
    return float(np.mean([structural_similarity(x, y, **options) for x, y in pairs]))


def _axis_ratio(peaks: Floats, around: Floats, axis: int) -> float:
    alone = tuple(slice(None) if a == axis else 0 for a in range(peaks.ndim))
    return _ratio(peaks[alone].sum(), around[alone].sum()) if peaks.shape[axis] > 1 else np.nan


def _ratio(peak: float, around: float) -> float:
    if around > 0:
        return float(peak / around)
    return float("inf") if peak > 0 else 1.0

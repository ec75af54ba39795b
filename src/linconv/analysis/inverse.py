"""The best inverse kernel: the small transposed convolution that best undoes a convolution."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from linconv.analysis.decoder_fit import DecoderFit
from linconv.analysis.inverse_prior import fit_prior
from linconv.analysis.priors import Prior, read_prior
from linconv.arguments import PerAxis, finite_number
from linconv.convolution import Conv, ConvTranspose
from linconv.engines.arrays import Array, finite_real
from linconv.errors import LinconvError, ShapeError
from linconv.files import json_number
from linconv.geometry import Geometry

__all__ = ["InverseKernel", "inverse_kernel"]


@dataclass(frozen=True, eq=False)
class InverseKernel:
    """The transposed convolution, with bias, that best undoes a convolution.

    Attributes
    ----------
    decoder : ConvTranspose
        The map without the bias.
    bias : array, shape (channels,)
        One per image channel, (1,) for bare images; zero where none was fitted.
    mse : float
        Mean squared error over all image samples: of the images given, or expected. For white
        images without noise it is ``||decoder @ op - I||_F^2 / samples``.
    rank, unknowns : int
        Of the least-squares problem; a rank below `unknowns` means that the images do not
        determine the kernel, and that it is the one of least norm.
    condition : float
        Ratio of the largest singular value to the smallest that counts towards the rank.
    exact : bool
        Whether it is the optimum of the whole image, to rounding. False where a prior's optimum
        for samples that no border touches stands in for it.
    """

    decoder: ConvTranspose
    bias: Array
    mse: float
    rank: int
    unknowns: int
    condition: float
    exact: bool = True

    @property
    def kernel(self) -> Array:
        """The kernel, as a transposed convolution layer stores it."""
        kernel: Array = self.decoder.kernel
        return kernel

    def reconstruct(self, features: Any) -> Array:
        """Return the images rebuilt from outputs of the convolution, any batch axes."""
        rebuilt = self.decoder(features)
        layout = self.decoder.layout
        axes = layout.join((1,) * layout.ndim, len(self.bias))
        shifted: Array = rebuilt + self.bias.reshape(axes).astype(rebuilt.dtype)
        return shifted

    def to_dict(self) -> dict[str, Any]:
        """Return kernel, bias and figures as plain lists and numbers, None for infinite."""
        return {
            "kernel": self.kernel.tolist(),
            "bias": self.bias.tolist(),
            "mse": self.mse,
            "rank": self.rank,
            "unknowns": self.unknowns,
            "condition": json_number(self.condition),
            "exact": self.exact,
        }


def inverse_kernel(
    op: Conv,
    size: PerAxis,
    images: Any = None,
    bias: bool = True,
    ridge: float = 0.0,
    *,
    prior: Prior | None = None,
    noise: float = 0.0,
) -> InverseKernel:
    """Return the transposed convolution of a given kernel size that best undoes `op`.

    Best for given images, or in expectation for images of which only the power spectrum is known.

    Parameters
    ----------
    op : Conv
        The convolution to be undone.
    size : int or sequence of int
        Kernel size of the inverse.
    images : array, shape (*batch, *op.input_shape), optional
        The images to be rebuilt from ``op(images)`` in least squares.
    bias : bool
        Whether to add one constant per image channel. Images of a prior have mean zero, and need
        none.
    ridge : float
        Weight of the kernel's sum of squares, added to the sum of squared errors.
    prior : {"white", "natural"}, array of shape (*size), or callable, optional
        Instead of images: ``"white"`` minimises ``||decoder @ op - I||_F``; ``"natural"`` takes
        images with power 1 / frequency^2 and variance 1; otherwise their mean power at every
        frequency of the FFT, as `power_spectrum` measures it, or as a function of the frequencies
        in radians per sample, one array per axis. Channels are uncorrelated.
    noise : float
        Variance of white noise on ``op(images)``, in the prior's units; only with a prior.

    Returns
    -------
    InverseKernel
        With stride, dilation, groups, layout and padding mode of `op`; padded "same" if `op` is,
        and otherwise so that the windows of both kernels have the same centres.

    Raises
    ------
    LinconvError
        If `op` is no `Conv`, an image is not finite or real, shapes do not fit, there are both
        images and a prior or neither, or noise without a prior.

    Notes
    -----
    For images: the closed form of what training by gradient descent approaches, exact to
    rounding, computed in float64 through an orthogonal factorisation. Cost: about four operations
    per image sample and pair of unknowns of its output phase.

    For a prior, the expected sum of squared errors over *all* samples is minimised, borders
    included, in two exact ways. A circulant `op` has the normal equations of a Wiener filter of
    finite length, from the autocorrelation of its kernel. Any other is fitted to images that span
    the prior: for white images those are single samples, and one that no border touches stands
    for all such, so that the cost does not depend on the size of the image. Where that takes more
    than 4e11 operations (a prior that is not white, on a large image that does not repeat), the
    equations of the circulant case are solved instead: the optimum for samples that no border
    touches, and the result says ``exact=False``.

    Examples
    --------
    >>> import numpy as np
    >>> image = np.random.default_rng(0).random((16, 16))
    >>> blur = Conv(np.ones((3, 3)) / 9, (16, 16), padding="same")
    >>> [round(inverse_kernel(blur, k, image).mse, 3) for k in (3, 7)]
    [0.077, 0.038]
    >>> [round(inverse_kernel(blur, k, prior="white").mse, 3) for k in (3, 7)]
    [0.764, 0.432]
    """
    if not isinstance(op, Conv):
        raise LinconvError(
            f"inverse_kernel undoes a Conv; got {type(op).__name__}; for the features of any "
            f"other encoder use fit_decoder"
        )
    if (images is None) == (prior is None):
        given = "neither" if images is None else "both"
        raise LinconvError(
            f"inverse_kernel needs either images or a prior; got {given}; give images=..., or "
            f"prior='white', 'natural' or a power spectrum"
        )
    g = op.geometry.with_kernel_size(size)
    if prior is not None:
        return _for_prior(op, g, prior, ridge, noise)
    if finite_number("noise", noise, "0.0"):
        raise LinconvError(
            f"noise goes with a prior; got noise={noise} with images; use prior=power_spectrum("
            f"images), or add noise to what is rebuilt and use fit_decoder"
        )
    return _for_images(op, g, images, bias, ridge)


def _for_images(op: Conv, g: Geometry, images: Any, bias: bool, ridge: float) -> InverseKernel:
    layout = op.layout
    array = finite_real("images", images)
    if array.shape[max(0, array.ndim - len(op.input_shape)) :] != op.input_shape:
        raise ShapeError(
            f"images must have shape (*batch, {', '.join(map(str, op.input_shape))}); got "
            f"{array.shape}; reshape them, or make the map for their shape"
        )
    batch = array.reshape(-1, *op.input_shape)
    fit = DecoderFit(
        g.kernel_size,
        stride=g.stride,
        padding=g.padding,
        padding_mode=g.padding_mode,
        dilation=g.dilation,
        groups=g.groups,
        bias=bias,
        ridge=ridge,
        data_format="channels_first",
    )
    found = fit.update(layout.arrays_first(op(batch)), layout.arrays_first(batch)).solve()
    inverse = Conv.of(layout.kernels_back(found.kernel), layout, g).T
    return InverseKernel(
        inverse, found.bias, found.mse, found.rank, found.unknowns, found.condition
    )


def _for_prior(op: Conv, g: Geometry, prior: Prior, ridge: float, noise: float) -> InverseKernel:
    finite_real("the kernel of a map that inverse_kernel undoes", op.kernel)
    spectrum = read_prior(prior, g.input_size)
    found = fit_prior(
        op,
        g,
        spectrum,
        white=bool((spectrum == spectrum.flat[0]).all()),
        noise=finite_number("noise", noise, "0.0"),
        ridge=finite_number("ridge", ridge, "0.0"),
    )
    inverse = Conv.of(op.layout.kernels_back(found.kernel), op.layout, g).T
    return InverseKernel(
        inverse,
        np.zeros(g.in_channels),
        found.mse,
        found.rank,
        found.unknowns,
        found.condition,
        found.exact,
    )

"""wiener: the best linear restoration of noisy outputs, for images of a known power spectrum."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from linconv.analysis.krylov import Callback
from linconv.analysis.pinv import RegularisedInverse
from linconv.analysis.priors import Prior, prior_root, read_prior
from linconv.analysis.solve import Solution, check_map, read_map, solve
from linconv.analysis.spectral_filter import SpectralFilter
from linconv.analysis.symbol import layouts
from linconv.arguments import finite_number
from linconv.errors import LinconvError
from linconv.layout import Layout
from linconv.linear_map import LinearMap, Product

__all__ = ["wiener", "wiener_solution"]


def wiener(
    op: LinearMap,
    noise_to_signal: float,
    prior: Prior = "white",
    *,
    rtol: float = 1e-8,
    max_iterations: int | None = None,
) -> LinearMap:
    """Return Wiener's filter: the linear map from noisy outputs to images with the least error.

    For images x of mean zero and covariance R, and white noise on ``op(x)``, no linear map has a
    smaller expected squared error than ``R opᴴ (op R opᴴ + noise)^-1``.

    Parameters
    ----------
    op : LinearMap
        A map made of convolutions in one layout, or for the white prior any map.
    noise_to_signal : float
        Variance of the noise over that of the images' samples.
    prior : {"white", "natural"}, array of shape (*size), or callable
        Power spectrum of the images, as in `inverse_kernel`; only its shape counts, for the
        variance is in `noise_to_signal`. Channels are uncorrelated.
    rtol, max_iterations : float, int
        Of the iteration that every application is where no direct method fits; see `solve`.

    Returns
    -------
    LinearMap
        From outputs of `op` to its inputs.

    Raises
    ------
    DTypeError, ShapeError, GeometryError, LinconvError
        If `op` is no such map or not finite, or `prior` or `noise_to_signal` are not legal, or no
        convolution in `op` tells which axes of its inputs a prior is about.
        Applying it raises `LinconvError` where an iteration does not reach `rtol`.

    Notes
    -----
    With ``R = F F`` the map is ``F (Bᴴ B + noise_to_signal)^-1 Bᴴ`` for ``B = op F``: the
    regularised inverse of the convolution of whitened images; F has one number per frequency.
    For periodic `op`, with any stride, it is one small matrix per frequency, exact. A white prior
    is a ridge, exact also for kernels that are outer products, and small maps. For any other
    border the system is solved by preconditioned conjugate gradients: the prior repeats at the
    border, `op` keeps its own.

    Examples
    --------
    >>> import numpy as np
    >>> from linconv import Conv
    >>> blur = Conv(np.ones((3, 3)) / 9, (8, 8), padding="same", padding_mode="circular")
    >>> restore = wiener(blur, 0.01, prior="natural")
    >>> bool(np.allclose(restore(blur(np.ones((8, 8)))), 1, atol=0.01))
    True
    """
    read_map(op)
    ratio = finite_number("noise_to_signal", noise_to_signal, "e.g. 0.01")
    finite_number("rtol", rtol, "e.g. 1e-8")
    check_map(op)
    whitened, root = _whitened(op, prior)
    inner = RegularisedInverse(whitened, ratio, rtol=rtol, max_iterations=max_iterations)
    _ = inner.exact
    return inner if root is None else Product(root, inner)


def wiener_solution(
    op: LinearMap,
    y: Any,
    noise_to_signal: float,
    prior: Prior,
    *,
    rtol: float,
    callback: Callback | None = None,
) -> Solution:
    """Return what `wiener` makes of outputs, and how good it is, whether or not it converged.

    Parameters
    ----------
    op, noise_to_signal, prior, rtol
        As `wiener`.
    y : array, shape (*batch, *op.output_shape)
    callback : callable, optional
        As `solve`.

    Returns
    -------
    Solution
        Its residuals are those of the map of whitened images.

    Raises
    ------
    DTypeError, ShapeError, GeometryError, LinconvError
        As `wiener` and `solve`.
    """
    read_map(op)
    check_map(op)
    whitened, root = _whitened(op, prior)
    found = solve(whitened, y, ridge=noise_to_signal, rtol=rtol, callback=callback)
    return found if root is None else replace(found, x=root(found.x))


def _whitened(op: LinearMap, prior: Prior) -> tuple[LinearMap, SpectralFilter | None]:
    """Return the map of white images, and what makes images of them; None if they are white."""
    if isinstance(prior, str) and prior == "white":
        return op, None
    layout, size, channels = _images(op)
    spectrum = read_prior(prior, size)
    if (spectrum == spectrum.flat[0]).all():
        return op, None
    root = prior_root(spectrum / spectrum.mean(), layout, channels)
    return Product(*_parts(op), root), root


def _parts(op: LinearMap) -> tuple[LinearMap, ...]:
    return op.maps if isinstance(op, Product) else (op,)


def _images(op: LinearMap) -> tuple[Layout, tuple[int, ...], int]:
    """Return layout, size and channels of a map's inputs, as its convolutions tell them."""
    shape = op.input_shape
    found = layouts(_parts(op)[-1]) or layouts(op)
    fitting = [one for one in found if len(one.join((0,) * one.ndim, 0)) == len(shape)]
    if len(found) != 1 or not fitting:
        known = "convolutions of several layouts" if found else "no convolution"
        raise LinconvError(
            f"a prior other than 'white' needs a map whose convolutions tell which axes of its "
            f"inputs {shape} are spatial; got {op!r}, with {known}; multiply it from the right by "
            f"a convolution with a kernel of one sample, or use prior='white'"
        )
    size, channels = fitting[0].split(shape, 1)
    return fitting[0], size, channels

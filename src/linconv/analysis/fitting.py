"""fit_decoder: the best decoder of features held in memory, linear or with an activation."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from linconv.analysis.activations import Activation
from linconv.analysis.activations import activation as known_activation
from linconv.analysis.decoder import Decoder
from linconv.analysis.decoder_fit import DecoderFit
from linconv.analysis.design import blocks, fold_kernel, unknowns
from linconv.analysis.gauss_newton import Fit, Problem, minimise
from linconv.analysis.least_squares import LeastSquares, solve_shared
from linconv.arguments import PerAxis, finite_number, integer
from linconv.layout import Layout
from linconv.padding import Padding

__all__ = ["fit_decoder"]

Array = NDArray[Any]


def fit_decoder(
    features: Any,
    images: Any,
    kernel_size: PerAxis,
    *,
    stride: PerAxis = 1,
    padding: Padding = "same",
    activation: str = "linear",
    bias: bool = True,
    ridge: float = 0.0,
    dilation: PerAxis = 1,
    groups: int = 1,
    data_format: str = "channels_last",
    tolerance: float = 1e-6,
    max_iterations: int = 50,
) -> Decoder:
    """Return the transposed convolution that best rebuilds images from their features.

    Parameters
    ----------
    features : array, shape (n, *feature_size, channels) or (n, channels, *feature_size)
        What an encoder, frozen, makes of the images.
    images : array, shape (n, *image_size, channels) or (n, channels, *image_size)
        What is to be rebuilt.
    kernel_size, stride, padding
        Of the convolution images -> features which the decoder transposes (see `Geometry`): the
        image size is given, so that none is ambiguous.
    activation : {"linear", "tanh", "sigmoid"}
        What the decoder ends in.
    bias : bool
        Whether to fit one bias per image channel.
    ridge : float
        Weight of the kernel's sum of squares, added to the sum of squared errors.
    dilation, groups
        Of the same convolution.
    data_format : {"channels_last", "channels_first"}
        Of features, images and kernel.
    tolerance, max_iterations : float, int
        Where Gauss-Newton ends, for an activation: when the gradient is at most `tolerance`
        relative to the norms of Jacobian and residual, when no damped step lowers the error, or
        after `max_iterations`.

    Returns
    -------
    Decoder
        Linear: the global optimum, exact to rounding. With an activation: a stationary point,
        never worse than the best linear decoder followed by the activation, nor than the linear
        fit to the images passed backwards through it.

    Raises
    ------
    ShapeError, GeometryError, DTypeError
        If features, images and options do not fit each other.
    LinconvError
        If a value is NaN or infinite, or the activation is unknown.

    Notes
    -----
    One pass over the data for the linear decoder, ``4 * rows * columns^2`` operations for each
    output phase; otherwise four more passes, and one for each step that is tried. Computed in
    float64, for in float32 the ill-conditioned systems that good encoders give lose all their
    accuracy. Besides the arrays themselves in float64 a few megabytes of memory; with an
    activation up to 512 MiB, for the design matrix if it fits there. The data are passed over in
    pieces of a megabyte or so, for which a second BLAS thread gains nothing: on a busy machine
    limit it, e.g. with threadpoolctl.

    Examples
    --------
    >>> images = np.random.default_rng(0).random((10, 8, 8, 1))
    >>> decoder = fit_decoder(np.tanh(images), images, 3, activation="tanh")
    >>> decoder.activation, decoder.kernel.shape
    ('tanh', (3, 3, 1, 1))
    """
    shape = known_activation(activation)
    max_iterations = integer("max_iterations", max_iterations, minimum=0)
    tolerance = finite_number("tolerance", tolerance, "e.g. 1e-6")
    fit = DecoderFit(
        kernel_size,
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
        bias=bias,
        ridge=ridge,
        data_format=data_format,
    )
    linear = fit.update(features, images).solve()
    if shape.name == "linear":
        return linear
    y, x = fit.read(features, images)
    return _fit_activation(linear, y, x, shape, fit, tolerance, max_iterations)


def _fit_activation(
    linear: Decoder,
    features: Array,
    images: Array,
    shape: Activation,
    fit: DecoderFit,
    tolerance: float,
    max_iterations: int,
) -> Decoder:
    """Fit every image channel by itself, and put the decoder together."""
    g, bias = linear.geometry, fit.bias
    count = unknowns(g) + bias
    ridge = np.full(count, fit.ridge)
    ridge[count - bias :] = 0
    per_image, per_feature = g.in_channels // g.groups, g.out_channels // g.groups
    layout = Layout(g.ndim, linear.data_format, bare=False)
    kernel = layout.kernels_first(linear.kernel)
    single = g.replace(in_channels=1, out_channels=per_feature, groups=1)
    parts = list(blocks(single))
    outside = int(((images <= shape.low) | (images >= shape.high)).sum())
    backwards = _backwards(images, shape)
    fits: list[Fit] = []
    for channel in range(g.in_channels):
        group, within = divmod(channel, per_image)
        mine = slice(group * per_feature, (group + 1) * per_feature)
        y = features[:, mine]
        target = images[:, channel : channel + 1]
        problem = Problem(parts, [(y, target)], shape, count, bias, ridge)
        start = np.append(kernel[mine, within].ravel(), linear.bias[channel : channel + 1])[:count]
        inverse = [(y, backwards[:, channel : channel + 1])]
        starts = [start, _linear(Problem(parts, inverse, shape, count, bias, ridge))]
        fits.append(minimise(problem, starts, tolerance=tolerance, max_iterations=max_iterations))
    return _put_together(linear, fits, features, images, shape, outside, fit)


def _put_together(
    linear: Decoder,
    fits: list[Fit],
    features: Array,
    images: Array,
    shape: Activation,
    outside: int,
    fit: DecoderFit,
) -> Decoder:
    g, bias = linear.geometry, fit.bias
    layout = Layout(g.ndim, linear.data_format, bare=False)
    by_group = np.stack([f.u for f in fits]).reshape(g.groups, -1, len(fits[0].u))
    kernels = [u[:, : u.shape[1] - bias].T for u in by_group]
    penalty = fit.ridge * sum(float((k**2).sum()) for k in kernels)
    clipped = np.clip(
        layout.arrays_first(linear(layout.arrays_back(features))), shape.low, shape.high
    )
    reasons = list(dict.fromkeys(f.reason for f in fits))
    if outside:
        reasons.append(
            f"{outside} of {images.size} targets lie at or beyond the limits of {shape.name}, "
            f"{shape.low:g} and {shape.high:g}, and can only be approached"
        )
    return Decoder(
        kernel=layout.kernels_back(fold_kernel(kernels, g)),
        bias=np.array([f.u[-1] if bias else 0.0 for f in fits]),
        activation=shape.name,
        geometry=g,
        data_format=linear.data_format,
        mse=(sum(f.loss for f in fits) - penalty) / images.size,
        rank=sum(f.rank for f in fits),
        unknowns=sum(len(f.u) for f in fits),
        condition=max(f.condition for f in fits),
        iterations=max(f.iterations for f in fits),
        converged=all(f.converged for f in fits),
        reason="; ".join(reasons),
        linear_mse=float(np.mean((clipped - images) ** 2)),
    )


def _backwards(images: Array, shape: Activation) -> Array:
    """Pass the images backwards through the activation, values kept off its limits."""
    margin = 0.005 * (shape.high - shape.low)
    return shape.inverse(np.clip(images, shape.low + margin, shape.high - margin))


def _linear(problem: Problem) -> Array:
    """Solve the problem as if its activation were linear."""
    columns = [problem.columns(number) for number in range(len(problem.blocks))]
    sums = [LeastSquares(len(which), 1) for which in columns]
    for number, rows, targets in problem.rows(keep=False):
        sums[number].add(np.concatenate([rows, targets[:, None]], axis=1))
    system = list(zip(sums, columns, strict=True))
    found: Array = solve_shared(system, problem.unknowns, problem.ridge).unknowns[:, 0]
    return found

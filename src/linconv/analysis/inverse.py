"""The best inverse kernel: the small transposed convolution that best undoes a convolution."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from linconv.analysis.decoder_fit import DecoderFit
from linconv.arguments import PerAxis
from linconv.convolution import Conv, ConvTranspose
from linconv.engines.arrays import Array, finite_real
from linconv.errors import LinconvError, ShapeError
from linconv.files import json_number

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
        Mean squared error over all image samples.
    rank, unknowns : int
        Of the least-squares problem; a rank below `unknowns` means that the images do not
        determine the kernel, and that it is the one of least norm.
    condition : float
        Ratio of the largest singular value to the smallest that counts towards the rank.
    """

    decoder: ConvTranspose
    bias: Array
    mse: float
    rank: int
    unknowns: int
    condition: float

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
        }


def inverse_kernel(
    op: Conv, size: PerAxis, images: Any, bias: bool = True, ridge: float = 0.0
) -> InverseKernel:
    """Return the transposed convolution of a given kernel size that best undoes `op`.

    Parameters
    ----------
    op : Conv
        The convolution to be undone.
    size : int or sequence of int
        Kernel size of the inverse.
    images : array, shape (*batch, *op.input_shape)
        The images to be rebuilt from ``op(images)`` in least squares.
    bias : bool
        Whether to add one constant per image channel.
    ridge : float
        Weight of the kernel's sum of squares, added to the sum of squared errors.

    Returns
    -------
    InverseKernel
        With stride, dilation, groups, layout and padding mode of `op`; padded "same" if `op` is,
        and otherwise so that the windows of both kernels have the same centres.

    Raises
    ------
    LinconvError
        If `op` is no `Conv`, an image is not finite or real, or shapes do not fit.

    Notes
    -----
    The closed form of what training by gradient descent approaches: exact to rounding, computed
    in float64 through an orthogonal factorisation. Cost: about four operations per image sample
    and pair of unknowns of its output phase.

    Examples
    --------
    >>> import numpy as np
    >>> image = np.random.default_rng(0).random((16, 16))
    >>> blur = Conv(np.ones((3, 3)) / 9, (16, 16), padding="same")
    >>> [round(inverse_kernel(blur, k, image).mse, 3) for k in (3, 7)]
    [0.077, 0.038]
    """
    if not isinstance(op, Conv):
        raise LinconvError(
            f"inverse_kernel undoes a Conv; got {type(op).__name__}; for the features of any "
            f"other encoder use fit_decoder"
        )
    layout = op.layout
    array = finite_real("images", images)
    if array.shape[max(0, array.ndim - len(op.input_shape)) :] != op.input_shape:
        raise ShapeError(
            f"images must have shape (*batch, {', '.join(map(str, op.input_shape))}); got "
            f"{array.shape}; reshape them, or make the map for their shape"
        )
    batch = array.reshape(-1, *op.input_shape)
    g = op.geometry.with_kernel_size(size)
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

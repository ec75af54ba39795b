"""frequency_response: how a convolution amplifies and shifts plane waves."""

from __future__ import annotations

from typing import Any

import numpy as np

from linconv.analysis.spectrum import checked_map
from linconv.analysis.waves import convolution_blocks
from linconv.arguments import PerAxis, per_axis
from linconv.convolution import Conv, ConvTranspose
from linconv.engines.arrays import Array
from linconv.errors import LinconvError
from linconv.factors import Correlate
from linconv.matrix import DENSE_LIMIT, check_bytes

__all__ = ["frequency_response"]


def frequency_response(op: Conv | ConvTranspose | Correlate, n: PerAxis) -> Array:
    """Return the complex response of a convolution to plane waves, on a grid of frequencies.

    Parameters
    ----------
    op : Conv, ConvTranspose or Correlate
        Its sizes and padding mode play no part, its first pad does: it is the origin of the phase.
    n : int or sequence of int
        Number of frequencies per axis; number j is ``2 pi j / n`` radians per output sample (for
        a transposed convolution per input sample).

    Returns
    -------
    array of complex128
        Bare, stride 1: shape (*n,). The wave ``exp(i w x)`` comes out multiplied by entry w.
        With channels: shape (*n, out_channels, in_channels), zero between groups. Strided:
        shape (*n, out_channels, in_channels * aliases), or (*n, 1, aliases) if bare, over the
        input's frequencies ``(w + 2 pi a) / stride`` that a stride folds onto w, in C order;
        divided by the square root of their number, so that singular values are the map's.
        A transposed convolution has the adjoint of its convolution's entries.

    Raises
    ------
    LinconvError
        If `op` is no convolution, or its kernel is not finite.
    GeometryError
        If `n` is no number of frequencies.
    SizeError
        If the response would take more than 1 GiB.

    Notes
    -----
    Exact to rounding; the eigenvalues of a bare circular convolution of size n. Cost: one small
    matrix product per axis.

    Examples
    --------
    >>> box = Conv([1.0, 1.0, 1.0], (16,), padding="same")
    >>> frequency_response(box, 4).real.round(6)
    array([ 3.,  1., -1.,  1.])
    """
    checked_map("frequency_response", op)
    if not isinstance(op, Conv | ConvTranspose | Correlate):
        raise LinconvError(
            f"frequency_response takes a convolution or transposed convolution; got "
            f"{type(op).__name__}; take the responses of its factors"
        )
    g = op.geometry
    grid = per_axis("n", n, g.ndim, minimum=1)
    if isinstance(op, ConvTranspose):
        direct = frequency_response(op.T.conj(), grid)
        bare = direct.ndim == g.ndim
        return direct.conj() if bare else direct.conj().swapaxes(-1, -2)
    aliases = int(np.prod(g.stride))
    entries = int(np.prod(grid)) * g.out_channels * g.in_channels * aliases
    shape = (int(np.prod(grid)), g.out_channels * g.in_channels * aliases)
    check_bytes("a response", shape, 16 * entries, DENSE_LIMIT, "use fewer frequencies")
    kernel = op.layout.kernels_first(op.kernel)
    places = [np.arange(count, dtype=np.int64) for count in grid]
    blocks = convolution_blocks(kernel, g, grid, places, True, (1,) * g.ndim)
    if op.layout.bare and aliases == 1:
        return blocks[..., 0, 0, 0]
    whole: Any = np.zeros(
        (*grid, g.groups, g.out_channels // g.groups, g.groups, blocks.shape[-1]), complex
    )
    for group in range(g.groups):
        whole[..., group, :, group, :] = blocks[..., group, :, :]
    return np.asarray(whole.reshape(*grid, g.out_channels, g.in_channels * aliases))

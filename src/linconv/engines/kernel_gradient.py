"""The gradient of a convolution with respect to its kernel, by a convolution of any engine.

With stride and dilation exchanged, the input is correlated with the output's gradient as kernel.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from linconv.geometry import Geometry
from linconv.layout import moved

__all__ = ["kernel_gradient"]


def kernel_gradient(x: Any, y: Any, geometry: Geometry, correlate: Callable[..., Any]) -> Any:
    """Return gradients (bx * by, out, in/groups, *size) with respect to the kernel.

    Parameters
    ----------
    x : array, shape (bx, n, in_channels, *input_size)
        Inputs, in as many batches as there are gradients wanted of them.
    y : array, shape (by, n, out_channels, *output_size)
        Gradients with respect to the outputs; `bx` or `by` is 1.
    geometry : Geometry
        Zero-padded.
    correlate : callable
        As `linconv.engines.correlate`.
    """
    g = geometry
    bx, n, by = len(x), x.shape[1], len(y)
    per_group = g.in_channels // g.groups
    images = x.reshape(bx, n, g.groups, per_group, *g.input_size)
    images = moved(images, (0, 3, 2, 1), (0, 1, 2, 3))
    images = images.reshape(bx * per_group, g.groups * n, *g.input_size)
    weights = moved(y, (2, 0, 1), (0, 1, 2)).reshape(-1, n, *g.output_size)
    summed = correlate(images, weights, _exchanged(g, n, by), False)
    split = summed.reshape(bx, per_group, g.out_channels, by, *g.kernel_size)
    return moved(split, (0, 3, 2, 1), (0, 1, 2, 3)).reshape(
        bx * by, g.out_channels, per_group, *g.kernel_size
    )


@lru_cache(maxsize=256)
def _exchanged(g: Geometry, n: int, by: int) -> Geometry:
    """Return the geometry whose kernel is the output, stride and dilation exchanged."""
    return Geometry(
        g.input_size,
        g.output_size,
        stride=g.dilation,
        dilation=g.stride,
        padding=tuple((a, b - c) for (a, b), c in zip(g.padding, g.leftover, strict=True)),
        in_channels=g.groups * n,
        out_channels=g.out_channels * by,
        groups=g.groups,
    )

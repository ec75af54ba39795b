"""Transposing: a transposed convolution told by what it cuts off its full output, per side."""

from __future__ import annotations

from typing import Any

from linconv.arguments import per_axis
from linconv.convolution import ConvTranspose
from linconv.padding import Pairs

__all__ = ["cut_transpose"]


def cut_transpose(
    kernel: Any,
    input_shape: tuple[int, ...],
    cuts: Pairs,
    *,
    stride: Any,
    dilation: Any,
    output_padding: Any = 0,
    **options: Any,
) -> ConvTranspose:
    """Return the transposed convolution whose full output is cut by `cuts` per axis and side.

    A negative cut adds zeros: at the end as output padding, as far as that goes (less than the
    larger of stride and dilation), then as negative padding. `output_padding`, in that range,
    adds samples at the end first. Other options are those of `ConvTranspose`.
    """
    ndim = len(cuts)
    steps, spacing, extra = (
        per_axis(name, value, ndim, minimum=least)
        for name, value, least in (
            ("stride", stride, 1),
            ("dilation", dilation, 1),
            ("output_padding", output_padding, 0),
        )
    )
    ends = tuple(
        op if high >= 0 else min(op - high, max(s, d) - 1)
        for op, (_, high), s, d in zip(extra, cuts, steps, spacing, strict=True)
    )
    padding = tuple(
        (low, high - op + end) for (low, high), op, end in zip(cuts, extra, ends, strict=True)
    )
    return ConvTranspose(
        kernel,
        input_shape,
        stride=steps,
        dilation=spacing,
        padding=padding,
        output_padding=ends,
        **options,
    )

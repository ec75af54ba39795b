"""ONNX Conv and ConvTranspose nodes: their padding in samples, and the maps that they are.

The specification of ConvTranspose contradicts itself on what ``auto_pad`` and ``output_shape`` cut,
and its referees (onnx 1.23: the node test cases, the reference implementation, shape inference;
onnxruntime 1.32) differ. With n input samples, s the stride, k the effective kernel size, op the
output padding and ``total = (n - 1) * s + k + op - out``:

- ``out`` is ``output_shape`` where it is given (``pads`` are then ignored), otherwise ``n * s`` for
  ``SAME_UPPER`` and ``SAME_LOWER``. Shape inference adds op to ``n * s``; nobody else does.
- ``SAME_UPPER`` cuts ``total // 2`` at the start and the rest at the end. Everything else, also
  ``output_shape`` without ``auto_pad``, cuts the larger half at the *start*. So the formulas of the
  specification have it, and onnxruntime; the reference implementation cuts nothing without
  ``auto_pad`` and fails where something is to be cut. No node test case has an odd total there.
- A negative total adds zeros, all at the *end*: so the test case ``convtranspose_output_shape``
  has it, and onnxruntime where ``output_shape`` is given. The reference implementation puts half
  of them at the start for ``SAME_*``; without ``output_shape`` (k < s) onnxruntime adds none, and
  returns fewer than the ``n * s`` samples that the specification, the reference implementation
  and this file give.

Conv's ``SAME_UPPER`` and ``SAME_LOWER`` are linconv's ``"same"`` and ``"same_lower"``; all agree.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from linconv.arguments import check_groups, choice, integer, per_axis
from linconv.convolution import Conv
from linconv.engines.arrays import Array
from linconv.errors import GeometryError, ShapeError
from linconv.layers.layer import Layer
from linconv.layers.onnx_protos import attributes, optional_input, title
from linconv.layers.transposing import cut_transpose
from linconv.padding import Pairs

__all__ = ["AUTO_PADS", "explicit_pads", "read_conv", "read_conv_transpose", "same_rule", "sides"]

AUTO_PADS = {"NOTSET": None, "VALID": "valid", "SAME_UPPER": "same", "SAME_LOWER": "same_lower"}
"""ONNX' names, and linconv's."""

_CONV = {
    "auto_pad": "STRING",
    "dilations": "INTS",
    "group": "INT",
    "kernel_shape": "INTS",
    "pads": "INTS",
    "strides": "INTS",
}


def read_conv(node: Any, weights: Mapping[str, Any], input_shape: tuple[int, ...]) -> Layer:
    """Return the layer of a Conv node; see `read_node`."""
    given = attributes(node, **_CONV)
    kernel, bias, options = _kernel(node, given, weights, input_shape)
    rule = same_rule(node, given)
    padding = rule or explicit_pads(node, given, len(input_shape) - 1)
    operator = Conv(kernel, input_shape, padding=padding, data_format="channels_first", **options)
    told = f"auto_pad={given['auto_pad']}: " if rule else "pads: "
    return Layer(
        operator,
        bias,
        channel_axis=0,
        kind="Conv",
        source="onnx",
        convention=told + sides(operator.geometry.padding),
        name=node.name,
    )


def read_conv_transpose(
    node: Any, weights: Mapping[str, Any], input_shape: tuple[int, ...]
) -> Layer:
    """Return the layer of a ConvTranspose node; see `read_node`."""
    given = attributes(node, **_CONV, output_padding="INTS", output_shape="INTS")
    kernel, bias, options = _kernel(node, given, weights, input_shape)
    size, ndim = input_shape[1:], len(input_shape) - 1
    strides, dilations = (
        per_axis(name, options[name], ndim, minimum=1) for name in ("stride", "dilation")
    )
    extra = per_axis("output_padding", given.get("output_padding", 0), ndim, minimum=0)
    for axis, (op, s, d) in enumerate(zip(extra, strides, dilations, strict=True)):
        if op >= max(s, d):
            raise GeometryError(
                f"output_padding must be less than the larger of stride and dilation; got {op} at "
                f"axis {axis} with stride {s}, dilation {d}; use 0 to {max(s, d) - 1}"
            )
    full = tuple(
        (n - 1) * s + (k - 1) * d + 1
        for n, s, k, d in zip(size, strides, kernel.shape[2:], dilations, strict=True)
    )
    pairs, told = _transposed_pads(node, given, size, strides, full, extra)
    operator = cut_transpose(
        kernel, input_shape, pairs, output_padding=extra, data_format="channels_first", **options
    )
    return Layer(
        operator,
        bias,
        channel_axis=0,
        kind="ConvTranspose",
        source="onnx",
        convention=told,
        name=node.name,
    )


def _transposed_pads(
    node: Any,
    given: Mapping[str, Any],
    size: tuple[int, ...],
    strides: tuple[int, ...],
    full: tuple[int, ...],
    extra: tuple[int, ...],
) -> tuple[Pairs, str]:
    """Return what is cut per side of the full output and its output padding, and why, in words."""
    ndim, name = len(size), given.get("auto_pad", "NOTSET")
    rule = same_rule(node, given)
    wanted = given.get("output_shape")
    if wanted is not None:
        if len(wanted) == ndim + 2:  # opset 1 had the batch and the channels, too
            wanted = wanted[2:]
        wanted = per_axis("output_shape", wanted, ndim, minimum=1)
        told = f"output_shape={list(wanted)}, auto_pad={name}: "
    elif rule in ("same", "same_lower"):
        wanted = tuple(n * s for n, s in zip(size, strides, strict=True))
        told = f"auto_pad={name}: "
    else:
        pairs = explicit_pads(node, given, ndim)
        return pairs, f"pads: {sides(pairs, 'cut')}"
    totals = [f + op - out for f, op, out in zip(full, extra, wanted, strict=True)]
    pairs = tuple(_shared(total, name) for total in totals)
    return pairs, told + sides(pairs, "cut")


def _shared(total: int, auto_pad: str) -> tuple[int, int]:
    if total < 0:
        return 0, total
    small = total // 2
    return (small, total - small) if auto_pad == "SAME_UPPER" else (total - small, small)


def _kernel(
    node: Any,
    given: Mapping[str, Any],
    weights: Mapping[str, Any],
    input_shape: tuple[int, ...],
) -> tuple[Array, Array | None, dict[str, Any]]:
    """Return kernel, bias and the options that both kinds of node share."""
    kernel = optional_input(node, 1, weights, "kernel")
    bias = optional_input(node, 2, weights, "bias")
    if kernel is None:
        raise ShapeError(f"{title(node)} must have a kernel; it has no second input; add it")
    if kernel.ndim < 3 or kernel.ndim != len(input_shape) + 1:
        raise ShapeError(
            f"the kernel of {title(node)} must have one axis more than input_shape (channels, "
            f"*size); got a kernel of shape {kernel.shape} and input_shape {input_shape}; give "
            f"the shape of one sample without batch axis"
        )
    size = given.get("kernel_shape", kernel.shape[2:])
    if size != kernel.shape[2:]:
        raise ShapeError(
            f"kernel_shape of {title(node)} must be that of its kernel, {kernel.shape[2:]}; got "
            f"{size}; leave it out, or give the kernel that belongs to it"
        )
    groups = integer("group", given.get("group", 1), minimum=1)
    check_groups(groups, in_channels=input_shape[0])
    options = {
        "stride": given.get("strides", 1),
        "dilation": given.get("dilations", 1),
        "groups": groups,
    }
    return kernel, bias, options


def same_rule(node: Any, given: Mapping[str, Any]) -> str | None:
    """Return linconv's name for a node's auto_pad, None for NOTSET.

    Raises
    ------
    GeometryError
        If there is no such name, or pads stand beside it.
    """
    rule = AUTO_PADS[choice("auto_pad", given.get("auto_pad", "NOTSET"), AUTO_PADS)]
    if rule and any(given.get("pads", ())):
        raise GeometryError(
            f"{title(node)} must have pads or auto_pad; got pads={given['pads']} and "
            f"auto_pad={given['auto_pad']}; remove one of them"
        )
    return rule


def explicit_pads(node: Any, given: Mapping[str, Any], ndim: int) -> Pairs:
    """Return a node's pads, all starts and then all ends, as (low, high) pairs."""
    pads = given.get("pads", (0,) * (2 * ndim))
    if len(pads) != 2 * ndim or min(pads) < 0:
        raise GeometryError(
            f"pads of {title(node)} must be {2 * ndim} numbers of at least 0, all starts and "
            f"then all ends; got {pads}; give one start and one end per spatial axis"
        )
    return tuple(zip(pads[:ndim], pads[ndim:], strict=True))


def sides(pairs: Pairs, verb: str = "") -> str:
    """Say in words what a padding is per side."""
    words = [f"{low} before, {high} after" for low, high in pairs]
    end = f" {verb}" if verb else ""
    if len(set(words)) == 1:
        return f"{words[0]}{end} on each axis"
    return "; ".join(f"{each}{end} on axis {axis}" for axis, each in enumerate(words))

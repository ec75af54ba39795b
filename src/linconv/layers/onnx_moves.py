"""ONNX nodes that move samples, read: Pad, Slice, Gather, DepthToSpace and SpaceToDepth."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from linconv.arguments import choice
from linconv.errors import GeometryError, LinconvError, ShapeError
from linconv.factors import Decimate, Pad
from linconv.identity import Identity
from linconv.layers.layer import Layer
from linconv.layers.onnx_protos import attributes, optional_input, title
from linconv.linear_map import LinearMap, Product
from linconv.selection import Select
from linconv.shuffling import DepthToSpace, SpaceToDepth

__all__ = ["MODES", "node_layer", "read_gather", "read_pad", "read_shuffle", "read_slice"]

MODES = {"constant": "zeros", "reflect": "reflect", "edge": "replicate", "wrap": "circular"}
"""ONNX' names of padding modes, and linconv's."""


def read_pad(node: Any, weights: Mapping[str, Any], shape: tuple[int, ...]) -> Layer:
    """Return the layer of a Pad node, in the forms of all opsets; see `read_node`."""
    kinds = {"mode": "STRING", "pads": "INTS", "paddings": "INTS", "value": "FLOAT"}
    given = attributes(node, **kinds)
    mode = choice("mode", given.get("mode", "constant"), MODES)
    pads = given.get("pads", given.get("paddings"))
    value: Any = given.get("value", 0.0)
    axes = None
    if pads is None:
        pads = optional_input(node, 1, weights, "padding")
        value = optional_input(node, 2, weights, "value")
        axes = optional_input(node, 3, weights, "list of axes")
    if mode == "constant" and value is not None and np.any(value):
        raise LinconvError(
            f"{title(node)} must pad with zeros to be linear; got the value {value}; "
            f"pad with 0 and add the rest as a bias"
        )
    rank = len(shape) + 1
    wanted = list(range(rank)) if axes is None else [int(a) % rank for a in np.ravel(axes)]
    numbers = [] if pads is None else [int(p) for p in np.ravel(pads)]
    if len(numbers) != 2 * len(wanted):
        raise GeometryError(
            f"{title(node)} must have {2 * len(wanted)} pads, all starts and then all ends; got "
            f"{numbers}; give one start and one end for each of the axes {wanted}, batch included"
        )
    pairs = [(0, 0)] * rank
    for axis, low, high in zip(wanted, numbers[: len(wanted)], numbers[len(wanted) :], strict=True):
        pairs[axis] = (low, high)
    if any(pairs[0]):
        raise GeometryError(
            f"{title(node)} must leave the batch alone; got {pairs[0]} at axis 0; give 0, 0"
        )
    return node_layer(node, _padded(shape, pairs[1:], mode), f"mode={mode}, pads {pairs[1:]}")


def _padded(shape: tuple[int, ...], pairs: list[tuple[int, int]], mode: str) -> LinearMap:
    """Return the map of a Pad node: what is negative is cropped first, as onnxruntime does."""
    grown = [(max(low, 0), max(high, 0)) for low, high in pairs]
    if mode == "constant" or grown == pairs:
        return Pad(shape, pairs, MODES[mode])
    crop = Pad(shape, [(min(low, 0), min(high, 0)) for low, high in pairs])
    return Product(Pad(crop.output_shape, grown, MODES[mode]), crop)


def read_shuffle(node: Any, weights: Mapping[str, Any], shape: tuple[int, ...]) -> Layer:
    """Return the layer of a DepthToSpace or a SpaceToDepth node; see `read_node`."""
    given = attributes(node, blocksize="INT", mode="STRING")
    maker = DepthToSpace if node.op_type == "DepthToSpace" else SpaceToDepth
    order = choice("mode", given.get("mode", "DCR"), ("DCR", "CRD"))
    if len(shape) != 3:
        raise ShapeError(
            f"{title(node)} reads images, (channels, height, width); got input_shape {shape}; "
            f"give three axes without batch"
        )
    operator = maker(shape, given.get("blocksize", 0), data_format="channels_first", order=order)
    return node_layer(node, operator, f"mode={order}")


def read_gather(node: Any, weights: Mapping[str, Any], shape: tuple[int, ...]) -> Layer:
    """Return the layer of a Gather node with a list of indices; see `read_node`."""
    given = attributes(node, axis="INT")
    axis = _sample_axis(node, given.get("axis", 0), shape)
    indices = optional_input(node, 1, weights, "list of indices")
    if indices is None or indices.ndim != 1 or indices.dtype.kind not in "iu":
        raise LinconvError(
            f"{title(node)} must have a list of indices to be a map of each sample; got "
            f"{None if indices is None else indices.shape}; give a constant of one axis"
        )
    n = shape[axis]
    sources: list[Any] = [None] * len(shape)
    sources[axis] = np.where(indices < 0, indices + n, indices)
    return node_layer(node, Select(shape, sources))


def read_slice(node: Any, weights: Mapping[str, Any], shape: tuple[int, ...]) -> Layer:
    """Return the layer of a Slice node: a crop, then every step-th sample; see `read_node`."""
    given = attributes(node, starts="INTS", ends="INTS", axes="INTS")
    roles = ("starts", "ends", "axes", "steps")
    constants = [optional_input(node, place, weights, r) for place, r in enumerate(roles, 1)]
    starts, ends, axes, steps = (
        given.get(role, constant) for role, constant in zip(roles, constants, strict=True)
    )
    lists = [[] if value is None else np.ravel(value).tolist() for value in (starts, ends)]
    lists.append(list(range(len(lists[0]))) if axes is None else np.ravel(axes).tolist())
    lists.append([1] * len(lists[0]) if steps is None else np.ravel(steps).tolist())
    if len({len(values) for values in lists}) != 1 or 0 in lists[3]:
        raise GeometryError(
            f"{title(node)} must have one start, end and step other than 0 for each axis; got "
            f"{dict(zip(roles, lists, strict=True))}; give lists of one length"
        )
    pairs, strides = [(0, 0)] * len(shape), [1] * len(shape)
    sources: list[Any] = [None] * len(shape)
    for start, end, number, step in zip(*lists, strict=True):
        axis = _sample_axis(node, number, shape)
        kept = range(shape[axis])[
            slice(start, end if step > 0 or end >= -shape[axis] else None, step)
        ]
        if not kept:
            raise GeometryError(
                f"{title(node)} must leave a sample; got {start}:{end}:{step} of "
                f"{shape[axis]} at axis {axis}; take more"
            )
        if step < 0:
            sources[axis] = list(kept)
        else:
            pairs[axis] = (-kept[0], kept[-1] + 1 - shape[axis])
            strides[axis] = step
    crop = Pad(shape, pairs)
    maps: list[LinearMap] = [crop, Decimate(crop.output_shape, strides), Select(shape, sources)]
    chosen = [any(map(any, pairs)), max(strides) > 1, any(s is not None for s in sources)]
    if chosen[2] and any(chosen[:2]):
        raise LinconvError(
            f"{title(node)} must have steps of one sign; got {lists[3]}; slice axis by axis"
        )
    used = [m for m, wanted in zip(maps, chosen, strict=True) if wanted]
    operator = Product(*reversed(used)) if len(used) > 1 else (used or [Identity(shape)])[0]
    return node_layer(node, operator)


def _sample_axis(node: Any, number: int, shape: tuple[int, ...]) -> int:
    """Return an axis of the sample from one of the batch of samples."""
    axis = number + len(shape) + 1 if number < 0 else number
    if not 1 <= axis <= len(shape):
        raise GeometryError(
            f"{title(node)} must act on an axis 1 to {len(shape)}, the batch being 0; got axis "
            f"{number}; leave the batch alone"
        )
    return axis - 1


def node_layer(
    node: Any, operator: LinearMap, convention: str = "", activation: str | None = None
) -> Layer:
    """Return the layer of a node, channels first."""
    return Layer(
        operator,
        None,
        activation,
        channel_axis=0,
        kind=node.op_type,
        source="onnx",
        convention=convention,
        name=node.name,
    )

"""ONNX Resize and Upsample nodes: where output samples stand, and the maps that read there.

Coordinates are computed in float32, as onnxruntime does: which of two samples is the nearest may
hang on it. Where ``scales`` leave a size with a fraction, which is cut off, the specification calls
both sizes ``length_resized``; ``align_corners`` uses the one with its fraction, as the node test
cases and the reference implementation do, and onnxruntime does not.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from linconv.arguments import choice
from linconv.engines.arrays import Array
from linconv.errors import GeometryError, LinconvError, SizeError
from linconv.identity import Identity
from linconv.layers.layer import Layer
from linconv.layers.onnx_pool import MAX_SAMPLES
from linconv.layers.onnx_protos import attributes, optional_input, title
from linconv.linear_map import LinearMap, Product
from linconv.resampling import COORDINATES, Resize
from linconv.selection import Select

__all__ = ["ROUNDINGS", "positions", "read_resize", "read_upsample", "rounded"]

_TRANSFORMATIONS = (
    "half_pixel",
    "half_pixel_symmetric",
    "pytorch_half_pixel",
    "align_corners",
    "asymmetric",
    "tf_crop_and_resize",
)
ROUNDINGS = ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")
_POLICIES = ("stretch", "not_larger", "not_smaller")

_KINDS = {
    "antialias": "INT",
    "axes": "INTS",
    "coordinate_transformation_mode": "STRING",
    "cubic_coeff_a": "FLOAT",
    "exclude_outside": "INT",
    "extrapolation_value": "FLOAT",
    "keep_aspect_ratio_policy": "STRING",
    "mode": "STRING",
    "nearest_mode": "STRING",
}


def read_resize(node: Any, weights: Mapping[str, Any], shape: tuple[int, ...]) -> Layer:
    """Return the layer of a Resize node; see `read_node`."""
    given = attributes(node, **_KINDS)
    if len(node.input) == 2:  # opset 10: data and scales, and one rule
        scales = optional_input(node, 1, weights, "list of scales")
        rules = ("asymmetric", "floor")
        return _resize(node, given, shape, scales, None, *rules)
    scales = optional_input(node, 2, weights, "list of scales")
    sizes = optional_input(node, 3, weights, "list of sizes")
    where = choice(
        "coordinate_transformation_mode",
        given.get("coordinate_transformation_mode", "half_pixel"),
        _TRANSFORMATIONS,
    )
    rounding = choice("nearest_mode", given.get("nearest_mode", ROUNDINGS[0]), ROUNDINGS)
    return _resize(node, given, shape, scales, sizes, where, rounding)


def read_upsample(node: Any, weights: Mapping[str, Any], shape: tuple[int, ...]) -> Layer:
    """Return the layer of an Upsample node (before opset 10); see `read_node`."""
    given = attributes(node, mode="STRING", scales="FLOATS")
    scales = given.get("scales", optional_input(node, 1, weights, "list of scales"))
    return _resize(node, given, shape, scales, None, "asymmetric", "floor")


def _resize(
    node: Any,
    given: Mapping[str, Any],
    shape: tuple[int, ...],
    scales: Any,
    sizes: Any,
    where: str,
    rounding: str,
) -> Layer:
    mode = choice("mode", given.get("mode", "nearest"), ("nearest", "linear", "cubic"))
    reason = _reason(given, mode, where)
    if reason:
        raise LinconvError(
            f"{title(node)} must be nearest or linear resampling between the samples; got "
            f"{reason}, which is not read; export it with mode nearest or linear"
        )
    wanted, steps = _sizes(node, given, shape, scales, sizes)
    if mode == "nearest":
        operator = _nearest(shape, wanted, steps, where, rounding)
        told = f"nearest, {where}, {rounding}"
    else:
        operator = _linear(node, shape, wanted, steps, where)
        told = f"linear, {where}"
    return Layer(
        operator,
        channel_axis=0,
        kind=node.op_type,
        source="onnx",
        convention=told,
        name=node.name,
    )


def _reason(given: Mapping[str, Any], mode: str, where: str) -> str | None:
    if mode == "cubic":
        return "mode='cubic'"
    if where == "tf_crop_and_resize":
        return f"coordinate_transformation_mode={where!r}"
    return "antialias=1" if given.get("antialias", 0) and mode == "linear" else None


def _sizes(
    node: Any, given: Mapping[str, Any], shape: tuple[int, ...], scales: Any, sizes: Any
) -> tuple[tuple[int, ...], tuple[np.float32, ...]]:
    """Return the output shape, and per axis how many output samples an input sample has."""
    rank = len(shape) + 1
    axes = [axis % rank for axis in given.get("axes", range(rank))]
    values = sizes if scales is None or not np.size(scales) else scales
    numbers = [] if values is None else np.ravel(values).tolist()
    if len(numbers) != len(axes):
        raise GeometryError(
            f"{title(node)} must have scales or sizes, one for each of the axes {axes}, batch "
            f"included; got {numbers}; give {len(axes)}"
        )
    if not all(np.isfinite(number) and number > 0 for number in numbers):
        raise GeometryError(
            f"scales and sizes of {title(node)} must be positive; got {numbers}; use more than 0"
        )
    factors = dict.fromkeys(range(rank), np.float32(1))
    wanted = [1, *shape]
    if values is scales:
        for axis, number in zip(axes, numbers, strict=True):
            factors[axis] = np.float32(number)
            wanted[axis] = int(factors[axis] * np.float32(wanted[axis]))
    else:
        policy = choice(
            "keep_aspect_ratio_policy",
            given.get("keep_aspect_ratio_policy", "stretch"),
            _POLICIES,
        )
        chosen = [(axis, int(n)) for axis, n in zip(axes, numbers, strict=True) if axis]
        ratios = [np.float32(n) / np.float32(wanted[axis]) for axis, n in chosen]
        if policy != "stretch":
            common = min(ratios) if policy == "not_larger" else max(ratios)
            ratios = [common] * len(chosen)
            chosen = [(axis, int(common * wanted[axis] + 0.5)) for axis, _ in chosen]
        for (axis, n), ratio in zip(chosen, ratios, strict=True):
            wanted[axis], factors[axis] = n, ratio
    if factors[0] != 1:
        raise GeometryError(
            f"{title(node)} must leave the batch alone; got the scale {factors[0]} for axis 0; "
            f"use 1"
        )
    for axis, n in enumerate(wanted):
        if not 1 <= n <= MAX_SAMPLES:
            problem = GeometryError if n < 1 else SizeError
            raise problem(
                f"an axis must be resized to 1 to {MAX_SAMPLES} samples; got {n} at axis {axis} "
                f"of {title(node)}; check its scales or sizes"
            )
    return tuple(wanted[1:]), tuple(factors[axis] for axis in range(1, rank))


def positions(n: int, out: int, factor: np.float32, where: str) -> Array:
    """Return where output samples stand on the input's axis, in float32."""
    one, half = np.float32(1), np.float32(0.5)
    place = np.arange(out, dtype=np.float32)
    length = factor * np.float32(n)
    if where == "asymmetric":
        return place / factor
    if where == "align_corners":
        return place * np.float32(n - 1) / (length - one) if length != 1 else 0 * place
    if where == "pytorch_half_pixel" and out == 1:
        return 0 * place
    position = (place + half) / factor - half
    if where == "half_pixel_symmetric":
        position += np.float32(n) / 2 * (one - np.float32(out) / length)
    return position


def _nearest(
    shape: tuple[int, ...],
    wanted: tuple[int, ...],
    factors: tuple[np.float32, ...],
    where: str,
    rounding: str,
) -> LinearMap:
    sources: list[Array | None] = []
    for n, out, factor in zip(shape, wanted, factors, strict=True):
        place = positions(n, out, factor, where)
        source = np.clip(rounded(place, rounding), 0, n - 1).astype(np.int64)
        kept = n == out and np.array_equal(source, np.arange(n))
        sources.append(None if kept else source)
    if all(source is None for source in sources):
        return Identity(shape)
    for coordinates in COORDINATES:  # by the name that other frameworks know, if there is one
        if all(
            source is None or _is_resize(n, source, coordinates)
            for n, source in zip(shape, sources, strict=True)
        ):
            return Resize(shape, wanted, "nearest", coordinates=coordinates)
    return Select(shape, sources)


def rounded(place: Array, rounding: str) -> Array:
    """Return the whole numbers that a nearest_mode rounds places to."""
    if rounding in ("floor", "ceil"):
        return np.floor(place) if rounding == "floor" else np.ceil(place)
    half = np.float32(0.5)
    return np.ceil(place - half) if rounding == "round_prefer_floor" else np.floor(place + half)


def _is_resize(size: int, source: Array, coordinates: str) -> bool:
    plain = Resize((size,), source.shape, "nearest", coordinates=coordinates)
    return np.array_equal(plain(np.arange(float(size))), source)


def _linear(
    node: Any,
    shape: tuple[int, ...],
    wanted: tuple[int, ...],
    factors: tuple[np.float32, ...],
    where: str,
) -> LinearMap:
    """Return one Resize for each rule that an axis follows, mostly one."""
    axes: dict[str, dict[int, float | None]] = {}
    for axis, (n, out, factor) in enumerate(zip(shape, wanted, factors, strict=True)):
        if n == out and factor == 1:
            continue
        whole = np.float32(out) / np.float32(n) == factor
        rule, step = where.removesuffix("_symmetric").removeprefix("pytorch_"), 1 / float(factor)
        if where == "half_pixel_symmetric" and not whole:
            raise LinconvError(
                f"half_pixel_symmetric of {title(node)} must come to a whole output size; got "
                f"{n} samples times {factor} at axis {axis}; use sizes, or half_pixel"
            )
        if where == "pytorch_half_pixel" and out == 1:
            rule = "asymmetric"
        if where == "align_corners" and not whole:
            rule, step = "asymmetric", (n - 1) / max(float(factor) * n - 1, 1e-30)
        axes.setdefault(rule, {})[axis] = None if whole else step
    maps: list[LinearMap] = []
    for rule, chosen in axes.items():
        before = maps[-1].output_shape if maps else shape
        after = [wanted[axis] if axis in chosen else n for axis, n in enumerate(before)]
        steps = [chosen.get(axis) for axis in range(len(shape))]
        maps.append(Resize(before, after, "linear", coordinates=rule, scale=steps))
    return Product(*reversed(maps)) if len(maps) > 1 else (maps or [Identity(shape)])[0]

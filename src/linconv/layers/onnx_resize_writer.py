"""onnx_resize_writer: the Resize node that reads where a `Resize` does, found by trying them."""

from __future__ import annotations

from typing import Any

import numpy as np

from linconv.engines.arrays import Array
from linconv.errors import LinconvError
from linconv.layers.onnx_resize import ROUNDINGS, positions, rounded
from linconv.resampling import COORDINATES, Resize

__all__ = ["nearest_sources", "resize_node"]


def resize_node(op: Resize) -> tuple[tuple[tuple[str, Array] | None, ...], dict[str, Any]] | None:
    """Return the constant inputs and attributes of the Resize node that computes `op`.

    Parameters
    ----------
    op : Resize
        Over (channels, *size).

    Returns
    -------
    (inputs, attributes) or None
        None where the node would take other samples, though each the nearest of some rule.

    Raises
    ------
    LinconvError
        If no node interpolates at the same places.
    """
    axes = [a for a in range(len(op.input_shape)) if not _kept(op, a)]
    sizes = [op.output_shape[a] for a in axes]
    steps = [_step(op, a) for a in axes]
    roundings = ROUNDINGS if op.method == "nearest" else ("",)
    for where in sorted(COORDINATES, key=lambda name: name != op.coordinates):
        for rounding in sorted(roundings, key=lambda name: name != _USUAL.get(where)):
            for by_scale in (False, True):
                if not all(
                    _same_places(op, a, where, rounding, step if by_scale else None)
                    for a, step in zip(axes, steps, strict=True)
                ):
                    continue
                options: dict[str, Any] = {
                    "axes": [a + 1 for a in axes],
                    "coordinate_transformation_mode": where,
                    "mode": op.method,
                }
                options |= {"nearest_mode": rounding} if rounding else {}
                if by_scale:
                    return (None, ("scales", np.array(steps, np.float32))), options
                return (None, None, ("sizes", np.array(sizes, np.int64))), options
    if op.method == "nearest":
        return None
    raise LinconvError(
        f"a Resize node must interpolate at half_pixel, align_corners or asymmetric places; got "
        f"{op!r} with scale {op.scale}, which comes to none of them; resize to a whole multiple"
    )


_USUAL = {"asymmetric": "floor", "half_pixel": "round_prefer_ceil"}
_USUAL["align_corners"] = "round_prefer_ceil"


def _kept(op: Resize, axis: int) -> bool:
    return op.input_shape[axis] == op.output_shape[axis] and op.scale[axis] is None


def _step(op: Resize, axis: int) -> np.float32:
    """Return output samples per input sample of an axis."""
    step = op.scale[axis]
    exact = op.output_shape[axis] / op.input_shape[axis] if step is None else 1 / float(step)
    return np.float32(exact)


def _same_places(op: Resize, axis: int, where: str, rounding: str, step: np.float32 | None) -> bool:
    """Whether a node reads an axis where `op` does."""
    n, out = op.input_shape[axis], op.output_shape[axis]
    if step is not None and int(step * np.float32(n)) != out:
        return False
    factor = np.float32(out) / np.float32(n) if step is None else step
    place = positions(n, out, factor, where)
    place = np.clip(rounded(place, rounding) if rounding else place, 0, n - 1)
    allowed = 0 if rounding else 8 * n * float(np.finfo(np.float32).eps)
    return bool(np.abs(op.places(axis) - place).max() <= allowed)


def nearest_sources(op: Resize) -> tuple[Array | None, ...]:
    """Return, per axis, the sample that each sample of a nearest resizing copies."""
    return tuple(
        None if _kept(op, a) else op.places(a).astype(np.int64) for a in range(len(op.input_shape))
    )

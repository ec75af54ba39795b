"""Chain: layers one after the other as one layer, where that is exact."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from linconv.engines.arrays import Array
from linconv.errors import LinconvError
from linconv.identity import Identity
from linconv.layers.layer import Layer
from linconv.linear_map import Product

__all__ = ["chained"]


def chained(layers: Sequence[Layer], *, kind: str, source: str, name: str = "") -> Layer:
    """Return layers, the first applied first, as one layer with the product of their operators.

    Raises
    ------
    LinconvError
        If there is no layer, an activation is not the last, or a bias cannot be moved behind the
        layers after it (at a zero-padded border it would differ from sample to sample).
    """
    if not layers:
        raise LinconvError(
            f"a chain must have at least one layer; got an empty {kind}; use linconv.identity"
        )
    acting = [layer for layer in layers if not _nothing(layer)] or [layers[0]]
    total = acting[0]
    for layer in acting[1:]:
        total = _after(total, layer)
    words = [layer.convention for layer in acting if layer.convention]
    return replace(total, kind=kind, source=source, name=name, convention="; then ".join(words))


def _nothing(layer: Layer) -> bool:
    alone = layer.bias is None and layer.activation is None
    return alone and isinstance(layer.operator, Identity)


def _after(total: Layer, layer: Layer) -> Layer:
    if total.activation is not None:
        raise LinconvError(
            f"only the last layer of a chain can have an activation, for the chain must be linear "
            f"up to it; got {total.activation!r} of {total.kind} before {layer.kind}; read the "
            f"layers one by one"
        )
    # Where nothing is moved, the layer's own word for the channels may be a guess.
    kept = layer.channel_axis is None or isinstance(layer.operator, Identity)
    axis = total.channel_axis if kept else layer.channel_axis
    maps = [m for m in (layer.operator, total.operator) if not isinstance(m, Identity)]
    operator = Product(*maps) if len(maps) > 1 else (maps or [total.operator])[0]
    bias = layer.bias
    if total.bias is not None:
        moved = _moved(total, layer, axis)
        bias = moved if bias is None else moved + bias
    return Layer(operator, bias, layer.activation, axis, layer.kind, layer.source)


def _moved(total: Layer, layer: Layer, axis: int | None) -> Array:
    """Return the bias of `total` as one behind `layer`, if it is one number per channel there."""
    assert total.spread_bias is not None
    spread = layer.operator(np.broadcast_to(total.spread_bias, total.output_shape))
    lines = np.moveaxis(spread, axis or 0, 0).reshape(spread.shape[axis or 0], -1)
    allowed = 64 * np.finfo(spread.dtype).eps * np.abs(lines).max(initial=0.0)
    if np.ptp(lines, axis=1).max(initial=0.0) > allowed:
        raise LinconvError(
            f"the bias of {total.kind} must come to one number per channel behind {layer.kind}; "
            f"it differs from sample to sample there, as it does behind a padded border; read the "
            f"layers one by one"
        )
    result: Array = lines.mean(axis=1, dtype=spread.dtype)
    return result

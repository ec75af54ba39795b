"""flax_modules: `FixedMap`, an nnx.Module for what Flax has no layer for, and that reads back."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from linconv.engines.arrays import Array
from linconv.errors import LinconvError
from linconv.factors import Decimate, Pad
from linconv.files import missing
from linconv.identity import Identity
from linconv.linear_map import LinearMap, Transpose
from linconv.padding import padded_sources
from linconv.resampling import Diagonal, Resize
from linconv.selection import Select

__all__ = ["fixed_map_class", "import_nnx"]


def import_nnx() -> Any:
    """Return the module flax.nnx.

    Raises
    ------
    MissingPackageError
        If Flax is not installed.
    """
    try:
        from flax import nnx
    except ImportError as error:
        raise missing("flax", "reading and writing Flax layers", "flax") from error
    return nnx


@cache
def fixed_map_class() -> Any:
    """Return the class `FixedMap`, made once Flax is there."""
    base: Any = import_nnx().Module

    class FixedMap(base):  # type: ignore[misc]
        """A map of linconv without parameters, applied by JAX to (*batch, *size, channels).

        Attributes
        ----------
        linear_map : LinearMap
            A Pad, Decimate, Select, Resize, Diagonal or Identity, or the transpose of one of the
            first three.
        """

        def __init__(self, linear_map: LinearMap) -> None:
            self.linear_map = linear_map

        def __call__(self, x: Any) -> Any:
            return _applied(self.linear_map, x)

    return FixedMap


def _applied(op: LinearMap, x: Any) -> Any:
    """Apply a map to a JAX array; axes are counted from the end, for batch axes may lead."""
    import jax
    from jax import numpy as jnp

    batch = x.ndim - len(op.input_shape)
    if x.shape[max(0, batch) :] != op.input_shape:
        raise LinconvError(
            f"the array must have shape (*batch, {', '.join(map(str, op.input_shape))}); got "
            f"{x.shape}; reshape it, or write the layer for that input_shape"
        )
    free = [(0, 0, 0)] * batch
    zero = jnp.zeros((), x.dtype)
    if isinstance(op, Identity):
        return x
    if isinstance(op, Diagonal):
        return x * jnp.asarray(op.weights, x.dtype)
    if isinstance(op, Decimate):
        return x[(..., *(slice(None, None, s) for s in op.geometry.stride))]
    if isinstance(op, Transpose) and isinstance(op.of, Decimate):
        sizes = zip(x.shape[batch:], op.output_shape, op.of.geometry.stride, strict=True)
        return jax.lax.pad(
            x, zero, [*free, *((0, n - (k - 1) * s - 1, s - 1) for k, n, s in sizes)]
        )
    if isinstance(op, Resize):
        for axis in range(len(op.input_shape)):
            matrix = jnp.asarray(op.axis_matrix(axis), x.dtype)
            x = jnp.moveaxis(jnp.tensordot(x, matrix, ([batch + axis], [1])), -1, batch + axis)
        return x
    for axis, source in enumerate(_copied(op)):
        if source is not None:
            x = _along(op, x, batch + axis, source, jnp)
    sign = -1 if isinstance(op, Transpose) else 1
    return jax.lax.pad(x, zero, [*free, *((sign * a, sign * b, 0) for a, b in _zeros(op))])


def _copied(op: LinearMap) -> list[Array | None]:
    """Return, per axis, the samples that a map (or the one it transposes) copies."""
    of = op.of if isinstance(op, Transpose) else op
    if isinstance(of, Select):
        return list(of.sources)
    if not isinstance(of, Pad):
        raise LinconvError(
            f"a FixedMap must hold a Pad, Decimate, Select, Resize, Diagonal or Identity, or the "
            f"transpose of a Pad, Decimate or Select; got {op!r}; use layers of Flax for the rest"
        )
    g = of.geometry
    return [
        None if mode == "zeros" or not any(pair) else padded_sources(n, *pair, mode)
        for n, pair, mode in zip(g.input_size, g.padding, g.padding_mode, strict=True)
    ]


def _zeros(op: LinearMap) -> list[tuple[int, int]]:
    of = op.of if isinstance(op, Transpose) else op
    if not isinstance(of, Pad):
        return [(0, 0)] * len(op.input_shape)
    pairs = zip(of.geometry.padding, of.geometry.padding_mode, strict=True)
    return [pair if mode == "zeros" else (0, 0) for pair, mode in pairs]


def _along(op: LinearMap, x: Any, axis: int, source: Array, jnp: Any) -> Any:
    if not isinstance(op, Transpose):
        return jnp.take(x, np.asarray(source), axis=axis)
    lines = jnp.moveaxis(x, axis, 0)
    size = op.output_shape[axis - x.ndim]
    summed = jnp.zeros((size, *lines.shape[1:]), x.dtype).at[np.asarray(source)].add(lines)
    return jnp.moveaxis(summed, 0, axis)

"""What Keras and Flax share on JAX: double precision for a while, compiled once per layer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from linconv.engines.arrays import Array

__all__ = ["compiled", "double_precision"]

BATCH = 8
"""Samples that are run at once: of every other number of them JAX would compile the layer anew."""


def double_precision() -> Any:
    """Return a context in which JAX computes in float64."""
    import jax

    if hasattr(jax, "enable_x64"):
        return jax.enable_x64(True)
    from jax.experimental import enable_x64

    return enable_x64()


def compiled(
    function: Any, input_shape: tuple[int, ...], dtype: Any
) -> tuple[Callable[[Array], Array], Callable[[Array], Array]]:
    """Return a batched function of JAX arrays, and its vector-Jacobian product at zero, on NumPy's.

    Parameters
    ----------
    function : callable
        From batches of JAX arrays to batches of JAX arrays.
    input_shape : tuple of int
        One sample.
    dtype : dtype
        In which it runs.
    """
    import jax

    forward = jax.jit(function)

    def pull(y: Any) -> Any:
        start = jax.numpy.zeros((BATCH, *input_shape), dtype)
        _, vjp = jax.vjp(function, start)
        return vjp(y)[0]

    return _in_batches(forward, dtype), _in_batches(jax.jit(pull), dtype)


def _in_batches(run: Any, dtype: Any) -> Callable[[Array], Array]:
    def apply(x: Array) -> Array:
        results = []
        with double_precision():
            for first in range(0, len(x), BATCH):
                part = x[first : first + BATCH]
                filled = np.zeros((BATCH, *x.shape[1:]), dtype)
                filled[: len(part)] = part
                results.append(np.asarray(run(filled))[: len(part)])
        return np.concatenate(results)

    return apply

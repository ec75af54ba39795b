"""Singular values of maps whose kernel is a tensor or a JAX array, differentiable in the kernel.

A singular value is ``u^H A v`` with its singular vectors, and its derivative is ``u^H dA v``
(Stewart and Sun, Matrix Perturbation Theory, 1990): the vectors may be held fixed. They are found
with NumPy, by whatever method the structure allows; what is differentiated is one application of
the map.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from linconv.convolution import Conv, ConvTranspose
from linconv.engines.arrays import Array
from linconv.engines.kinds import alike, as_numpy, kind
from linconv.errors import DTypeError
from linconv.linear_map import Conjugate, LinearMap, Product, Scaled, Sum, Transpose

__all__ = ["attached", "first_tensor", "numpy_twin"]


def first_tensor(op: LinearMap) -> Any:
    """Return the first tensor or JAX array that is a kernel, or fixed array, in a map, or None."""
    for part in op._made_of():
        found = first_tensor(part)
        if found is not None:
            return found
    kernel = getattr(op, "kernel", getattr(op, "fixed", None))
    return None if kernel is None or kind(kernel) == "numpy" else kernel


def numpy_twin(op: LinearMap) -> LinearMap:
    """Return the same map with NumPy kernels, through which no derivative flows.

    Raises
    ------
    DTypeError
        If a kernel's values are not known, as under `jax.jit`.
    """
    if isinstance(op, ConvTranspose):
        return numpy_twin(op.T).T
    if isinstance(op, Conv):
        return Conv.of(_values(op.kernel), op.layout, op.geometry)
    if isinstance(op, (Transpose, Conjugate, Scaled)):
        inner = numpy_twin(op.of)
        if isinstance(op, Scaled):
            return Scaled(op.factor, inner)
        return inner.T if isinstance(op, Transpose) else inner.conj()
    if isinstance(op, Product):
        return Product(*map(numpy_twin, op.maps))
    if isinstance(op, Sum):
        return Sum(*map(numpy_twin, op.terms))
    if first_tensor(op) is None:
        return op
    raise DTypeError(
        f"a spectrum of {type(op).__name__} with a {kind(first_tensor(op))} kernel is not known; "
        f"make it of Conv and ConvTranspose, or convert the kernel with numpy.asarray"
    )


def attached(
    op: LinearMap, vectors: Callable[[int], tuple[Array, Array]], positions: Sequence[int]
) -> Any:
    """Return singular values, shape (len(positions),), as an array of the kernels' kind.

    Parameters
    ----------
    op : LinearMap
        With a tensor or JAX array as a kernel.
    vectors : callable
        From a position to the left and the right singular vector.
    positions : sequence of int
        Of the values.
    """
    tensor = first_tensor(op)
    pairs = [vectors(position) for position in positions]
    left = alike(np.stack([u for u, _ in pairs]).conj(), tensor)
    right = alike(np.stack([v for _, v in pairs]), tensor)
    products = (left * op(right)).reshape(len(pairs), -1).sum(-1)
    return products.real if np.iscomplexobj(pairs[0][0]) else products


def _values(kernel: Any) -> Array:
    if kind(kernel) == "jax":  # the value under jax.grad; none under jax.jit
        kernel = sys.modules["jax"].lax.stop_gradient(kernel)
    return as_numpy(kernel)

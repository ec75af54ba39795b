"""Runner: a thing that can be run forward and, where possible, backward, on NumPy arrays."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any

import numpy as np

from linconv.engines.arrays import Array
from linconv.errors import LinconvError, ShapeError

__all__ = ["BASIS_ENTRIES", "BASIS_INPUTS", "Batched", "Runner"]

BASIS_INPUTS = 2048
BASIS_ENTRIES = 1 << 23
"""Up to so many input samples, and entries of the matrix, the adjoint is read from the matrix."""

Batched = Callable[[Array], Array]


@dataclass(frozen=True, eq=False)
class Runner:
    """A layer as it runs: ``activation(A x + b)``, on batches (n, *input_shape) of NumPy arrays.

    Attributes
    ----------
    name : str
        What is run, as in ``"torch Conv2d"``.
    framework : str
        ``"linconv"``, ``"keras"``, ``"torch"``, ``"flax"`` or ``"onnx"``.
    input_shape : tuple of int
        One sample, in the layer's own data format.
    dtype : numpy.dtype
        In which it runs here.
    forward : callable
        With bias and activation.
    affine : callable
        With bias, without the activation.
    pullback : callable or None
        The transpose of A, from batches of outputs to batches of inputs, by the framework's own
        differentiation; None where it has none.
    adjoint_by : str
        In words: how the adjoint is had.
    activation : str or None
        Its name, None where the layer is linear.
    """

    name: str
    framework: str
    input_shape: tuple[int, ...]
    dtype: np.dtype[Any]
    forward: Batched
    affine: Batched
    pullback: Batched | None
    adjoint_by: str
    activation: str | None = None

    @cached_property
    def offset(self) -> Array:
        """What the layer gives for zeros, before the activation: its bias, spread."""
        result: Array = self.affine(np.zeros((1, *self.input_shape), self.dtype))[0]
        return result

    @property
    def output_shape(self) -> tuple[int, ...]:
        """One output sample."""
        return self.offset.shape

    def linear(self, x: Array) -> Array:
        """Apply A to a batch."""
        result: Array = self.affine(x.astype(self.dtype, copy=False)) - self.offset
        return result

    @property
    def has_adjoint(self) -> bool:
        """Whether `adjoint` can be had from this thing alone."""
        sizes = prod(self.input_shape), prod(self.output_shape)
        small = sizes[0] <= BASIS_INPUTS and sizes[0] * sizes[1] <= BASIS_ENTRIES
        return self.pullback is not None or small

    @property
    def adjoint_words(self) -> str:
        """How the adjoint is had, or that it is not."""
        if self.pullback is not None:
            return self.adjoint_by
        return "from the images of all unit vectors" if self.has_adjoint else "not to be had"

    @cached_property
    def _matrix(self) -> Array:
        basis = np.eye(prod(self.input_shape), dtype=self.dtype)
        images = self.linear(basis.reshape(-1, *self.input_shape))
        return images.reshape(len(basis), -1)

    def adjoint(self, y: Array) -> Array:
        """Apply the transpose of A to a batch (n, *output_shape).

        Raises
        ------
        LinconvError
            If the framework does not differentiate and the matrix would be too large.
        """
        y = y.astype(self.dtype, copy=False)
        if self.pullback is not None:
            return self.pullback(y)
        if not self.has_adjoint:
            raise LinconvError(
                f"the adjoint of {self.name} can be read from unit vectors up to {BASIS_INPUTS} "
                f"input samples; got input_shape {self.input_shape}; use a smaller input_shape"
            )
        return (y.reshape(len(y), -1) @ self._matrix.T).reshape(-1, *self.input_shape)

    def check(self, rng: np.random.Generator, rtol: float) -> None:
        """Raise unless the thing runs on `input_shape` and is affine before its activation."""
        try:
            self.offset  # noqa: B018 -- runs it once
        except LinconvError:
            raise
        except Exception as error:
            first = str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
            raise ShapeError(
                f"{self.name} must run on one sample of shape {self.input_shape}; it raised "
                f"{type(error).__name__}: {first[:200]}; check input_shape, which has no batch axis"
            ) from error
        x = rng.standard_normal((2, *self.input_shape)).astype(self.dtype)
        both = self.linear(np.concatenate([x, x.sum(axis=0, keepdims=True)]))
        gap = np.abs(both[0] + both[1] - both[2]).max(initial=0.0)
        scale = np.abs(both).max(initial=0.0) + np.abs(self.offset).max(initial=0.0)
        if not gap <= 10 * rtol * scale:
            raise LinconvError(
                f"agreement is between linear layers, a bias and an activation behind them; "
                f"{self.name} is not linear before its activation (f(x) + f(y) differs from "
                f"f(x + y) + f(0) by {gap:.3g} where values reach {scale:.3g}); compare its "
                f"linear layers one by one"
            )

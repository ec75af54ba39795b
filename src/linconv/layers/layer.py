"""Layer: a framework's linear layer as an operator, a bias and an activation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy

from linconv.engines.arrays import Array
from linconv.errors import GeometryError, LinconvError, ShapeError
from linconv.linear_map import LinearMap

__all__ = ["ACTIVATIONS", "FRAMEWORKS", "Layer"]

FRAMEWORKS = ("keras", "torch", "flax", "onnx")

ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "elu": lambda z: np.where(z > 0, z, np.expm1(np.minimum(z, 0))),
    "gelu": lambda z: z * scipy.special.ndtr(z),
    "hard_sigmoid": lambda z: np.clip(z / 6 + 0.5, 0, 1),
    "hard_silu": lambda z: z * np.clip(z / 6 + 0.5, 0, 1),
    "log_sigmoid": lambda z: -np.logaddexp(0, -z),
    "relu": lambda z: np.maximum(z, 0),
    "relu6": lambda z: np.clip(z, 0, 6),
    "sigmoid": lambda z: scipy.special.expit(z),
    "silu": lambda z: z * scipy.special.expit(z),
    "softplus": lambda z: np.logaddexp(z, 0),
    "softsign": lambda z: z / (1 + np.abs(z)),
    "tanh": np.tanh,
}
"""Activations that `Layer.apply` can compute; every other one is known by its name alone."""


@dataclass(frozen=True, eq=False)
class Layer:
    """A linear layer of a framework: ``activation(operator(x) + bias)``.

    Attributes
    ----------
    operator : LinearMap
        From one sample of the layer's input to one of its output, in the layer's own data
        format, without batch axis.
    bias : array, shape (channels,), or None
        Added along `channel_axis` of the output.
    activation : str or None
        Its name, as frameworks have it; None where the layer is linear.
    channel_axis : int or None
        The axis of one output sample (no batch axis) that holds channels.
    kind : str
        What the framework calls it, such as ``"Conv2DTranspose"``.
    source : {"keras", "torch", "flax", "onnx", "linconv"}
        Whose layer it is.
    convention : str
        In words: what the framework's padding comes to here, such as
        ``"padding='same': 0 before, 1 after on each axis"``.
    name : str
        The layer's own name, ``""`` if it has none.
    """

    operator: LinearMap
    bias: Array | None = None
    activation: str | None = None
    channel_axis: int | None = None
    kind: str = ""
    source: str = "linconv"
    convention: str = ""
    name: str = ""

    def __post_init__(self) -> None:
        if self.bias is None:
            return
        if self.channel_axis is None:
            raise GeometryError(
                "a bias needs channel_axis; got None; name the axis of the channels"
            )
        channels = self.output_shape[self.channel_axis]
        if self.bias.shape != (channels,):
            raise ShapeError(
                f"the bias must have one entry per output channel, shape ({channels},); got "
                f"{self.bias.shape}; check channel_axis={self.channel_axis}"
            )

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one input sample."""
        return self.operator.input_shape

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Shape of one output sample."""
        return self.operator.output_shape

    @property
    def spread_bias(self) -> Array | None:
        """The bias in a shape that broadcasts against one output sample."""
        if self.bias is None:
            return None
        shape = [1] * len(self.output_shape)
        shape[self.channel_axis or 0] = -1
        return self.bias.reshape(shape)

    def apply(self, x: Any) -> Array:
        """Return what the layer returns for arrays of shape (*batch, *input_shape).

        Raises
        ------
        ShapeError, DTypeError
            As `LinearMap`.
        LinconvError
            If linconv does not know how to compute the activation.
        """
        if self.activation is not None and self.activation not in ACTIVATIONS:
            raise LinconvError(
                f"the activation must be one of {', '.join(ACTIVATIONS)} to be applied; got "
                f"{self.activation!r} ({self.source} {self.kind}); use layer.operator and "
                f"layer.bias, and apply it yourself"
            )
        result = self.operator(x)
        if self.bias is not None:
            result = result + self.spread_bias
        return result if self.activation is None else ACTIVATIONS[self.activation](result)

    __call__ = apply

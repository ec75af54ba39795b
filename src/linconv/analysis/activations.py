"""Activations that a decoder can end in: values, slopes, inverses and ranges."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy
from numpy.typing import NDArray

from linconv.arguments import choice

__all__ = ["ACTIVATIONS", "Activation", "activation"]

Array = NDArray[Any]


@dataclass(frozen=True)
class Activation:
    """A monotone function of one sample.

    Attributes
    ----------
    apply, inverse : callable
        Array to array; `inverse` of values strictly between `low` and `high`.
    slope : callable
        The derivative, as a function of the *value* of the activation.
    low, high : float
        Infimum and supremum of the values.
    """

    name: str
    apply: Callable[[Array], Array]
    slope: Callable[[Array], Array]
    inverse: Callable[[Array], Array]
    low: float
    high: float


ACTIVATIONS = {
    "linear": Activation("linear", lambda z: z, np.ones_like, lambda a: a, -np.inf, np.inf),
    "tanh": Activation("tanh", np.tanh, lambda a: 1 - a * a, np.arctanh, -1.0, 1.0),
    "sigmoid": Activation(
        "sigmoid",
        lambda z: scipy.special.expit(z),
        lambda a: a * (1 - a),
        lambda a: scipy.special.logit(a),
        0.0,
        1.0,
    ),
}


def activation(name: Any) -> Activation:
    """Return the activation of that name, or raise, naming the nearest."""
    return ACTIVATIONS[choice("activation", name, ACTIVATIONS)]

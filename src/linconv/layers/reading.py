"""Reading: a layer of any framework as an operator, a bias and an activation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from linconv.arguments import PerAxis
from linconv.arguments import shape as read_shape
from linconv.errors import LinconvError
from linconv.layers import flax, keras, onnx, torch
from linconv.layers.layer import Layer
from linconv.layers.parts import as_layer
from linconv.linear_map import LinearMap

__all__ = ["READERS", "from_layer"]

READERS: dict[str, Callable[..., Layer]] = {
    "keras": keras.read,
    "torch": torch.read,
    "flax": flax.read,
    "onnx": onnx.read,
}
"""By the name of the package whose layers they read; called with the layer and its input shape."""

WEIGHED = ("onnx",)
"""Whose layers are read together with weights that lie elsewhere."""


def from_layer(layer: Any, input_shape: PerAxis | None = None, *, weights: Any = None) -> Layer:
    """Read a layer of a framework: its operator, bias and activation.

    Parameters
    ----------
    layer : object
        A layer of Keras, PyTorch or Flax (NNX), of one's own subclass too as long as what it
        computes is not overridden; an ONNX node; a `Sequential` of such layers. A map of linconv
        is taken as a layer without bias. It is never changed.
    input_shape : int or sequence of int, optional
        One sample in the layer's own layout, without batch axis. A built Keras layer knows it.
    weights : mapping of str to array, optional
        For ONNX nodes: the initializers that they name.

    Returns
    -------
    Layer
        Exact: the same sums in the same convention; weights are copied, in their dtype (half
        precision in float32).

    Raises
    ------
    LinconvError
        If the layer is of no known kind or has no weights yet, or computes what no linear map
        does; the message says which layers are read.
    ShapeError
        If `input_shape` is needed or does not fit.

    Examples
    --------
    >>> import linconv as lc
    >>> from_layer(lc.Conv([1.0, 2.0], (4,))).output_shape
    (3,)
    """
    if isinstance(layer, Layer | LinearMap):
        return as_layer(layer)
    shape = None if input_shape is None else read_shape("input_shape", input_shape)
    packages = (base.__module__.partition(".")[0] for base in type(layer).__mro__)
    package = next((name for name in packages if name in READERS), None)
    if package is None:
        kind = layer.__name__ if isinstance(layer, type) else type(layer).__name__
        a_class = ", the class itself" if isinstance(layer, type) else ""
        raise LinconvError(
            f"layer must be a layer of {', '.join(READERS)} or a map of linconv; got "
            f"{kind}{a_class}; give an instance of one of these frameworks' layers"
        )
    if package in WEIGHED:
        return READERS[package](layer, shape, weights)
    if weights is not None:
        raise LinconvError(
            f"weights are for layers of {', '.join(WEIGHED)}; got them with a layer of {package}, "
            f"which has its own; leave them out"
        )
    return READERS[package](layer, shape)

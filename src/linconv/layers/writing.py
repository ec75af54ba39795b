"""Writing: a layer or a map as a layer of any framework."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from linconv.arguments import choice
from linconv.errors import DTypeError
from linconv.layers import flax_writer, keras_writer, onnx_writer, torch_writer
from linconv.layers.layer import Layer
from linconv.layers.parts import as_layer
from linconv.linear_map import LinearMap

__all__ = ["WRITERS", "to_layer"]

WRITERS: dict[str, Callable[[Layer], Any]] = {
    "keras": keras_writer.write,
    "torch": torch_writer.write,
    "flax": flax_writer.write,
    "onnx": onnx_writer.write,
}
"""By the name of the framework."""


def to_layer(layer_or_map: Layer | LinearMap, framework: str) -> Any:
    """Write a layer or a map as a layer of a framework, weights, bias and activation included.

    Parameters
    ----------
    layer_or_map : Layer or LinearMap
        From `from_layer`, or any convolution, padding, resampling or product of these.
    framework : {"keras", "torch", "flax", "onnx"}
        Whose layer is wanted.

    Returns
    -------
    object
        The plainest layer that computes the same, or, where the conventions differ, a sequence
        of layers with an explicit pad or crop. It is channels first for PyTorch and ONNX,
        channels last for Flax, and as the operator for Keras; a map without channels gets one.

    Raises
    ------
    LinconvError
        If the framework has no layer for it; the message says why, and what to do.
    MissingPackageError
        If the framework is not installed.

    Notes
    -----
    Weights are written in the operator's dtype, in float32 where the framework is set to have
    no float64.

    Examples
    --------
    >>> import numpy as np
    >>> import linconv as lc
    >>> op = lc.Conv(np.ones((3, 3, 3, 8)), (32, 32, 3), stride=2, padding="same")
    >>> to_layer(op, "torch")  # doctest: +SKIP
    Sequential(
      (0): ZeroPad2d((0, 1, 0, 1))
      (1): Conv2d(3, 8, kernel_size=(3, 3), stride=(2, 2), bias=False)
    )
    """
    write = WRITERS[choice("framework", framework, WRITERS)]
    layer = as_layer(layer_or_map)
    if layer.operator.dtype.kind == "c":
        raise DTypeError(
            f"a layer of {framework} must have real weights; got {layer.operator.dtype}; write its "
            f"real and its imaginary part as two layers"
        )
    return write(layer)

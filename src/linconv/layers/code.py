"""Code: the few lines that build a convolution in each framework, as text that runs."""

from __future__ import annotations

from collections.abc import Callable

from linconv.arguments import choice
from linconv.convolution import Conv, ConvTranspose
from linconv.errors import LinconvError
from linconv.layers import code_functions, code_layers
from linconv.layers.code_task import LETTERS, Task
from linconv.layers.layer import Layer
from linconv.layers.parts import as_layer, parts
from linconv.layers.plain import plain
from linconv.linear_map import LinearMap

__all__ = ["code"]

ACTIVATIONS = ("elu", "relu", "sigmoid", "softplus", "softsign", "tanh")


def code(op: Layer | LinearMap, framework: str) -> str:
    """Return the few lines that build a convolution in a framework.

    Parameters
    ----------
    op : Conv, ConvTranspose, Layer or a product of one with Pad
        Of one to three spatial axes, real.
    framework : {"keras", "torch", "jax", "flax", "onnx", "tensorflow"}
        Whose code is wanted.

    Returns
    -------
    str
        Python that finds the variables `kernel`, a NumPy array as ``op.kernel`` stores it, and
        for a layer with one `bias`, and defines `layer`, which takes arrays with a batch axis:
        channels first for PyTorch and ONNX (there `layer` is a model), last for the others. A
        map without channels gets one. Where conventions differ there is an explicit pad or crop.

    Raises
    ------
    LinconvError
        If it is not one convolution, or the framework cannot express it; the message says why.

    Notes
    -----
    All but TensorFlow's is run by the tests and compared with `op`.

    Examples
    --------
    >>> import linconv as lc
    >>> op = lc.Conv([[[1.0]], [[2.0]], [[3.0]]], (8, 1), stride=2, padding="same")
    >>> print(code(op, "torch"))
    import torch
    import torch.nn.functional as F
    <BLANKLINE>
    weight = torch.as_tensor(kernel.transpose(2, 1, 0).copy())  # (out, in/groups, *size)
    <BLANKLINE>
    def layer(x):  # (batch, channels, *size)
        x = F.pad(x, (0, 1))
        return F.conv1d(x, weight, stride=(2,))
    """
    write = WRITERS[choice("framework", framework, WRITERS)]
    layer = as_layer(op)
    read = plain(layer.operator)
    if read is None or read.geometry.ndim not in LETTERS or read.conv.dtype.kind == "c":
        raise LinconvError(
            f"code is written for one real convolution of 1 to 3 axes, with pads before it; got "
            f"{layer.operator!r}; write its parts one by one, or use to_layer"
        )
    if layer.activation is not None and layer.activation not in ACTIVATIONS:
        raise LinconvError(
            f"code is written for the activations {', '.join(ACTIVATIONS)}; got "
            f"{layer.activation!r}; write it without, and apply the activation yourself"
        )
    stored = next(m for m in parts(layer.operator) if isinstance(m, Conv | ConvTranspose))
    return write(Task(read, stored, layer, framework))


WRITERS: dict[str, Callable[[Task], str]] = {
    "keras": code_layers.keras,
    "torch": code_functions.torch,
    "jax": code_functions.jax,
    "flax": code_layers.flax,
    "onnx": code_layers.onnx,
    "tensorflow": code_functions.tensorflow,
}
"""By the name of the framework."""

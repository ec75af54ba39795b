"""Model: what a model file holds, and where it came from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = ["Model"]


@dataclass(frozen=True, eq=False)
class Model:
    """A model, or the weights of one, read from a file.

    Attributes
    ----------
    source : {"keras", "onnx", "torch", "weights"}
        What it is: a Keras model, an ONNX model, an exported program of PyTorch, or weights by
        name, without the layers they belong to.
    content : object
        `keras.Model`; `onnx.ModelProto`; the exported program as `linconv.layers.torch_export`
        reads it; or a mapping from names to what is known of each array.
    path : str
        The file.
    """

    source: str
    content: Any
    path: str

    def __repr__(self) -> str:
        return f"Model({self.source!r}, {self.path!r})"

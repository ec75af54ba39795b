"""onnx_graph: a chain of ONNX nodes being written, each with its constants and a readable name."""

from __future__ import annotations

from typing import Any

import numpy as np

from linconv.engines.arrays import Array
from linconv.layers.onnx_protos import import_onnx
from linconv.padding import Pairs

__all__ = ["Chain"]

OPSET = 20
"""Of what is written, unless a node needs a later one: what runtimes of 2024 know."""


class Chain:
    """Nodes that each read what the one before returns, channels first, any batch.

    Parameters
    ----------
    input_shape : tuple of int
        (channels, *size).
    dtype : numpy.dtype
        float32 or float64: of the data and of all weights.
    """

    def __init__(self, input_shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self.shape = input_shape
        self.dtype = dtype
        self.opset = OPSET
        self._input_shape = input_shape
        self._nodes: list[Any] = []
        self._constants: list[Any] = []
        self._tensor = "input"

    @property
    def rank(self) -> int:
        """Axes of the data, batch included."""
        return len(self.shape) + 1

    def add(
        self,
        kind: str,
        output_shape: tuple[int, ...],
        *constants: tuple[str, Any] | None,
        **options: Any,
    ) -> None:
        """Append a node.

        Parameters
        ----------
        kind : str
            Its type.
        output_shape : tuple of int
            (channels, *size) of what it returns.
        *constants : (str, array) or None
            Its inputs behind the first, each with what it is called; None leaves one out.
            Floats are written in the dtype of the chain.
        **options : object
            Its attributes.
        """
        onnx = import_onnx()
        name = f"{kind.lower()}_{len(self._nodes)}"
        names = []
        for constant in constants:
            if constant is None:
                names.append("")
                continue
            role, value = constant
            array = np.asarray(value)
            floats = array.dtype.kind == "f" and role != "scales"
            array = np.array(array, self.dtype if floats else None, order="C")
            names.append(f"{name}_{role}")
            self._constants.append(onnx.numpy_helper.from_array(array, names[-1]))
        node = onnx.helper.make_node(
            kind, [self._tensor, *names], [f"{name}_output"], name=name, **options
        )
        self._nodes.append(node)
        self._tensor, self.shape = f"{name}_output", output_shape

    def pad(self, pairs: Pairs, mode: str = "constant") -> None:
        """Append what pads (channels, *size), if anything: a Slice that crops, then a Pad node."""
        cropped = [(max(0, -low), max(0, -high)) for low, high in pairs]
        axes = [axis for axis, pair in enumerate(cropped) if any(pair)]
        if axes:
            sizes = self.shape
            starts = [cropped[axis][0] for axis in axes]
            ends = [sizes[axis] - cropped[axis][1] for axis in axes]
            shape = tuple(n - low - high for n, (low, high) in zip(sizes, cropped, strict=True))
            lists = (("starts", starts), ("ends", ends), ("axes", [axis + 1 for axis in axes]))
            self.add("Slice", shape, *((role, np.array(v, np.int64)) for role, v in lists))
        grown = [(max(0, low), max(0, high)) for low, high in pairs]
        if any(map(any, grown)):
            shape = tuple(n + low + high for n, (low, high) in zip(self.shape, grown, strict=True))
            lows, highs = zip((0, 0), *grown, strict=True)
            self.add("Pad", shape, ("pads", np.array([*lows, *highs], np.int64)), mode=mode)

    def gather(self, axis: int, sources: Array) -> None:
        """Append a Gather node along an axis of (channels, *size)."""
        shape = (*self.shape[:axis], len(sources), *self.shape[axis + 1 :])
        self.add("Gather", shape, ("indices", sources.astype(np.int64)), axis=axis + 1)

    def model(self, name: str) -> Any:
        """Return the complete, checked model."""
        onnx = import_onnx()
        if not self._nodes:
            self.add("Identity", self.shape)
        self._nodes[-1].output[0] = "output"
        kind = onnx.helper.np_dtype_to_tensor_dtype(self.dtype)
        ends = [
            onnx.helper.make_tensor_value_info(name, kind, ["batch", *shape])
            for name, shape in (("input", self._input_shape), ("output", self.shape))
        ]
        graph = onnx.helper.make_graph(
            self._nodes, name, ends[:1], ends[1:], initializer=self._constants
        )
        opsets = [onnx.helper.make_opsetid("", self.opset)]
        version = onnx.helper.find_min_ir_version_for(opsets)
        made = onnx.helper.make_model(
            graph, opset_imports=opsets, ir_version=version, producer_name="linconv"
        )
        onnx.checker.check_model(made)
        return made

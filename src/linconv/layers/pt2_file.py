"""Exported programs of PyTorch (`.pt2`), read without PyTorch: a JSON graph and raw weights.

`torch.export.load` unpickles some members without `weights_only`; nothing here is ever unpickled.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from linconv.engines.arrays import Array
from linconv.errors import InputError
from linconv.files import reading
from linconv.layers.aten import Call, Program, Ref
from linconv.layers.model_zip import MAX_MODEL_BYTES, member, member_json, opened_zip

__all__ = ["load_pt2"]

_KIND = "an exported program of PyTorch"
_SCHEMA = 8
# torch._export.serde.schema.ScalarType; bfloat16 is widened by hand.
_DTYPES = {1: "u1", 2: "i1", 3: "<i2", 4: "<i4", 5: "<i8", 6: "<f2", 7: "<f4", 8: "<f8", 12: "?"}
_DTYPES |= {10: "<c8", 11: "<c16"}
_BFLOAT16 = 13
_ADVICE = "save it again with torch.export.save"


def load_pt2(file: Path) -> Program:
    """Read a program saved by `torch.export.save`.

    Raises
    ------
    InputError
        If it is none, is damaged, holds pickled weights, or declares weights that the file does
        not have.
    """
    with opened_zip(file, _KIND) as archive:
        names = archive.namelist()
        graphs = [name for name in names if name.endswith("models/model.json")]
        if len(graphs) != 1:
            raise InputError(
                f"{file} must have one member models/model.json to be {_KIND}; it has "
                f"{len(graphs)}; {_ADVICE}, or give a state dict the suffix .pt"
            )
        root = graphs[0].removesuffix("models/model.json")
        order = f"{root}byteorder"
        if order in names and member(archive, order, file, _KIND, 16).strip() != b"little":
            raise InputError(
                f"{file} was saved on a big-endian machine; {_ADVICE} on a little-endian one"
            )
        document = member_json(archive, graphs[0], file, _KIND)
        with reading(file, _KIND):
            major = document["schema_version"]["major"]
            if major != _SCHEMA:
                raise InputError(
                    f"{file} has version {major} of the format, and version {_SCHEMA} is read; "
                    f"save it again with a PyTorch that writes that version"
                )
            weights: dict[str, Array] = {}
            for kind in ("weights", "constants"):
                config = f"{root}data/{kind}/model_{kind}_config.json"
                if config in names:
                    entries = member_json(archive, config, file, _KIND)["config"]
                    for name, entry in entries.items():
                        path = f"{root}data/{kind}/{entry['path_name']}"
                        if entry["use_pickle"]:
                            raise InputError(
                                f"{name!r} in {file} is pickled, and a pickle can run code, so it "
                                f"is never loaded; {_ADVICE} with all weights as plain tensors on "
                                f"the CPU"
                            )
                        content = member(archive, path, file, _KIND, MAX_MODEL_BYTES)
                        weights[name] = _tensor(entry["tensor_meta"], content, name, file)
            return _program(document["graph_module"], weights)


def _tensor(meta: Mapping[str, Any], content: bytes, name: str, file: Path) -> Array:
    """View bytes as the tensor that its meta data describe, if it lies within them."""
    sizes, strides = ([_integer(v) for v in meta[key]] for key in ("sizes", "strides"))
    start, kind = _integer(meta["storage_offset"]), meta["dtype"]
    if kind != _BFLOAT16 and kind not in _DTYPES:
        raise InputError(f"{name!r} in {file} has a number type that is not read ({kind})")
    dtype = np.dtype("<u2" if kind == _BFLOAT16 else _DTYPES[kind])
    last = start + sum((n - 1) * s for n, s in zip(sizes, strides, strict=True))
    elements = 0 if 0 in sizes else last + 1
    if min([start, *sizes, *strides], default=0) < 0 or (
        max(elements, math.prod(sizes)) * dtype.itemsize > len(content)
    ):
        raise InputError(
            f"{name!r} in {file} declares the shape {tuple(sizes)} with strides {tuple(strides)}, "
            f"which its {len(content)} bytes do not hold; {_ADVICE}"
        )
    flat = np.frombuffer(content, dtype, len(content) // dtype.itemsize)
    steps = [s * dtype.itemsize for s in strides]
    view = np.lib.stride_tricks.as_strided(flat[start:], sizes, steps, writeable=False)
    if kind == _BFLOAT16:
        return (view.astype(np.uint32) << np.uint32(16)).view(np.float32)
    return view


def _integer(value: Mapping[str, Any]) -> int:
    return int(value["as_int"])


def _program(module: Mapping[str, Any], weights: Mapping[str, Array]) -> Program:
    graph, specs = module["graph"], module["signature"]["input_specs"]
    shapes = {name: _shape(value) for name, value in graph["tensor_values"].items()}
    inputs, named = {}, {}
    for spec in specs:
        (kind, value) = next(iter(spec.items()))
        if kind == "user_input":
            if "as_tensor" in value["arg"]:
                name = value["arg"]["as_tensor"]["name"]
                inputs[name] = shapes[name]
        elif kind in ("parameter", "buffer", "tensor_constant"):
            own = next(v for key, v in value.items() if key.endswith("_name"))
            if own in weights:
                named[value["arg"]["name"]] = (own, weights[own])
    return Program(inputs, named, tuple(_call(node, shapes) for node in graph["nodes"]))


def _shape(value: Mapping[str, Any]) -> tuple[int | None, ...]:
    return tuple(size.get("as_int") for size in value["sizes"])


def _call(node: Mapping[str, Any], shapes: Mapping[str, Any]) -> Call:
    names = [
        tensor["name"]
        for output in node["outputs"]
        for tensor in (
            [output["as_tensor"]] if "as_tensor" in output else output.get("as_tensors", [])
        )
    ]
    first = names[0] if names else node.get("name") or ""
    stack = node["metadata"].get("nn_module_stack", "")
    path, _, kind = stack.rpartition(";")[2].partition(",")[2].rpartition(",")
    parts = node["target"].split(".")
    return Call(
        first,
        parts[3] if parts[:3] == ["torch", "ops", "aten"] else node["target"],
        {entry["name"]: _value(entry["arg"]) for entry in node["inputs"]},
        shapes.get(first),
        path,
        kind.rpartition(".")[2],
    )


def _value(argument: Mapping[str, Any]) -> Any:
    """Return an argument as numbers, strings, lists of them, `Ref` or None."""
    kind, value = next(iter(argument.items()))
    if kind == "as_tensor":
        return Ref(value["name"])
    if kind == "as_tensors":
        return [Ref(v["name"]) for v in value]
    if kind == "as_optional_tensors":
        return [Ref(v["as_tensor"]["name"]) if "as_tensor" in v else None for v in value]
    if kind in ("as_int", "as_ints", "as_float", "as_floats", "as_bool", "as_bools", "as_string"):
        return value
    return None

"""ONNX models (`.onnx`): parsed, with every tensor held against the bytes that are there."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from linconv.errors import InputError
from linconv.files import reading
from linconv.layers.model_zip import MAX_MODEL_BYTES, check_size
from linconv.layers.onnx_protos import import_onnx

__all__ = ["load_onnx"]

_KIND = "an ONNX model"
_MAX_DEPTH = 50


def load_onnx(file: Path) -> Any:
    """Read an ONNX model, with its tensors from files of the same folder.

    Raises
    ------
    InputError
        If it is none or damaged; if a tensor declares another number of values than are there; if
        one lies in a file outside the model's folder, or beyond the end of that file.
    MissingPackageError
        If onnx is absent.
    """
    check_size(file)
    onnx = import_onnx()
    with reading(file, _KIND):
        model = onnx.load_model(file, format="protobuf", load_external_data=False)
    if not model.graph.node:
        raise InputError(
            f"{file} cannot be read as {_KIND}: its graph has no node; it may be truncated or of "
            f"another format, so save it again"
        )
    total = 0
    for tensor in _tensors(model.graph, file, 0):
        external = tensor.data_location == onnx.TensorProto.EXTERNAL or tensor.external_data
        size = _check_dims(onnx, tensor, file, external=external)
        if external:
            total += size
            if total > MAX_MODEL_BYTES:
                raise InputError(
                    f"{file} has more than {MAX_MODEL_BYTES} bytes of tensors in other files; use "
                    f"a smaller model"
                )
            _read_external(onnx, tensor, size, file)
    return model


def _tensors(graph: Any, file: Path, depth: int) -> Iterator[Any]:
    """Yield every tensor of a graph: initializers, attributes, and those of inner graphs."""
    if depth > _MAX_DEPTH:
        raise InputError(f"the graphs in {file} are nested too deeply; save the model again")
    if graph.sparse_initializer:
        raise InputError(f"{file} holds sparse tensors, which are not read; save them dense")
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            inner = [attribute.g] if attribute.HasField("g") else []
            for graph_inside in [*inner, *attribute.graphs]:
                yield from _tensors(graph_inside, file, depth + 1)


def _check_dims(onnx: Any, tensor: Any, file: Path, *, external: bool) -> int:
    """Return the bytes that a tensor declares, held against those that it brings."""
    name = tensor.name or "a tensor"
    dims = tuple(int(n) for n in tensor.dims)
    if tensor.data_type == onnx.TensorProto.STRING:
        return 0
    known = onnx.TensorProto.DataType.values()
    if tensor.data_type not in known or tensor.data_type == onnx.TensorProto.UNDEFINED:
        raise InputError(f"{name!r} in {file} has the unknown data type {tensor.data_type}")
    if min(dims, default=0) < 0:
        raise InputError(
            f"{name!r} in {file} declares the shape {dims}, with a negative size; it is damaged, "
            f"so save the model again"
        )
    count = math.prod(dims)  # of Python's ints, which do not overflow
    kind = onnx.TensorProto.DataType.Name(tensor.data_type)
    packed = {"INT4": 2, "UINT4": 2, "FLOAT4E2M1": 2, "INT2": 4, "UINT2": 4}.get(kind, 1)
    if packed > 1:
        size = -(-count // packed)
    else:
        size = count * int(onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize)
    if external:
        return size
    if tensor.HasField("raw_data"):
        there, needed, unit = len(tensor.raw_data), size, "bytes"
    else:
        field = onnx.helper.tensor_dtype_to_field(tensor.data_type)
        there, unit = len(getattr(tensor, field)), "values"
        needed = 2 * count if kind.startswith("COMPLEX") else -(-count // packed)
    if there != needed:
        raise InputError(
            f"{name!r} in {file} declares the shape {dims}, that is {needed} {unit}, and {there} "
            f"are there; it may be truncated or damaged, so save the model again"
        )
    return size


def _read_external(onnx: Any, tensor: Any, size: int, file: Path) -> None:
    """Move a tensor's bytes from a file beside the model into the model."""
    entries = {entry.key: entry.value for entry in tensor.external_data}
    name, location = tensor.name or "a tensor", entries.get("location", "")
    data = _beside(location, name, file)
    with reading(f"{name!r} in {file}", _KIND):
        offset = int(entries.get("offset", "0"))
        length = int(entries.get("length", str(size)))
    there = data.stat().st_size
    if offset < 0 or length != size or offset + size > there:
        raise InputError(
            f"{name!r} in {file} declares {size} bytes of shape {tuple(tensor.dims)}, stored as "
            f"{length} bytes from {offset} in {location!r}, which has {there}; it may be truncated "
            f"or damaged, so copy or save it again"
        )
    with reading(data, "ONNX data"), data.open("rb") as stream:
        stream.seek(offset)
        content = stream.read(size)
    if len(content) != size:
        raise InputError(f"{data} became shorter while it was read; try again")
    tensor.raw_data = content
    del tensor.external_data[:]
    tensor.data_location = onnx.TensorProto.DEFAULT


def _beside(location: str, name: str, file: Path) -> Path:
    """Return a file of the model's own folder, wherever links lead."""
    path = PurePosixPath(location)
    inside = location and not path.is_absolute() and ".." not in path.parts
    if inside and "\\" not in location and ":" not in location and "\0" not in location:
        folder = file.resolve().parent
        data = (folder / location).resolve()
        if data.is_relative_to(folder):
            if data.is_file():
                return data
            raise InputError(
                f"{name!r} in {file} lies in {location!r}, which is not there; copy that file "
                f"beside the model"
            )
    raise InputError(
        f"{name!r} in {file} lies in {location!r}, outside the model's folder; it is not opened: "
        f"save the model with its data beside it"
    )

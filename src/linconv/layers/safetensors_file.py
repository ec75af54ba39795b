"""Weights in `.safetensors` files: names, shapes and number types from the header alone."""

from __future__ import annotations

import math
from pathlib import Path

from linconv.errors import InputError
from linconv.files import missing, reading
from linconv.layers.model_zip import check_size
from linconv.layers.weights import Weight

__all__ = ["load_safetensors"]

_KIND = "safetensors"
_MAX_HEADER = 100_000_000  # that of the format's own library


def load_safetensors(file: Path) -> dict[str, Weight]:
    """Read which weights a file holds; the weights themselves stay in the file.

    Raises
    ------
    InputError
        If the header is longer than the file or the format allows, is damaged, or declares
        tensors that overlap or that the file does not hold.
    MissingPackageError
        If safetensors is absent.
    """
    size = check_size(file)
    with file.open("rb") as stream:
        declared = int.from_bytes(stream.read(8), "little")
    if declared > min(size - 8, _MAX_HEADER):
        raise InputError(
            f"{file} declares a header of {declared} bytes, and {max(0, size - 8)} are there, of "
            f"which a header may have {_MAX_HEADER}; it may be truncated or no safetensors file, "
            f"so save it again"
        )
    try:
        from safetensors import safe_open
    except ImportError as error:
        raise missing("safetensors", "reading .safetensors files", "safetensors") from error
    found = {}
    with reading(file, _KIND), safe_open(file, framework="numpy") as tensors:
        # The library has compared every offset and every shape with the bytes that are there.
        for name in tensors.keys():  # noqa: SIM118
            part = tensors.get_slice(name)
            shape = tuple(part.get_shape())
            if math.prod(shape) > size * 8:
                raise InputError(f"{name!r} in {file} declares more than the file holds")
            found[name] = Weight(shape, part.get_dtype().lower())
    if not found:
        raise InputError(f"{file} holds no tensor; save the weights again")
    return found

"""State dicts of PyTorch (`.pt`, `.pth`): weights by name, mapped, never unpickled as objects."""

from __future__ import annotations

import math
import pickletools
import re
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from linconv.errors import InputError
from linconv.files import missing, reading, signature
from linconv.layers.model_zip import check_size, member, opened_zip
from linconv.layers.weights import Weight

__all__ = ["load_state_dict"]

_WORDS = """
PROTO STOP MARK POP POP_MARK NONE NEWTRUE NEWFALSE INT BININT BININT1 BININT2 LONG LONG1 LONG4
FLOAT BINFLOAT UNICODE BINUNICODE SHORT_BINSTRING BINSTRING STRING EMPTY_TUPLE TUPLE TUPLE1 TUPLE2
TUPLE3 EMPTY_LIST LIST APPEND APPENDS EMPTY_DICT DICT SETITEM SETITEMS GET BINGET LONG_BINGET PUT
BINPUT LONG_BINPUT PERSID BINPERSID REDUCE BUILD
"""
_KIND = "a state dict of PyTorch"
_MAX_PICKLE_BYTES = 64 << 20
_ALLOWED = re.compile(
    r"collections\.OrderedDict|torch\._utils\._rebuild_(tensor_v2|parameter)|torch\.Size|"
    r"torch\.(Half|BFloat16|Float|Double|ComplexFloat|ComplexDouble|Char|Byte|Short|Int|Long|Bool)"
    r"Storage"
)
_OPCODES = set(_WORDS.split())
_SAVE = "save the weights with torch.save(model.state_dict(), path)"


def load_state_dict(file: Path) -> dict[str, Weight]:
    """Read a state dict saved by `torch.save`, with ``weights_only=True``.

    Raises
    ------
    InputError
        If it is pickled in the old format or holds objects other than tensors and plain values,
        is compressed, truncated, or declares tensors that the file does not hold.
    MissingPackageError
        If PyTorch is absent.
    """
    check_size(file)
    if signature(file, 4) != b"PK\3\4":
        raise InputError(
            f"{file} is no ZIP archive: it may be pickled in PyTorch's old format, and a pickle "
            f"can run code, so it is never loaded; load it where you trust it and {_SAVE}"
        )
    with opened_zip(file, _KIND) as archive:
        names = archive.namelist()
        if any(name.endswith("models/model.json") for name in names):
            raise InputError(
                f"{file} is an exported program, not a state dict; give it the suffix .pt2"
            )
        if any(name.endswith("constants.pkl") for name in names):
            raise InputError(
                f"{file} is a TorchScript archive, which is code; export the model with "
                f"torch.export.save, or {_SAVE}"
            )
        pickles = [name for name in names if name.endswith("data.pkl")]
        if len(pickles) != 1:
            raise InputError(
                f"{file} must have one member data.pkl to be {_KIND}; it has "
                f"{', '.join(sorted(names)[:8]) or 'none'}; check the file's suffix"
            )
        _check_pickle(member(archive, pickles[0], file, _KIND, _MAX_PICKLE_BYTES), file)
    try:
        import torch
    except ImportError as error:
        raise missing("torch", "reading PyTorch's files", "torch") from error
    content = _load(torch, file)
    found = dict(_tensors(torch, content, "", file, 0))
    if not found:
        raise InputError(f"{file} holds no tensor; {_SAVE}")
    return found


def _check_pickle(content: bytes, file: Path) -> None:
    """Refuse a pickle that names anything but tensors and plain containers; it is only scanned."""
    with reading(file, _KIND):
        for opcode, argument, _ in pickletools.genops(content):
            name = str(argument).replace(" ", ".") if opcode.name == "GLOBAL" else opcode.name
            if opcode.name not in _OPCODES and not _ALLOWED.fullmatch(name):
                raise InputError(
                    f"{file} holds a pickled {name}, which is no tensor; it is never loaded, for "
                    f"a pickle can run code; {_SAVE}"
                )


def _load(torch: Any, file: Path) -> Any:
    with reading(file, _KIND), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # Mapped, tensors are slices of the file: what one declares beyond its end is cut off.
        return torch.load(file, map_location="cpu", weights_only=True, mmap=True)


def _tensors(
    torch: Any, value: Any, name: str, file: Path, depth: int
) -> Iterator[tuple[str, Weight]]:
    """Yield the tensors in nested mappings by their dotted names, without reading them."""
    if isinstance(value, torch.Tensor):
        stored = value.untyped_storage().nbytes() if value.layout == torch.strided else 0
        needed = math.prod(value.shape) * value.element_size()
        if needed > stored:
            raise InputError(
                f"{name!r} in {file} declares {needed} bytes of shape {tuple(value.shape)}, and "
                f"{stored} are there; it may be truncated or damaged, so save it again"
            )
        yield name, Weight(tuple(value.shape), str(value.dtype).removeprefix("torch."))
    elif isinstance(value, Mapping) and depth < 8:
        for key, inner in value.items():
            yield from _tensors(
                torch, inner, f"{name}.{key}" if name else str(key), file, depth + 1
            )

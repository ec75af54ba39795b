"""Models that are ZIP archives, looked over before anything is unpacked."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from linconv.errors import InputError
from linconv.files import reading

__all__ = ["MAX_MODEL_BYTES", "check_size", "member", "member_json", "opened_zip"]

MAX_MODEL_BYTES = 2 << 30
"""Largest model that is read, in bytes: as a file, and unpacked."""

MAX_JSON_BYTES = 64 << 20
MAX_MEMBERS = 100_000
_ENCRYPTED = 0x1


def check_size(file: Path) -> int:
    """Return the size of a file, or raise `InputError` if it is above `MAX_MODEL_BYTES`."""
    size = file.stat().st_size
    if size > MAX_MODEL_BYTES:
        raise InputError(
            f"{file} has {size} bytes, and a model may have at most {MAX_MODEL_BYTES}; save a "
            f"smaller model, or inspect the model in memory"
        )
    return size


@contextmanager
def opened_zip(file: Path, kind: str) -> Iterator[zipfile.ZipFile]:
    """Open an archive whose members are stored as they are and fit the file.

    Frameworks store members uncompressed, so that nothing may unpack to more than the file holds:
    a zip bomb is refused by what its directory declares, before a byte is unpacked.

    Raises
    ------
    InputError
        If it is no such archive, or has compressed, encrypted or overlapping members, or names
        that lead out of the archive.
    """
    size = check_size(file)
    with reading(file, kind):
        archive = zipfile.ZipFile(file)
    with archive:
        members = archive.infolist()
        if len(members) > MAX_MEMBERS:
            raise InputError(
                f"{file} has {len(members)} members, and {kind} has at most {MAX_MEMBERS}; save "
                f"the model again"
            )
        for info in members:
            _check_name(info.filename, file)
            if info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size:
                raise InputError(
                    f"{info.filename!r} in {file} is compressed ({info.compress_size} bytes that "
                    f"unpack to {info.file_size}), and is not unpacked, for it may be a zip bomb; "
                    f"save the model with its framework, which stores it uncompressed"
                )
            if info.flag_bits & _ENCRYPTED:
                raise InputError(
                    f"{info.filename!r} in {file} is encrypted; save the model without a password"
                )
        names = [info.filename for info in members]
        if len(set(names)) != len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise InputError(
                f"{file} has two members {twice!r}, so that programs differ in which they read; "
                f"save the model again"
            )
        total = sum(info.file_size for info in members)
        if total > size:
            raise InputError(
                f"{file} declares members of {total} bytes in {size} bytes: they overlap, as in a "
                f"zip bomb, or the file is truncated; save the model again"
            )
        yield archive


def _check_name(name: str, file: Path) -> None:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or ":" in name or "\0" in name:
        raise InputError(
            f"{file} has a member {name!r}, whose name leads out of the archive; it is not read: "
            f"save the model with its framework"
        )


def member(archive: zipfile.ZipFile, name: str, file: Path, kind: str, limit: int) -> bytes:
    """Return the content of a member of at most `limit` bytes.

    Raises
    ------
    InputError
        If it is absent, larger or damaged.
    """
    try:
        info = archive.getinfo(name)
    except KeyError:
        raise InputError(
            f"{file} must have a member {name!r} to be {kind}; it has "
            f"{', '.join(sorted(archive.namelist())[:8]) or 'none'}; check the file's suffix"
        ) from None
    if info.file_size > limit:
        raise InputError(
            f"{name!r} in {file} has {info.file_size} bytes, and at most {limit} are read; save "
            f"a smaller model"
        )
    with reading(f"{name!r} in {file}", kind):
        return archive.read(info)


def member_json(archive: zipfile.ZipFile, name: str, file: Path, kind: str) -> Mapping[str, Any]:
    """Return a member that is a JSON object.

    Raises
    ------
    InputError
        If it is absent, too large, damaged or something else.
    """
    text = member(archive, name, file, kind, MAX_JSON_BYTES)
    with reading(f"{name!r} in {file}", "JSON"):
        content = json.loads(text)
    if not isinstance(content, dict):
        raise InputError(
            f"{name!r} in {file} must hold a JSON object; got {type(content).__name__}; save the "
            f"model again"
        )
    return content

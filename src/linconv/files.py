"""Files from the user, checked before they are read; files of ours, written in one piece.

A file is trusted with nothing: what its header declares is compared with a limit and with the
bytes that are there before memory is taken, and nothing in it is ever executed.
"""

from __future__ import annotations

import io
import json
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Protocol
from zipfile import ZipFile

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from linconv.errors import InputError, MissingPackageError, OutputError

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageFile import ImageFile

__all__ = [
    "MAX_PIXELS",
    "NPY_SIGNATURE",
    "NpyHeader",
    "StrPath",
    "check_real",
    "encode_png",
    "json_number",
    "missing",
    "read_npy",
    "read_npy_header",
    "read_npz_member",
    "read_picture",
    "reading",
    "regular_file",
    "signature",
    "temporary",
    "to_json",
    "unwritable",
    "write_file",
]

StrPath = str | os.PathLike[str]

MAX_PIXELS = 64_000_000
"""Largest picture that is decoded, in pixels."""

NPY_SIGNATURE = b"\x93NUMPY"


def missing(package: str, purpose: str, extra: str = "study") -> MissingPackageError:
    """Return the error that says which optional package is absent and which extra brings it."""
    return MissingPackageError(
        f"{purpose} needs the package {package}, which is not installed; "
        f"run: pip install 'linconv[{extra}]'"
    )


def regular_file(path: StrPath) -> Path:
    """Return `path` if a non-empty ordinary file is there.

    Raises
    ------
    InputError
        If nothing is there, or a folder, a pipe, a device or an empty file.
    """
    file = Path(path)
    try:
        exists, is_folder, is_file = file.exists(), file.is_dir(), file.is_file()
        size = file.stat().st_size if is_file else 0
    except (OSError, ValueError) as error:
        raise InputError(
            f"{file} cannot be opened: {error}; give the path of a readable file"
        ) from error
    if not exists:
        raise InputError(f"{file} does not exist; check the path")
    if is_folder:
        raise InputError(f"{file} is a directory; give the path of a file in it")
    if not is_file:
        raise InputError(f"{file} is not an ordinary file; copy its content to one first")
    if size == 0:
        raise InputError(f"{file} is empty (0 bytes); give a file with content")
    return file


@contextmanager
def reading(where: object, kind: str) -> Iterator[None]:
    """Turn whatever a decoder raises on a broken file into `InputError`.

    Decoders fail on foreign bytes in more ways than they document (`struct.error`, `SyntaxError`,
    `zlib.error`, `RecursionError`, warnings raised as errors), so every `Exception` counts.
    """
    try:
        yield
    except (InputError, MissingPackageError):
        raise
    except Exception as error:
        cause = str(error) or type(error).__name__
        raise InputError(
            f"{where} cannot be read as {kind}: {cause}; it may be truncated or damaged, "
            "so copy or save it again"
        ) from error


def signature(file: Path, length: int = 8) -> bytes:
    """Return the first `length` bytes of a file, fewer if it is shorter."""
    with reading(file, "a file"), file.open("rb") as stream:
        return stream.read(length)


def check_real(dtype: np.dtype[Any], where: object) -> None:
    """Raise `InputError` unless `dtype` is of bools, integers or real floats."""
    if dtype.kind == "O":
        raise InputError(
            f"{where} holds pickled Python objects (dtype object), which are never loaded because "
            "a pickle can run code; save plain numbers, e.g. np.save(path, a.astype('float64'))"
        )
    if dtype.kind not in "buif":
        raise InputError(
            f"{where} must hold real numbers; its dtype is {dtype}; "
            "save it as uint8, uint16, float32 or float64"
        )


@dataclass(frozen=True)
class NpyHeader:
    """What an NPY file says of its array, and at which byte the array starts."""

    shape: tuple[int, ...]
    fortran_order: bool
    dtype: np.dtype[Any]
    start: int

    @property
    def nbytes(self) -> int:
        """Bytes of the declared array."""
        return math.prod(self.shape) * self.dtype.itemsize


def read_npy_header(stream: IO[bytes], size: int, where: object) -> NpyHeader:
    """Read an NPY header and hold it against the `size` of the file, in bytes.

    `stream` is left at the first byte of the array.

    Raises
    ------
    InputError
        If it is no NPY header, wants pickle, holds no real numbers, is empty, or declares more
        than the file holds.
    """
    with reading(where, "NPY"):
        version = npy.read_magic(stream)
        readers = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
        if version not in readers:
            raise InputError(
                f"{where} has NPY version {version[0]}.{version[1]}, which is for records with "
                "named fields; save a plain numeric array"
            )
        shape, fortran_order, dtype = readers[version](stream)
        start = stream.tell()
    check_real(dtype, where)
    header = NpyHeader(tuple(shape), fortran_order, dtype, start)
    if min(shape, default=1) < 1:
        raise InputError(f"{where} is empty: its shape is {shape}; give at least one number")
    if header.nbytes > size - start:
        raise InputError(
            f"{where} is truncated: its header declares {header.nbytes} bytes of shape {shape}, "
            f"and {size - start} are there; copy or save it again"
        )
    return header


def read_npy(file: Path, header: NpyHeader) -> NDArray[Any]:
    """Map the array of a checked NPY file read-only; nothing is read until it is used."""
    with reading(file, "NPY"):
        mapped = np.memmap(
            file,
            dtype=header.dtype,
            mode="r",
            offset=header.start,
            shape=header.shape,
            order="F" if header.fortran_order else "C",
        )
        return np.asarray(mapped)


def read_npz_member(archive: ZipFile, name: str, limit: int, where: object) -> NDArray[Any]:
    """Read one array of an open NPZ archive, if it unpacks to at most `limit` bytes.

    Raises
    ------
    InputError
        If it is not there, too large, wants pickle, holds no real numbers or is truncated.
    """
    try:
        member = archive.getinfo(f"{name}.npy")
    except KeyError:
        raise InputError(
            f"{where} must hold an array {name!r}; it holds {sorted(archive.namelist())}; "
            "save it with numpy.savez under that name"
        ) from None
    if member.file_size > limit:
        raise InputError(
            f"{name!r} in {where} unpacks to {member.file_size} bytes, and at most {limit} are "
            "allowed; save less"
        )
    with reading(where, "NPZ"), archive.open(member) as stream:
        header = read_npy_header(stream, member.file_size, f"{name!r} in {where}")
        values = np.frombuffer(stream.read(header.nbytes), header.dtype)
        return values.reshape(header.shape, order="F" if header.fortran_order else "C")


def read_picture(file: Path) -> tuple[NDArray[Any], tuple[str, ...]]:
    """Decode a PNG, JPEG or TIFF picture, upright, with notes on what was changed or left out.

    Returns
    -------
    values : ndarray, (height, width) or (height, width, channels)
        In the file's own number type; two or four channels mean that the last one is alpha.
    notes : tuple of str

    Raises
    ------
    InputError
        If it is no such picture, is damaged, or has more than `MAX_PIXELS` pixels; the size is
        read from the header, before anything is decoded.
    """
    with reading(file, "a picture"), _open_picture(file) as picture:
        from PIL import ImageOps

        width, height = picture.size
        if width * height > MAX_PIXELS:
            raise InputError(
                f"{file} is too large to decode: its header declares {width} x {height} = "
                f"{width * height} pixels, and at most {MAX_PIXELS} are allowed; reduce it first"
            )
        if picture.format == "PNG":
            _check_png_is_whole(file)
        notes = []
        if (pages := getattr(picture, "n_frames", 1)) > 1:
            notes.append(f"first of {pages} pages")
        if picture.mode in {"RGB", "RGBA"} and ";16" in str(picture.tile):
            notes.append("16-bit colour decoded at 8 bits")
        if picture.getexif().get(_EXIF_ORIENTATION, 1) != 1:
            notes.append("turned upright as its EXIF data say")
        ImageOps.exif_transpose(picture, in_place=True)
        upright: Image = picture
        if upright.mode == "1":
            upright = upright.convert("L")
        elif upright.mode not in _DIRECT_MODES:
            notes.append(f"converted from {upright.mode} to RGB")
            upright = upright.convert("RGBA" if upright.has_transparency_data else "RGB")
        return np.asarray(upright), tuple(notes)


def encode_png(values: NDArray[np.uint8]) -> bytes:
    """Return a picture, (height, width) or (height, width, 3), as the bytes of a PNG file."""
    try:
        from PIL import Image
    except ImportError as error:
        raise missing("pillow", "writing a picture") from error
    stream = io.BytesIO()
    Image.fromarray(values).save(stream, "png")
    return stream.getvalue()


_EXIF_ORIENTATION = 0x0112
_DIRECT_MODES = {"L", "LA", "RGB", "RGBA", "I", "I;16", "I;16B", "I;16L", "F"}


def _open_picture(file: Path) -> ImageFile:
    """Open a picture and read its header.

    The plugin is called directly: `PIL.Image.open` would first judge the size by its own limit, a
    global that other code may have changed, and warn before our error.
    """
    try:
        from PIL import JpegImagePlugin, PngImagePlugin, TiffImagePlugin
    except ImportError as error:
        raise missing("pillow", "reading pictures") from error
    start = signature(file)
    if start.startswith(b"\x89PNG\r\n\x1a\n"):
        return PngImagePlugin.PngImageFile(file)
    if start.startswith(b"\xff\xd8\xff"):
        return JpegImagePlugin.JpegImageFile(file)
    if start.startswith((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")):
        return TiffImagePlugin.TiffImageFile(file)
    raise InputError(
        f"{file} is not a PNG, JPEG, TIFF or NPY file (it starts with the bytes {start!r}); "
        "convert it to one of these"
    )


def _check_png_is_whole(file: Path) -> None:
    """Walk over the chunks to the last one, which decoders do without."""
    size = file.stat().st_size
    with file.open("rb") as stream:
        stream.seek(8)
        while len(head := stream.read(8)) == 8:
            end = stream.seek(int.from_bytes(head[:4], "big") + 4, os.SEEK_CUR)  # data, checksum
            if head[4:] == b"IEND" and end <= size:
                return
    raise InputError(
        f"{file} cannot be read as a picture: it is truncated, for its {size} bytes end before its "
        "last chunk (IEND) does; copy or save it again"
    )


def write_file(path: Path, content: bytes) -> None:
    """Write a file in one piece: whoever opens `path` finds the old content or the new.

    Raises
    ------
    OutputError
        If the disk is full, or the place cannot be written.
    """
    part = temporary(path)
    try:
        part.write_bytes(content)
        os.replace(part, path)
    except BaseException as error:
        part.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise unwritable(path, error) from error
        raise


def temporary(path: Path) -> Path:
    """Return a name in the same folder, so that replacing is one step of the file system."""
    return path.with_name(f".{path.name}.{os.getpid()}.part")


def unwritable(path: Path, error: Exception) -> OutputError:
    """Return the error that says why a place cannot be written."""
    cause = getattr(error, "strerror", None) or str(error)
    return OutputError(f"{path} cannot be written: {cause}; give another folder")


def json_number(value: float) -> float | None:
    """Return a number that strict JSON can hold: None for one that is not finite."""
    return value if math.isfinite(value) else None


class HasToDict(Protocol):
    """A result that can be written as plain values."""

    def to_dict(self) -> Any:
        """Return it as plain dicts, lists, strings and numbers."""
        ...


def to_json(results: HasToDict) -> str:
    """Return all results as strict JSON: no NaN and no infinity, which JSON does not know."""
    return json.dumps(results.to_dict(), indent=1, ensure_ascii=False, allow_nan=False) + "\n"

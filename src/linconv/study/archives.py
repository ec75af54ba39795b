"""Arrays of many images in the user's files: HDF5, NPZ, NPY and Keras' copy of CIFAR-10.

Only the images asked for are read, and nothing is followed to another file.
"""

from __future__ import annotations

import math
import os
import pickletools
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from linconv.errors import InputError
from linconv.files import (
    check_real,
    missing,
    read_npy,
    read_npy_header,
    reading,
    regular_file,
)

__all__ = [
    "MAX_BYTES",
    "check_room",
    "open_hdf5",
    "read_cifar10",
    "read_hdf5",
    "read_npy_images",
    "read_npz",
]

MAX_BYTES = 2 << 30
"""Most memory that a set of images may take, and the largest array read from an archive."""

_MAX_CHUNK_BYTES = 256 << 20
_MAX_PICKLE_BYTES = 64 << 20
_CIFAR_SIDE = 32


@contextmanager
def open_hdf5(path: Path) -> Iterator[Any]:
    """Open the dataset ``x`` of an HDF5 file that depends on no other file."""
    try:
        import h5py
    except ImportError as error:
        raise missing("h5py", "reading HDF5 files") from error
    path = regular_file(path)
    with reading(path, "HDF5"):
        file = h5py.File(path, "r")
    with file:
        with reading(path, "HDF5"):
            # The link is looked at before it is followed: it may lead into another file.
            links = file.id.links
            if not links.exists(b"x"):
                raise InputError(
                    f"{path} must hold a dataset 'x' of images; it holds {sorted(file)}; rename it"
                )
            if links.get_info(b"x").type != h5py.h5l.TYPE_HARD:
                raise InputError(
                    f"'x' in {path} is a link to another place, which is not followed; "
                    "store the images in the file itself"
                )
            images = file["x"]
            if not isinstance(images, h5py.Dataset):
                raise InputError(f"'x' in {path} is a group; store the images as a dataset 'x'")
            if images.is_virtual or images.external:
                raise InputError(
                    f"'x' in {path} is kept in other files (virtual or external storage), which "
                    "are not read; store the images in the file itself"
                )
            chunk_bytes = math.prod(images.chunks or (0,)) * images.dtype.itemsize
        check_real(images.dtype, f"'x' in {path}")
        _check_shape(images.shape or (), f"'x' in {path}")
        if chunk_bytes > _MAX_CHUNK_BYTES:
            raise InputError(
                f"'x' in {path} has chunks of {chunk_bytes} bytes, and at most {_MAX_CHUNK_BYTES} "
                "are allowed; store it in smaller chunks"
            )
        yield images


def read_hdf5(file: Path, limit: int) -> NDArray[Any]:
    """Read the first images of the dataset ``x``."""
    with open_hdf5(file) as images:
        check_room(limit, images.shape, images.dtype, file)
        with reading(file, "HDF5"):
            values: NDArray[Any] = images[:limit]
            return values


def read_npy_images(file: Path, limit: int) -> NDArray[Any]:
    """Map the first images of an NPY file."""
    with reading(file, "NPY"), file.open("rb") as stream:
        header = read_npy_header(stream, file.stat().st_size, file)
    _check_shape(header.shape, file)
    check_room(limit, header.shape, header.dtype, file)
    return read_npy(file, header)[:limit]


def read_npz(file: Path, limit: int) -> NDArray[Any]:
    """Read the first images of an archive: the array ``x``, or the only one."""
    with reading(file, "NPZ"), zipfile.ZipFile(file) as archive:
        names = [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
        if "x" not in names and len(names) != 1:
            raise InputError(
                f"{file} must hold an array 'x', or only one array; it holds {sorted(names)}; "
                "save it with np.savez(path, x=images)"
            )
        member = archive.getinfo(("x" if "x" in names else names[0]) + ".npy")
        where = f"{member.filename} in {file}"
        if member.file_size > MAX_BYTES:
            raise InputError(
                f"{where} unpacks to {member.file_size} bytes, and at most {MAX_BYTES} are "
                "allowed; save fewer images, or an .npy or HDF5 file"
            )
        with archive.open(member) as stream:
            header = read_npy_header(stream, member.file_size, where)
            _check_shape(header.shape, where)
            check_room(limit, header.shape, header.dtype, where)
            if header.fortran_order:
                data = _read_exactly(stream, header.nbytes, where)
                return np.frombuffer(data, header.dtype).reshape(header.shape, order="F")[:limit]
            count = min(limit, header.shape[0])
            data = _read_exactly(stream, header.nbytes // header.shape[0] * count, where)
            return np.frombuffer(data, header.dtype).reshape(count, *header.shape[1:])


def _read_exactly(stream: IO[bytes], size: int, where: object) -> bytes:
    data = stream.read(size)
    if len(data) != size:
        raise InputError(
            f"{where} is truncated: {size} bytes are needed and {len(data)} are there; "
            "copy or save it again"
        )
    return data


def read_cifar10(limit: int) -> tuple[NDArray[Any], Path]:
    """Read the first training images of Keras' copy of CIFAR-10, and say where it lies.

    Its files are pickles. They are scanned for their one long byte string, never loaded.
    """
    home = Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras", "datasets")
    inner = "cifar-10-batches-py"
    folders = [home / "cifar-10-batches-py-target" / inner, home / inner]
    folder = next((folder for folder in folders if folder.is_dir()), None)
    if folder is None:
        raise InputError(
            f"'cifar10' means Keras' copy of the data set, and there is none in {home}; run "
            "keras.datasets.cifar10.load_data() once, which downloads it, or give a file"
        )
    parts: list[NDArray[np.uint8]] = []
    for number in range(1, 6):
        if (wanted := limit - sum(map(len, parts))) > 0:
            parts.append(_read_cifar_batch(folder / f"data_batch_{number}")[:wanted])
    return np.concatenate(parts), folder


def _read_cifar_batch(path: Path) -> NDArray[np.uint8]:
    file = regular_file(path)
    if (size := file.stat().st_size) > _MAX_PICKLE_BYTES:
        raise InputError(
            f"{file} has {size} bytes, and a CIFAR-10 batch at most {_MAX_PICKLE_BYTES}; "
            "delete Keras' copy and get it again"
        )
    with reading(file, "a CIFAR-10 batch"), file.open("rb") as stream:
        strings = (arg for _, arg, _ in pickletools.genops(stream) if isinstance(arg, str | bytes))
        longest = max(strings, key=len, default=b"")
        pixels = longest.encode("latin-1") if isinstance(longest, str) else longest
        if not pixels or len(pixels) % (3 * _CIFAR_SIDE * _CIFAR_SIDE):
            raise InputError(
                f"{file} holds no 32 x 32 colour images (its longest string has {len(pixels)} "
                "bytes); delete Keras' copy and get it again"
            )
    return (
        np.frombuffer(pixels, np.uint8)
        .reshape(-1, 3, _CIFAR_SIDE, _CIFAR_SIDE)
        .transpose(0, 2, 3, 1)
    )


def _check_shape(shape: tuple[int, ...], where: object) -> None:
    """Refuse what is not a set of images with the colours last."""
    advice = "save all images in one array, colours last"
    if len(shape) == 4 and shape[3] not in (1, 2, 3, 4) and shape[1] in (1, 3, 4):
        advice = "move its colours last: np.moveaxis(images, 1, -1)"
    elif len(shape) == 3 and shape[2] in (1, 2, 3, 4):
        advice = "for a single picture use images[np.newaxis]"
    elif len(shape) in (3, 4) and min(shape) > 0 and (len(shape) == 3 or shape[3] <= 4):
        return
    raise InputError(
        f"{where} must hold images of shape (n, height, width) or (n, height, width, channels) "
        f"with at most 4 channels; its shape is {shape}; {advice}"
    )


def check_room(limit: int, shape: tuple[int, ...], dtype: np.dtype[Any], where: object) -> None:
    """Refuse more images than fit `MAX_BYTES`, as they are stored or as grey float64.

    `shape` is (n, height, width) or (n, height, width, channels).
    """
    count = min(limit, shape[0])
    image_bytes = max(8 * math.prod(shape[1:3]), dtype.itemsize * math.prod(shape[1:]))
    if count * image_bytes > MAX_BYTES:
        raise InputError(
            f"{where} would take {count * image_bytes} bytes for {count} images, and at most "
            f"{MAX_BYTES} are allowed; use a limit of at most {MAX_BYTES // image_bytes}"
        )

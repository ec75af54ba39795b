"""Sample files for the tests of the study: good ones, and ones made to be refused."""

from __future__ import annotations

import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest

FORMATS = [".h5", ".hdf5", ".npz", ".npy"]
"""Suffixes of the formats that `save` writes and `load_images` reads."""


def pillow():
    """Return `PIL.Image`, or skip the test."""
    return pytest.importorskip("PIL.Image", reason="pictures are read with Pillow")


def bundled():
    """Skip the test where the bundled photographs are absent; return `PIL.Image`."""
    pytest.importorskip("skimage", reason="the bundled photographs are scikit-image's")
    return pillow()


def h5():
    """Return h5py, or skip the test."""
    return pytest.importorskip("h5py", reason="HDF5 files are read with h5py")


def colours(*shape, seed=11):
    """Return random 8-bit values of this shape."""
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def grey(values):
    """Return the mean over the last axis of 8-bit values, in [0, 1]; the axis is kept."""
    return values.astype(float).sum(-1, keepdims=True) / (255 * values.shape[-1])


def save(file, values):
    """Save `values` in the format that the suffix names."""
    if file.suffix == ".npy":
        np.save(file, values)
    elif file.suffix == ".npz":
        np.savez_compressed(file, x=values, y=np.arange(len(values)))
    else:
        with h5().File(file, "w") as hdf5:
            chunks = (min(4, len(values)), *values.shape[1:])
            hdf5.create_dataset("x", data=values, chunks=chunks, compression="gzip")
            hdf5["y"] = np.arange(len(values))
    return file


class Touch:
    """Pickles to a call that creates a file, as a hostile pickle would."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


def png_header(width, height):
    """A PNG with a correct header of any size, and next to no data."""

    def chunk(kind, data):
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = (
        chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")
    )
    return b"\x89PNG\r\n\x1a\n" + chunks


def npy_declaring(shape, data=b"\0" * 64):
    header = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape!r}, }}"
    header = header.ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + data


def zip_zeros(file, shape, mebibytes):
    """A small archive whose array has a header for `shape`, and unpacks to so many zeros."""
    header = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape!r}, }}".ljust(117) + "\n"
    start = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode()
    with (
        zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("x.npy", "w") as stream,
    ):
        stream.write(start + bytes(mebibytes << 20))

"""Sets of images that are refused, before memory is taken or anything is run."""

from __future__ import annotations

import struct
import sys
import zipfile

import numpy as np
import pytest

from linconv.errors import InputError, MissingPackageError
from linconv.study import archives
from linconv.study.datasets import iter_hdf5, load_images
from sample_files import FORMATS, Touch, colours, h5, save, zip_zeros


def test_an_unknown_name_gets_the_nearest():
    with pytest.raises(InputError, match=r"image set 'cifar' is neither .* did you mean 'cifar10'"):
        load_images("cifar")


def test_a_missing_file(folder):
    with pytest.raises(InputError, match=r"none.npz does not exist"):
        load_images(folder / "none.npz")


def test_a_file_of_another_kind(folder):
    (folder / "one.png").write_bytes(b"\x89PNG\r\n\x1a\n....")
    with pytest.raises(InputError, match=r"one.png is no HDF5, NPZ or NPY .*give the folder"):
        load_images(folder / "one.png")


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.zeros((5, 4)), r"must hold images of shape .*its shape is \(5, 4\)"),
        (np.zeros((64, 64, 3)), r"its shape is \(64, 64, 3\); for a single picture"),
        (np.zeros((5, 3, 32, 32)), r"\(5, 3, 32, 32\); move its colours last: np.moveaxis"),
        (np.zeros((5, 32, 32, 7)), r"at most 4 channels; its shape is \(5, 32, 32, 7\)"),
        (np.zeros((1, 2, 8, 8, 3)), r"its shape is \(1, 2, 8, 8, 3\)"),
        (np.zeros((3, 8, 8), complex), "must hold real numbers; its dtype is complex128"),
        (np.zeros((3, 8, 8), "S4"), "must hold real numbers"),
        (np.full((3, 8, 8), 128.0), "floats in .* from 128 to 128; .*divide by 255"),
        (np.full((3, 8, 8), -1), "int64 values go from -1 to -1"),
        (np.full((3, 8, 8), np.inf), "must be finite; 192 of 192"),
    ],
)
def test_arrays_that_are_no_images(folder, suffix, values, message):
    file = save(folder / f"bad set{suffix}", values)
    with pytest.raises(InputError, match=f"bad set{suffix} .*{message}"):
        load_images(file)


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_an_empty_set(folder, suffix):
    file = save(folder / f"none{suffix}", np.zeros((0, 32, 32, 3)))
    with pytest.raises(InputError, match=r"is empty: its shape is \(0, 32, 32, 3\)"):
        load_images(file)


@pytest.mark.parametrize("kept", [0.02, 0.5, 0.98])
@pytest.mark.parametrize("suffix", FORMATS)
def test_truncated_files(folder, suffix, kept):
    file = save(folder / f"cut{suffix}", colours(25, 32, 32, 3))
    content = file.read_bytes()
    file.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(InputError, match=rf"cut{suffix} .*truncated"):
        load_images(file)


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_pickled_arrays_are_refused_and_not_run(folder, suffix):
    values = np.array([[[Touch(folder / "touched")]]])
    file = save(folder / f"p{suffix}", values)
    with pytest.raises(InputError, match=r"holds pickled Python objects .*save plain numbers"):
        load_images(file)
    assert not (folder / "touched").exists()


def test_an_npz_without_x(folder):
    np.savez(folder / "two.npz", a=np.zeros(3), b=np.zeros(3))
    with pytest.raises(InputError, match=r"must hold an array 'x', .*it holds \['a', 'b'\]; save"):
        load_images(folder / "two.npz")


def test_a_zip_bomb_is_refused_by_its_declared_size(folder, monkeypatch):
    monkeypatch.setattr(archives, "MAX_BYTES", 8 << 20)
    zip_zeros(folder / "bomb.npz", (9, 1024, 1024), mebibytes=9)
    assert (folder / "bomb.npz").stat().st_size < 20_000
    with pytest.raises(InputError, match=r"x.npy in .*bomb.npz unpacks to 94\d+ bytes, .*8388608"):
        load_images(folder / "bomb.npz")


def test_an_archive_whose_array_is_shorter_than_declared(folder):
    zip_zeros(folder / "short.npz", (10**6, 32, 32), mebibytes=1)
    with pytest.raises(InputError, match=r"x.npy in .*short.npz is truncated: .*1024000000 bytes"):
        load_images(folder / "short.npz")


def test_an_archive_that_lies_about_its_size(folder):
    file = folder / "liar.npz"
    zip_zeros(file, (4, 512, 1024), mebibytes=1)  # the array claims 2 MiB, 1 MiB follows
    with zipfile.ZipFile(file) as archive:
        true_size = archive.getinfo("x.npy").file_size
    content = file.read_bytes()
    lie = struct.pack("<I", true_size + (1 << 20))
    assert content.count(struct.pack("<I", true_size)) >= 1
    file.write_bytes(content.replace(struct.pack("<I", true_size), lie))
    with pytest.raises(InputError, match=r"liar.npz is truncated: 2097152 bytes .* 1048576 are"):
        load_images(file)


def test_an_encrypted_archive(folder):
    file = save(folder / "secret.npz", colours(2, 32, 32, 3))
    content = bytearray(file.read_bytes())
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(mark) + offset] |= 1
    file.write_bytes(content)
    with pytest.raises(InputError, match=r"secret.npz cannot be read as NPZ: .*encrypted"):
        load_images(file)


@pytest.mark.parametrize("suffix", FORMATS)
def test_too_many_images_at_once(folder, monkeypatch, suffix):
    monkeypatch.setattr(archives, "MAX_BYTES", 100_000)
    file = save(folder / f"many{suffix}", colours(25, 32, 32, 3))
    with pytest.raises(InputError, match=r"204800 bytes for 25 images, .* limit of at most 12"):
        load_images(file)
    assert len(load_images(file, limit=12).images) == 12


def test_too_many_patches():
    with pytest.raises(InputError, match=r"the set of patches would take .* at most 262144"):
        load_images(limit=10**9)


def hdf5_without_images(file, kind):
    """An HDF5 file whose ``x`` is something else, by `kind`."""
    h5py = h5()
    other = save(file.parent / "other.h5", colours(25, 32, 32, 3))
    with h5py.File(file, "w") as hdf5:
        if kind == "missing":
            hdf5["images"] = colours(2, 32, 32, 3)
        elif kind == "group":
            hdf5.create_group("x")
        elif kind == "external link":
            hdf5["x"] = h5py.ExternalLink(str(other), "x")
        elif kind == "dangling external link":
            hdf5["x"] = h5py.ExternalLink("nowhere.h5", "x")
        elif kind == "soft link":
            hdf5["outside"] = h5py.ExternalLink(str(other), "/")
            hdf5["x"] = h5py.SoftLink("/outside/x")
        elif kind == "external storage":
            raw = file.parent / "raw"
            raw.write_bytes(bytes(2 * 32 * 32))
            hdf5.create_dataset("x", (2, 32, 32), "u1", external=[(str(raw), 0, 2 * 32 * 32)])
        elif kind == "virtual":
            layout = h5py.VirtualLayout((25, 32, 32, 3), "u1")
            layout[:] = h5py.VirtualSource(str(other), "x", (25, 32, 32, 3))
            hdf5.create_virtual_dataset("x", layout)
        elif kind == "text":
            hdf5.create_dataset("x", (2, 3, 5), h5py.string_dtype())
        elif kind == "null":
            hdf5["x"] = h5py.Empty("f4")
        elif kind == "no images":
            hdf5["x"] = np.zeros((0, 32, 32, 3))
        elif kind == "huge chunk":
            chunks = (1000, 1024, 1024)
            hdf5.create_dataset("x", (1000, 1024, 1024), "u1", chunks=chunks, compression="gzip")


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("missing", r"must hold a dataset 'x' of images; it holds \['images'\]"),
        ("group", "'x' in .* is a group; store the images as a dataset"),
        ("external link", "'x' in .* is a link to another place, which is not followed"),
        ("dangling external link", "'x' in .* is a link to another place, which is not followed"),
        ("soft link", "'x' in .* is a link to another place, which is not followed"),
        ("external storage", "is kept in other files .*store the images in the file itself"),
        ("virtual", "is kept in other files .*store the images in the file itself"),
        ("text", "holds pickled Python objects|must hold real numbers"),
        ("null", r"must hold images of shape .*its shape is \(\)"),
        ("no images", r"must hold images of shape .*its shape is \(0, 32, 32, 3\)"),
        ("huge chunk", "has chunks of 1048576000 bytes, and at most 268435456"),
    ],
)
def test_hdf5_files_without_images_of_their_own(folder, kind, message):
    file = folder / "strange.h5"
    hdf5_without_images(file, kind)
    for load in (load_images, iter_hdf5):
        with pytest.raises(InputError, match=message) as caught:
            load(file)
        assert "strange.h5" in str(caught.value)


def test_damaged_chunks_are_named(folder):
    file = save(folder / "damaged.h5", colours(25, 32, 32, 3))
    with h5().File(file) as hdf5:
        place = hdf5["x"].id.get_chunk_info(2)
    content = bytearray(file.read_bytes())
    content[place.byte_offset : place.byte_offset + place.size] = bytes(place.size)
    file.write_bytes(content)
    with pytest.raises(InputError, match=r"damaged.h5 cannot be read as HDF5"):
        load_images(file)
    assert len(load_images(file, limit=4).images) == 4


def test_a_missing_h5py_is_named_with_its_extra(folder, monkeypatch):
    (folder / "a.h5").write_bytes(b"\x89HDF\r\n\x1a\n")
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(MissingPackageError, match=r"h5py, .*pip install 'linconv\[study\]'"):
        load_images(folder / "a.h5")

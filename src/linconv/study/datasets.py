"""The sets of small grey images that a decoder is fitted to: bundled, or the user's files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from linconv.arguments import integer, nearest
from linconv.errors import InputError
from linconv.files import NPY_SIGNATURE, StrPath, reading, regular_file, signature
from linconv.study.archives import (
    check_room,
    open_hdf5,
    read_cifar10,
    read_hdf5,
    read_npy_images,
    read_npz,
)
from linconv.study.images import PHOTOGRAPHS, photograph_file, read_grey, unit_grey

__all__ = ["ImageSet", "iter_hdf5", "load_images"]

PATCH = 32
"""Side of the patches that photographs are cut into, in pixels; CIFAR's image size."""

_HELD_OUT_PHOTOGRAPHS = 3
_PICTURE_SUFFIXES = {".png", ".jpg", ".jpeg", ".tif", ".tiff", ".npy"}
_HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Small grey images, split into those to fit to and those held out.

    Attributes
    ----------
    name : str
        Where the images come from.
    images : ndarray, (n, height, width, 1)
        float64 in [0, 1].
    held_out : ndarray of bool, (n,)
        Which images are kept away from fitting.
    note : str
        How the images were made and split, in words.
    """

    name: str
    images: NDArray[np.float64]
    held_out: NDArray[np.bool_]
    note: str

    @property
    def fitting(self) -> NDArray[np.float64]:
        """The images to fit to, (n_fitting, height, width, 1)."""
        return self.images[~self.held_out]

    @property
    def held_out_images(self) -> NDArray[np.float64]:
        """The images kept away from fitting, (n_held_out, height, width, 1)."""
        return self.images[self.held_out]

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the pixels, ready for JSON."""
        return {
            "name": self.name,
            "shape": list(self.images.shape),
            "n_fitting": int((~self.held_out).sum()),
            "n_held_out": int(self.held_out.sum()),
            "note": self.note,
        }


def load_images(source: StrPath | None = None, *, limit: int = 1000, seed: int = 0) -> ImageSet:
    """Load a set of small images as grey values in [0, 1].

    Parameters
    ----------
    source : str or path, optional
        - By default patches of 32 x 32 at random places of photographs bundled with scikit-image;
          3 of the 15 photographs, drawn by `seed`, give the fifth that is held out.
        - An HDF5 file with a dataset ``x``, a ``.npz`` archive with an array ``x`` or only one
          array, or a ``.npy`` file, each of shape (n, height, width) or (n, height, width,
          channels), as uint8, uint16 or floats in [0, 1].
        - A folder with PNG, JPEG, TIFF or NPY pictures, each cut into all its 32 x 32 tiles, by
          file name.
        - ``"cifar10"``: the copy that Keras has put into its folder; never downloaded.

        Of the user's images the last fifth is held out.
    limit : int
        Most images to load; the first ones are taken, and no others are read where the format
        allows it.
    seed : int
        Chooses the patches and the photographs held out; used by the default only.

    Returns
    -------
    ImageSet

    Raises
    ------
    InputError
        If the file is missing, truncated, of another kind or shape, wants pickle, refers to other
        files, declares more than 2 GiB, or holds values that are not finite or of unknown
        range.
    MissingPackageError
        If h5py, Pillow or scikit-image is needed and absent.

    Notes
    -----
    Memory: 8 bytes per pixel kept, and while reading the same images as they are stored.
    """
    limit = integer("limit", limit, 1)
    seed = integer("seed", seed, 0)
    if source is None:
        check_room(limit, (limit, PATCH, PATCH), np.dtype(float), "the set of patches")
        return _photograph_patches(limit, seed)
    if source == "cifar10":
        return _user_set("cifar10", *_grey_images(*read_cifar10(limit)))
    path = Path(source)
    if path.is_dir():
        return _user_set(str(path), *_read_folder(path, limit))
    if not path.exists() and path.name == source and not path.suffix:
        raise InputError(
            f"image set {source!r} is neither a file, a folder nor a known name; "
            f"{nearest(str(source), ['cifar10'])}, or give a path"
        )
    file = regular_file(path)
    start, suffix = signature(file), file.suffix.lower()
    if start == _HDF5_SIGNATURE or suffix in {".h5", ".hdf5", ".hdf"}:
        values = read_hdf5(file, limit)
    elif start.startswith(NPY_SIGNATURE) or suffix == ".npy":
        values = read_npy_images(file, limit)
    elif start.startswith(b"PK") or suffix == ".npz":
        values = read_npz(file, limit)
    else:
        raise InputError(
            f"{file} is no HDF5, NPZ or NPY file (it starts with the bytes {start!r}); "
            "convert it, or give the folder of a set of pictures"
        )
    return _user_set(file.name, *_grey_images(values, file))


def iter_hdf5(
    path: StrPath, batch: int = 1000, limit: int | None = None
) -> Iterator[NDArray[np.float64]]:
    """Stream the images of an HDF5 file, grey in [0, 1], without holding more than one batch.

    Parameters
    ----------
    path : str or path
        A file with a dataset ``x`` as `load_images` describes it.
    batch : int
        Images per array; the last one may be shorter.
    limit : int, optional
        Stop after so many images.

    Returns
    -------
    iterator of ndarray of float64, (batch, height, width, 1)

    Raises
    ------
    InputError
        As `load_images`; the file is checked at the call, the values as they are read.
    """
    batch = integer("batch", batch, 1)
    limit = None if limit is None else integer("limit", limit, 1)
    file = Path(path)
    with open_hdf5(file) as images:
        stop = len(images) if limit is None else min(limit, len(images))
        check_room(min(batch, stop), images.shape, images.dtype, f"one batch of {file}")
    return _hdf5_batches(file, batch, stop)


def _hdf5_batches(file: Path, batch: int, stop: int) -> Iterator[NDArray[np.float64]]:
    with open_hdf5(file) as images:
        for start in range(0, stop, batch):
            with reading(file, "HDF5"):
                values = images[start : min(start + batch, stop)]
            yield _grey_images(values, file)[0]


def _read_folder(folder: Path, limit: int) -> tuple[NDArray[np.float64], str]:
    """Cut the pictures of a folder into tiles, in the order of their names."""
    check_room(limit, (limit, PATCH, PATCH), np.dtype(float), folder)
    with reading(folder, "a folder"):
        files = sorted(f for f in folder.iterdir() if f.suffix.lower() in _PICTURE_SUFFIXES)
    tiles: list[NDArray[np.float64]] = []
    read, small = 0, 0
    for file in files:
        if (wanted := limit - sum(map(len, tiles))) <= 0:
            break
        pixels, _, _ = read_grey(regular_file(file))
        rows, columns = pixels.shape[0] // PATCH, pixels.shape[1] // PATCH
        read, small = read + 1, small + (rows * columns == 0)
        whole = pixels[: rows * PATCH, : columns * PATCH].reshape(rows, PATCH, columns, PATCH)
        tiles.append(whole.swapaxes(1, 2).reshape(-1, PATCH, PATCH)[:wanted])
    if read == small:
        raise InputError(
            f"{folder} must hold PNG, JPEG, TIFF or NPY pictures of at least {PATCH} x {PATCH} "
            f"pixels; it holds {len(files)} pictures, {small} of them smaller; add some"
        )
    note = f"{PATCH} x {PATCH} tiles of {read - small} pictures"
    if small:
        note += f", {small} smaller ones left out"
    return np.concatenate(tiles)[..., np.newaxis], note


def _photograph_patches(limit: int, seed: int) -> ImageSet:
    """Cut patches at random places; no photograph gives both fitting and held-out ones."""
    rng = np.random.default_rng(seed)
    names = [str(name) for name in rng.permutation(list(PHOTOGRAPHS))]
    held_out_names, fitting_names = names[:_HELD_OUT_PHOTOGRAPHS], names[_HELD_OUT_PHOTOGRAPHS:]
    n_held_out = limit // 5
    patches: list[NDArray[np.float64]] = []
    for group, total in ((fitting_names, limit - n_held_out), (held_out_names, n_held_out)):
        for index, name in enumerate(group):
            count = total // len(group) + (index < total % len(group))
            pixels, _, _ = read_grey(photograph_file(name))
            windows = sliding_window_view(pixels, (PATCH, PATCH))
            places = rng.choice(windows.shape[0] * windows.shape[1], count, replace=False)
            patches.append(windows[np.unravel_index(places, windows.shape[:2])])
    note = (
        f"{PATCH} x {PATCH} patches of {len(names)} photographs bundled with scikit-image, "
        f"seed {seed}; held out: {', '.join(sorted(held_out_names))}"
    )
    held_out = np.arange(limit) >= limit - n_held_out
    return ImageSet("photographs", np.concatenate(patches)[..., np.newaxis], held_out, note)


def _user_set(name: str, images: NDArray[np.float64], note: str) -> ImageSet:
    """Hold out the last fifth, at least one of two or more."""
    count = len(images)
    n_held_out = max(count // 5, int(count > 1))
    held_out = np.arange(count) >= count - n_held_out
    split = f"the last {n_held_out} of {count} held out"
    return ImageSet(name, images, held_out, "; ".join(filter(None, [note, split])))


def _grey_images(values: NDArray[Any], where: object) -> tuple[NDArray[np.float64], str]:
    colours = values if values.ndim == 4 else values[..., np.newaxis]
    grey, note = unit_grey(colours, where, stretch=False)
    return grey[..., np.newaxis], note

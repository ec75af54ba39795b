"""The picture that a study starts from: a bundled photograph or the user's file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata, util
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from linconv.arguments import integer, nearest
from linconv.errors import InputError
from linconv.files import (
    MAX_PIXELS,
    NPY_SIGNATURE,
    StrPath,
    missing,
    read_npy,
    read_npy_header,
    read_picture,
    reading,
    regular_file,
    signature,
)

__all__ = [
    "PHOTOGRAPHS",
    "Image",
    "load_image",
    "photograph_file",
    "read_colours",
    "read_grey",
    "unit_grey",
]

PHOTOGRAPHS: Mapping[str, str] = MappingProxyType(
    {
        "astronaut": "astronaut.png",
        "brick": "brick.png",
        "camera": "camera.png",
        "chelsea": "chelsea.png",
        "clock_motion": "clock_motion.png",
        "coffee": "coffee.png",
        "coins": "coins.png",
        "grass": "grass.png",
        "gravel": "gravel.png",
        "hubble_deep_field": "hubble_deep_field.jpg",
        "ihc": "ihc.png",
        "moon": "moon.png",
        "motorcycle": "motorcycle_left.png",
        "page": "page.png",
        "rocket": "rocket.jpg",
    }
)
"""Photographs that lie inside the installed scikit-image package, by name."""

_ROUNDING = 1e-6
"""How far a float may lie outside [0, 1] and still count as rounding."""


@dataclass(frozen=True, eq=False)
class Image:
    """A grey picture, and where it comes from.

    Attributes
    ----------
    name : str
        Name of the bundled photograph, or of the file.
    pixels : ndarray, (height, width)
        float64 in [0, 1]; 0 is black.
    original_shape : tuple of int
        Shape before colours were averaged and the size was reduced.
    source : str
        Path of the file, or the package that bundles the photograph.
    note : str
        What was changed on the way, in words; empty if nothing.
    """

    name: str
    pixels: NDArray[np.float64]
    original_shape: tuple[int, ...]
    source: str
    note: str

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the pixels, ready for JSON."""
        return {
            "name": self.name,
            "shape": list(self.pixels.shape),
            "original_shape": list(self.original_shape),
            "source": self.source,
            "note": self.note,
        }


def load_image(path_or_name: StrPath | None = None, *, max_side: int = 512) -> Image:
    """Load a picture as grey values in [0, 1].

    Colours are averaged with equal weights and alpha is dropped. 8- and 16-bit integers are
    divided by their largest value; other integers count as 8-bit if they lie in 0 to 255. Floats
    are taken as they are if they lie in [0, 1]. Anything else is stretched from its least and
    largest value to [0, 1]. Whatever was changed is said in `note`.

    Parameters
    ----------
    path_or_name : str or path, optional
        A name from `PHOTOGRAPHS` (read from the installed scikit-image, never downloaded), or a
        PNG, JPEG, TIFF or NPY file; which of these is told by its content. By default the
        photograph ``"camera"``, 512 x 512.
    max_side : int
        A picture with a longer side is reduced to it by averaging over areas.

    Returns
    -------
    Image

    Raises
    ------
    InputError
        If the file is missing, a directory, truncated, not a picture, larger than `MAX_PIXELS`,
        pickled, or holds anything but one finite, real picture.
    MissingPackageError
        If Pillow or scikit-image is needed and absent.

    Notes
    -----
    Time and memory grow with the number of pixels in the file, at most `MAX_PIXELS`.
    """
    max_side = integer("max_side", max_side, 1)
    chosen = "camera" if path_or_name is None else path_or_name
    if isinstance(chosen, str) and chosen in PHOTOGRAPHS:
        file = photograph_file(chosen)
        name, source = chosen, f"scikit-image {metadata.version('scikit-image')}, {file.name}"
    else:
        if isinstance(chosen, str) and _looks_like_name(chosen):
            raise InputError(
                f"image {chosen!r} is neither a file nor a bundled photograph; "
                f"{nearest(chosen, PHOTOGRAPHS)}, or give the path of a PNG, JPEG, TIFF or NPY file"
            )
        file = regular_file(chosen)
        name, source = file.name, str(file)
    pixels, original_shape, note = read_grey(file)
    height, width = pixels.shape
    if max(height, width) > max_side:
        pixels = _reduced(pixels, max_side)
        reduction = f"reduced from {height} x {width} to {pixels.shape[0]} x {pixels.shape[1]}"
        note = "; ".join(filter(None, [note, reduction + " by averaging over areas"]))
    return Image(name, pixels, original_shape, source, note)


def photograph_file(name: str) -> Path:
    """Return the path of a photograph inside the installed scikit-image."""
    package = util.find_spec("skimage")
    if package is None or not package.submodule_search_locations:
        raise missing("scikit-image", f"the bundled photograph {name!r}")
    return regular_file(Path(package.submodule_search_locations[0], "data", PHOTOGRAPHS[name]))


def read_grey(file: Path) -> tuple[NDArray[np.float64], tuple[int, ...], str]:
    """Read a picture file at full size.

    Returns
    -------
    pixels : ndarray of float64, (height, width), in [0, 1]
    original_shape : tuple of int
        With the colour axis, if there was one.
    note : str
        What was changed, in words.
    """
    values, notes = _read_values(file)
    colours = values if values.ndim == 3 else values[..., np.newaxis]
    pixels, note = unit_grey(colours, file, stretch=True)
    return pixels, values.shape, "; ".join(filter(None, [*notes, note]))


def read_colours(path: StrPath) -> tuple[NDArray[np.float64], str]:
    """Read a picture file at full size with its colours, scaled as `load_image` does.

    Returns
    -------
    pixels : ndarray of float64, (channels, height, width), in [0, 1]
        One channel for grey, three for colours; alpha is dropped.
    note : str
        What was changed, in words.

    Raises
    ------
    InputError
        As `load_image`; and if colours have values of unknown range, which would each be stretched
        by another factor.
    """
    file = regular_file(path)
    values, notes = _read_values(file)
    if values.ndim == 2 or values.shape[-1] < 3:
        grey, note = unit_grey(values.reshape(*values.shape[:2], -1), file, stretch=True)
        return grey[np.newaxis], "; ".join(filter(None, [*notes, note]))
    found = [unit_grey(values[..., c : c + 1], file, stretch=False) for c in range(3)]
    dropped = ("alpha dropped",) if values.shape[-1] == 4 else ()
    words = dict.fromkeys(filter(None, (*notes, *dropped, *(note for _, note in found))))
    return np.stack([colour for colour, _ in found]), "; ".join(words)


def _read_values(file: Path) -> tuple[NDArray[Any], tuple[str, ...]]:
    if not signature(file).startswith(NPY_SIGNATURE):
        return read_picture(file)
    with reading(file, "NPY"), file.open("rb") as stream:
        header = read_npy_header(stream, file.stat().st_size, file)
    _check_picture_shape(header.shape, file)
    return read_npy(file, header), ()


def unit_grey(
    colours: NDArray[Any], where: object, *, stretch: bool
) -> tuple[NDArray[np.float64], str]:
    """Average the last axis of an array of colours and scale the result to [0, 1].

    Parameters
    ----------
    colours : ndarray of bools, integers or floats, (..., channels)
        One channel is grey, three are colours; a second or fourth one is alpha, and dropped.
    where : object
        What to call the array in an error.
    stretch : bool
        Whether values of unknown range are stretched to [0, 1] or refused.

    Returns
    -------
    grey : ndarray of float64, (...)
    note : str

    Raises
    ------
    InputError
        If there are NaNs or infinities, or values of unknown range without `stretch`.
    """
    notes = []
    if colours.shape[-1] in (2, 4):
        notes.append("alpha dropped")
        colours = colours[..., :-1]
    if colours.shape[-1] > 1:
        notes.append("grey is the mean of the colours")
    dtype = colours.dtype
    if dtype.kind == "b" or (dtype.kind == "u" and dtype.itemsize <= 2):
        full_scale = 1 if dtype.kind == "b" else np.iinfo(dtype).max
        grey = _mean_colour(colours)
        grey /= full_scale
        return grey, "; ".join(notes)

    low, high = float(colours.min()), float(colours.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        count = int(colours.size - np.isfinite(colours).sum())
        raise InputError(
            f"{where} must be finite; {count} of {colours.size} values are NaN, infinite or beyond "
            "float64; replace them first"
        )
    if dtype.kind == "f" and low >= -_ROUNDING and high <= 1 + _ROUNDING:
        grey = np.clip(_mean_colour(colours), 0.0, 1.0)
    elif dtype.kind in "iu" and low >= 0 and high <= 255:
        grey = _mean_colour(colours)
        grey /= 255
        notes.append(f"{dtype} values taken as 8-bit")
    elif stretch:
        # Both ends are divided first: their difference may be beyond float64.
        scale = max(abs(low), abs(high))
        span = high / scale - low / scale
        grey = _mean_colour(colours.astype(np.float64) / scale) - low / scale
        grey = np.clip(grey / (span or 1.0), 0.0, 1.0)
        notes.append(f"values from {low:g} to {high:g} stretched to [0, 1]")
    else:
        raise InputError(
            f"{where} must hold uint8, uint16 or floats in [0, 1]; its {dtype} values go from "
            f"{low:g} to {high:g}; scale them first, e.g. divide by 255"
        )
    return grey, "; ".join(notes)


def _mean_colour(colours: NDArray[Any]) -> NDArray[np.float64]:
    """Average the last axis in float64; channel by channel, as NumPy is slow on short last axes."""
    total = colours[..., 0].astype(np.float64)
    for channel in range(1, colours.shape[-1]):
        total += colours[..., channel]
    total /= colours.shape[-1]
    return total


def _check_picture_shape(shape: tuple[int, ...], where: object) -> None:
    """Refuse an array that is not one picture, or one that is too large."""
    if len(shape) not in (2, 3) or (len(shape) == 3 and shape[2] not in (1, 2, 3, 4)):
        raise InputError(
            f"{where} must hold one picture of shape (height, width) or (height, width, channels) "
            f"with at most 4 channels; its shape is {shape}; save one picture, colours last"
        )
    if shape[0] * shape[1] > MAX_PIXELS:
        raise InputError(
            f"{where} is too large: its header declares {shape[0]} x {shape[1]} = "
            f"{shape[0] * shape[1]} pixels, and at most {MAX_PIXELS} are allowed; reduce it first"
        )


def _reduced(pixels: NDArray[np.float64], max_side: int) -> NDArray[np.float64]:
    """Average over areas so that the longer side becomes `max_side`; to float32 rounding."""
    try:
        from PIL import Image as Pillow
    except ImportError as error:
        raise missing("pillow", "reducing a picture") from error
    height, width = pixels.shape
    ratio = max_side / max(height, width)
    size = (max(1, round(width * ratio)), max(1, round(height * ratio)))
    small = Pillow.fromarray(pixels.astype(np.float32)).resize(size, Pillow.Resampling.BOX)
    return np.clip(np.asarray(small, dtype=np.float64), 0.0, 1.0)


def _looks_like_name(text: str) -> bool:
    """Tell whether a string that is no known name was meant as one rather than as a path."""
    path = Path(text)
    return path.name == text and not path.suffix and not path.exists()

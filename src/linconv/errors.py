"""The errors that linconv raises; each tells what was needed, what was given and what to do."""

from __future__ import annotations

__all__ = [
    "DTypeError",
    "GeometryError",
    "InputError",
    "LinconvError",
    "MissingPackageError",
    "OutputError",
    "ShapeError",
    "SizeError",
]


class LinconvError(ValueError):
    """Base of every error that linconv raises on purpose."""


class GeometryError(LinconvError):
    """Sizes or options that describe no convolution."""


class ShapeError(LinconvError):
    """An array or a map whose shape does not fit."""


class DTypeError(LinconvError):
    """An array of a kind that cannot be computed with."""


class SizeError(LinconvError):
    """A result too large to be made, refused before any memory is taken."""


class InputError(LinconvError):
    """A file or a data set that cannot be read as what it should be."""


class OutputError(LinconvError):
    """A file or a folder that cannot be written."""


class MissingPackageError(LinconvError, ImportError):
    """An optional package that is needed and absent; the message names the extra that brings it."""

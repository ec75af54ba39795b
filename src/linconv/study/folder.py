"""The folder that a study writes to: tried before any work, and never left with half a file."""

from __future__ import annotations

import os
from pathlib import Path

from linconv.errors import OutputError
from linconv.files import StrPath

__all__ = ["prepare_folder", "write_file"]


def prepare_folder(out: StrPath) -> Path:
    """Make the folder of a report, with its `figures`, and prove that files can be written there.

    Raises
    ------
    OutputError
        If it cannot be made or written.
    """
    folder = Path(out)
    try:
        for place in (folder, folder / "figures"):
            place.mkdir(parents=True, exist_ok=True)
            probe = _temporary(place / "probe")
            probe.touch()
            probe.unlink()
    except (OSError, ValueError) as error:
        raise _unwritable(folder, error) from error
    return folder


def write_file(path: Path, content: bytes) -> None:
    """Write a file in one piece: whoever opens `path` finds the old content or the new.

    Raises
    ------
    OutputError
        If the disk is full, or the place cannot be written.
    """
    temporary = _temporary(path)
    try:
        temporary.write_bytes(content)
        os.replace(temporary, path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise _unwritable(path, error) from error
        raise


def _temporary(path: Path) -> Path:
    """Return a name in the same folder, so that replacing is one step of the file system."""
    return path.with_name(f".{path.name}.{os.getpid()}.part")


def _unwritable(path: Path, error: Exception) -> OutputError:
    cause = getattr(error, "strerror", None) or str(error)
    return OutputError(f"{path} cannot be written: {cause}; give another folder with --out (out=)")

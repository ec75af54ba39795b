"""The folder that a study writes to: tried before any work, and never left with half a file."""

from __future__ import annotations

import os
from pathlib import Path

from linconv.errors import OutputError
from linconv.files import StrPath, temporary, unwritable

__all__ = ["prepare_folder"]


def prepare_folder(out: StrPath) -> Path:
    """Make the folder of a report, with its `figures`, and prove that files can be written there.

    Raises
    ------
    OutputError
        If it has no name, or cannot be made or written.
    """
    if not os.fspath(out):
        raise OutputError(
            "the output folder must have a name; got ''; give one, e.g. 'linconv-study', or '.' "
            "for the working directory"
        )
    folder = Path(out)
    try:
        for place in (folder, folder / "figures"):
            place.mkdir(parents=True, exist_ok=True)
            probe = temporary(place / "probe")
            probe.touch()
            probe.unlink()
    except (OSError, ValueError) as error:
        raise unwritable(folder, error) from error
    return folder

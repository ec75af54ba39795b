"""Event files: numbers by step, as TensorBoard reads them, written without TensorFlow."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

from linconv.errors import MissingPackageError, OutputError
from linconv.files import StrPath

__all__ = ["event_file"]

_numbers = count()


@contextmanager
def event_file(folder: StrPath, tag: str) -> Iterator[Callable[[int, float], None]]:
    """Open a new event file in a folder and give a function that writes one number by its step.

    Parameters
    ----------
    folder : str or path
        Made if need be. Earlier event files in it are left alone.
    tag : str
        The name of the numbers.

    Returns
    -------
    context manager of a function of a step and a number
        What it wrote can be read at once.

    Raises
    ------
    MissingPackageError
        If TensorBoard, which knows the format, is absent.
    OutputError
        If the folder cannot be written.
    """
    try:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.summary.writer.record_writer import RecordWriter
    except ImportError as error:
        raise MissingPackageError(
            "writing event files needs the package tensorboard, which is not installed; "
            "run: pip install tensorboard"
        ) from error
    now = time.time()
    name = f"events.out.tfevents.{now:.0f}.{socket.gethostname()}.{os.getpid()}.{next(_numbers)}"
    path = Path(folder) / name
    with _writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        stream = path.open("xb")
    with stream:
        records = RecordWriter(stream)

        def write(event: Any) -> None:
            with _writing(path):
                records.write(event.SerializeToString())
                stream.flush()

        def write_number(step: int, value: float) -> None:
            summary = Summary(value=[Summary.Value(tag=tag, simple_value=value)])
            write(Event(wall_time=time.time(), step=step, summary=summary))

        write(Event(wall_time=now, file_version="brain.Event:2"))
        yield write_number


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as error:
        cause = getattr(error, "strerror", None) or str(error)
        raise OutputError(f"{path} cannot be written: {cause}; give another event_dir") from error

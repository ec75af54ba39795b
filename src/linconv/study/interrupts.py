"""Ctrl-C as a wish, to be granted where stopping loses nothing."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

__all__ = ["Stop", "deferred_interrupt"]


@dataclass
class Stop:
    """Whether somebody wants the training to end."""

    wanted: bool = False


@contextmanager
def deferred_interrupt() -> Iterator[Stop]:
    """Turn the first Ctrl-C into a wish to stop, that the caller looks at.

    The second one raises KeyboardInterrupt, as ever. A handler that is not Python's own is left
    alone, and so are threads other than the main one.
    """
    stop = Stop()

    def request(number: int, frame: Any) -> None:
        stop.wanted = True
        signal.signal(signal.SIGINT, signal.default_int_handler)

    ours = threading.current_thread() is threading.main_thread()
    if not ours or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield stop
        return
    signal.signal(signal.SIGINT, request)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)

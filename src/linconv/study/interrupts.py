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


@dataclass(frozen=True)
class _Request:
    """A handler of SIGINT that keeps the first one as a wish, and raises all others."""

    stop: Stop

    def __call__(self, number: int, frame: Any) -> None:
        if self.stop.wanted:
            signal.default_int_handler(number, frame)
        self.stop.wanted = True


@contextmanager
def deferred_interrupt() -> Iterator[Stop]:
    """Turn the first Ctrl-C into a wish to stop, that the caller looks at.

    The second one raises KeyboardInterrupt, as ever. Within another `deferred_interrupt` the wish
    is the one of that. A handler that is not Python's own is left alone, and so are threads other
    than the main one.
    """
    handler = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread():
        yield Stop()
        return
    if isinstance(handler, _Request):
        yield handler.stop
        return
    if handler is not signal.default_int_handler:
        yield Stop()
        return
    request = _Request(Stop())
    signal.signal(signal.SIGINT, request)
    try:
        yield request.stop
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)

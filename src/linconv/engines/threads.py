"""How many threads a computation may use: one setting serves all engines."""

from __future__ import annotations

import os

from linconv.engines import native_engine

__all__ = ["threads", "workers"]

LARGE = 2**16  # samples from which a transform gains by threads


def threads() -> int:
    """Return the number of threads that a large computation may use now.

    `OMP_NUM_THREADS` and `threadpoolctl.threadpool_limits` are honoured where the native engine is
    built with OpenMP (without OpenMP it has one thread); without the engine, the variable alone.
    """
    if native_engine.available():
        return native_engine.threads()
    wanted = os.environ.get("OMP_NUM_THREADS", "").split(",")[0]
    return int(wanted) if wanted.isdigit() and int(wanted) else os.cpu_count() or 1


def workers(samples: int) -> int:
    """Return the number of threads for SciPy's transform of so many samples."""
    return threads() if samples >= LARGE else 1

"""How many threads the study's matrix products use."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["one_blas_thread"]


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Keep BLAS to one thread for a while, if threadpoolctl is installed.

    Matrix products of a few megabytes gain nothing from a second thread; but its waiting takes
    ten times as long as the product itself where another program keeps a core busy.
    """
    try:
        from threadpoolctl import threadpool_limits
    except ImportError:
        yield
        return
    with threadpool_limits(1, user_api="blas"):
        yield

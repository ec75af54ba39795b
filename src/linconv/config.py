"""What linconv runs on here: version, engine and why, instruction set, threads."""

from __future__ import annotations

import platform
from typing import Any

import numpy as np
import scipy

from linconv.arguments import choice
from linconv.engines import native_engine
from linconv.engines.choice import engine_in_use
from linconv.engines.threads import threads
from linconv.version import __version__

__all__ = ["show_config"]


def show_config(mode: str = "stdout") -> dict[str, Any] | None:
    """Tell which engine computes and why, with what instruction set and how many threads.

    Parameters
    ----------
    mode : {"stdout", "dicts"}
        Print it, or return it, as NumPy's function of that name does.

    Returns
    -------
    dict or None
        ``linconv``, ``engine``, ``reason``, ``target`` (the instruction set, None without the
        native engine), ``widest`` (the widest that this processor has), ``threads``, and the
        versions of ``numpy``, ``scipy`` and ``python``.

    Raises
    ------
    LinconvError
        If the environment variable LINCONV_ENGINE asks for an engine that there is not.

    Examples
    --------
    >>> show_config("dicts")["engine"] in ("native", "numpy")
    True
    """
    choice("mode", mode, ("stdout", "dicts"))
    engine, reason = engine_in_use()
    built = native_engine.available()
    config = {
        "linconv": __version__,
        "engine": engine,
        "reason": reason,
        "target": native_engine.target() if built else None,
        "widest": native_engine.widest() if built else None,
        "threads": threads(),
        "numpy": np.__version__,
        "scipy": scipy.__version__,
        "python": f"{platform.python_version()} on {platform.machine()}",
    }
    if mode == "dicts":
        return config
    print("\n".join(f"{name:<8} {value}" for name, value in config.items()))
    return None

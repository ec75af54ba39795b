"""Keras, imported with a backend: the one choice that it makes when it is first imported."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from typing import Any

from linconv.files import missing

__all__ = ["import_keras"]


def import_keras(purpose: str, extra: str = "study") -> Any:
    """Return Keras, imported with the JAX backend unless another one is chosen already.

    Keras chooses once, when it is first imported: by the environment variable KERAS_BACKEND, which
    is set here only if it is not.

    Raises
    ------
    MissingPackageError
        If Keras, or JAX for it, is absent; it says what for, and the extra that brings it.
    """
    if "keras" not in sys.modules:
        if find_spec("keras") is None:
            raise missing("keras", purpose, extra)
        if os.environ.setdefault("KERAS_BACKEND", "jax") == "jax" and find_spec("jax") is None:
            raise missing("jax", purpose, "study" if extra == "study" else "jax")
    try:
        import keras
    except ImportError as error:
        raise missing("keras", purpose, extra) from error
    return keras

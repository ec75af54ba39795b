"""What a study was asked for, the command that asks for it again, and what it ran on."""

from __future__ import annotations

import os
import platform
import shlex
from collections.abc import Iterable, Mapping
from importlib import metadata
from typing import Any

from linconv.files import StrPath
from linconv.version import __version__

__all__ = ["settings", "versions"]

PACKAGES = ("numpy", "scipy", "matplotlib", "pillow", "scikit-image", "h5py", "jinja2")
TRAINING_PACKAGES = ("keras", "jax")


def settings(
    paths: Mapping[str, StrPath | None],
    seed: int,
    models: str | Iterable[str] | None,
    epochs: int,
    training: bool | None,
) -> Mapping[str, Any]:
    """Return what was asked for, and the command that asks for it again.

    Parameters
    ----------
    paths : mapping of str to path
        The options that are files, folders or names of such, by name.
    seed, models, epochs, training
        As `linconv.study.study` takes them, `models` as a tuple or a text.
    """
    given = {name: os.fspath(path) for name, path in paths.items() if path is not None}
    words = [word for name, path in given.items() for word in (f"--{name}", path)]
    words += ["--seed", str(seed)]
    named = models if isinstance(models, str) or models is None else ",".join(models) or "none"
    if named is not None:
        words += ["--models", named]
    if named != "none":
        words += ["--epochs", str(epochs)]
        words += [] if training is None else ["--training" if training else "--no-training"]
    return {
        **{name: given.get(name) for name in paths},
        "seed": seed,
        "models": named,
        "epochs": epochs,
        "training": training,
        "command": shlex.join(["linconv", "study", *words]),
    }


def versions(training: bool) -> Mapping[str, str]:
    """Return the versions of everything that took part, and the kind of machine."""
    installed = {}
    for name in (*PACKAGES, *(TRAINING_PACKAGES if training else ())):
        try:
            installed[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return {
        "linconv": __version__,
        "python": platform.python_version(),
        **installed,
        "system": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
    }

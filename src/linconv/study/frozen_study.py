"""What the experiments on frozen encoders are given: models, images, and whether to train."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from linconv.arguments import integer
from linconv.errors import InputError
from linconv.files import StrPath
from linconv.study.datasets import ImageSet, load_images
from linconv.study.encoders import Encoder, model_a, model_b
from linconv.study.frozen_results import ModelResult
from linconv.study.interrupts import Stop
from linconv.study.keras_models import import_keras

__all__ = ["MODELS", "FrozenStudy", "chosen_models", "prepare"]

Array = NDArray[Any]

SHOWN = 10
"""Images that are shown, drawn from the held-out ones."""

MODELS: Mapping[str, Callable[[int], Encoder]] = {
    "A1": lambda seed: model_a(1, seed),
    "A10": lambda seed: model_a(10, seed),
    "A20": lambda seed: model_a(20, seed),
    "B": lambda seed: model_b("as run", seed),
    "B2": lambda seed: model_b("as described", seed),
}
"""The course's encoders by their names in the command line, each a function of the seed."""


@dataclass(eq=False)
class FrozenStudy:
    """What the experiments on frozen encoders are given, and what they have found so far.

    Attributes
    ----------
    images : ImageSet
        With even sides; see `of`.
    models : tuple of str
    epochs, seed : int
    training : bool
        Whether to train: not before `begin_training`, and no more after Ctrl-C.
    untrained : str
        Why there is no training, if there is none.
    stop : Stop
        Whether Ctrl-C was pressed, be it between two trainings.
    found : list of ModelResult
    """

    images: ImageSet
    models: tuple[str, ...]
    epochs: int
    seed: int
    training: bool = False
    untrained: str = "was left out, as was asked for"
    stop: Stop = field(default_factory=Stop)
    found: list[ModelResult] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.images = _cut(self.images)

    @property
    def shown(self) -> NDArray[np.intp]:
        """Which of the held-out images are shown."""
        count = len(self.images.held_out_images)
        rng = np.random.default_rng(self.seed)
        return np.sort(rng.choice(count, min(SHOWN, count), replace=False))

    @property
    def samples(self) -> Array:
        """The images shown, (images, height, width)."""
        return self.images.held_out_images[self.shown][..., 0]

    def begin_training(self, required: bool) -> None:
        """Train from now on, if Keras can be imported; raise if it is required and cannot."""
        try:
            import_keras()
        except ImportError as error:
            if required:
                raise
            self.untrained = f"was left out: {error}"
        else:
            self.training = True

    def stop_training(self) -> None:
        """Train no more decoders: Ctrl-C was pressed."""
        self.training, self.untrained = False, "was ended by Ctrl-C before it came to this model"


def prepare(
    data: StrPath | None, models: str | Iterable[str] | None, epochs: int, seed: int
) -> FrozenStudy | None:
    """Check what the experiments are to be given, and load the images.

    Parameters
    ----------
    data : str or path, optional
        As `load_images` takes it.
    models : str or iterable of str, optional
        As `chosen_models` takes it.
    epochs, seed : int

    Returns
    -------
    FrozenStudy or None
        None if no model is wanted.

    Raises
    ------
    InputError, GeometryError
        If the images cannot be read, or a model is unknown; if `epochs` is below 1.
    """
    chosen, epochs = chosen_models(models), integer("epochs", epochs, 1)
    if not chosen:
        return None
    return FrozenStudy(load_images(data, seed=seed), chosen, epochs, seed)


def chosen_models(models: str | Iterable[str] | None) -> tuple[str, ...]:
    """Return the names of models, in their order in `MODELS`.

    Parameters
    ----------
    models : str or iterable of str, optional
        Names, or one text with commas between them; ``"none"`` for none, by default all.

    Raises
    ------
    InputError
        If a name is unknown.
    """
    if models is None:
        return tuple(MODELS)
    names = models.split(",") if isinstance(models, str) else [str(name) for name in models]
    known = {name.lower(): name for name in MODELS}
    chosen = set()
    for name in (name.strip() for name in names):
        if name.lower() == "none" and len(names) == 1:
            return ()
        if name.lower() not in known:
            raise InputError(
                f"models must be names with commas between them, or 'none'; got {name!r}; "
                f"use some of {','.join(MODELS)}"
            )
        chosen.add(known[name.lower()])
    return tuple(name for name in MODELS if name in chosen)


def _cut(images: ImageSet) -> ImageSet:
    """Cut images to even sides, as every encoder halves them, and make sure that they will do."""
    count, height, width, _ = images.images.shape
    if count < 2 or height < 4 or width < 4:
        raise InputError(
            f"decoders need two images or more of at least 4 × 4 pixels, some to fit to and some "
            f"held out; {images.name} holds {count} of {height} × {width}; give more or larger ones"
        )
    if height % 2 == 0 and width % 2 == 0:
        return images
    cut = images.images[:, : height - height % 2, : width - width % 2]
    note = f"{images.note}; cut from {height} × {width} to {cut.shape[1]} × {cut.shape[2]} pixels"
    return replace(images, images=cut, note=note)

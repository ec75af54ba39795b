"""How far a study is: the share of the whole, from what its stages and steps tell."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from time import perf_counter
from typing import TypeVar

__all__ = ["Pace", "Progress", "Tell"]

Progress = Callable[[float, str], None]
"""Called with the share of the study that is done, 0 to 1, and what is next."""

T = TypeVar("T")

Tell = Callable[[float, str], None]
"""Called within a step with the share of it that is done, 0 to 1, and what is next."""


class Pace:
    """Where a study stands, one stage after the other.

    Parameters
    ----------
    progress : callable
        What is told the share of the whole.
    weights : mapping of str to float
        Of the stages in their order: about how long each takes.

    Attributes
    ----------
    seconds : dict of str to float
        How long each stage took.
    """

    def __init__(self, progress: Progress, weights: Mapping[str, float]) -> None:
        self.seconds: dict[str, float] = {}
        self._progress = progress
        total, before = sum(weights.values()), 0.0
        self._stages: dict[str, tuple[float, float]] = {}
        for name, weight in weights.items():
            self._stages[name] = (before / total, weight / total)
            before += weight
        self._step = (0.0, 0.0)

    def within(self, share: float, what: str) -> None:
        """Tell how far the step at hand is."""
        start, width = self._step
        self._progress(start + share * width, what)

    def run(self, stage: str, steps: Sequence[tuple[str, Callable[[], T]]]) -> list[T]:
        """Run the steps of a stage, each with what it does, and return what they found."""
        started = perf_counter()
        start, width = self._stages[stage]
        found = []
        for index, (what, step) in enumerate(steps):
            self._step = (start + width * index / len(steps), width / len(steps))
            self.within(0.0, what)
            found.append(step())
        self.seconds[stage] = perf_counter() - started
        return found

"""Verdicts: one of our figures beside the published one, and whether it is met."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from linconv.study.values import plain

__all__ = ["Outcome", "Verdict"]

Outcome = Literal[
    "agrees",
    "better",
    "lower, other images",
    "higher, other images",
    "no published value",
    "NOT MET",
]


@dataclass(frozen=True, eq=False)
class Verdict:
    """One of our figures beside the published one.

    Attributes
    ----------
    name : str
    ours, published : ndarray
        A number (no axis) or an array; `published` is None where there is nothing to compare with.
    verdict : {"agrees", "better", "lower, other images", "higher, other images", \
"no published value", "NOT MET"}
    source : str
        Who published it, or what the figure is.
    deviations : mapping of str to float
        Largest deviation by dtype: absolute in float64, relative to the largest published value
        in float32.
    """

    name: str
    ours: NDArray[Any]
    published: NDArray[Any] | None
    verdict: Outcome
    source: str
    deviations: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def exact(
        cls, name: str, float64: ArrayLike, float32: ArrayLike, published: ArrayLike, source: str
    ) -> Verdict:
        """Judge a figure that must be met exactly in float64, and to 1e-6 relative in float32."""
        wanted = np.asarray(published)
        scale = float(np.abs(wanted).max()) or 1.0
        deviations = {
            "float64": _deviation(float64, wanted),
            "float32": _deviation(float32, wanted) / scale,
        }
        met = deviations["float64"] == 0 and deviations["float32"] <= 1e-6
        outcome: Outcome = "agrees" if met else "NOT MET"
        return cls(name, np.asarray(float64), wanted, outcome, source, deviations)

    @classmethod
    def close(
        cls, name: str, ours: ArrayLike, published: ArrayLike, tolerance: float, source: str
    ) -> Verdict:
        """Judge a figure that was published rounded: it must be met to `tolerance`, absolute."""
        wanted = np.asarray(published)
        deviation = _deviation(ours, wanted)
        outcome: Outcome = "agrees" if deviation <= tolerance else "NOT MET"
        return cls(name, np.asarray(ours), wanted, outcome, source, {"float64": deviation})

    @classmethod
    def lower(cls, name: str, ours: float, published: float, source: str) -> Verdict:
        """Judge an error, which must be lower than the published one."""
        outcome: Outcome = "better" if ours < published else "NOT MET"
        return cls(name, np.asarray(ours), np.asarray(published), outcome, source)

    @classmethod
    def on_other_data(cls, name: str, ours: float, published: float, source: str) -> Verdict:
        """Hold an error beside one of other images, which it can neither meet nor miss."""
        outcome: Outcome = "lower, other images" if ours < published else "higher, other images"
        return cls(name, np.asarray(ours), np.asarray(published), outcome, source)

    @classmethod
    def unpublished(cls, name: str, ours: ArrayLike, source: str) -> Verdict:
        """Report a figure that nobody published."""
        return cls(name, np.asarray(ours), None, "no published value", source)

    @classmethod
    def rounding(cls, name: str, deviation: float) -> Verdict:
        """Report a relative deviation that nobody published, and that must be rounding."""
        outcome: Outcome = "no published value" if deviation <= 1e-12 else "NOT MET"
        return cls(name, np.asarray(deviation), None, outcome, "rounding")

    @classmethod
    def at_least(cls, name: str, ours: float, bound: float, source: str) -> Verdict:
        """Report a figure that nobody published, and that theory bounds from below."""
        outcome: Outcome = "no published value" if ours >= bound else "NOT MET"
        return cls(name, np.asarray(ours), None, outcome, source)

    @property
    def met(self) -> bool:
        """Whether nothing that it can be judged by contradicts it."""
        return self.verdict != "NOT MET"

    def to_dict(self) -> dict[str, Any]:
        """Return everything, complete numbers, ready for strict JSON."""
        return {
            "name": self.name,
            "ours": plain(self.ours),
            "published": plain(self.published),
            "verdict": self.verdict,
            "source": self.source,
            "deviations": plain(self.deviations),
        }


def _deviation(ours: ArrayLike, published: NDArray[Any]) -> float:
    """Return the largest absolute deviation, infinite where shapes differ or NaN stands."""
    array = np.asarray(ours, dtype=np.float64)
    if array.shape != published.shape:
        return math.inf
    deviation = float(np.abs(array - published).max())
    return math.inf if math.isnan(deviation) else deviation

"""Receptive fields: which input samples an output sample reads, through one layer or many."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ReceptiveField"]


@dataclass(frozen=True)
class ReceptiveField:
    """Which input samples each output sample reads: ``start + stride * o``, `size` samples long.

    All three are in input samples (pixels), one int per spatial axis; `start` is negative where
    the first window begins in the padding.

    Examples
    --------
    >>> first = ReceptiveField(size=(3,), stride=(2,), start=(-1,))
    >>> first.then(ReceptiveField(size=(3,), stride=(1,), start=(-1,)))
    ReceptiveField(size=(7,), stride=(2,), start=(-3,))
    """

    size: tuple[int, ...]
    stride: tuple[int, ...]
    start: tuple[int, ...]

    def then(self, following: ReceptiveField) -> ReceptiveField:
        """Return the receptive field of this layer with `following` applied to its output."""
        layers = zip(self.size, self.stride, self.start, strict=True)
        nexts = zip(following.size, following.stride, following.start, strict=True)
        axes = [
            (k + (k2 - 1) * s, s * s2, b + b2 * s)
            for (k, s, b), (k2, s2, b2) in zip(layers, nexts, strict=True)
        ]
        size, stride, start = (tuple(values) for values in zip(*axes, strict=True))
        return ReceptiveField(size, stride, start)

"""Output phases: a strided transposed convolution as ordinary convolutions, one per phase."""

from __future__ import annotations

from dataclasses import dataclass
from math import gcd

__all__ = ["Phase", "output_phases"]


@dataclass(frozen=True)
class Phase:
    """One output phase of a transposed convolution along one axis.

    The samples `outputs` of the transposed convolution's output see only the kernel samples
    `taps`: they are the ordinary stride-1 correlation of its input, zero-padded by `padding`,
    with those taps flipped and dilated by `dilation`. Where `taps` selects nothing they are zero.
    """

    outputs: slice
    taps: slice
    padding: tuple[int, int]
    dilation: int


def output_phases(
    size: int, windows: int, kernel: int, stride: int, dilation: int, low: int
) -> tuple[Phase, ...]:
    """Return the output phases of the transpose of a zero-padded convolution along one axis.

    The convolution reads an axis of `size` samples, padded by `low` at the start, through
    `windows` windows of `kernel` taps. Sample m of the transpose receives tap t of window o
    where ``m + low == o * stride + t * dilation``.
    """
    common = gcd(stride, dilation)
    spacing = dilation // common
    phases = []
    for first in range(min(stride, size)):
        outputs = slice(first, size, stride)
        matching = [t for t in range(kernel) if (t * dilation - low - first) % stride == 0]
        taps, reach, shift = slice(0, 0), 0, 0
        if matching:
            taps = slice(matching[0], kernel, stride // common)
            reach = (len(matching) - 1) * spacing
            shift = (first + low - matching[0] * dilation) // stride
        after = len(range(first, size, stride)) - windows + shift
        phases.append(Phase(outputs, taps, (reach - shift, after), spacing))
    return tuple(phases)

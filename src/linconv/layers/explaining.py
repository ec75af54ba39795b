"""What was found, in words, with what mends it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from linconv.engines.arrays import Array
from linconv.layers.kernel_search import Located
from linconv.layers.plain import Plain
from linconv.layers.run_search import Found
from linconv.layers.sides import Side, border_sides, largest
from linconv.layers.suggesting import convention, kernel_words, padding_words

__all__ = [
    "Diagnosis",
    "Error",
    "explain_adjoint",
    "explain_bias",
    "explain_border",
    "explain_kernel",
    "explain_located",
    "explain_size",
    "moved_remedy",
    "take",
]

Error = tuple[float, float]
"""Largest difference, absolute and relative."""


@dataclass
class Diagnosis:
    """What was measured and found."""

    forward: Error | None = None
    adjoint: Error | None = None
    adjoint_note: str = ""
    causes: tuple[str, ...] = ()
    explanation: str = ""
    suggestion: str = ""
    details: dict[str, Any] = field(default_factory=dict)


def explain_bias(result: Diagnosis, a: Side, b: Side, tolerance: float) -> None:
    """Tell which bias differs, and by how much."""
    difference = b.offset - a.offset
    by_channel = difference.reshape(len(difference), -1)
    scale = max(float(np.abs(a.offset).max()), float(np.abs(b.offset).max()))
    level = float(np.ptp(by_channel.real, axis=1).max()) <= 10 * tolerance * scale
    result.causes = ("bias",)
    result.details["bias_difference"] = by_channel[:, 0].tolist() if level else None
    missing = [s.letter for s in (a, b) if not np.abs(s.offset).max()]
    if missing:
        has = "a" if missing == ["b"] else "b"
        result.explanation = f"{has} has a bias (up to {scale:.6g}), {missing[0]} has none"
        result.suggestion = (
            "give b a's bias" if missing == ["b"] else "make b without bias (use_bias=False)"
        )
        return
    place = int(np.abs(by_channel).max(axis=1).argmax())
    what = "one constant per channel" if level else "not constant within a channel"
    result.explanation = (
        f"the biases differ, {what}: most in channel {place}, b's is larger by "
        f"{by_channel[place, 0].item():.6g}"
    )
    result.suggestion = "give b a's bias" if level else "compare the layers' biases one by one"


def explain_adjoint(
    result: Diagnosis,
    a: Side,
    b: Side,
    x: Array,
    ours: Array,
    rng: np.random.Generator,
    tolerance: float,
) -> None:
    """Tell whose adjoint is not the transpose of what it computes."""
    y = rng.standard_normal(ours.shape).astype(x.dtype)
    wrong = []
    for side in (a, b):
        if not side.run.has_adjoint:
            continue
        left = float(np.abs((ours * y).sum() - (x * side.adjoint(y)).sum()))
        size = float(np.linalg.norm(ours) * np.linalg.norm(y))
        if not left <= 10 * tolerance * size:
            wrong.append(side.letter)
    result.causes = ("adjoint",)
    result.details["wrong_adjoint"] = tuple(wrong)
    whose = " and ".join(wrong) or "neither by itself"
    result.explanation = (
        f"outputs agree, but the adjoints (gradients with respect to the input) differ; against "
        f"its own outputs it is wrong for: {whose}"
    )
    result.suggestion = (
        f"correct the gradient of {' and '.join(wrong) or 'one of them'}: a custom one must be the "
        f"transpose of what is computed"
    )


def take(result: Diagnosis, found: Found, remedy: str) -> None:
    """Take over a hypothesis that held."""
    result.causes, result.explanation = found.causes, found.words
    result.details |= found.details
    result.suggestion = remedy


def moved_remedy(found: Found) -> str:
    """Return what undoes a shift or a turn that was found by running."""
    if "shift" not in found.details:
        return "turn b's kernel back"
    steps = found.details["shift"]
    return (
        f"pad and crop b's {found.details['shift_in']} so that it moves by "
        f"{tuple(-d for d in steps)} pixels"
    )


def explain_border(result: Diagnosis, ours: Array, theirs: Array, tolerance: float) -> None:
    """Tell at which ends outputs differ."""
    ends = border_sides(ours, theirs, tolerance)
    result.causes = ("border",)
    result.details["at"] = tuple(ends)
    result.explanation = (
        f"only outputs near the border differ ({', '.join(ends) or 'on all sides'}): another "
        f"padding"
    )
    result.suggestion = "give b a's padding mode and amounts"


def explain_size(result: Diagnosis, a: Side, b: Side) -> None:
    """Tell both sizes."""
    sizes = a.output_shape, b.output_shape
    result.causes = ("size",)
    result.details["output_shapes"] = sizes
    what = "channels" if sizes[0][0] != sizes[1][0] else "samples"
    result.explanation = (
        f"the outputs have different numbers of {what}: (channels, *size) is {sizes[0]} of a, "
        f"{sizes[1]} of b"
    )
    result.suggestion = "give b a's stride, dilation, padding and number of channels"


def explain_kernel(result: Diagnosis, a: Plain, b: Plain, tolerance: float) -> None:
    """Tell how many values of two kernels differ, and where most."""
    ours, theirs = a.conv.kernel, b.conv.kernel
    allowed = tolerance * float(np.abs(ours).max())
    count = int((np.abs(ours - theirs) > allowed).sum())
    where, left, right = largest(ours, theirs)
    result.causes = ("kernel",)
    result.details |= {"taps_that_differ": count, "largest_at": where, "values": (left, right)}
    order = "(in, out/groups, *size)" if a.transposed else "(out, in/groups, *size)"
    result.explanation = (
        f"the same geometry with another kernel: {count} of {ours.size} values differ, most at "
        f"{where} in the order {order}: {left:.6g} and {right:.6g}"
    )
    result.suggestion = "give b a's kernel"
    if float(np.abs(ours - theirs).max()) <= 1e-6 * float(np.abs(ours).max()):
        result.explanation += "; so small a difference is that of single precision"
        result.suggestion += ", or take rounding as equal with rtol=1e-6"


def explain_located(
    result: Diagnosis,
    given: Plain,
    read: Plain | None,
    side: Side,
    located: Located,
    a: Side,
    b: Side,
    ours: Array,
    theirs: Array,
    tolerance: float,
) -> None:
    """Put a convolution that was found into words, and say how to get back."""
    variant = located.variant
    towards_b = 1 if side is a else -1
    causes, words, remedies = list(variant.causes), [], []
    details = dict(variant.details)
    if side is b and "axes" in details:
        details["axes"] = tuple(int(axis) for axis in np.argsort(details["axes"]))
    if variant.words:
        words.append(f"b has {variant.words}")
        remedies += kernel_words(b.run.framework, b.data_format, details)
    sizes = a.output_shape, b.output_shape
    target = given if side is a else located.fit
    if sizes[0] != sizes[1]:
        causes.append("size")
        details["output_shapes"] = sizes
        words.append(
            f"the outputs differ in size, (channels, *size): a's {sizes[0]}, b's {sizes[1]}"
        )
    moved = [towards_b * (low - own) for low, own in zip(located.lows, given.lows, strict=True)]
    if any(moved):
        shift = tuple(-d if given.transposed else d for d in moved)
        causes.append("shift")
        finer = "output" if given.transposed else "input"
        details |= {"shift": shift, "shift_in": finer}
        words.append(f"b's result is a's, moved by {shift} pixels of the {finer}")
    if located.fit is None:
        ends = border_sides(ours, theirs, tolerance) if sizes[0] == sizes[1] else []
        causes.append("border")
        details["at"] = tuple(ends)
        words.append(f"outputs near the border differ{': ' + ', '.join(ends) if ends else ''}")
        remedies.append("give b a's padding mode and amounts")
    else:
        modes = [given.geometry.padding_mode, located.fit.geometry.padding_mode]
        if side is b:
            modes.reverse()
        if modes[0] != modes[1]:
            causes.append("padding")
            details["padding_modes"] = tuple(modes)
            words.append(f"a pads with {_modes_words(modes[0])}, b with {_modes_words(modes[1])}")
        # what the other layer says of itself, where it is known and comes to the same windows
        own = located.fit if read is None or read.lows != located.lows else read
        pads = [given, own] if side is a else [own, given]
        if any(cause in causes for cause in ("size", "shift", "padding")):
            names = [convention(p, s.run.framework) for p, s in zip(pads, (a, b), strict=True)]
            words.append(f"a has {names[0]}; b has {names[1]}")
            details["paddings"] = tuple(p.geometry.padding for p in pads)
    if target is not None and any(c in causes for c in ("size", "shift", "padding", "border")):
        remedies = [r for r in remedies if not r.startswith("give b a's padding")]
        remedies.append(padding_words(b.run.framework, target))
    if not causes:
        causes.append("border")
    result.causes = tuple(causes)
    result.details |= details
    result.explanation = "; ".join(words)
    result.suggestion = "; ".join(remedies)


def _modes_words(modes: tuple[str, ...]) -> str:
    return modes[0] if len(set(modes)) == 1 else str(modes)

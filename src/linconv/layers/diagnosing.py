"""Diagnosis: two layers compared, and the first difference found, explained and mended."""

from __future__ import annotations

import numpy as np

from linconv.engines.arrays import Array
from linconv.layers.explaining import (
    Diagnosis,
    Error,
    explain_adjoint,
    explain_bias,
    explain_border,
    explain_kernel,
    explain_located,
    explain_size,
    moved_remedy,
    take,
)
from linconv.layers.kernel_search import Located, by_kernel
from linconv.layers.run_search import by_channels, by_factor, by_running
from linconv.layers.sides import Side, close, gap, largest, plain_of

__all__ = ["Diagnosis", "diagnose"]


def diagnose(a: Side, b: Side, x: Array, rng: np.random.Generator, tolerance: float) -> Diagnosis:
    """Compare two layers on `x` and on random outputs; name the first difference, if there is one.

    Linear parts are compared first, then the biases, the activations and the adjoints.
    """
    ours, theirs = a.linear(x), b.linear(x)
    same_shape = ours.shape == theirs.shape
    result = Diagnosis()
    if same_shape:
        result.forward = gap(a.forward(x), b.forward(x))
        result.adjoint, result.adjoint_note = _adjoint_gap(a, b, x, ours, rng)
    if not close(ours, theirs, tolerance):
        _explain_linear(result, a, b, x, ours, theirs, rng, tolerance)
        if same_shape and not _same_bias(a, b, ours, tolerance):
            result.details["bias_differs"] = True
            result.explanation += "; the biases differ too"
        return result
    if not _same_bias(a, b, ours, tolerance):
        explain_bias(result, a, b, tolerance)
        return result
    if result.forward is None or not result.forward[1] <= tolerance:
        result.causes = ("activation",)
        names = [side.run.activation or "none" for side in (a, b)]
        result.details["activations"] = tuple(names)
        result.explanation = (
            f"the activations differ: a's is {names[0]}, b's {names[1]}; before them the two agree"
        )
        result.suggestion = f"give b a's activation, {names[0]}"
        return result
    if result.adjoint is not None and not result.adjoint[1] <= tolerance:
        explain_adjoint(result, a, b, x, ours, rng, tolerance)
    return result


def _adjoint_gap(
    a: Side, b: Side, x: Array, ours: Array, rng: np.random.Generator
) -> tuple[Error | None, str]:
    """Return how far the adjoints differ; where one has none, ⟨A x, y⟩ against ⟨x, B' y⟩."""
    y = rng.standard_normal(ours.shape).astype(x.dtype)
    able = [side for side in (a, b) if side.run.has_adjoint]
    if len(able) == 2:
        return gap(a.adjoint(y), b.adjoint(y)), ""
    if not able:
        return None, "no adjoint was compared: neither framework differentiates, both are large"
    (side,) = able
    other = b if side is a else a
    pulled, image = side.adjoint(y), other.linear(x)
    flat = [v.reshape(len(v), -1) for v in (image, y, x, pulled)]
    left, right = (flat[0] * flat[1]).sum(axis=1), (flat[2] * flat[3]).sum(axis=1)
    norms = [np.linalg.norm(v, axis=1) for v in flat]
    error = np.abs(left - right)
    relative = error / np.maximum(np.maximum(norms[0] * norms[1], norms[2] * norms[3]), 1e-300)
    note = (
        f"the adjoint of {side.letter} was checked by the dot products <A x, y> = <x, A' y> with "
        f"{other.letter}'s outputs, for {other.letter} does not differentiate and is large"
    )
    return (float(error.max()), float(relative.max())), note


def _same_bias(a: Side, b: Side, outputs: Array, tolerance: float) -> bool:
    ours, theirs = a.offset, b.offset
    if ours.shape != theirs.shape:
        return False
    scale = max(float(np.abs(ours).max()), float(np.abs(theirs).max()))
    rounding = float(np.finfo(outputs.dtype).eps) * float(np.abs(outputs).max())
    return bool(np.abs(ours - theirs).max() <= tolerance * scale + rounding)


def _explain_linear(
    result: Diagnosis,
    a: Side,
    b: Side,
    x: Array,
    ours: Array,
    theirs: Array,
    rng: np.random.Generator,
    tolerance: float,
) -> None:
    factor = by_factor(ours, theirs, tolerance)
    if factor is not None:
        take(result, factor, "multiply b's kernel by the inverse: see details")
        return
    plains = [plain_of(side, x, 10 * tolerance) for side in (a, b)]
    located: Located | None = None
    side, other, (given, read), y = a, b, plains, theirs
    if given is None:
        side, other, (given, read), y = b, a, plains[::-1], ours
    if given is not None:
        located = by_kernel(given, other, x, y, rng, tolerance)
    if given is not None and located is not None and located.fit is not None:
        explain_located(result, given, read, side, located, a, b, ours, theirs, tolerance)
        return
    order = by_channels(a, b, rng, x, theirs, tolerance)
    if order is not None:
        take(result, order, "put b's channels in a's order")
        return
    if (
        given is not None
        and read is not None
        and (given.transposed, given.geometry) == (read.transposed, read.geometry)
    ):
        left, right = (given, read) if side is a else (read, given)
        explain_kernel(result, left, right, tolerance)
        return
    if given is not None and located is not None:
        explain_located(result, given, read, side, located, a, b, ours, theirs, tolerance)
        return
    if ours.shape != theirs.shape:
        explain_size(result, a, b)
        return
    moved = by_running(a, b, rng, tolerance)
    if moved is not None:
        found, only_border = moved
        if only_border:
            explain_border(result, ours, theirs, tolerance)
        else:
            take(result, found, moved_remedy(found))
        return
    where, one, two = largest(ours, theirs)
    result.causes = ("unexplained",)
    result.details |= {"largest_at": where, "values": (one, two)}
    result.explanation = (
        f"they differ without a simple cause; most in sample {where[0]} at (channel, *place) "
        f"{where[1:]}: {one:.6g} and {two:.6g}"
    )
    result.suggestion = "compare kernels, strides and dilations one by one"

"""Agreement: do two layers of any framework compute the same, and if not, what differs first."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from linconv.arguments import PerAxis, finite_number
from linconv.arguments import shape as read_shape
from linconv.engines.arrays import Array
from linconv.errors import ShapeError
from linconv.layers.diagnosing import Diagnosis, diagnose
from linconv.layers.running import data_format_of, known_input_shape, runner
from linconv.layers.sides import Side, first_shape, own_shape
from linconv.testing import tolerance as tolerance_of

__all__ = ["Agreement", "agreement"]


@dataclass(frozen=True)
class Agreement:
    """Whether two layers compute the same, measured on random input; true if they do.

    Attributes
    ----------
    equal : bool
        Outputs, outputs before the activation, and adjoints agree to `tolerance`.
    difference : str or None
        The first difference by name, None where there is none: ``"size"``, ``"bias"``,
        ``"scale"``, ``"activation"``, ``"shift"``, ``"padding"`` (another mode), ``"border"``
        (only outputs near the border differ), ``"flip"``, ``"axes"`` (spatial axes exchanged),
        ``"exchange"`` (input and output channels of the kernel), ``"channels"``, ``"groups"``
        (their order), ``"kernel"`` (other values), ``"adjoint"``, several joined by ``" + "``,
        or ``"unexplained"``.
    explanation, suggestion : str
        In words: what differs, and what makes b equal to a.
    details : dict
        Numbers of the difference, such as ``shift``: how far b's result is a's, moved, in
        pixels along each spatial axis, of the input (``shift_in``) or the output.
    forward_error, forward_relative : float or None
        Largest difference of outputs on random input, and that divided by the largest output
        of the sample; None where sizes differ.
    adjoint_error, adjoint_relative : float or None
        The same of the adjoints; None where they could not be had.
    tolerance : float
        Relative; by the coarser dtype unless given.
    dtype : str
        The coarser of the dtypes in which the two ran.
    a, b : str
        What was run.
    input_shape, b_input_shape : tuple of int
        One sample, in the data format of each.
    output_shapes : tuple
        One output sample of each.
    notes : tuple of str
        How it was done: permuted arrays, precision, adjoints.
    """

    equal: bool
    difference: str | None
    explanation: str
    suggestion: str
    forward_error: float | None
    forward_relative: float | None
    adjoint_error: float | None
    adjoint_relative: float | None
    tolerance: float
    dtype: str
    a: str
    b: str
    input_shape: tuple[int, ...]
    b_input_shape: tuple[int, ...]
    output_shapes: tuple[tuple[int, ...], tuple[int, ...]]
    details: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return self.equal

    @property
    def causes(self) -> tuple[str, ...]:
        """The names in `difference`, one by one."""
        return () if self.difference is None else tuple(self.difference.split(" + "))

    def to_dict(self) -> dict[str, Any]:
        """Return the result as plain lists, strings and numbers."""
        plainly: dict[str, Any] = _plainly(asdict(self))
        return plainly

    def __str__(self) -> str:
        verdict = "equal" if self.equal else f"differ: {self.difference}"
        lines = [f"{self.a} and {self.b}: {verdict}"]
        if not self.equal:
            lines += [f"  what     {self.explanation}", f"  remedy   {self.suggestion}"]
        for name, absolute, relative in (
            ("forward", self.forward_error, self.forward_relative),
            ("adjoint", self.adjoint_error, self.adjoint_relative),
        ):
            if absolute is None or relative is None:
                lines.append(f"  {name}  not compared")
            else:
                lines.append(f"  {name}  {absolute:.2e} absolute, {relative:.2e} relative")
        lines.append(f"  allowed  {self.tolerance:.0e} relative, {self.dtype}; on random input")
        return "\n".join([*lines, *(f"  note     {note}" for note in self.notes)])


def agreement(
    a: Any,
    b: Any,
    input_shape: PerAxis | None = None,
    *,
    seed: Any = None,
    rtol: float | None = None,
) -> Agreement:
    """Run two layers and their adjoints on random input: equal, or the first difference named.

    Parameters
    ----------
    a, b : LinearMap, Layer, torch.nn.Module, keras.Layer, flax.nnx.Module or onnx.ModelProto
        Layers with their weights, of the same framework or of two; linear but for an activation
        at the end. Neither is changed: copies run, by their own framework, in float64 where that
        is possible.
    input_shape : int or sequence of int, optional
        One sample in a's data format, without batch axis. Arrays are permuted for b where its
        format is another. Default: what a, or else b, knows of itself.
    seed : int or numpy.random.Generator, optional
        Of the random input; fresh by default.
    rtol : float, optional
        Relative to the largest output of a sample; default by the coarser dtype, see
        `linconv.testing.TOLERANCES`.

    Returns
    -------
    Agreement
        Measured, not proved: on three dense and two sparse random samples. Each named difference
        was verified: with it undone, the two agree.

    Raises
    ------
    LinconvError
        If one of the two cannot be run, has no weights, or is not linear.
    ShapeError
        If `input_shape` is needed, or one of the two does not take it.

    Notes
    -----
    Costs a few runs of each layer if they are equal, and up to some hundred correlations of one
    sample if they are not.

    Examples
    --------
    >>> import linconv as lc
    >>> kernel = [[1.0, 2.0, 1.0], [2.0, 4.0, 2.0], [1.0, 2.0, 1.0]]
    >>> same = lc.Conv(kernel, (8, 8), stride=2, padding="same")
    >>> result = agreement(same, lc.Conv(kernel, (8, 8), stride=2, padding=1))
    >>> result.difference, result.details["shift"]
    ('shift', (1, 1))
    >>> bool(agreement(same, lc.Conv(kernel, (8, 8), stride=2, padding=((0, 1), (0, 1)))))
    True
    """
    rng = np.random.default_rng(seed)
    one, two, notes = _sides(a, b, input_shape)
    dtype = max(one.run.dtype, two.run.dtype, key=tolerance_of)
    allowed = tolerance_of(dtype) if rtol is None else finite_number("rtol", rtol, "1e-6")
    for side in (one, two):
        side.run.check(rng, tolerance_of(side.run.dtype))
    x = _random(one.input_shape, rng, one, two)
    diagnosis = diagnose(one, two, x, rng, allowed)
    forward, adjoint = diagnosis.forward, diagnosis.adjoint
    return Agreement(
        equal=not diagnosis.causes,
        difference=" + ".join(diagnosis.causes) or None,
        explanation=diagnosis.explanation,
        suggestion=diagnosis.suggestion,
        forward_error=None if forward is None else forward[0],
        forward_relative=None if forward is None else forward[1],
        adjoint_error=None if adjoint is None else adjoint[0],
        adjoint_relative=None if adjoint is None else adjoint[1],
        tolerance=allowed,
        dtype=dtype.name,
        a=one.run.name,
        b=two.run.name,
        input_shape=one.run.input_shape,
        b_input_shape=two.run.input_shape,
        output_shapes=(one.run.output_shape, two.run.output_shape),
        details=diagnosis.details,
        notes=(*notes, *_precision(one, two), *_adjoint_notes(one, two, diagnosis)),
    )


def _sides(a: Any, b: Any, input_shape: Any) -> tuple[Side, Side, tuple[str, ...]]:
    """Return how both run, with b's input shape in its own format."""
    formats = [data_format_of(a), data_format_of(b)]
    shape = None if input_shape is None else read_shape("input_shape", input_shape)
    if shape is None:
        shape = known_input_shape(a)
    other = known_input_shape(b)
    if shape is None and other is None:
        raise ShapeError(
            "agreement needs input_shape, one sample in a's data format without batch axis, for "
            "neither layer knows its own; got None; give it, as in (3, 32, 32)"
        )
    axes = len(shape if shape is not None else other or ())
    # a thing that does not say how its arrays lie is taken to have the other's format
    unknown = [name is None for name in formats]
    if any(unknown) and not all(unknown):
        known = next(name for name in formats if name is not None)
        formats = [known, known]
    one, two = formats
    if shape is None and other is not None:
        shape = own_shape(first_shape(other, two), one)
    assert shape is not None
    shape_b = shape if one == two else own_shape(first_shape(shape, one), two)
    notes: tuple[str, ...] = ()
    if {one, two} == {"channels_first", "channels_last"} and axes > 1:
        notes = (f"a is {one}, b {two}: arrays were permuted; input_shape is a's",)
    return Side("a", a, runner(a, shape), one), Side("b", b, runner(b, shape_b), two), notes


def _random(shape: tuple[int, ...], rng: np.random.Generator, one: Side, two: Side) -> Array:
    """Return three dense samples, and two of few values: there single taps show."""
    x = rng.standard_normal((5, *shape))
    if one.run.dtype.kind == two.run.dtype.kind == "c":
        x = x + 1j * rng.standard_normal((5, *shape))
    for sample, share in zip(x[3:], (16, 256), strict=True):
        sample *= rng.random(shape) < max(1 / share, 4 / sample.size)
    narrow = min(one.run.dtype, two.run.dtype, key=lambda d: d.itemsize)
    # every dtype holds these numbers exactly
    return x.astype(np.result_type(narrow)) if narrow.kind == x.dtype.kind else x


def _precision(one: Side, two: Side) -> tuple[str, ...]:
    narrow = [s for s in (one, two) if s.run.dtype.itemsize < 8]
    return tuple(
        f"{s.letter} runs in {s.run.dtype}: differences below the tolerance are not seen"
        for s in narrow
    )


def _adjoint_notes(one: Side, two: Side, diagnosis: Diagnosis) -> tuple[str, ...]:
    words = f"adjoint of a {one.run.adjoint_words}, of b {two.run.adjoint_words}"
    return (words, *((diagnosis.adjoint_note,) if diagnosis.adjoint_note else ()))


def _plainly(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plainly(entry) for key, entry in value.items()}
    if isinstance(value, tuple | list):
        return [_plainly(entry) for entry in value]
    if isinstance(value, complex):
        return [value.real, value.imag]
    return value

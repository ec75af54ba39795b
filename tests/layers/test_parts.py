"""Operators are taken apart, and put together again, into the same map."""

import re

import numpy as np
import pytest

import linconv as lc
from linconv.errors import LinconvError
from linconv.layers.chain import chained
from linconv.layers.parts import parts
from linconv.layers.steps import steps
from linconv.linear_map import Product
from linconv.testing import assert_same_map

RNG = np.random.default_rng(0)
KERNEL = RNG.standard_normal((3, 2, 4, 6))
CONV = lc.Conv(KERNEL, (7, 8, 4), padding=1)
UP = lc.ConvTranspose(KERNEL, (4, 3, 6), stride=2)


def names(maps) -> list[str]:
    return [type(part).__name__ for part in maps]


@pytest.mark.parametrize(
    ("operator", "expected"),
    [
        (CONV, ["Conv"]),
        (lc.identity((3, 4)), []),
        (2 * CONV, ["Conv"]),
        (-UP, ["ConvTranspose"]),
        (3 * lc.identity((3, 4)), ["Diagonal"]),
        (0.5 * lc.Diagonal((3, 4), 2.0), ["Diagonal"]),
        (lc.Pad((3, 4), 0), []),
        (lc.Pad((3, 4), 1).T, ["Pad"]),
        (lc.Pad((3, 4), 1, "reflect").T, ["Transpose"]),
        (Product(*CONV.factors()), ["Pad", "Conv", "Decimate"]),
        (2 * (CONV @ (3 * lc.Pad((5, 6, 4), ((1, 1), (1, 1), (0, 0))))), ["Pad", "Conv"]),
        (CONV + CONV, ["Sum"]),
    ],
)
def test_parts_are_the_operator(operator, expected):
    maps = parts(operator)
    assert names(maps) == expected
    whole = Product(*reversed(maps)) if maps else lc.identity(operator.input_shape)
    assert_same_map(whole, operator)


def pads(op, *pairs):
    return lc.Pad(op.output_shape, (*pairs, (0, 0)))


@pytest.mark.parametrize(
    ("operator", "expected"),
    [
        (CONV @ lc.Pad((5, 6, 4), ((1, 1), (0, 2), (0, 0))), ["Conv"]),
        (CONV @ lc.Pad((9, 9, 4), ((-1, -1), (0, -1), (0, 0))), ["Pad", "Conv"]),
        (lc.Conv(KERNEL, (7, 8, 4)) @ lc.Pad((9, 9, 4), ((-1, -1), (0, -1), (0, 0))), ["Conv"]),
        (
            lc.Conv(KERNEL, (7, 8, 4)) @ lc.Pad((5, 6, 4), ((1, 1), (1, 1), (0, 0)), "reflect"),
            ["Conv"],
        ),
        (CONV @ lc.Pad((5, 6, 4), ((1, 1), (1, 1), (0, 0)), "reflect"), ["Pad", "Conv"]),
        (pads(UP, (-1, 0), (0, -2)) @ UP, ["ConvTranspose"]),
        (pads(UP, (1, 0), (0, 2)) @ UP, ["ConvTranspose"]),
        (
            lc.Pad(UP.output_shape, ((1, 1), (0, 0), (0, 0)), "circular") @ UP,
            ["ConvTranspose", "Pad"],
        ),
        (lc.Conv(KERNEL, (7, 8, 4)) @ lc.Pad((7, 8, 3), ((0, 0), (0, 0), (0, 1))), ["Pad", "Conv"]),
        (lc.Diagonal(CONV.output_shape, RNG.standard_normal(6)) @ CONV, ["Conv", "Conv"]),
    ],
)
def test_pads_join_the_convolutions_beside_them_where_that_is_exact(operator, expected):
    made = steps(lc.Layer(operator), "Keras").steps
    assert names(made) == expected
    assert_same_map(Product(*reversed(made)), operator)


def test_layers_in_a_row_are_one():
    x = RNG.standard_normal((2, 7, 8, 4))
    one = lc.Layer(CONV, RNG.standard_normal(6), None, 2, "first")
    two = lc.Layer(lc.Conv(RNG.standard_normal((2, 2, 6, 3)), CONV.output_shape), None, None, 2)
    act = lc.Layer(lc.identity(two.output_shape), None, "relu")
    whole = chained([one, two, act], kind="three", source="linconv")
    np.testing.assert_allclose(whole.apply(x), act.apply(two.apply(one.apply(x))), atol=1e-12)
    assert (whole.kind, whole.activation, whole.channel_axis) == ("three", "relu", 2)
    with pytest.raises(LinconvError, match=re.escape("only the last layer of a chain")):
        chained(
            [one, lc.Layer(lc.identity(CONV.output_shape), None, "relu"), two], kind="", source=""
        )

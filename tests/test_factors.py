"""The factors S, C and P of a convolution, and the exact transpose of each."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import linconv as lc
import reference
from cases import (
    CASES,
    DTYPES,
    GRID_SIZES,
    GRID_STRIDES,
    MODES,
    Case,
    assert_close,
    draw,
    grid,
    grid_answer,
)
from linconv.errors import GeometryError, ShapeError
from linconv.factors import Correlate, Decimate, Pad
from linconv.testing import dot_test
from strategies import legal_cases

NUMPY_MODES = {
    "zeros": "constant",
    "circular": "wrap",
    "reflect": "reflect",
    "replicate": "edge",
    "symmetric": "symmetric",
}


def arrays(seed: int, *shapes: tuple[int, ...], dtype: str = "float64") -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [draw(rng, shape, dtype) for shape in shapes]


# Pad


@pytest.mark.parametrize("mode", MODES)
def test_pad_agrees_with_numpy(mode):
    for shape in ((4,), (3, 5), (3, 4, 2)):
        pads = ((2, 1), (0, 3), (1, 1))[: len(shape)]
        (x,) = arrays(1, shape)
        assert_close(Pad(shape, pads, mode)(x), np.pad(x, pads, mode=NUMPY_MODES[mode]))


@pytest.mark.parametrize("mode", MODES)
def test_transpose_of_pad_adds_every_sample_where_it_came_from(mode):
    for size, low, high in product((2, 3, 5), (-1, 0, 1, 2), (-1, 0, 1, 2)):
        most = {"reflect": size - 1}.get(mode, size)
        if max(low, high) > most or size + low + high < 1:
            continue
        op = Pad((size,), ((low, high),), mode)
        (y,) = arrays(2, op.output_shape)
        expected = np.zeros(size)
        for place, value in zip(range(-low, size + high), y, strict=True):
            source = reference.source(place, size, mode)
            if source is not None:
                expected[source] += value
        assert_close(op.T(y), expected, where=f"{size} {low} {high}")


@given(st.data())
def test_pad_of_any_kind_passes_the_dot_test(data):
    ndim = data.draw(st.integers(1, 3))
    shape = tuple(data.draw(st.integers(1, 5)) for _ in range(ndim))
    modes = tuple(data.draw(st.sampled_from(MODES)) for _ in range(ndim))
    pads = []
    for size, mode in zip(shape, modes, strict=True):
        most = {"reflect": size - 1, "symmetric": size}.get(mode, 6)
        low = data.draw(st.integers(1 - size, most))
        pads.append((low, data.draw(st.integers(max(1 - size - low, 1 - size), most))))
    op = Pad(shape, tuple(pads), modes)
    dot_test(op)
    assert_close(
        op.sparse().toarray() @ np.arange(op.shape[1]),
        op(np.arange(op.shape[1]).reshape(shape)).ravel(),
    )


def test_crop_takes_a_part_and_its_transpose_puts_it_back():
    x = np.arange(20.0).reshape(4, 5)
    op = Pad((4, 5), ((-1, -2), (0, -1)))
    np.testing.assert_array_equal(op(x), x[1:2, :4])
    expected = np.zeros((4, 5))
    expected[1:2, :4] = x[1:2, :4]
    np.testing.assert_array_equal(op.T(op(x)), expected)


def test_pad_by_circular_turns_counts_the_turns():
    op = Pad((2,), 5, "circular")
    np.testing.assert_array_equal(op([1.0, 2.0]), np.resize([2.0, 1.0], 12))
    np.testing.assert_array_equal(op.T(np.ones(12)), [6, 6])


# Decimate


def test_decimate_keeps_the_first_of_every_stride():
    for shape, stride in (((7,), 3), ((5, 6), (2, 3)), ((4, 5, 3), (1, 2, 4))):
        (x,) = arrays(3, shape)
        op = Decimate(shape, stride)
        steps = reference.per_axis(stride, len(shape))
        kept = tuple(slice(None, None, s) for s in steps)
        np.testing.assert_array_equal(op(x), x[kept])
        (y,) = arrays(4, op.output_shape)
        dilated = np.zeros(shape)
        dilated[kept] = y
        np.testing.assert_array_equal(op.T(y), dilated)
        np.testing.assert_array_equal(op(op.T(y)), y)


# Correlate


def test_correlate_is_the_loops_at_stride_one():
    case = Case("correlate", (6, 5), (3, 2), dilation=(1, 2), groups=2, channels=(4, 2))
    kernel, x, y = case.arrays()
    op = Correlate(kernel, case.input_shape, dilation=(1, 2), groups=2)
    assert_close(op(x), case.expected(x, kernel))
    assert_close(op.T(y), case.expected_transpose(y, kernel))
    assert_close(op.matrix(), case.expected_matrix(kernel))


# The product


def check_factors(case: Case, kernel, x, y, image, pullback) -> None:
    op = lc.Conv(kernel, case.input_shape, **case.options)
    S, C, P = op.factors()
    made = S @ C @ P
    assert made.dtype == op.dtype == np.dtype(case.dtype), case.name
    assert_close(made(x), image, case.dtype, case.name)
    assert_close(made.T(y), pullback, case.dtype, case.name)
    assert_close(P.T(C.T(S.T(y))), pullback, case.dtype, case.name)


@pytest.mark.parametrize("stride", GRID_STRIDES)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("rank", GRID_SIZES)
def test_factors_over_the_full_grid(rank, mode, stride):
    for case in grid(rank, mode, stride, ("complex64",)):
        check_factors(case, *grid_answer(case))


@given(legal_cases())
def test_factors_of_any_legal_layer(case):
    kernel, x, y = case.arrays()
    check_factors(case, kernel, x, y, case.expected(x, kernel), case.expected_transpose(y, kernel))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_matrices_of_the_factors_multiply_to_the_matrix(case):
    kernel, _, _ = case.arrays()
    op = lc.Conv(kernel, case.input_shape, **case.options)
    S, C, P = op.factors()
    expected = case.expected_matrix(kernel)
    assert_close(S.matrix() @ C.matrix() @ P.matrix(), expected, case.dtype, case.name)
    assert_close((S @ C @ P).sparse().toarray(), expected, case.dtype, case.name)
    for factor in (S, C, P):
        dot_test(factor)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_factors_of_the_transposed_layer(case):
    kernel, _, _ = case.arrays()
    up = lc.Conv(kernel, case.input_shape, **case.options).T
    product_of_factors = None
    for factor in up.factors():
        product_of_factors = factor if product_of_factors is None else product_of_factors @ factor
    assert_close(product_of_factors.matrix(), case.expected_matrix(kernel).T, case.dtype, case.name)


@pytest.mark.parametrize("dtype", DTYPES)
def test_pad_and_decimate_widen_nothing(dtype):
    (x,) = arrays(5, (4, 6), dtype=dtype)
    for op in (Pad((4, 6), 1, "reflect"), Pad((4, 6), 2), Decimate((4, 6), 2)):
        assert op(x).dtype == op.T(op(x)).dtype == np.dtype(dtype)


# What does not fit


def test_pad_refuses_what_a_border_cannot_give():
    with pytest.raises(
        GeometryError, match=r"reflect padding must be at most 2 .*\(3, 0\) at axis 1"
    ):
        Pad((9, 3), ((0, 0), (3, 0)), "reflect")
    with pytest.raises(GeometryError, match=r"symmetric padding must be at most 3.*\(0, 4\)"):
        Pad((3,), ((0, 4),), "symmetric")


def test_decimate_refuses_a_stride_that_is_none():
    with pytest.raises(GeometryError, match="stride of axis 1 must be at least 1; got 0"):
        Decimate((4, 4), (1, 0))


def test_correlate_refuses_a_kernel_that_does_not_fit():
    with pytest.raises(GeometryError, match=r"kernel size 5 .* on padded size 4 .* at axis 0"):
        Correlate(np.ones((5, 1)), (4, 4))
    with pytest.raises(ShapeError, match=r"in_channels / groups = 4 / 1.*got 2 .*groups=2"):
        Correlate(np.ones((3, 3, 2, 6)), (8, 8, 4))

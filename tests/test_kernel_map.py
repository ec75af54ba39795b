"""The kernel map: linear in the kernel, its transpose the gradient with respect to the kernel."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given

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
from strategies import legal_cases


@pytest.mark.parametrize("stride", GRID_STRIDES, ids="stride{}".format)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("rank", GRID_SIZES, ids="{}d".format)
def test_kernel_maps_over_the_full_grid(rank, mode, stride):
    for case in grid(rank, mode, stride, ("complex64",)):
        kernel, x, y, image, pullback = grid_answer(case)
        op = lc.Conv(kernel, case.input_shape, **case.options)
        forward, backward = op.as_function_of_kernel(x), op.T.as_function_of_kernel(y)
        assert_close(forward(kernel), image, case.dtype, case.name)
        assert_close(backward(kernel), pullback, case.dtype, case.name)
        # <K k, y> = <k, K'y> for the plain product; the loops' own gradient is compared below
        sums = np.sum(forward.T(y) * kernel), np.sum(image * y)
        assert_close(*map(np.asarray, sums), case.dtype, case.name)
        sums = np.sum(backward.T(x) * kernel), np.sum(pullback * x)
        assert_close(*map(np.asarray, sums), case.dtype, case.name)


@given(legal_cases())
def test_gradient_of_any_legal_layer(case):
    check_gradient(case)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_gradient_of_the_cases(case):
    check_gradient(case)


def check_gradient(case: Case) -> None:
    kernel, x, y = case.arrays()
    op = lc.Conv(kernel, case.input_shape, **case.options)
    gradient = reference.kernel_gradient(
        case.layer,
        case.with_channels(x),
        case.with_channels(y),
        case.with_channels(kernel, kernel=True),
    ).reshape(kernel.shape)
    assert_close(op.as_function_of_kernel(x).T(y), gradient, case.dtype, str(case))
    assert_close(op.T.as_function_of_kernel(y).T(x), gradient, case.dtype, str(case))


@pytest.mark.parametrize("wide", ["float64", "complex128"])
def test_kernel_maps_promote_as_in_numpy(wide):
    """The fixed array may be narrower than the kernel: nothing of the kernel may be lost."""
    case = Case("promotion", (5, 4), (3, 2), channels=(2, 3), padding="same", stride=2)
    _, x, y = case.arrays()
    kernel = np.random.default_rng(2).standard_normal((3, 2, 2, 3)).astype(wide)
    if wide == "complex128":
        kernel = kernel * (0.3 + 0.7j)
    op = lc.Conv(kernel.real.astype(np.float32), case.input_shape, **case.options)
    for of_kernel, expected in (
        (op.as_function_of_kernel(x.astype(np.float32)), case.expected(x, kernel)),
        (op.T.as_function_of_kernel(y.astype(np.float32)), case.expected_transpose(y, kernel)),
    ):
        assert of_kernel.dtype == np.float32
        assert of_kernel(kernel).dtype == np.dtype(wide)
        assert_close(of_kernel(kernel), expected, wide)
        other = draw(np.random.default_rng(3), expected.shape, wide)
        assert of_kernel.T(other).dtype == np.dtype(wide)
        sums = np.sum(of_kernel.T(other) * kernel), np.sum(expected * other)
        assert_close(*map(np.asarray, sums), wide)


def test_fixed_input_of_the_kernel_map_is_copied():
    op = lc.Conv(np.ones((2, 2)), (3, 3))
    x = np.ones((3, 3))
    of_kernel = op.as_function_of_kernel(x)
    x[...] = 5
    np.testing.assert_array_equal(of_kernel(np.ones((2, 2))), np.full((2, 2), 4.0))


@pytest.mark.parametrize("dtype", DTYPES)
def test_kernel_map_of_a_batch_is_the_design_matrix(dtype):
    case = Case("batch", (5, 4), (3, 2), stride=2, padding="same", channels=(4, 2), groups=2)
    case = dataclasses.replace(case, dtype=dtype)
    kernel, x, y = case.arrays(2, 3)
    op = lc.Conv(kernel, case.input_shape, **case.options)
    of_kernel = op.as_function_of_kernel(x)
    assert of_kernel.input_shape == kernel.shape
    assert of_kernel.output_shape == (2, 3, *op.output_shape)
    assert of_kernel.dtype == np.dtype(dtype)
    assert_close(of_kernel(kernel), op(x), dtype)
    assert_close(of_kernel.matrix() @ kernel.ravel(), op(x).ravel(), dtype)
    assert_close(of_kernel.T(y), (of_kernel.matrix().T @ y.ravel()).reshape(kernel.shape), dtype)
    kernels = draw(np.random.default_rng(4), (3, *kernel.shape), dtype)
    one_by_one = [lc.Conv(k, case.input_shape, **case.options)(x) for k in kernels]
    assert_close(of_kernel(kernels), np.stack(one_by_one), dtype)

"""Conv and ConvTranspose: apply == loops == matrix @ vec, and every identity between them."""

import copy
import dataclasses
import pickle

import numpy as np
import pytest
from hypothesis import given

import linconv as lc
import reference
from cases import (
    BY_NAME,
    CASES,
    FORMATS,
    GRID_SIZES,
    GRID_STRIDES,
    MODES,
    NAMES,
    Case,
    assert_close,
    draw,
    grid,
    grid_answer,
)
from linconv.testing import dot_test
from strategies import legal_cases

BY_CASE = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
BY_GRID = [
    pytest.mark.parametrize("stride", GRID_STRIDES, ids="stride{}".format),
    pytest.mark.parametrize("mode", MODES),
    pytest.mark.parametrize("rank", GRID_SIZES, ids="{}d".format),
]


def by_grid(test):
    for mark in BY_GRID:
        test = mark(test)
    return test


def conv(case: Case) -> tuple[lc.Conv, np.ndarray, np.ndarray, np.ndarray]:
    kernel, x, y = case.arrays()
    return lc.Conv(kernel, case.input_shape, **case.options), kernel, x, y


# The definition


@by_grid
def test_application_over_the_full_grid(rank, mode, stride):
    """Both directions against the loops: 448 layers in each of these tests."""
    for case in grid(rank, mode, stride):
        kernel, x, y, image, pullback = grid_answer(case)
        op = lc.Conv(kernel, case.input_shape, **case.options)
        forward, backward = op(x), op.T(y)
        assert op.dtype == forward.dtype == backward.dtype == np.dtype(case.dtype), case.name
        assert_close(forward, image, case.dtype, case.name)
        assert_close(backward, pullback, case.dtype, case.name)


@by_grid
def test_matrix_times_vector_over_the_full_grid(rank, mode, stride):
    """A generic vector: its image is right only if every row of the matrix is."""
    for case in grid(rank, mode, stride, ("complex128",)):
        kernel, x, y, image, pullback = grid_answer(case)
        matrix = lc.Conv(kernel, case.input_shape, **case.options).sparse()
        assert matrix.dtype == np.dtype(case.dtype), case.name
        assert_close(matrix @ x.ravel(), image.ravel(), case.dtype, case.name)
        assert_close(y.ravel() @ matrix, pullback.ravel(), case.dtype, case.name)


@by_grid
def test_ordinary_convolution_of_the_dilated_input_over_the_full_grid(rank, mode, stride):
    for case in grid(rank, mode, stride, ("complex64",)):
        kernel, _, y, _, pullback = grid_answer(case)
        op = lc.Conv(kernel, case.input_shape, **case.options)
        assert_close(op.T.as_conv()(y), pullback, case.dtype, case.name)


@given(legal_cases())
def test_any_legal_layer(case):
    op, kernel, x, y = conv(case)
    image, pullback = case.expected(x, kernel), case.expected_transpose(y, kernel)
    sparse = op.sparse()
    assert (op.input_shape, op.output_shape) == (case.input_shape, case.output_shape)
    for made in (
        op(x),
        (sparse @ x.ravel()).reshape(image.shape),
        op.as_function_of_kernel(x)(kernel),
    ):
        assert_close(made, image, case.dtype, str(case))
    for made in (
        op.T(y),
        (sparse.T @ y.ravel()).reshape(pullback.shape),
        op.T.as_conv()(y),
        op.T.as_function_of_kernel(y)(kernel),
    ):
        assert_close(made, pullback, case.dtype, str(case))
    dot_test(op)


@BY_CASE
def test_dot_test_of_everything_made_of_a_layer(case):
    op, _, x, y = conv(case)
    made = [
        op,
        op.T,
        op.H,
        op.T.as_conv(),
        op.as_function_of_kernel(x),
        op.T.as_function_of_kernel(y),
        op.H @ op,
    ]
    for each in made:
        dot_test(each)


# Transposes


@BY_CASE
def test_transpose_is_the_transposed_layer_with_the_same_kernel(case):
    op, kernel, _, y = conv(case)
    assert isinstance(op.T, lc.ConvTranspose)
    assert isinstance(op.T.T, lc.Conv)
    assert op.T.kernel is op.kernel
    assert op.T.geometry == op.geometry
    np.testing.assert_array_equal(op.kernel, kernel)
    # the same layer built from its own options, as far as they leave no window unread
    g = op.geometry
    padding = tuple(
        (low, high - left) for (low, high), left in zip(g.padding, g.leftover, strict=True)
    )
    if set(g.padding_mode) == {"zeros"}:
        up = lc.ConvTranspose(
            kernel,
            op.output_shape,
            stride=case.stride,
            padding=padding,
            dilation=case.dilation,
            groups=case.groups,
            data_format=case.data_format,
        )
        assert (up.input_shape, up.output_shape) == (op.output_shape, op.input_shape)
        assert_close(up(y), op.T(y), case.dtype)


@pytest.mark.parametrize("data_format", FORMATS)
@pytest.mark.parametrize("padding", [*NAMES, 0, 1, ((1, 0), (-1, 2))], ids=str)
def test_transposed_layer_scatters_as_the_loops_do(padding, data_format):
    """Built from its own side, over stride, dilation, groups and output padding."""
    for stride, dilation, groups in (
        (1, 1, 1),
        (2, 1, 2),
        (3, 1, 1),
        (2, 3, 2),
        ((1, 3), (2, 1), 1),
    ):
        steps, spacing = reference.per_axis(stride, 2), reference.per_axis(dilation, 2)
        extras = [None, 0]
        extras += [tuple(max(s, d) - 1 for s, d in zip(steps, spacing, strict=True))]
        for extra in extras:
            case = Case("up", (6, 5), (3, 2))
            rng = np.random.default_rng(9)
            # kernel of the convolution: its inputs are the 2 outputs of the transposed layer
            kernel = draw(rng, (3, 2, 2 // groups, 4), "float64")
            x = draw(rng, (6, 5, 4), "float64")
            if data_format == "channels_first":
                kernel, x = np.moveaxis(kernel, (-1, -2), (0, 1)), np.moveaxis(x, -1, 0)
            up = lc.ConvTranspose(
                kernel,
                x.shape,
                stride=stride,
                padding=padding,
                dilation=dilation,
                groups=groups,
                output_padding=extra,
                data_format=data_format,
            )
            layer = transposed_layer(case, stride, padding, dilation, groups, extra, data_format)
            assert reference.output_size(layer) == (6, 5)
            expected = reference.convolve_transpose(layer, x, kernel)
            assert_close(up(x), expected, where=f"{stride} {dilation} {groups} {extra}")
            dot_test(up)


def transposed_layer(case, stride, padding, dilation, groups, extra, data_format):
    """The convolution that the transposed layer transposes, by the published size rules."""
    steps, spacing = reference.per_axis(stride, 2), reference.per_axis(dilation, 2)
    sizes, pads = [], []
    for axis in range(2):
        n, k, s, d = case.input_size[axis], case.kernel_size[axis], steps[axis], spacing[axis]
        extent = (k - 1) * d + 1
        op = None if extra is None else reference.per_axis(extra, 2)[axis]
        if padding in ("same", "valid"):
            size, low = reference.transposed_same_or_valid(padding, n, k, s, d, op)
        elif padding == "same_lower":
            size, low = reference.transposed_same_or_valid("same", n, k, s, d, op)
            too_much = max((n - 1) * s + extent - size, 0)
            low = too_much - too_much // 2
        else:
            ((low, high),) = reference.resolve_padding(
                padding if isinstance(padding, str | int) else (padding[axis],),
                (n,),
                (k,),
                (s,),
                (d,),
            )
            size = (n - 1) * s + extent - low - high + (op or 0)
        # the windows must be n, whatever the output padding left unread at the end
        high = (n - 1) * s + extent - size - low
        sizes.append(size)
        pads.append((low, high))
    return reference.Layer(
        tuple(sizes),
        case.kernel_size,
        steps,
        tuple(pads),
        ("zeros", "zeros"),
        spacing,
        groups,
        data_format == "channels_last",
    )


@pytest.mark.parametrize("mode", MODES)
def test_transposed_layer_with_a_border_folds_it_back(mode):
    kernel = draw(np.random.default_rng(3), (3, 3), "float64")
    up = lc.ConvTranspose(kernel, (4, 5), stride=2, padding=1, padding_mode=mode)
    down = lc.Conv(kernel, up.output_shape, stride=2, padding=1, padding_mode=mode)
    assert_close(up.matrix(), down.matrix().T)
    layer = reference.Layer((7, 9), (3, 3), (2, 2), ((1, 1), (1, 1)), (mode, mode), (1, 1), 1, True)
    assert_close(up.matrix(), reference.matrix(layer, kernel[..., None, None]).T)


def test_plain_transpose_and_adjoint_of_complex_kernels():
    op, kernel, _, y = conv(BY_NAME["complex"])
    matrix = BY_NAME["complex"].expected_matrix(kernel)
    assert_close(op.T.matrix(), matrix.T)
    assert_close(op.H.matrix(), matrix.conj().T)
    assert_close(op.conj().matrix(), matrix.conj())
    assert_close(op.H(y).ravel(), matrix.conj().T @ y.ravel())
    assert np.abs(op.H(y) - op.T(y)).max() > 0.1
    np.testing.assert_array_equal(op.H.kernel, kernel.conj())


def test_real_adjoint_is_the_transpose():
    op, _, _, y = conv(BY_NAME["same_stride"])
    np.testing.assert_array_equal(op.H(y), op.T(y))
    assert isinstance(op.H, lc.ConvTranspose)


# The equivalent ordinary convolution


@BY_CASE
def test_parts_of_the_ordinary_convolution(case):
    op, kernel, _, y = conv(case)
    same = op.T.as_conv()
    expected = case.expected_transpose(y, kernel)
    assert (same.input_shape, same.output_shape) == (op.output_shape, op.input_shape)
    assert same.conv.geometry.stride == (1,) * case.ndim
    assert same.conv.geometry.padding == ((0, 0),) * case.ndim
    assert_close(same(y), expected, case.dtype)
    assert_close(same.fold(same.conv(same.prepared(y))), expected, case.dtype)
    assert_close(same.matrix(), case.expected_matrix(kernel).T, case.dtype)
    # dilated: the samples stand a stride apart, and nothing else does
    dilated = same.dilate(y)
    assert np.count_nonzero(dilated) == np.count_nonzero(y)
    steps = op.layout.join(op.geometry.stride, 1)
    np.testing.assert_array_equal(dilated[tuple(slice(None, None, s) for s in steps)], y)
    assert same.prepared(y).shape == same.conv.input_shape


def test_nan_and_inf_pass_through():
    x = np.zeros((5, 5))
    x[2, 2] = np.nan
    y = lc.Conv(np.ones((3, 3)), (5, 5), padding="same")(x)
    expected = np.zeros((5, 5), bool)
    expected[1:4, 1:4] = True
    np.testing.assert_array_equal(np.isnan(y), expected)
    x[2, 2] = np.inf
    y = lc.Conv(np.ones((3, 3)), (5, 5), padding="same")(x)
    np.testing.assert_array_equal(np.isinf(y), expected)
    up = lc.Conv(np.ones((3, 3)), (5, 5), padding="same").T(x)
    np.testing.assert_array_equal(np.isinf(up), expected)


# The objects


@BY_CASE
def test_layers_are_frozen_copied_and_shown(case):
    op, _, x, y = conv(case)
    for each, given_array in ((op, x), (op.T, y)):
        with pytest.raises(dataclasses.FrozenInstanceError, match="immutable; cannot set 'kernel'"):
            each.kernel = None
        for twin in (copy.deepcopy(each), pickle.loads(pickle.dumps(each))):
            assert twin.geometry == each.geometry
            np.testing.assert_array_equal(twin(given_array), each(given_array))
        assert type(each).__name__ in repr(each)
        assert f"{each.input_shape} -> {each.output_shape}" in repr(each)
        assert each.data_format == case.data_format


def test_layout_of_channels_decides_nothing_else():
    """The same layer in both layouts gives the same numbers, axes moved."""
    for name in ("everything", "depthwise", "same_stride"):
        case = BY_NAME[name]
        kernel, x, y = case.arrays()
        op = lc.Conv(kernel, case.input_shape, **case.options)
        last = case.data_format == "channels_last"
        to_other = (-1, 0) if last else (0, -1)
        swapped = (
            np.moveaxis(kernel, (-1, -2), (0, 1)) if last else np.moveaxis(kernel, (1, 0), (-2, -1))
        )
        other_format = "channels_first" if last else "channels_last"
        shape = np.moveaxis(x, *to_other).shape
        other = lc.Conv(swapped, shape, **case.options | {"data_format": other_format})
        assert_close(np.moveaxis(op(x), *to_other), other(np.moveaxis(x, *to_other)))
        assert_close(np.moveaxis(op.T(y), *to_other), other.T(np.moveaxis(y, *to_other)))

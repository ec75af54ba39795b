"""Arrays of every dtype and memory layout: what they are computed in, and what comes back."""

import numpy as np
import pytest

import linconv as lc
from cases import DTYPES, FORMATS, Case, assert_close
from linconv.engines.arrays import as_array, cast_back, computed_in, working_dtype
from linconv.errors import DTypeError

# What an engine is given


@pytest.mark.parametrize(
    ("given_dtype", "working"),
    [
        *[(d, d) for d in DTYPES],
        ("float16", "float32"),
        *[(d, "float64") for d in ("int8", "uint8", "int32", "uint64", "int64", "bool")],
        (">f4", "float32"),
        (">f8", "float64"),
        (">c16", "complex128"),
        (">i2", "float64"),
    ],
)
def test_dtype_that_is_computed_in(given_dtype, working):
    found = working_dtype("x", np.dtype(given_dtype))
    assert found == np.dtype(working)
    assert found.isnative


def test_bfloat16_is_computed_in_single_precision():
    ml_dtypes = pytest.importorskip("ml_dtypes", reason="bfloat16 comes with ml_dtypes")
    bfloat16 = np.dtype(ml_dtypes.bfloat16)
    assert working_dtype("x", bfloat16) == np.float32
    assert cast_back(np.ones(2, np.float32), bfloat16).dtype == bfloat16
    assert cast_back(np.ones(2, np.complex64), bfloat16).dtype == np.complex64


@pytest.mark.parametrize(
    "value",
    [
        np.array([1, "a"], dtype=object),
        np.array(["1", "2"]),
        np.array([b"1"]),
        np.array(["2024-01-01"], dtype="datetime64[D]"),
        np.array([1], dtype="timedelta64[s]"),
        np.zeros(2, dtype=[("a", "f8")]),
        *([np.zeros(2, np.longdouble)] if np.longdouble(0).nbytes > 8 else []),
        *([np.zeros(2, np.clongdouble)] if np.longdouble(0).nbytes > 8 else []),
    ],
    ids=lambda value: value.dtype.kind + str(value.dtype.itemsize),
)
def test_kinds_that_cannot_be_computed_with_are_refused_by_name(value):
    with pytest.raises(DTypeError, match=r"^the image must hold .* got dtype .*\.astype\("):
        as_array("the image", value)


def test_ragged_lists_are_refused():
    with pytest.raises(DTypeError, match="x must be a rectangular array.*got list.*equally long"):
        as_array("x", [[1, 2], [3]])


def test_arrays_are_taken_without_a_copy_where_they_can_be():
    x = np.arange(3.0)
    assert as_array("x", x) is x
    assert computed_in(np.dtype(np.float64), x) is x
    assert computed_in(np.dtype(np.float32), x).dtype == np.float64
    assert computed_in(np.dtype(np.complex64), x).dtype == np.complex128
    assert computed_in(np.dtype(np.float32), x.astype(np.float16)).dtype == np.float32


# What a user gives


def test_dtype_rule_of_application():
    """What is given, the kernel's dtype, and what comes back."""
    rows = [
        ("float32", "float32", "float32"),
        ("float64", "float32", "float64"),
        ("float32", "float64", "float64"),
        ("float32", "complex64", "complex64"),
        ("float64", "complex64", "complex128"),
        ("complex64", "float64", "complex128"),
        ("float16", "float32", "float16"),
        ("float16", "float64", "float16"),
        ("int8", "float32", "float64"),
        ("uint8", "float64", "float64"),
        ("int64", "float32", "float64"),
        ("bool", "float32", "float64"),
        ("bool", "complex64", "complex128"),
        (">f4", "float32", "float32"),
        (">f8", "float64", "float64"),
        (">i4", "float64", "float64"),
    ]
    rng = np.random.default_rng(8)
    for given_dtype, kernel_dtype, wanted in rows:
        kernel = rng.integers(-3, 4, (3, 2)).astype(kernel_dtype)
        x = rng.integers(0, 2, (4, 5)).astype(given_dtype)
        op = lc.Conv(kernel, (4, 5), padding="same")
        result = op(x)
        where = f"{given_dtype} by {kernel_dtype}"
        assert result.dtype == np.dtype(wanted), where
        assert result.dtype.isnative, where
        expected = lc.Conv(kernel.astype(complex), (4, 5), padding="same")(x.astype(complex))
        np.testing.assert_array_equal(result, expected, err_msg=where)  # small whole numbers
        assert op.T(x).dtype == np.dtype(wanted), where


@pytest.mark.parametrize(
    ("stored", "computed"),
    [("float16", "float32"), ("int8", "float64"), ("bool", "float64"), (">f8", "float64")],
)
def test_dtype_of_the_kernel(stored, computed):
    kernel = np.array([[1, 0], [1, 1]]).astype(stored)
    op = lc.Conv(kernel, (3, 3))
    assert op.dtype == op.kernel.dtype == op.matrix().dtype == np.dtype(computed)
    np.testing.assert_array_equal(op.kernel, kernel)
    assert lc.ConvTranspose(kernel, (3, 3)).dtype == np.dtype(computed)


def test_half_precision_is_computed_in_single():
    """2048 + 1 + 1 is 2050; in half precision each 1 would be lost."""
    x = np.array([2048, 1, 1], np.float16)
    assert lc.Conv(np.ones(3, np.float16), (3,))(x) == np.float16(2050)
    assert np.float16(2048) + np.float16(1) == np.float16(2048)


def test_bfloat16_is_computed_in_single_and_cast_back():
    ml_dtypes = pytest.importorskip("ml_dtypes", reason="bfloat16 comes with ml_dtypes")
    x = np.array([256, 1, 1], ml_dtypes.bfloat16)
    op = lc.Conv(np.ones(3, ml_dtypes.bfloat16), (3,))
    assert op.dtype == np.float32
    assert op(x).dtype == ml_dtypes.bfloat16
    assert op(x) == ml_dtypes.bfloat16(258)
    assert op.T(op(x)).dtype == ml_dtypes.bfloat16


@pytest.mark.parametrize("data_format", FORMATS)
def test_arrays_of_every_memory_layout(data_format):
    case = Case(
        "memory", (5, 6), (3, 2), channels=(4, 2), groups=2, padding=1, data_format=data_format
    )
    kernel, x, y = case.arrays(2)
    op = lc.Conv(kernel, case.input_shape, **case.options)
    expected, pullback = op(x), op.T(y)

    def variants(a):
        flipped = tuple(slice(None, None, -1) for _ in a.shape)
        frozen = a.copy()
        frozen.flags.writeable = False
        return (
            frozen,
            a[flipped].copy()[flipped],
            np.repeat(a, 2, axis=0)[::2],
            np.asfortranarray(a),
            a.astype(a.dtype.newbyteorder()),
        )

    for x_view, y_view, kernel_view in zip(variants(x), variants(y), variants(kernel), strict=True):
        other = lc.Conv(kernel_view, case.input_shape, **case.options)
        assert_close(other(x_view), expected)
        assert_close(other.T(y_view), pullback)
        assert other(x_view).dtype.isnative
    broadcast = np.broadcast_to(x[0], x.shape)
    assert_close(op(broadcast), np.stack([expected[0]] * 2))


def test_lists_and_numbers_are_arrays():
    op = lc.Conv([[1, 2], [3, 4]], [2, 3])
    assert_close(op([[1, 0, 0], [0, 0, 1]]), np.array([[1.0, 4.0]]))
    assert op.input_shape == (2, 3)


def test_kernel_is_copied_and_read_only():
    kernel = np.ones((2, 2))
    op, up = lc.Conv(kernel, (3, 3)), lc.ConvTranspose(kernel, (3, 3))
    kernel[...] = 5
    for each in (op, up):
        np.testing.assert_array_equal(each.kernel, np.ones((2, 2)))
        with pytest.raises(ValueError, match="read-only"):
            each.kernel[0, 0] = 2
    assert op(np.ones((3, 3)))[0, 0] == 4

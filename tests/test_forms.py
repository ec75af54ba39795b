"""Every equivalent computation is the same map; `compare` tells how far each is from exact."""

import json

import numpy as np
import pytest
from hypothesis import given

import linconv as lc
from cases import (
    BY_NAME,
    CASES,
    FORMATS,
    GRID_SIZES,
    GRID_STRIDES,
    MODES,
    Case,
    assert_close,
    draw,
    grid,
    grid_answer,
)
from linconv.engines import fft_engine
from linconv.engines.choice import paths
from linconv.errors import LinconvError
from linconv.factors import Correlate
from linconv.forms import DESCRIPTIONS, Im2col, Polyphase
from linconv.testing import assert_same_map, dot_test
from strategies import legal_cases


def names_of(op) -> list[str]:
    """The forms of a map: the known ones, the engines' paths, and those of a transpose."""
    _, rest = op.geometry.split_border()
    ways = paths(rest, op.layout.channels_last)
    names = ["direct", "matrix", "sparse", "im2col", "factors", *ways]
    return [*names, "dilated", "polyphase"] if isinstance(op, lc.ConvTranspose) else names


def check_forms(case: Case, kernel, x, y, image, pullback) -> None:
    op = lc.Conv(kernel, case.input_shape, **case.options)
    of_conv, of_transpose = lc.forms(op), lc.forms(op.T)
    assert list(of_conv) == names_of(op)
    assert list(of_transpose) == names_of(op.T)
    for name, form in of_conv.items():
        where = f"{case.name} {name}"
        assert form.dtype == form(x).dtype == op.dtype, where
        assert_close(form(x), image, case.dtype, where)
        assert_close(form.T(y), pullback, case.dtype, where)
    for name, form in of_transpose.items():
        where = f"{case.name} transposed {name}"
        assert form.dtype == form(y).dtype == op.dtype, where
        assert_close(form(y), pullback, case.dtype, where)
        assert_close(form.T(x), image, case.dtype, where)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_form_is_the_map(case):
    kernel, x, y = case.arrays()
    check_forms(case, kernel, x, y, case.expected(x, kernel), case.expected_transpose(y, kernel))
    op = lc.Conv(kernel, case.input_shape, **case.options)
    for each in (op, op.T):
        for form in lc.forms(each).values():
            assert_same_map(form, each)
            dot_test(form)
            assert_close(form.matrix(), each.matrix(), case.dtype, case.name)
            assert_close(form.H.matrix(), each.H.matrix(), case.dtype, case.name)


@pytest.mark.parametrize("stride", GRID_STRIDES, ids="stride{}".format)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("rank", GRID_SIZES, ids="{}d".format)
def test_forms_of_transposed_layers_over_the_grid(rank, mode, stride):
    """The forms that are computed in a way of their own, each against the loops."""
    for case in grid(rank, mode, stride, ("complex64",)):
        kernel, x, y, image, pullback = grid_answer(case)
        op = lc.Conv(kernel, case.input_shape, **case.options)
        S, C, P = op.factors()
        by_fft = Correlate.of(C.kernel, C.layout, C.geometry, path="fft")
        made = {
            "im2col": Im2col(op).T,
            "fft": (S @ by_fft @ P).T,
            "polyphase": Polyphase(op.T),
        }
        for name, form in made.items():
            assert_close(form(y), pullback, case.dtype, f"{case.name} {name}")
            assert_close(form.T(x), image, case.dtype, f"{case.name} {name}")


@given(legal_cases())
def test_forms_of_any_legal_layer(case):
    kernel, x, y = case.arrays()
    check_forms(case, kernel, x, y, case.expected(x, kernel), case.expected_transpose(y, kernel))


@pytest.mark.parametrize("data_format", FORMATS)
def test_forms_take_batches(data_format):
    case = Case(
        "form_batch", (5, 6), (3, 2), stride=2, padding="same", channels=(2, 4), groups=2,
        data_format=data_format,
    )  # fmt: skip
    kernel, x, y = case.arrays(2, 3)
    op = lc.Conv(kernel, case.input_shape, **case.options)
    for form in lc.forms(op).values():
        assert_close(form(x), op(x))
        assert form(x[:0]).shape == (0, 3, *op.output_shape)
    for form in lc.forms(op.T).values():
        assert_close(form(y), op.T(y))
        assert form(y[:0]).shape == (0, 3, *op.input_shape)


def test_forms_promote_wider_arrays():
    case = BY_NAME["single"]
    kernel, x, y = case.arrays()
    op = lc.Conv(kernel, case.input_shape, **case.options)
    wide = draw(np.random.default_rng(1), op.input_shape, "complex128")
    expected = case.expected(wide, kernel)
    for name, form in lc.forms(op).items():
        assert form(wide).dtype == np.complex128, name
        assert_close(form(wide), expected, where=name)
        assert form(x.astype(np.float16)).dtype == np.float16, name
    expected = case.expected_transpose(y.astype(np.float64), kernel)
    for name, form in lc.forms(op.T).items():
        assert form(y.astype(np.float64)).dtype == np.float64, name
        assert_close(form(y.astype(np.float64)), expected, where=name)


def test_comparison_measures_each_form():
    for op in (
        lc.Conv(draw(np.random.default_rng(2), (3, 3), "float32"), (12, 9), stride=2),
        lc.ConvTranspose(draw(np.random.default_rng(2), (3, 3, 2, 2), "float32"), (5, 4, 2)),
    ):
        result = lc.compare(op)
        names = names_of(op)
        assert [row.name for row in result.rows] == names
        assert result.skipped == {}
        for row in result.rows:
            assert 0 <= row.relative < 1e-5, row
            assert row.relative <= row.error or row.error == 0 or row.relative < 1e-5
            assert row.seconds > 0
        assert max(row.error for row in result.rows) > 0  # single precision is not exact
        text = str(result)
        for name in names:
            assert name in text
            assert DESCRIPTIONS[name] in text
        json.dumps(result.to_dict())
        assert result.to_dict()["rows"][0]["name"] == "direct"


def test_comparison_finds_a_wrong_form(monkeypatch):
    op = lc.Conv([1.0, 2.0, 4.0], (8,))
    right = fft_engine.correlate
    monkeypatch.setattr(fft_engine, "correlate", lambda *given: right(*given) + np.eye(6)[2] / 4)
    rows = {row.name: row for row in lc.compare(op, np.ones(8)).rows}
    assert rows["fft"].error == pytest.approx(0.25)
    assert rows["fft"].relative == pytest.approx(0.25 / 7)
    assert rows["direct"].error == 0


def test_comparison_of_a_given_batch():
    op = lc.Conv(np.ones((2, 2)), (4, 4))
    x = draw(np.random.default_rng(3), (2, 4, 4), "float64")
    assert all(row.error < 1e-12 for row in lc.compare(op, x).rows)
    assert all(row.error == 0 for row in lc.compare(op, np.zeros((4, 4))).rows)


def test_forms_that_do_not_fit_in_memory_are_left_out_and_named():
    op = lc.Conv(np.ones((3, 3), np.float32), (256, 256), padding="same")
    assert "matrix" not in lc.forms(op)
    result = lc.compare(op)
    assert [row.name for row in result.rows] == [n for n in names_of(op) if n != "matrix"]
    assert "16 GiB" in result.skipped["matrix"]
    assert "16 GiB" in str(result)
    assert result.to_dict()["skipped"] == result.skipped


def test_forms_are_those_of_a_layer():
    op = lc.Conv(np.ones((2, 2)), (4, 4))
    for function in (lc.forms, lc.compare):
        with pytest.raises(LinconvError, match="of a Conv or a ConvTranspose; got Product; take"):
            function(op.T @ op)

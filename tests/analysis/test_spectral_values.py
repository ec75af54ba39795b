"""What spectral functions return, and what they refuse."""

import copy
import json
import math
import operator
import pickle

import numpy as np
import pytest
import scipy

import linconv as lc
from linconv.analysis.spectral_values import SpectralValue, SpectralValues
from linconv.analysis.structure import all_values
from linconv.errors import DTypeError, GeometryError, LinconvError, ShapeError, SizeError

BOX = lc.Conv(np.ones(3), (9,), padding="same", padding_mode="circular")
NOTHING = lc.Conv(np.zeros((3, 3)), (4, 5))


@pytest.fixture
def rng():
    return np.random.default_rng(7)


def test_results_behave_as_what_they_hold(rng):
    op = lc.Conv([2.0, 7.0, -1.0], (20,), padding="same", padding_mode="circular")
    top, values = lc.norm(op), lc.svdvals(op)
    assert isinstance(top, SpectralValue)
    assert isinstance(values, SpectralValues)
    number = float(top)
    assert top + 1 == number + 1
    assert 1 - top == 1 - number
    assert 2 * top / 4 == 2 * number / 4
    assert 1 / top == 1 / number
    assert top**2 == number**2
    assert -top == -number
    assert abs(-top) == number
    assert 8 < top < 9
    assert top == values[0] == max(values)
    assert top != 3
    assert top >= top
    assert not top > top
    assert top <= 9
    assert round(top, 2) == 8.01
    assert f"{top:.3f}" == "8.006"
    assert str(top) == str(number)
    assert hash(top) == hash(number)
    assert np.sqrt(top) == np.sqrt(number)
    assert np.float64(2) * top == 2 * number
    assert isinstance(top * np.ones(3), np.ndarray)
    assert len(values) == 20
    assert (values > 5).all()
    assert values.values.dtype == np.asarray(values).dtype == np.float64
    assert list(values[:2]) == list(values)[:2]
    assert np.array(lc.rank(op)) == 20
    assert range(25)[lc.rank(op)] == 20
    assert bool(lc.rank(op))
    written = json.loads(json.dumps([top.to_dict(), values.to_dict(), lc.rank(op).to_dict()]))
    assert written[0]["value"] == number
    assert written[1]["values"] == list(values)
    assert written[2]["value"] == 20
    assert {"kind", "interval", "residual", "method", "cost"} <= written[0].keys()
    json.dumps(lc.condition(BOX).to_dict(), allow_nan=False)


BINARY = [
    operator.add,
    operator.sub,
    operator.mul,
    operator.truediv,
    operator.floordiv,
    operator.mod,
    operator.pow,
    divmod,
]


@pytest.mark.parametrize("operation", BINARY, ids=lambda operation: operation.__name__)
def test_every_operator_of_numbers_works_from_either_side(operation, rng):
    op = lc.Conv(rng.standard_normal(3), (20,), padding="same", padding_mode="circular")
    top, rank, values = lc.norm(op), lc.rank(op), lc.svdvals(op)
    for held, plain in ((top, float(top)), (rank, int(rank)), (values, np.array(values))):
        for other in (2, 1.5, np.float64(0.75)):
            assert np.array_equal(operation(held, other), operation(plain, other))
            assert np.array_equal(operation(other, held), operation(other, plain))
        assert np.array_equal(operation(held, held), operation(plain, plain))


def test_attributes_are_those_of_what_is_held(rng):
    op = lc.Conv(rng.standard_normal((3, 3)), (9, 8), padding="same", padding_mode="circular")
    top, values, array = lc.norm(op), lc.svdvals(op), np.array(lc.svdvals(op))
    assert (values.shape, values.size, values.ndim, values.dtype) == ((72,), 72, 1, np.float64)
    for name in ("max", "min", "sum", "mean", "std", "argmin", "cumsum", "tolist"):
        assert np.array_equal(getattr(values, name)(), getattr(array, name)())
    assert np.array_equal(values.reshape(9, 8), array.reshape(9, 8))
    assert values @ np.ones(72) == np.ones(72) @ values == array @ np.ones(72)
    assert (+top, +lc.rank(op)) == (float(top), 72)
    number = float(top)
    assert [f(top) for f in (math.floor, math.ceil, math.trunc, complex)] == [
        f(number) for f in (math.floor, math.ceil, math.trunc, complex)
    ]
    assert not (top + 1e-3).is_integer()
    assert lc.rank(op).bit_length() == 7
    for found in (top, lc.rank(op)):
        assert copy.copy(found) == pickle.loads(pickle.dumps(found)) == found
    assert (copy.copy(values) == array).all()
    with pytest.raises(AttributeError, match="has no attribute 'maximum'"):
        _ = values.maximum
    with pytest.raises(AttributeError, match="'SpectralValues' object has no attribute '_none'"):
        _ = values._none


def test_rank_tells_its_gap_and_takes_a_tolerance():
    op = lc.Conv(np.ones(3), (9,), padding="same", padding_mode="circular")
    found = lc.rank(op)
    assert found.interval == (7, 7)
    assert found.gap[0] > 0.5
    assert found.gap[1] < found.tolerance < 1e-13
    assert int(lc.rank(op, rtol=0.5)) == 3
    assert int(lc.rank(NOTHING)) == 0
    assert lc.rank(NOTHING).gap == (np.inf, 0.0)


def test_a_zero_map_too_large_to_decompose_has_zero_values_and_orthonormal_vectors():
    conv = lc.Conv(np.random.default_rng().standard_normal((3, 3)), (40, 41), padding=1)
    for op in (0 * conv, (0 * conv).T, lc.Conv(0 * conv.kernel, (40, 41), padding=1)):
        for which in ("largest", "smallest"):
            found = lc.svdvals(op, 3, which)
            assert found.values.tolist() == [0, 0, 0]
            assert found.interval[1].tolist() == [0, 0, 0]
            for side in zip(*map(found.vectors, range(3)), strict=True):
                rows = np.reshape(side, (3, -1))
                np.testing.assert_array_equal(rows @ rows.T, np.eye(3))
        assert float(lc.condition(op)) == np.inf


def test_estimates_of_extreme_scale():
    kernel = np.diag([1.0, 4, 1]) + 1j * np.random.default_rng().random((3, 3))
    near = lc.Conv(kernel, (40, 41))
    want = lc.svdvals(near, 1)
    assert want.kind == "estimate"
    for scale in (1e-280, 1e200):
        for op in (lc.Conv(kernel * scale, (40, 41)).T, scale * near):
            found = lc.svdvals(op, 1)
            assert found.values[0] / scale == pytest.approx(want.values[0], rel=1e-9)
            assert found.residual[0] < 1e-6
    low, same = (lc.svdvals(lc.Conv(k, (40, 41)), 1, "smallest") for k in (kernel * scale, kernel))
    assert low.values[0] / scale == pytest.approx(same.values[0], rel=1e-6)


def test_an_iteration_that_fails_says_what_to_do(monkeypatch):
    def fails(*arguments, **options):
        raise scipy.sparse.linalg.ArpackNoConvergence("no convergence", [], [])

    monkeypatch.setattr(scipy.sparse.linalg, "svds", fails)
    op = lc.Conv(np.random.default_rng().standard_normal((3, 3)), (40, 41))
    with pytest.raises(LinconvError, match=r"the 2 largest .* which failed: .*no conv.*; ask for"):
        lc.svdvals(op, 2)


def test_entries_that_are_not_finite_are_refused_wherever_they_stand():
    wraps = {"padding": "same", "padding_mode": "circular"}
    conv, periodic = lc.Conv(np.ones((3, 3)), (6, 6)), lc.Conv(np.ones((3, 3)), (6, 6), **wraps)
    functions = (lc.svdvals, lc.norm, lc.norm_bounds, lc.condition, lc.rank, lc.null_space)
    for value in (np.nan, -np.inf, complex(0, np.inf)):
        image = np.zeros((6, 6), complex if np.iscomplexobj(value) else float)
        image[2, 3] = value
        of_kernel = conv.as_function_of_kernel(image)
        for function in functions:
            for op in (value * conv, periodic + value * periodic, (value * periodic).T @ periodic):
                with pytest.raises(LinconvError, match="needs a map with a finite factor; got"):
                    function(op)
            for op in (of_kernel, of_kernel.T, lc.identity((4, 4)) @ of_kernel, 2 * of_kernel):
                with pytest.raises(LinconvError, match="the map must have finite entries; its tra"):
                    function(op)


def test_bad_input_is_refused():
    op = lc.Conv(np.ones(3), (9,))
    for function in (lc.svdvals, lc.norm, lc.condition, lc.rank, lc.null_space, lc.range_space):
        with pytest.raises(LinconvError, match=rf"{function.__name__} takes a map of linconv; got"):
            function(np.eye(3))
        with pytest.raises(LinconvError, match="needs a finite kernel; got 2 NaN or infinite val"):
            function(lc.identity((7,)) @ lc.Conv([np.nan, np.inf, 1.0], (9,)))
    with pytest.raises(GeometryError, match="which must be one of the known names; got 'larg'; d"):
        lc.svdvals(op, which="larg")
    with pytest.raises(GeometryError, match="k must be at least 1; got 0; use 1 or more"):
        lc.svdvals(op, 0)
    with pytest.raises(SizeError, match="k must be at most 7, the number of singular values, and"):
        lc.svdvals(op, 8)
    with pytest.raises(SizeError, match=r"got k=2 with which='all'; leave k out, or ask for fewer"):
        lc.svdvals(op, 2, "all")
    with pytest.raises(GeometryError, match="rtol must be a finite number of at least 0; got -1"):
        lc.rank(op, -1)
    with pytest.raises(ShapeError, match="that of one of the 7 values; got 7; use -7 to 6"):
        lc.svdvals(op).vectors(7)


def test_what_would_not_fit_is_refused(rng):
    op = lc.Conv(rng.standard_normal((3, 3, 2, 2)), (64, 64, 2), padding="same")
    with pytest.raises(SizeError, match=r"a dense decomposition of shape \(8192, 8192\) may take"):
        lc.svdvals(op, max_bytes=2**20)
    lost = lc.Conv(np.ones((2, 2)), (64, 64), stride=2)
    with pytest.raises(SizeError, match=r"a basis of 3072 arrays of shape \(64, 64\) may take"):
        lc.null_space(lost, max_bytes=2**20)


def test_vectors_that_were_not_computed_are_refused(rng):
    op = lc.Conv(rng.standard_normal(3), (1300,), padding="same")
    found = SpectralValues(np.ones(2), "exact", (np.ones(2), np.ones(2)), None, "a band", "none")
    with pytest.raises(LinconvError, match="need a method that computes them; got values by a ba"):
        found.vectors(0)
    assert all_values(op).vectors is not None


def test_a_norm_is_a_number_for_maps_and_arguments():
    op = lc.Conv(np.random.default_rng(6).standard_normal((3, 3)), (9, 8))
    norm, matrix = lc.norm(op), op.matrix()
    for scaled in (op / norm, op * (1 / norm), (1 / norm) * op, op / np.float64(float(norm))):
        np.testing.assert_allclose(scaled.matrix(), matrix / float(norm), rtol=1e-14)
    np.testing.assert_allclose((op * norm).matrix(), matrix * float(norm), rtol=1e-14)
    y = np.ones(op.output_shape)
    found = lc.solve(op, y, ridge=norm)
    np.testing.assert_array_equal(found.x, lc.solve(op, y, ridge=float(norm)).x)
    with pytest.raises(TypeError):
        op / np.ones(2)
    with pytest.raises(DTypeError, match="a map can be multiplied by a number; got str"):
        op / "2"

"""Singular values, norm, condition and rank, against dense decompositions."""

import json
from itertools import product
from pathlib import Path

import numpy as np
import pytest

import linconv as lc
from cases import CASES, GRID_CHANNELS, MODES, Case
from linconv.analysis import structure
from linconv.analysis.circular_norm import circular_norm
from linconv.analysis.iterative import estimated_norm, estimated_values
from linconv.analysis.separable import Separable, band_values, separable
from linconv.analysis.symbol import circulant

FIGURES = json.loads((Path(__file__).parents[1] / "data/published_figures.json").read_text())


def small_grid():
    """Every mode, stride, padding and kind of channels, on sizes a dense decomposition likes."""
    sizes = {1: ((6,), (3,)), 2: ((4, 6), (2, 3))}
    for rank, mode, stride, padding, channels in product(
        sizes, MODES, (1, 2), ("valid", "same", "full"), GRID_CHANNELS
    ):
        size, taps = sizes[rank]
        if mode in ("reflect", "symmetric") and padding == "full" and rank == 2:
            continue
        groups, pair = GRID_CHANNELS[channels]
        name = f"{rank}d-{mode}-stride{stride}-{padding}-{channels}"
        yield Case(name, size, taps, stride, padding, mode, 1, groups, pair)


ALL = {case.name: case for case in (*CASES, *small_grid())}


@pytest.fixture
def rng():
    return np.random.default_rng(7)


def conv(case):
    kernel, _, _ = case.arrays()
    return lc.Conv(kernel, case.input_shape, **case.options)


def dense_values(matrix):
    wide = np.asarray(matrix).astype(np.result_type(matrix, np.float64))
    return np.linalg.svd(wide, compute_uv=False)


def assert_values(found, expected):
    scale = max(1e-300, expected[0])
    assert np.asarray(found).shape == expected.shape
    np.testing.assert_allclose(np.asarray(found) / scale, expected / scale, atol=1e-13)


@pytest.mark.parametrize("name", ALL)
def test_values_are_those_of_the_matrix(name):
    case = ALL[name]
    op = conv(case)
    expected = dense_values(op.matrix())
    for each in (op, op.T, op.H):
        found = lc.svdvals(each)
        assert found.kind == "exact"
        assert_values(found, expected)
        low, high = found.interval
        assert ((low <= expected) & (expected <= high)).all()
    top = lc.norm(op)
    assert top.kind == "exact"
    assert float(top) == pytest.approx(expected[0], rel=1e-12, abs=1e-300)
    tolerance = max(op.shape) * np.finfo(float).eps * expected[0]
    assert int(lc.rank(op)) == (expected > tolerance).sum()


def periodic(rng, stride=1, groups=1, dtype=float, size=(6, 8), taps=(3, 2), channels=(4, 6)):
    kernel = rng.standard_normal((*taps, channels[0] // groups, channels[1])).astype(dtype)
    if np.dtype(dtype).kind == "c":
        kernel += 1j * rng.standard_normal(kernel.shape)
    return lc.Conv(
        kernel, (*size, channels[0]), stride=stride, groups=groups, padding="same",
        padding_mode="circular",
    )  # fmt: skip


def outer(rng, **options):
    taps = [rng.standard_normal(3) for _ in range(2)]
    kernel = np.einsum("a,b,io->abio", *taps, rng.standard_normal((2, 3)))
    return lc.Conv(kernel, (6, 7, 2), padding="same", **options)


def every_method(rng):
    """One map for each way to its singular values."""
    grouped = rng.standard_normal((3, 2, 2, 6))
    return {
        "circular": periodic(rng),
        "circular strided": periodic(rng, stride=2),
        "circular groups": periodic(rng, groups=2),
        "circular complex": periodic(rng, dtype=complex, stride=(2, 1)),
        "circular volume": lc.Conv(
            rng.standard_normal((2, 3, 2)), (2, 4, 3), padding="same", padding_mode="circular"
        ),
        "circular product": (lambda a: a.T @ a)(periodic(rng, stride=2)),
        "circular sum": (lambda a: a.T @ a + 2 * lc.identity(a.input_shape))(periodic(rng)),
        "separable": outer(rng),
        "separable strided": outer(rng, stride=2, padding_mode="reflect"),
        "separable transposed": outer(rng, stride=2, dilation=2).T,
        "separable bare": lc.Conv(np.outer([1.0, 2, 1], [1.0, 0, -1]), (5, 6), padding="same"),
        "groups": lc.Conv(grouped, (5, 4, 4), groups=2, padding="same"),
        "groups transposed": lc.Conv(grouped, (5, 4, 4), groups=2, stride=2).T,
        "dense": lc.Conv(rng.standard_normal((3, 3, 2, 3)), (5, 4, 2), padding="same"),
        "dense wide": lc.Conv(rng.standard_normal((3, 3)), (6, 6), stride=2),
        "dense product": lc.Conv(rng.standard_normal((3, 3)), (4, 4))
        @ lc.Conv(rng.standard_normal((3, 3)), (6, 6)),
        "padding": lc.Pad((4, 5), 2, "reflect"),
    }


METHODS = tuple(every_method(np.random.default_rng(0)))


@pytest.mark.parametrize("name", METHODS)
def test_every_method_gives_values_and_vectors(name, rng):
    op = every_method(rng)[name]
    matrix = op.matrix().astype(np.result_type(op.dtype, np.float64))
    found = lc.svdvals(op)
    assert_values(found, dense_values(matrix))
    for position in range(len(found)):
        left, right = found.vectors(position)
        assert left.dtype == right.dtype == matrix.dtype
        assert np.linalg.norm(left) == pytest.approx(1)
        assert np.linalg.norm(right) == pytest.approx(1)
        np.testing.assert_allclose(op(right), found[position] * left, atol=1e-11 * found[0])
        np.testing.assert_allclose(op.H(left), found[position] * right, atol=1e-11 * found[0])


@pytest.mark.parametrize("name", METHODS)
def test_vectors_are_orthogonal(name, rng):
    found = lc.svdvals(every_method(rng)[name])
    for side in (0, 1):
        rows = np.stack([found.vectors(i)[side].ravel() for i in range(len(found))])
        np.testing.assert_allclose(rows.conj() @ rows.T, np.eye(len(rows)), atol=1e-10)


@pytest.mark.parametrize("name", METHODS)
def test_null_space_and_range_are_complete_and_orthonormal(name, rng):
    op = every_method(rng)[name]
    assert_bases(op)


def assert_bases(op):
    matrix = op.matrix().astype(np.result_type(op.dtype, np.float64))
    values = dense_values(matrix)
    rank = int((values > max(op.shape) * np.finfo(float).eps * values[0]).sum())
    null, reach = lc.null_space(op), lc.range_space(op)
    assert null.shape == (op.shape[1] - rank, *op.input_shape)
    assert reach.shape == (rank, *op.output_shape)
    assert null.dtype == reach.dtype == matrix.dtype
    flat, out = null.reshape(-1, op.shape[1]), reach.reshape(-1, op.shape[0])
    np.testing.assert_allclose(flat.conj() @ flat.T, np.eye(len(flat)), atol=1e-12)
    np.testing.assert_allclose(out.conj() @ out.T, np.eye(rank), atol=1e-12)
    np.testing.assert_allclose(matrix @ flat.T, 0, atol=1e-12 * max(1, values[0]))
    np.testing.assert_allclose(out.T @ (out.conj() @ matrix), matrix, atol=1e-11)


LOSSY = {
    "box of 3 on 9": lc.Conv(np.ones(3), (9,), padding="same", padding_mode="circular"),
    "box of 2 on 8 x 6": lc.Conv(np.ones((2, 2)), (8, 6), padding="same", padding_mode="circular"),
    "decimation": lc.Conv(np.ones((2, 2)), (8, 6), stride=2),
    "channels that repeat": lc.Conv(
        np.ones((3, 3, 2, 2)), (4, 6, 2), padding="same", padding_mode="circular"
    ),
    "imaginary": lc.Conv([1j, 0, -1j], (8,), padding="same", padding_mode="circular"),
    "differences": lc.Conv([[1.0, -1.0]], (4, 4), padding="valid"),
    "derivative": lc.Conv(np.outer([1.0, 2, 1], [1.0, 0, -1]), (5, 5), padding="same"),
    "nothing": lc.Conv(np.zeros((3, 3)), (4, 5)),
    "no channel": lc.Conv(np.zeros((3, 1, 4)), (5, 2), groups=2),
    "strided circle": lc.Conv(
        np.ones((4, 4, 2, 3)), (8, 4, 2), stride=2, padding="same", padding_mode="circular"
    ),
}


@pytest.mark.parametrize("name", LOSSY)
def test_singular_maps(name):
    assert_bases(LOSSY[name])
    assert_bases(LOSSY[name].T)


def test_published_circular_spectra():
    for row in FIGURES["circular_spectra"]["rows"]:
        kernel = np.array(row["kernel"], float)
        op = lc.Conv(kernel, (20,) * kernel.ndim, padding="same", padding_mode="circular")
        values = lc.svdvals(op)
        assert values[0] == pytest.approx(row["sigma_max"], rel=1e-9)
        assert values[-1] == pytest.approx(row["sigma_min"], rel=1e-9, abs=5.1e-10)
        assert float(lc.norm(op)) == pytest.approx(row["sigma_max"], rel=1e-9)
        assert float(lc.condition(op)) == pytest.approx(row["condition"], rel=1e-9, abs=5.1e-7)


def test_box_blur_is_singular_where_its_zero_is_a_frequency():
    options = {"padding": "same", "padding_mode": "circular"}
    eight, nine = (lc.Conv(np.ones(3) / 3, (n,), **options) for n in (8, 9))
    assert (int(lc.rank(eight)), int(lc.rank(nine))) == (8, 7)
    assert lc.condition(eight) == pytest.approx(7.2426406871)
    assert float(lc.condition(nine)) == np.inf
    low, high = lc.condition(nine).interval
    assert low > 1e14
    assert high == np.inf


def test_norm_of_groups_is_their_maximum_and_no_product(rng):
    for options in ({}, {"padding_mode": "circular"}):
        kernel = rng.standard_normal((3, 3, 2, 6))
        op = lc.Conv(kernel, (6, 6, 4), groups=2, padding="same", **options)
        halves = [
            lc.Conv(kernel[..., part], (6, 6, 2), padding="same", **options)
            for part in (slice(0, 3), slice(3, 6))
        ]
        norms = [dense_values(half.matrix())[0] for half in halves]
        assert float(lc.norm(op)) == pytest.approx(max(norms))
        assert float(lc.norm(op)) != pytest.approx(norms[0] * norms[1])


def test_condition_is_of_singular_values_not_eigenvalues():
    op = lc.Conv([1.0, 10.0, 0.0], (6,), padding="same")
    op = op + lc.Conv([0.0, -9.0, 0.0], (6,), padding="same")  # ones on and below the diagonal
    eigenvalues = abs(np.linalg.eigvals(op.matrix()))
    assert eigenvalues.max() / eigenvalues.min() == pytest.approx(1)
    assert float(lc.condition(op)) == pytest.approx(np.linalg.cond(op.matrix()))
    assert lc.condition(op) > 5


def test_output_padding_adds_rows_that_count(rng):
    kernel = rng.standard_normal((3, 3))
    for extra in (0, 1):
        up = lc.ConvTranspose(kernel, (3, 3), stride=2, padding=1, output_padding=extra)
        assert_values(lc.svdvals(up), dense_values(up.matrix()))
        rows = up.matrix().reshape(*up.output_shape, -1)
        assert abs(rows[-1]).max() > 0


def test_padding_of_a_transpose_crops_and_shrinks_the_norm():
    kernel = np.ones((3, 3))
    whole = lc.ConvTranspose(kernel, (4, 4))
    cropped = lc.ConvTranspose(kernel, (4, 4), padding=2)
    assert cropped.output_shape == (2, 2)
    assert lc.norm(cropped) < lc.norm(whole)
    assert float(lc.norm(cropped)) == pytest.approx(dense_values(cropped.matrix())[0])


def test_clipping_and_cropping_a_kernel_is_no_projection(rng):
    """The norm of what clipping and cropping gives is measured, and is not the bound clipped to."""
    kernel = rng.standard_normal((3, 3))
    options = {"padding": "same", "padding_mode": "circular"}
    op = lc.Conv(kernel, (12, 12), **options)
    bound = float(lc.norm(op)) / 2
    response = np.fft.fft2(kernel, (12, 12))
    clipped = response * np.minimum(1, bound / abs(response))
    cropped = np.fft.ifft2(clipped).real[:3, :3]
    measured = float(lc.norm(lc.Conv(cropped, (12, 12), **options)))
    assert measured == pytest.approx(abs(np.fft.fft2(cropped, (12, 12))).max())
    assert abs(measured - bound) > 0.01 * bound


@pytest.mark.parametrize(("rows", "columns"), [(1500, 1500), (1400, 1300), (700, 1400)])
def test_bands_keep_their_smallest_values(rows, columns, rng):
    stride = columns // rows if columns > rows else 1
    low = (rows - columns + 2) // 2 if rows >= columns else 0
    op = lc.Conv(rng.standard_normal(3), (columns,), stride=stride, padding=((low, low),))
    matrix = op.sparse()
    expected = dense_values(matrix.toarray())
    np.testing.assert_allclose(band_values(matrix), expected, atol=1e-12 * expected[0])


def test_separable_kernels_are_recognised_and_others_are_not(rng):
    op = outer(rng)
    found = separable(op)
    np.testing.assert_allclose(
        np.kron(np.kron(found.factors[0].toarray(), found.factors[1].toarray()), found.factors[2]),
        op.matrix(),
        atol=1e-13,
    )
    kernel = op.kernel.copy()
    kernel[0, 0, 0, 0] += 1e-10
    assert separable(lc.Conv(kernel, op.input_shape, padding="same")) is None
    assert isinstance(separable(lc.Conv(np.zeros((2, 2)), (3, 3))), Separable)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("dtype", [float, complex])
def test_screened_norm_is_the_largest_of_all_blocks(stride, dtype, rng, monkeypatch):
    monkeypatch.setattr("linconv.analysis.circular_norm._CHEAP", 0.0)
    op = periodic(rng, stride=stride, dtype=dtype, size=(16, 12), taps=(3, 3), channels=(16, 20))
    for each in (op, op.T, op.T @ op):
        form = circulant(each)
        value, index, how, proven = circular_norm(form)
        expected = np.linalg.svd(form.blocks(), compute_uv=False)[..., 0].max(axis=-1)
        assert value == pytest.approx(expected.max(), rel=1e-13)
        assert expected[index] == pytest.approx(expected.max(), rel=1e-12)
        assert "screened" in how
        assert not proven
        found = lc.norm(each)
        assert found.kind == "estimate"
        assert found.interval[0] <= expected.max() < found.interval[1]
        assert circular_norm(form, every=True)[3]


ITERATED = {
    "tall": lambda rng: lc.Conv(rng.standard_normal((3, 3, 2, 5)), (9, 8, 2), padding="full"),
    "wide": lambda rng: lc.Conv(rng.standard_normal((3, 3, 4, 3)), (9, 8, 4), stride=2),
    "square": lambda rng: lc.Conv(rng.standard_normal((3, 3, 3, 3)), (7, 8, 3), padding="same"),
    "transposed": lambda rng: lc.Conv(rng.standard_normal((3, 3, 3, 2)), (8, 8, 3), stride=2).T,
    "reflect": lambda rng: lc.Conv(
        rng.standard_normal((3, 3)), (12, 11), padding="same", padding_mode="reflect"
    ),
    "complex": lambda rng: lc.Conv(
        rng.standard_normal((3, 3)) + 1j * rng.standard_normal((3, 3)), (11, 12), padding="same"
    ),
    "product": lambda rng: (
        lc.Conv(rng.standard_normal((3, 3)), (9, 9))
        @ lc.Conv(rng.standard_normal((3, 3)), (11, 11))
    ),
}


@pytest.mark.parametrize("name", ITERATED)
@pytest.mark.parametrize("which", ["largest", "smallest"])
def test_estimates_and_their_residuals(name, which, rng):
    op = ITERATED[name](rng)
    expected = dense_values(op.matrix())
    values, residuals, left, right, method = estimated_values(op, 4, which)
    wanted = expected[:4] if which == "largest" else expected[-4:]
    np.testing.assert_allclose(values, wanted, atol=1e-8 * expected[0])
    assert residuals.max() < 1e-6
    assert "Lanczos" in method
    for value, u, v in zip(values, left, right, strict=True):
        np.testing.assert_allclose(op.matvec(v), value * u, atol=1e-9 * expected[0])
        measured = np.linalg.norm(op.rmatvec(u) - value * v) / expected[0]
        assert measured < 1e-6


@pytest.mark.parametrize("name", ITERATED)
def test_estimated_norm_and_its_residual(name, rng):
    op = ITERATED[name](rng)
    expected = dense_values(op.matrix())[0]
    triplet, upper = estimated_norm(op)
    assert triplet.value == pytest.approx(expected, rel=1e-10)
    assert triplet.value <= expected * (1 + 1e-13)
    assert triplet.residual <= 1e-6
    assert upper >= expected
    back = op.rmatvec(triplet.left) - triplet.value * triplet.right
    assert np.linalg.norm(back) / triplet.value == pytest.approx(triplet.residual, abs=1e-13)


def test_large_maps_are_estimated(rng, monkeypatch):
    op = lc.Conv(rng.standard_normal((3, 3, 3, 3)), (7, 8, 3), padding="same")
    expected = dense_values(op.matrix())
    monkeypatch.setattr(structure, "_QUICK", 10.0)
    top, bottom = lc.svdvals(op, 3), lc.svdvals(op, 3, "smallest")
    assert top.kind == bottom.kind == "estimate"
    np.testing.assert_allclose(top, expected[:3], rtol=1e-8)
    np.testing.assert_allclose(bottom, expected[-3:], atol=1e-8 * expected[0])
    left, right = top.vectors(0)
    np.testing.assert_allclose(op(right), expected[0] * left, atol=1e-6)
    found = lc.norm(op)
    assert found.kind == "estimate"
    assert found.interval[0] <= expected[0] <= found.interval[1]
    ratio = lc.condition(op)
    assert ratio.kind == "estimate"
    assert float(ratio) == pytest.approx(expected[0] / expected[-1], rel=1e-6)
    assert ratio.interval[0] <= expected[0] / expected[-1] <= ratio.interval[1]


def test_a_few_of_exact_values(rng):
    op = periodic(rng)
    every = lc.svdvals(op)
    np.testing.assert_array_equal(lc.svdvals(op, 5), every[:5])
    np.testing.assert_array_equal(lc.svdvals(op, 5, "smallest"), every[-5:])
    np.testing.assert_array_equal(lc.svdvals(op, which="all"), every)
    last = lc.svdvals(op, 5, "smallest")
    left, right = last.vectors(-1)
    np.testing.assert_allclose(op(right), last[-1] * left, atol=1e-12)

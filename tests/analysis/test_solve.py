"""solve against dense least squares: every method, every kind of system, every message."""

from typing import Any

import numpy as np
import pytest

import linconv as lc
from cases import CASES, MODES, Case, grid
from linconv.analysis.preconditioner import circulant_preconditioner
from linconv.analysis.solve import Solution
from linconv.errors import LinconvError, SizeError

DIRECT = ("fft", "separable", "dense", "banded", "sparse")
METHODS = ("auto", *DIRECT, "cg", "lsmr")
ANY = ("auto", "dense", "cg", "lsmr")


def layer(case: Case) -> lc.Conv:
    """The case's layer with its kernel in double precision."""
    kernel, _, _ = case.arrays()
    wide = np.result_type(kernel, np.float64)
    return lc.Conv(kernel.astype(wide), case.input_shape, **case.options)


def dense_solution(matrix: np.ndarray, y: np.ndarray, ridge: float) -> np.ndarray:
    """Least squares by NumPy, the ridge as rows of their own; rows of `y` are outputs."""
    size = matrix.shape[1]
    rows = np.vstack([matrix, np.sqrt(ridge) * np.eye(size)]) if ridge else matrix
    right = np.hstack([y, np.zeros((len(y), size))]) if ridge else y
    return np.linalg.lstsq(rows, right.T.astype(np.result_type(rows, right)), rcond=1e-12)[0].T


def random_outputs(op: lc.LinearMap, *batch: int) -> np.ndarray:
    rng = np.random.default_rng(op.shape)
    y = rng.standard_normal((*batch, *op.output_shape))
    return y + 1j * rng.standard_normal(y.shape) if op.dtype.kind == "c" else y


def check(op: lc.LinearMap, ridge: float, method: str, *batch: int) -> Solution | None:
    """Compare with the dense answer; None if the method refuses this map."""
    y = random_outputs(op, *batch)
    try:
        found = lc.solve(op, y, ridge=ridge, method=method, rtol=1e-11)
    except LinconvError:
        assert method not in ANY
        return None
    matrix, rows = op.matrix(), y.reshape(-1, op.shape[0])
    want = dense_solution(matrix, rows, ridge)
    scale = max(1.0, np.abs(want).max(initial=0.0))
    values = np.linalg.svd(matrix, compute_uv=False)
    least = values[values > 1e-12 * values[0]].min(initial=np.inf)
    if ridge or found.exact or least > 1e-5 * values[0]:  # else a small gradient tells little of x
        np.testing.assert_allclose(found.x.reshape(want.shape), want, rtol=0, atol=1e-7 * scale)
    assert found.converged, found.reason
    assert found.x.shape == (*batch, *op.input_shape)
    left = np.linalg.norm(want @ matrix.T - rows, axis=1).reshape(batch)
    np.testing.assert_allclose(found.residual, left, rtol=1e-6, atol=1e-6)
    assert (np.diff(found.history) <= 1e-12).all()
    assert found.exact == (found.method in DIRECT)
    assert not (found.exact and (found.iterations or found.history))
    return found


# Every method on every kind of layer: wide, tall, square, singular


@pytest.mark.parametrize("ridge", [0.0, 0.1])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_method_on_every_case(case, ridge):
    op = layer(case)
    for index, method in enumerate(METHODS):
        check(op if index % 2 else op.T, ridge, method, 2)
        if method in ("auto", "cg"):
            check(op.T if index % 2 else op, ridge, method)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_over_the_grid(ndim, stride, mode):
    """Every nineteenth layer of each cell, each with the next method."""
    offset = 5 * ndim + stride + MODES.index(mode)
    for number, case in enumerate(grid(ndim, mode, stride, ("float64", "complex128"))):
        if number % 19 == offset % 19:
            turn = number // 19 + offset
            op = layer(case)
            check(op.T if turn % 2 else op, (0.0, 0.3)[turn // 2 % 2], METHODS[turn % 8], 2)


PERIODIC = [
    Case("periodic", (9,), (3,), 1, "same", "circular"),
    Case("periodic-strided", (8, 6), (3, 3), 2, "same", "circular", channels=(2, 3)),
    Case("periodic-groups", (6, 6), (3, 2), (1, 2), ((1, 1), (1, -1)), "circular", 1, 2, (4, 6)),
    Case("periodic-complex", (6, 4), (2, 3), 2, "same", "circular", dtype="complex128"),
    Case("periodic-dilated", (4, 6, 4), (2, 2, 1), 2, "same", "circular", (1, 2, 1)),
]


@pytest.mark.parametrize("ridge", [0.0, 0.2])
@pytest.mark.parametrize("case", PERIODIC, ids=lambda case: case.name)
def test_periodic_maps_are_solved_by_transforms(case, ridge):
    op = layer(case)
    assert op.output_shape != op.input_shape or case.stride == 1
    for m in (op, op.T, 2 * op, op.T @ op):
        found = check(m, ridge, "auto", 2)
        assert found is not None
        assert found.method == "fft"
        assert found.rank == np.linalg.matrix_rank(m.matrix())
    if op.dtype.kind != "c":  # complex outputs of a real map
        y = random_outputs(op, 2) + 1j * random_outputs(op, 2)[::-1]
        parts = [lc.solve(op, part, ridge=ridge).x for part in (y.real, y.imag)]
        np.testing.assert_allclose(
            lc.solve(op, y, ridge=ridge).x, parts[0] + 1j * parts[1], atol=1e-10
        )


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("stride", [1, (2, 1)])
@pytest.mark.parametrize("channels", [None, (2, 3)])
def test_outer_products_are_solved_axis_by_axis(mode, stride, channels):
    rng = np.random.default_rng(4)
    kernel = np.multiply.outer(rng.standard_normal(3), rng.standard_normal(4))
    if channels:
        kernel = np.multiply.outer(kernel, rng.standard_normal(channels))
    shape = (7, 8) if channels is None else (7, 8, 2)
    op = lc.Conv(kernel, shape, stride=stride, padding=((1, 1), (2, 1)), padding_mode=mode)
    for m in (op, op.T, 3 * op.T @ op):
        for ridge in (0.0, 0.3):
            found = check(m, ridge, "separable", 2)
            assert found is not None
            assert found.rank == np.linalg.matrix_rank(m.matrix())
    assert lc.solve(op, random_outputs(op)).method in ("separable", "fft")


def test_an_outer_product_of_single_precision_counts_as_one():
    vector = np.random.default_rng(5).random(5).astype(np.float32)
    op = lc.Conv(np.outer(vector, vector), (9, 9), padding="same")
    y = random_outputs(op).astype(np.float32)
    found = lc.solve(op, y, ridge=0.01, method="separable")
    assert (found.method, found.x.dtype) == ("separable", np.float32)
    with pytest.raises(LinconvError, match="'separable' needs two axes or more and a kernel that"):
        lc.solve(
            lc.Conv(np.outer(vector, vector) + np.eye(5) * 1e-4, (9, 9)),
            np.ones((5, 5)),
            method="separable",
        )


def test_depthwise_outer_products_with_groups():
    rng = np.random.default_rng(6)
    kernel = np.multiply.outer(np.outer(rng.random(3), rng.random(2)), rng.random((1, 6)))
    op = lc.Conv(kernel, (5, 6, 3), padding="same", groups=3)
    assert check(op, 0.0, "separable", 2) is not None
    assert check(op, 0.1, "separable", 2) is not None


def test_sums_products_and_multiples():
    rng = np.random.default_rng(7)
    a = lc.Conv(rng.standard_normal((3, 3)), (8, 7), padding="same", padding_mode="reflect")
    b = lc.Conv(rng.standard_normal((2, 2)), (8, 7), stride=2)
    for op in (b @ a, a + 2 * a.T, -1.5 * b, b.T @ b + 0.1 * lc.identity((8, 7))):
        for method in ANY:
            check(op, 0.1, method, 2)
            check(op, 0.0, method)


# Where "auto" cannot go by the dense matrix


def oblique(size: int = 9) -> np.ndarray:
    """A blur that is no outer product."""
    t = np.arange(size) - size // 2
    u, v = np.meshgrid(t, t)
    kernel = np.exp(-(u**2 + v**2 + 1.2 * u * v) / size)
    return kernel / kernel.sum()


def optimality(op: lc.LinearMap, x: np.ndarray, y: np.ndarray, ridge: float) -> float:
    gradient = op.H(y - op(x)) - ridge * x
    return float(np.linalg.norm(gradient) / np.linalg.norm(op.H(y)))


def test_large_images_by_preconditioned_conjugate_gradients():
    op = lc.Conv(oblique(), (96, 100), padding="same")
    image = np.random.default_rng(8).random(op.input_shape)
    y = op(image)
    seen: list[tuple[int, float]] = []
    found = lc.solve(op, y, ridge=1e-4, rtol=1e-11, callback=lambda *step: seen.append(step))
    assert (found.method, found.exact, found.converged) == ("cg", False, True)
    assert optimality(op, found.x, y, 1e-4) <= 2e-11
    assert found.normal_residual == pytest.approx(optimality(op, found.x, y, 1e-4), rel=1e-6)
    assert [step for step, _ in seen] == list(range(1, found.iterations + 1))
    assert tuple(r for _, r in seen) == found.history[1:]
    assert found.history[0] == 1
    by_lsmr = lc.solve(op, y, ridge=1e-4, method="lsmr", rtol=1e-11, max_iterations=3000)
    assert by_lsmr.converged
    assert by_lsmr.iterations > 1.5 * found.iterations, "the preconditioner should pay"
    np.testing.assert_allclose(by_lsmr.x, found.x, rtol=0, atol=1e-7)


@pytest.mark.parametrize("mode", ["zeros", "reflect"])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("transposed", [False, True])
def test_the_preconditioner_takes_strides_channels_and_transposes(mode, stride, transposed):
    rng = np.random.default_rng(9)
    op = lc.Conv(
        rng.standard_normal((3, 3, 2, 2)),
        (12, 14, 2),
        stride=stride,
        padding="same",
        padding_mode=mode,
    )
    m = op.T if transposed else op
    assert circulant_preconditioner(m, 0.1) is not None
    found = check(m, 0.1, "cg", 2)
    assert found is not None
    assert found.iterations < 400


def test_strides_that_do_not_divide_are_preconditioned_too():
    op = lc.Conv(np.random.default_rng(1).standard_normal((3, 3)), (17, 19), stride=2)
    assert circulant_preconditioner(op, 0.1) is not None
    check(op, 0.1, "cg", 2)


def test_lines_are_solved_by_their_band():
    op = lc.Conv(np.random.default_rng(10).random((5, 2, 2)), (900, 2), padding="same")
    y = random_outputs(op)
    found = lc.solve(op, y, ridge=1e-2)
    assert (found.method, found.converged) == ("banded", True)
    assert optimality(op, found.x, y, 1e-2) < 1e-11
    by_cg = lc.solve(op, y, ridge=1e-2, method="cg", rtol=1e-13)
    np.testing.assert_allclose(found.x, by_cg.x, rtol=0, atol=1e-9)
    first = lc.Conv(
        np.moveaxis(op.kernel, (1, 2), (1, 0)),
        (2, 900),
        padding="same",
        data_format="channels_first",
    )
    again = lc.solve(first, y.T, ridge=1e-2)
    assert again.method == "banded"
    np.testing.assert_allclose(again.x.T, found.x, atol=1e-10)


def test_square_images_are_solved_by_sparse_factors():
    kernel = np.pad([[0.0]], 1) + np.random.default_rng(11).random((3, 3)) / 20
    kernel[1, 1] = 1
    op = lc.Conv(kernel, (40, 41), padding="same")
    y = random_outputs(op, 2)
    found = lc.solve(op, y)
    assert (found.method, found.rank) == ("sparse", 1640)
    assert np.abs(op(found.x) - y).max() < 1e-12
    complex_op = lc.Conv(kernel * (1 + 0.5j), (40, 41), padding="same")
    assert np.abs(complex_op(lc.solve(complex_op, y).x) - y).max() < 1e-12


def test_a_singular_square_image_falls_back_to_the_least_norm():
    op = lc.Conv([[1.0, 0, 0], [0, 0, 0], [0, 1.0, 0]], (40, 41), padding="same")
    found = lc.solve(op, random_outputs(op))
    assert (found.method, found.converged) == ("cg", True)
    assert optimality(op, found.x, random_outputs(op), 0.0) < 1e-7


# Ill-conditioned and singular systems


def test_ill_conditioned_systems():
    """Condition 5e7: the residual is that of the best, and a ridge makes methods agree."""
    vector = np.array([1, 4, 6, 4, 1]) / 16
    op = lc.Conv(np.outer(vector, vector), (20, 20), padding="same")
    y = op(np.random.default_rng(12).random((20, 20)))
    assert lc.invertibility(op).condition > 1e6
    for method in ("separable", "dense", "sparse"):
        found = lc.solve(op, y, method=method)
        assert found.converged, method
        assert found.residual < 1e-12
    want = lc.solve(op, y, method="dense", ridge=1e-6).x
    # A gradient of 1e-12 may leave 1e-12 / ridge in what an iteration finds.
    for method, near in (("separable", 1e-9), ("sparse", 1e-9), ("cg", 1e-6), ("lsmr", 1e-6)):
        x = lc.solve(op, y, method=method, ridge=1e-6, rtol=1e-12, max_iterations=5000).x
        np.testing.assert_allclose(x, want, rtol=0, atol=near)


def test_a_singular_periodic_map_says_what_it_lost():
    op = lc.Conv(np.ones(3) / 3, (9,), padding="same", padding_mode="circular")
    y = op(np.arange(9.0))
    found = lc.solve(op, y)
    assert (found.rank, found.converged) == (7, True)
    assert "rank 7 of 9, this is the least norm" in found.reason
    np.testing.assert_allclose(found.x, np.linalg.pinv(op.matrix()) @ y, atol=1e-12)
    assert "rank 7 of 9, what it loses comes out as zero" in lc.solve(op, y, ridge=0.1).reason


def test_no_convergence_is_told():
    op = lc.Conv(oblique(), (80, 80), padding="same")
    y = op(np.random.default_rng(13).random((80, 80)))
    for method in ("cg", "lsmr"):
        found = lc.solve(op, y, method=method, max_iterations=7, rtol=1e-12)
        assert not found.converged
        assert found.iterations == 7
        assert found.normal_residual > 1e-12
        assert "max_iterations=7" in found.reason
        assert "use a ridge, a larger rtol, or more iterations" in found.reason
    stuck = lc.solve(
        lc.Conv(oblique(3), (9, 9)), np.ones((7, 7)), method="cg", rtol=0.0, max_iterations=5000
    )
    assert stuck.iterations < 5000
    assert "no progress any more" in stuck.reason or stuck.normal_residual == 0


def test_direct_methods_that_do_not_exist_say_so():
    singular = lc.Conv([1.0, 1.0, 1.0], (9,), padding="same", padding_mode="circular")
    zero = lc.Conv([0.0, 0.0, 0.0], (9,), padding="same")
    wide = lc.Conv([1.0, 2.0], (9,))
    y = np.ones(9)
    cases: list[tuple[Any, str, str]] = [
        (zero, "banded", "positive definite to rounding; these, with ridge=0, are not"),
        (zero, "sparse", "needs an invertible matrix; this one, of shape .9, 9., is singular"),
        (singular, "sparse", "needs an invertible matrix; "),
        (singular, "banded", "method 'banded' needs normal equations that"),
        (wide, "sparse", "as many outputs as inputs, or a ridge; got a matrix of shape .8, 9."),
        (wide, "fft", "needs a map whose windows wrap around on every axis"),
        (wide, "separable", "needs two axes or more and a kernel that is an outer product"),
    ]
    for op, method, message in cases:
        with pytest.raises(LinconvError, match=message):
            lc.solve(op, y[: op.shape[0]], method=method)
    with pytest.raises(SizeError, match=r"a dense matrix .* use method='auto' or 'cg'"):
        lc.solve(lc.Conv([1.0, 2.0, 1.0], (20_000,)), np.ones(19_998), method="dense")


def test_a_band_that_would_not_fit_is_refused(monkeypatch):
    monkeypatch.setattr("linconv.analysis.sparse_solvers.BAND_BYTES", 2**14)
    op = lc.Conv(np.ones((5, 5)), (30, 30), padding="same")
    with pytest.raises(LinconvError, match="the band of the normal equations must fit in .* GiB"):
        lc.solve(op, np.ones((30, 30)), ridge=1.0, method="banded")


@pytest.mark.parametrize("factor", [1.0, -2.0, 1 - 0.5j])
@pytest.mark.parametrize("symmetric", [True, False])
def test_axes_with_the_same_vector_are_decomposed_once(factor, symmetric, monkeypatch):
    """Also where the rounding of the kernel makes their matrices differ in the last place."""
    vector = np.random.default_rng(14).random(5)
    vector = (vector + vector[::-1]) / 2 if symmetric else vector
    kernel = factor * np.multiply.outer(vector / vector.sum(), vector * 3)
    op = lc.Conv(kernel, (14, 14), padding="same")
    calls = []
    names = ("eigh", "svd")
    for name in names:
        original = getattr(np.linalg, name)

        def counted(*args, name=name, original=original, **options):
            calls.append(name)
            return original(*args, **options)

        monkeypatch.setattr(np.linalg, name, counted)
    y = random_outputs(op)
    found = lc.solve(op, y, ridge=0.01)
    assert calls == ["eigh" if symmetric and not np.iscomplex(factor) else "svd"]
    monkeypatch.undo()
    np.testing.assert_allclose(
        found.x.ravel(), dense_solution(op.matrix(), y.reshape(1, -1), 0.01)[0], atol=1e-10
    )
    assert found.rank == np.linalg.matrix_rank(op.matrix())

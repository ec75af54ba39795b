"""The direct methods: one rule of what counts as zero, and bands that are refused beforehand."""

import numpy as np
import pytest
import scipy

import linconv as lc
from linconv.analysis import sparse_solvers
from linconv.analysis.sparse_solvers import band_fits, least_band
from linconv.errors import LinconvError

EPS = np.finfo(float).eps


def matrix_with(values: np.ndarray) -> np.ndarray:
    """A random square matrix with these singular values."""
    rng = np.random.default_rng(0)
    left, right = (np.linalg.qr(rng.standard_normal((len(values),) * 2))[0] for _ in range(2))
    return (left * values) @ right


def periodic_line(size: int, *, lost: bool) -> lc.Conv:
    """One gain per frequency, from 1 down, one about the least that counts, and two below."""
    gains = np.geomspace(1, 1e-3, size // 2 + 1)
    gains[9] = 4 * size * EPS
    if lost:
        gains[[5, 20]] = size * EPS / 4, 0
    kernel = np.fft.irfft(gains, size)
    return lc.Conv(kernel, (size,), padding=((0, size - 1),), padding_mode="circular")


def mixing(rows: int, margin: float) -> np.ndarray:
    """A matrix of channels, two of whose values are about the least that counts in `rows` rows."""
    values = np.linspace(2, 1, 20)
    values[[3, 8]] = 2 * rows * EPS / margin, 2 * rows * EPS * margin
    return matrix_with(values)


TINY = {
    "fft": (periodic_line(500, lost=True), 496),
    "dense": (lc.Conv(mixing(20, 4).T.reshape(2, 10, 20), (2, 10)), 19),
    "separable": (
        lc.Conv(np.multiply.outer([0.1, 1, 0.1], mixing(140, 10)), (7, 20), padding="same"),
        133,
    ),
}


@pytest.mark.parametrize("method", TINY)
def test_rank_solve_pinv_and_invertibility_count_the_same_values(method):
    op, rank = TINY[method]
    assert int(lc.rank(op)) == rank == np.linalg.matrix_rank(op.matrix())
    found = lc.solve(op, np.ones(op.output_shape))
    assert (found.method, found.rank) == (method, rank)
    verdict = lc.invertibility(op)
    assert (verdict.verdict, verdict.rank, verdict.method) == ("none", rank, method)
    assert np.trace(lc.pinv(op).matrix() @ op.matrix()) == pytest.approx(rank, abs=0.1)
    assert len(lc.null_space(op)) == op.shape[1] - rank
    assert lc.condition(op) == verdict.condition == np.inf


def test_sparse_factors_are_refused_where_the_rank_is_not_full():
    found = lc.solve(periodic_line(60, lost=False), np.ones(60), method="sparse")
    assert found.rank == 60
    singular = periodic_line(60, lost=True)
    with pytest.raises(LinconvError, match="method 'sparse' needs an invertible matrix; "):
        lc.solve(singular, np.ones(60), method="sparse")
    nearly = lc.Conv(matrix_with(np.r_[np.linspace(2, 1, 39), 1e-15]).reshape(2, 20, 40), (2, 20))
    with pytest.raises(LinconvError, match="needs an invertible matrix; "):
        lc.solve(nearly, np.ones(nearly.output_shape), method="sparse")


def band_of(op: lc.LinearMap) -> int:
    """The band of the normal equations in the best order that SciPy finds."""
    pattern = op.sparse() != 0
    normal = scipy.sparse.csr_array(pattern.T.astype(float) @ pattern.astype(float))
    order = scipy.sparse.csgraph.reverse_cuthill_mckee(normal, symmetric_mode=True)
    entries = normal[order][:, order].tocoo()
    return int(np.abs(entries.row - entries.col).max(initial=0))


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize(
    ("kernel", "shape", "options"),
    [
        ((5,), (40,), {}),
        ((5, 2, 2), (60, 2), {}),
        ((5, 5), (30, 30), {}),
        ((3, 3), (30, 20), {"stride": 2}),
        ((2,), (40,), {"stride": 3}),
        ((3, 3), (30, 30), {"dilation": 2}),
        ((3, 3), (20, 20), {"padding_mode": "circular"}),
        ((3, 3, 3), (9, 9, 9), {"padding_mode": "reflect"}),
    ],
    ids=str,
)
def test_the_least_band_is_no_more_than_that_found(kernel, shape, options, transposed):
    op = lc.Conv(np.random.default_rng(0).random(kernel), shape, padding="same", **options)
    op = op.T if transposed else op
    least, found = least_band(op), band_of(op)
    assert least <= found
    assert least >= found // 4
    if len(shape) == 1 and not options:
        assert least == found


def test_a_motion_along_the_diagonal_couples_lines_only():
    op = lc.Conv(np.eye(5), (20, 20), padding="same")
    assert least_band(op) <= band_of(op) < 20


def test_a_band_that_would_not_fit_is_refused_before_any_memory_is_taken(monkeypatch):
    monkeypatch.setattr(sparse_solvers, "BAND_BYTES", 2**14)

    def formed(op):
        raise AssertionError("no matrix should be formed")

    monkeypatch.setattr(sparse_solvers, "double_sparse", formed)
    op = lc.Conv(np.ones((5, 5)), (30, 30), padding="same")
    message = "the band of the normal equations must fit in .* GiB; it is at least .* wide for 900"
    with pytest.raises(LinconvError, match=message):
        lc.solve(op, np.ones((30, 30)), ridge=1.0, method="banded")
    line = lc.Conv(np.random.default_rng(1).random(40), (1100,), padding="same")
    assert not band_fits(line)
    monkeypatch.setattr(lc.Conv, "sparse", formed)
    assert lc.solve(line, np.ones(1100), ridge=1e3, max_iterations=3).method == "cg"

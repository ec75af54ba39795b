"""LeastSquares: R of any rows in any pieces, and solutions of systems that share unknowns."""

from collections.abc import Callable

import numpy as np
import pytest
import scipy

from linconv.analysis.least_squares import LeastSquares, solve_shared

UNKNOWNS, TARGETS = 5, 2
COLUMNS = UNKNOWNS + TARGETS
ROWS = 600


def with_singular_values(rng: np.random.Generator, values: np.ndarray) -> np.ndarray:
    """Random rows of unit scale with these singular values."""
    left, _ = np.linalg.qr(rng.standard_normal((ROWS, len(values))))
    right, _ = np.linalg.qr(rng.standard_normal((len(values), len(values))))
    return left * values @ right.T


def plain(rng: np.random.Generator) -> np.ndarray:
    return rng.standard_normal((ROWS, COLUMNS))


def ill_conditioned(rng: np.random.Generator) -> np.ndarray:
    return with_singular_values(rng, np.geomspace(1, 1e-10, COLUMNS))


def badly_scaled_columns(rng: np.random.Generator) -> np.ndarray:
    return plain(rng) * np.geomspace(1e5, 1e-5, COLUMNS)


def tiny_then_large(rng: np.random.Generator) -> np.ndarray:
    return plain(rng) * np.repeat([1e-9, 1e4], ROWS // 2)[:, None]


def large_then_tiny(rng: np.random.Generator) -> np.ndarray:
    return plain(rng) * np.repeat([1e4, 1e-9], ROWS // 2)[:, None]


def growing(rng: np.random.Generator) -> np.ndarray:
    """Every row a little larger than the one before, by twelve orders of magnitude in all."""
    return plain(rng) * np.geomspace(1e-6, 1e6, ROWS)[:, None]


def black_then_bright(rng: np.random.Generator) -> np.ndarray:
    return plain(rng) * np.repeat([0, 1], ROWS // 2)[:, None]


def one_direction_then_all(rng: np.random.Generator) -> np.ndarray:
    """Long rows of one direction first; the others come later, 1e-6 of them in size."""
    rows = 1e-6 * plain(rng)
    rows[: ROWS // 2] = rng.standard_normal((ROWS // 2, 1)) @ np.ones((1, COLUMNS))
    return rows


FULL_RANK: dict[str, Callable[[np.random.Generator], np.ndarray]] = {
    f.__name__: f
    for f in (
        *(plain, ill_conditioned, badly_scaled_columns, tiny_then_large, large_then_tiny),
        *(growing, black_then_bright, one_direction_then_all),
    )
}
PIECES = {
    "whole": [],
    "halves": [300],
    "uneven": [3, 5, 400, 410, 599],
    "sixths": [100, 200, 300, 400, 500],
    "tens": list(range(10, ROWS, 10)),
}


def accumulate(rows: np.ndarray, cuts: list[int], targets: int = TARGETS) -> LeastSquares:
    total = LeastSquares(rows.shape[1] - targets, targets)
    for piece in np.split(rows, cuts):
        assert total.add(piece) is total
    return total


def assert_factor(triangle: np.ndarray, rows: np.ndarray) -> None:
    """Upper triangular, no more rows than columns, and RᵀR is rowsᵀ rows in extended precision.

    Relative to the norms of both columns; a 1e-13th of the largest counts as nothing.
    """
    assert triangle.shape[0] <= triangle.shape[1] == rows.shape[1]
    assert not np.tril(triangle, -1).any()
    wide, exact = triangle.astype(np.longdouble), rows.astype(np.longdouble)
    norms = np.sqrt((exact**2).sum(0))
    allowed = 1e-12 * np.outer(norms, norms) + (1e-13 * norms.max()) ** 2
    assert float((np.abs(wide.T @ wide - exact.T @ exact) / allowed).max()) <= 1


# R


@pytest.mark.parametrize("cuts", PIECES.values(), ids=PIECES)
@pytest.mark.parametrize("make", FULL_RANK.values(), ids=FULL_RANK)
def test_triangle_of_any_rows_in_any_pieces(make, cuts):
    rows = make(np.random.default_rng(1))
    total = accumulate(rows, cuts)
    assert total.rows == ROWS
    assert_factor(total.triangle, rows)


@pytest.mark.parametrize("cuts", PIECES.values(), ids=PIECES)
@pytest.mark.parametrize("make", FULL_RANK.values(), ids=FULL_RANK)
def test_no_direction_is_lost(make, cuts):
    """Rows R⁻¹ are orthonormal, as far as the condition allows for Householder's own R."""
    rows = make(np.random.default_rng(2))
    scaled = rows / np.linalg.norm(rows, axis=0)
    condition = np.linalg.cond(scaled)
    triangle = accumulate(rows, cuts).triangle
    whitened = scipy.linalg.solve_triangular(triangle.T, rows.T, lower=True)
    deviation = np.abs(np.linalg.svd(whitened, compute_uv=False) - 1).max()
    assert deviation <= 1e-14 * max(condition, 10)


def test_normal_equations_would_lose_the_directions_that_are_kept():
    """What the accumulator is for: the same law, broken by Cholesky of the Gram matrix."""
    rows = ill_conditioned(np.random.default_rng(2))
    gram = rows.T @ rows
    values = np.linalg.eigvalsh(gram)
    assert abs(values[0] / 1e-20 - 1) > 10
    kept = np.linalg.svd(accumulate(rows, [100]).triangle, compute_uv=False)
    np.testing.assert_allclose(kept, np.geomspace(1, 1e-10, COLUMNS), rtol=1e-4)


@pytest.mark.parametrize("cuts", PIECES.values(), ids=PIECES)
def test_triangle_where_the_rank_is_short(cuts):
    """A column repeated, a column of zeros, and targets that are a sum of columns."""
    rows = plain(np.random.default_rng(3))
    rows[:, 1], rows[:, 3], rows[:, 5] = rows[:, 0], 0, rows[:, 0] - 2 * rows[:, 2]
    total = accumulate(rows, cuts)
    assert_factor(total.triangle, rows)
    found = solve_shared([(total, np.arange(UNKNOWNS))], UNKNOWNS, np.zeros(UNKNOWNS))
    assert found.rank == 3
    least = np.linalg.pinv(rows[:, :UNKNOWNS], rcond=1e-10) @ rows[:, UNKNOWNS:]
    np.testing.assert_allclose(found.unknowns, least, rtol=0, atol=1e-12)
    assert found.unknowns[3] == pytest.approx([0, 0], abs=1e-14)


@pytest.mark.parametrize("cuts", PIECES.values(), ids=PIECES)
@pytest.mark.parametrize("scale", [1.0, 1e-6, 1e-20, 1e-120])
@pytest.mark.parametrize("zeros", [[], [0], [1, 3], [4]])
def test_the_scale_of_the_unknowns_columns_changes_no_rank(zeros, scale, cuts):
    """Columns of zeros, and others far smaller than the targets."""
    rng = np.random.default_rng(11)
    rows = plain(rng)
    rows[:, zeros] = 0
    rows[:, 2] = rows[:, [0, 1, 3, 4]] @ rng.standard_normal(4)
    values = np.linalg.svd(rows[:, :UNKNOWNS], compute_uv=False)
    rank = UNKNOWNS - 1 - len(zeros)
    rows[:, :UNKNOWNS] *= scale
    total = accumulate(rows, cuts)
    found = solve_shared([(total, np.arange(UNKNOWNS))], UNKNOWNS, np.zeros(UNKNOWNS))
    assert found.rank == rank
    assert found.condition == pytest.approx(values[0] / values[rank - 1], rel=1e-9)
    least = np.linalg.pinv(rows[:, :UNKNOWNS] / scale, rcond=1e-10) @ rows[:, UNKNOWNS:]
    np.testing.assert_allclose(found.unknowns * scale, least, rtol=0, atol=1e-12)
    assert not total.triangle[:, zeros].any()


@pytest.mark.parametrize("scale", [0.0, 1e-30])
def test_columns_that_wake_up(scale):
    """Nothing, or next to nothing, in the rows that come first."""
    rows = plain(np.random.default_rng(12))
    rows[: ROWS // 2, [1, 4]] *= scale
    for cuts in ([], [300], [200, 400]):
        assert_factor(accumulate(rows, cuts).triangle, rows)


def test_fewer_rows_than_columns():
    rows = np.random.default_rng(4).standard_normal((3, COLUMNS))
    assert_factor(accumulate(rows, [1]).triangle, rows)
    assert LeastSquares(UNKNOWNS, TARGETS).triangle.shape == (0, COLUMNS)


def test_rows_of_nothing():
    total = LeastSquares(UNKNOWNS, TARGETS).add(np.zeros((ROWS, COLUMNS)))
    assert not total.triangle.any()
    found = solve_shared([(total, np.arange(UNKNOWNS))], UNKNOWNS, np.zeros(UNKNOWNS))
    assert (found.rank, found.residual, found.condition) == (0, 0.0, np.inf)
    assert not found.unknowns.any()


def test_rows_given_are_not_changed():
    rows = plain(np.random.default_rng(5))
    rows.flags.writeable = False
    accumulate(rows, [300])


# Sums


def test_sums_in_any_order():
    rows = ill_conditioned(np.random.default_rng(6))
    a, b, c = (accumulate(part, []) for part in np.split(rows, [40, 350]))
    before = [x.triangle.copy() for x in (a, b, c)]
    for total in (a + b + c, a + (b + c), c + a + b, b + (c + a)):
        assert total.rows == ROWS
        assert_factor(total.triangle, rows)
    for x, triangle in zip((a, b, c), before, strict=True):
        np.testing.assert_array_equal(x.triangle, triangle)


def test_an_empty_accumulator_adds_nothing():
    full, empty = accumulate(plain(np.random.default_rng(7)), []), LeastSquares(UNKNOWNS, TARGETS)
    for total in (full + empty, empty + full):
        np.testing.assert_array_equal(total.triangle, full.triangle)
        assert total.rows == full.rows
    total.add(np.ones((50, COLUMNS)))
    assert full.rows == ROWS
    assert empty.rows == 0


# Solutions


def solved(rows: np.ndarray, ridge: float = 0.0, cuts: tuple[int, ...] = (100, 350)):
    total = accumulate(rows, list(cuts))
    return solve_shared([(total, np.arange(UNKNOWNS))], UNKNOWNS, np.full(UNKNOWNS, ridge))


def test_solution_of_an_ill_conditioned_system():
    """As exact as Householder's on the whole: condition times rounding, not its square."""
    rng = np.random.default_rng(8)
    left = with_singular_values(rng, np.geomspace(1, 1e-10, UNKNOWNS))
    true = rng.standard_normal((UNKNOWNS, TARGETS))
    found = solved(np.hstack([left, left @ true]))
    assert found.rank == UNKNOWNS
    assert found.condition == pytest.approx(1e10, rel=1e-3)
    assert np.abs(found.unknowns - true).max() < 1e-4
    assert found.residual < 1e-24
    gram = left.T @ left
    assert np.abs(np.linalg.pinv(gram) @ (left.T @ left @ true) - true).max() > 1e-2


def test_residual_and_condition_against_numpy():
    rows = badly_scaled_columns(np.random.default_rng(9))[:, ::-1]
    found = solved(rows)
    left, right = rows[:, :UNKNOWNS], rows[:, UNKNOWNS:]
    want, residual, rank, values = np.linalg.lstsq(left, right)
    assert found.rank == rank
    np.testing.assert_allclose(left @ found.unknowns, left @ want, rtol=1e-8, atol=1e-8)
    assert found.residual == pytest.approx(residual.sum(), rel=1e-10)
    assert found.condition == pytest.approx(values[0] / values[-1], rel=1e-6)


@pytest.fixture
def shared():
    """Three systems that see some of seven unknowns each, with the rows of the whole."""
    rng = np.random.default_rng(10)
    blocks, rows = [], []
    for which in ([0, 1, 2, 6], [4, 3, 6], [], [2, 0]):
        left = rng.standard_normal((90, len(which)))
        right = rng.standard_normal((90, TARGETS))
        blocks.append((accumulate(np.hstack([left, right]), [70]), np.array(which, int)))
        wide = np.zeros((90, 7 + TARGETS))
        wide[:, which], wide[:, 7:] = left, right
        rows.append(wide)
    return blocks, np.concatenate(rows)


def test_unknowns_shared_by_several_systems(shared):
    """Unknown 5 is seen by none, and so is zero; a system of no unknown adds to what is left."""
    blocks, rows = shared
    found = solve_shared(blocks, 7, np.zeros(7))
    want, _, rank, _ = np.linalg.lstsq(rows[:, :7], rows[:, 7:])
    assert found.rank == rank == 6
    np.testing.assert_allclose(found.unknowns, want, rtol=0, atol=1e-12)
    assert not found.unknowns[5].any()
    left_over = rows[:, 7:] - rows[:, :7] @ want
    assert found.residual == pytest.approx((left_over**2).sum(), rel=1e-12)


def test_ridge_per_unknown(shared):
    """The sum of squares plus ridge times square; the residual leaves the ridge out."""
    blocks, rows = shared
    ridge = np.array([0.0, 3.0, 0.5, 10.0, 0.0, 2.0, 0.0])
    found = solve_shared(blocks, 7, ridge)
    left = np.vstack([rows[:, :7], np.diag(np.sqrt(ridge))])
    right = np.vstack([rows[:, 7:], np.zeros((7, TARGETS))])
    want, _, rank, _ = np.linalg.lstsq(left, right)
    np.testing.assert_allclose(found.unknowns, want, rtol=0, atol=1e-12)
    assert found.rank == rank == 7
    assert not found.unknowns[5].any()
    left_over = rows[:, 7:] - rows[:, :7] @ want
    assert found.residual == pytest.approx((left_over**2).sum(), rel=1e-12)


def test_memory_does_not_grow_with_the_rows():
    total = LeastSquares(UNKNOWNS, TARGETS)
    rng = np.random.default_rng(12)
    for _ in range(30):
        total.add(rng.standard_normal((200, COLUMNS)))
    assert total.rows == 6000
    assert total.triangle.shape == (COLUMNS, COLUMNS)
    base = total.triangle if total.triangle.base is None else total.triangle.base
    assert base.size <= 2 * COLUMNS**2

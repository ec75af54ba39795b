"""What rounding of kernels, products and inverses may not touch."""

import numpy as np
import pytest
import scipy

import linconv as lc


@pytest.mark.parametrize("ridge", [0.0, 1e-4])
def test_an_outer_product_of_single_precision_is_refined(ridge):
    line = np.exp(-(np.arange(-3, 4) ** 2) / 2)
    op = lc.Conv(np.outer(line, line).astype(np.float32) / 6, (16, 17), padding="same")
    y = op(np.random.default_rng(8).standard_normal(op.input_shape))
    found = lc.solve(op, y, ridge=ridge, method="separable")
    matrix = op.matrix().astype(np.float64)
    exact = np.linalg.solve(matrix, y.ravel())
    if ridge:
        square = matrix.T @ matrix + ridge * np.eye(len(matrix))
        exact = np.linalg.solve(square, matrix.T @ y.ravel())
    np.testing.assert_allclose(found.x.ravel(), exact, atol=1e-9 * abs(exact).max())
    assert "refined" in found.reason
    values = np.linalg.svd(matrix, compute_uv=False)
    assert lc.invertibility(op).condition == pytest.approx(values[0] / values[-1], rel=1e-6)


def test_products_in_single_precision_are_not_rounded():
    """Their matrices are computed in double precision, and so are rank, inverse and norm."""
    op = lc.Conv(
        np.random.default_rng(1).standard_normal((3, 3)).astype(np.float32), (9, 9), stride=2
    )
    matrix = op.matrix().astype(np.float64)
    square = matrix.T @ matrix
    product = op.T @ op
    assert int(lc.rank(product)) == 16
    assert lc.null_space(product).shape == (65, 9, 9)
    assert lc.invertibility(product).verdict == "none"
    np.testing.assert_allclose(lc.pinv(product).matrix(), np.linalg.pinv(square), atol=1e-6)
    largest = np.linalg.norm(square, 2)
    for name, found in {"norm": lc.norm(product), "scaled": lc.norm((1 / 3) * op)}.items():
        value = largest if name == "norm" else np.linalg.norm(matrix, 2) / 3
        assert float(found) == pytest.approx(value, rel=1e-12)
    total = (op + 2 * op).sparse()
    assert total.dtype == np.float32


def test_inverses_that_fade_below_all_numbers():
    op = lc.Conv(np.array([0.01, 1.0, 0.01j]), (1500,), padding=1)
    y = np.random.default_rng(2).standard_normal(1500)
    found = lc.solve(op, y, ridge=1.0)
    assert (found.method, found.converged) == ("banded", True)
    matrix = op.sparse()
    normal = matrix.conj().T @ matrix + scipy.sparse.eye_array(1500)
    exact = scipy.sparse.linalg.spsolve(normal.tocsc(), matrix.conj().T @ y)
    np.testing.assert_allclose(found.x, exact, atol=1e-12)

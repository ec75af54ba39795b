"""Products of few rows with long vectors: whatever the length, they are what a loop gives."""

import numpy as np
import pytest

from linconv.analysis.stretches import combined, inner, length

DTYPES = ["float32", "float64", "complex64", "complex128"]


def draw(rng, shape, dtype):
    values = rng.standard_normal(shape)
    if np.dtype(dtype).kind == "c":
        values = values + 1j * rng.standard_normal(shape)
    return values.astype(dtype)


@pytest.mark.parametrize("columns", [1, 7, 511, 512, 513, 1030])
@pytest.mark.parametrize("dtype", DTYPES)
def test_inner_products_are_those_of_a_loop(dtype, columns):
    rng = np.random.default_rng(columns)
    rows, vector = draw(rng, (3, columns), dtype), draw(rng, columns, dtype)
    exact = [
        sum(complex(a).conjugate() * complex(b) for a, b in zip(row, vector, strict=True))
        for row in rows
    ]
    eps = float(np.finfo(dtype).eps)
    np.testing.assert_allclose(inner(rows, vector), exact, atol=30 * eps * columns**0.5)
    assert inner(rows, vector).dtype == np.result_type(dtype, np.float64)
    assert length(vector) == pytest.approx(
        np.linalg.norm(vector.astype(complex)), rel=30 * float(eps)
    )


@pytest.mark.parametrize("shape", [(1, 4, 1030), (6, 64, 700), (64, 6, 513), (300, 80, 45)])
@pytest.mark.parametrize("dtype", DTYPES)
def test_combinations_are_those_of_a_matrix(dtype, shape):
    m, n, columns = shape
    rng = np.random.default_rng(m)
    coefficients, rows = draw(rng, (m, n), dtype), draw(rng, (n, columns), dtype)
    found = combined(coefficients, rows)
    assert found.dtype == dtype
    exact = np.einsum("mn,nc->mc", coefficients, rows, dtype=complex)
    np.testing.assert_allclose(found, exact, atol=40 * np.finfo(dtype).eps * n**0.5)


def test_batches_and_views():
    rng = np.random.default_rng(3)
    coefficients = rng.standard_normal((2, 9, 5)).swapaxes(1, 2)
    rows = rng.standard_normal((2, 1000, 9)).swapaxes(1, 2)[..., ::2]
    np.testing.assert_allclose(combined(coefficients, rows), coefficients @ rows, atol=1e-12)
    np.testing.assert_allclose(combined(coefficients[0], rows), coefficients[0] @ rows, atol=1e-12)

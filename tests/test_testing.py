"""The checks that users run on maps of their own: they pass what is right and find what is not."""

import inspect

import numpy as np
import pytest

import linconv as lc
from linconv.forms import MatrixMap
from linconv.linear_map import LinearMap
from linconv.testing import TOLERANCES, assert_same_map, dot_test


class Pair(LinearMap):
    """A map and a transpose given apart, right or wrong."""

    def __init__(self, forward, backward):
        forward, backward = np.asarray(forward), np.asarray(backward)
        shape = forward.shape
        self._set((shape[1],), (shape[0],), forward.dtype, forward=forward, backward=backward)

    def _apply(self, x):
        return x @ self.forward.T

    def _apply_transpose(self, y):
        return y @ self.backward.T

    def _sparse(self, max_bytes):
        raise NotImplementedError

    def conj(self):
        return Pair(self.forward.conj(), self.backward.conj())


def matrix(dtype="float64") -> np.ndarray:
    rng = np.random.default_rng(30)
    values = rng.standard_normal((5, 7))
    if np.dtype(dtype).kind == "c":
        values = values + 1j * rng.standard_normal((5, 7))
    return values.astype(dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64", "complex128"])
def test_dot_test_passes_an_exact_transpose(dtype):
    A = matrix(dtype)
    dot_test(Pair(A, A.T))
    assert_same_map(Pair(A, A.T), MatrixMap(A, (7,), (5,)))


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64", "complex128"])
def test_dot_test_finds_one_wrong_entry_of_the_transpose(dtype):
    A = matrix(dtype)
    wrong = A.T.copy()
    wrong[3, 2] += 0.01
    words = r"fails the dot test: <Ax, y> = .*<x, A\^H y> = .* > .* \(trial 0, seed 0\)"
    with pytest.raises(AssertionError, match=words):
        dot_test(Pair(A, wrong))


def test_dot_test_finds_a_missing_conjugate():
    A = matrix("complex128")
    with pytest.raises(AssertionError, match="fails the dot test"):
        dot_test(Pair(A, A.conj().T))


def test_dot_test_finds_nan():
    A = matrix()
    wrong = A.T.copy()
    wrong[0, 0] = np.nan
    with pytest.raises(AssertionError, match="fails the dot test"):
        dot_test(Pair(A, wrong))


def test_dot_test_of_a_zero_map():
    dot_test(0 * lc.Conv([1.0, 2.0], (4,)))


def test_dot_test_with_options():
    A = matrix()
    wrong = A.T * (1 + 1e-6)
    dot_test(Pair(A, wrong), rtol=1e-5, trials=1, seed=4)
    with pytest.raises(AssertionError, match=r"seed 4\)"):
        dot_test(Pair(A, wrong), seed=4)


def test_same_map_finds_a_difference_and_its_place():
    A = matrix()
    other = A.copy()
    other[3] *= 1.001
    with pytest.raises(AssertionError, match=r"the maps differ: .* at output \(3,\)"):
        assert_same_map(Pair(A, A.T), Pair(other, A.T))


def test_same_map_finds_a_different_transpose():
    A = matrix()
    other = A.T.copy()
    other[6] += 0.01
    with pytest.raises(AssertionError, match=r"the maps transposed differ: .* at output \(6,\)"):
        assert_same_map(Pair(A, A.T), Pair(A, other))


def test_same_map_finds_different_shapes():
    A = matrix()
    with pytest.raises(AssertionError, match="different shapes"):
        assert_same_map(Pair(A, A.T), Pair(A.T, A))
    with pytest.raises(AssertionError, match="different shapes"):
        assert_same_map(lc.identity((2, 3)), lc.identity((6,)))


def test_same_map_is_as_strict_as_the_coarser_dtype():
    A = matrix()
    narrow = A.astype(np.float32)
    assert_same_map(Pair(A, A.T), Pair(narrow, narrow.T))
    nearly = A * (1 + 1e-9)
    with pytest.raises(AssertionError, match="the maps differ"):
        assert_same_map(Pair(A, A.T), Pair(nearly, nearly.T))
    assert_same_map(Pair(A, A.T), Pair(nearly, nearly.T), rtol=1e-8)


def test_shifted_layer_is_found():
    """The mistake that changes no shape: "same" padded at the other end."""
    kernel = np.arange(1.0, 5.0)
    upper = lc.Conv(kernel, (8,), padding="same")
    lower = lc.Conv(kernel, (8,), padding="same_lower")
    assert upper.shape == lower.shape
    with pytest.raises(AssertionError, match="the maps differ"):
        assert_same_map(upper, lower)


def test_tolerances_lie_between_rounding_and_mistake():
    for name, tolerance in TOLERANCES.items():
        rounding = np.finfo(name).eps
        assert rounding < tolerance < 300 * rounding


def test_checks_need_no_assert_statement():
    """They work under `python -O`, where assert statements vanish."""
    source = inspect.getsource(inspect.getmodule(dot_test))
    assert not [line for line in source.splitlines() if line.strip().startswith("assert ")]

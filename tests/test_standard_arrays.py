"""Arrays of other libraries: of the array API standard in kind, of TensorFlow refused by name."""

import sys
from types import ModuleType

import numpy as np
import pytest

import linconv as lc
from cases import CASES, assert_close

BY_CASE = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


@pytest.fixture
def strict():
    """The standard and nothing more: what is not in it raises."""
    return pytest.importorskip("array_api_strict", reason="stands for any library of the standard")


@BY_CASE
def test_arrays_of_the_standard_give_what_numpy_arrays_give(case, strict):
    kernel, x, y = case.arrays(2)
    op = lc.Conv(kernel, case.input_shape, **case.options)
    for own in (kernel, strict.asarray(kernel)):
        same = lc.Conv(own, case.input_shape, **case.options)
        assert (same.kernel is own) == (own is not kernel)
        decimate, correlate, pad = same.factors()
        chain = decimate @ correlate @ pad
        for ours, known, array in (
            (same, op, x),
            (same.T, op.T, y),
            (same.H, op.H, y),
            (chain, op, x),
            (chain.T, op.T, y),
            (same.T.as_conv(), op.T, y),
            (same.T.as_conv().T, op, x),
        ):
            result = ours(strict.asarray(array))
            assert type(result) is type(strict.asarray(array))
            assert_close(np.asarray(result), known(array), case.dtype, repr(ours))
        mapped = same.as_function_of_kernel(strict.asarray(x))
        gradient = op.as_function_of_kernel(x).T(y)
        assert_close(np.asarray(mapped.T(strict.asarray(y))), gradient, case.dtype)
        assert_close(np.asarray(mapped(strict.asarray(kernel))), op(x), case.dtype)


def test_algebra_dtypes_and_scipys_face(strict):
    op = lc.Conv(np.array([1.0, -2.0], np.float32), (3,))
    flat = strict.asarray([1.0, 0.0, 1.0])
    assert_close(np.asarray((2 * op - op) @ flat), np.array([1.0, -2.0]))
    columns = strict.stack([flat, flat], axis=1)
    assert_close(np.asarray(op @ columns), np.array([[1.0, 1.0], [-2.0, -2.0]]))
    assert op(strict.asarray([1, 0, 1])).dtype == strict.float64
    assert op(strict.asarray([1, 0, 1], dtype=strict.float32)).dtype == strict.float32


@pytest.mark.parametrize("name", ["Tensor", "Variable"])
def test_tensorflow_is_refused_by_name(name, monkeypatch):
    fake = ModuleType("tensorflow")
    for class_name in ("Tensor", "Variable"):
        setattr(fake, class_name, type(class_name, (), {}))
    monkeypatch.setitem(sys.modules, "tensorflow", fake)
    with pytest.raises(lc.LinconvError, match=r"got a TensorFlow tensor; give its .numpy\(\)"):
        lc.Conv([1.0, 2.0], (3,))(getattr(fake, name)())


def test_two_frameworks_are_refused(strict):
    torch = pytest.importorskip("torch", reason="a tensor is the other kind")
    op = lc.Conv(torch.ones(2), (3,))
    with pytest.raises(lc.LinconvError, match="of one framework, .* of torch and one of array_api"):
        op(strict.ones(3))

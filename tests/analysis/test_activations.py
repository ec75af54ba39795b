"""Activations: values against NumPy's, slopes against differences, inverses, names."""

import numpy as np
import pytest

from linconv.analysis.activations import ACTIVATIONS, activation
from linconv.errors import GeometryError

DIRECT = {
    "linear": lambda z: z,
    "tanh": np.tanh,
    "sigmoid": lambda z: 1 / (1 + np.exp(-z)),
}
EACH = pytest.mark.parametrize("name", ACTIVATIONS)
Z = np.linspace(-4, 4, 101)


@EACH
def test_values(name):
    np.testing.assert_allclose(activation(name).apply(Z), DIRECT[name](Z), rtol=1e-14)
    assert activation(name).name == name


@EACH
def test_slope_of_a_value_is_the_derivative(name):
    step = 1e-5
    differences = (DIRECT[name](Z + step) - DIRECT[name](Z - step)) / (2 * step)
    found = activation(name).slope(DIRECT[name](Z))
    np.testing.assert_allclose(found, differences, rtol=1e-6)
    assert found.shape == Z.shape


@EACH
def test_inverse(name):
    shape = activation(name)
    np.testing.assert_allclose(shape.inverse(shape.apply(Z)), Z, rtol=1e-9, atol=1e-12)


@EACH
def test_values_fill_the_range_and_do_not_leave_it(name):
    shape = activation(name)
    ends = shape.apply(np.array([-1e3, 1e3]))
    assert shape.low <= ends[0] < ends[1] <= shape.high
    if name != "linear":
        np.testing.assert_allclose(ends, [shape.low, shape.high], atol=1e-300)
    assert (np.diff(shape.apply(Z)) > 0).all()


@EACH
def test_single_precision_is_kept(name):
    assert activation(name).apply(Z.astype(np.float32)).dtype == np.float32


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("tahn", "got 'tahn'; did you mean 'tanh'"),
        ("Sigmoid", "got 'Sigmoid'; did you mean 'sigmoid'"),
        ("relu", "got 'relu'; .*'linear', 'tanh', 'sigmoid'"),
        (None, "got None; use one of 'linear', 'tanh', 'sigmoid'"),
    ],
)
def test_unknown_names_get_the_nearest(name, message):
    with pytest.raises(
        GeometryError, match=f"activation must be one of the known names; {message}"
    ):
        activation(name)

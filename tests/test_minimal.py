"""What every build must pass, whatever it was built with and wherever it is installed.

Needs NumPy, SciPy and pytest, and nothing else of this folder: the file is also run by itself,
against an installed package.
"""

import numpy as np
import pytest

import linconv as lc

# Layouts, strides of either parity, dilation, groups, cropping; 1-D to 3-D.
LAYERS = {
    "bare": ((3, 3), (9, 8), {"padding": "same"}),
    "line": ((5, 2, 3), (40, 2), {"stride": 2, "padding": 3}),
    "strided": ((3, 2, 3, 4), (11, 10, 3), {"stride": (2, 3), "padding": "same"}),
    "dilated": ((3, 3, 2, 16), (13, 12, 2), {"dilation": 2, "padding": 1}),
    "grouped": ((3, 3, 2, 6), (8, 9, 4), {"groups": 2, "stride": 2}),
    "depthwise": ((3, 3, 1, 9), (10, 10, 9), {"groups": 9, "padding": 1}),
    "cropped": ((2, 2, 2, 2), (7, 8, 2), {"padding": -1}),
    "channels_first": (
        (5, 2, 3, 3),
        (2, 9, 37),
        {"data_format": "channels_first", "padding": 1},
    ),
    "volume": ((2, 3, 2, 2, 3), (5, 6, 7, 2), {"stride": (1, 2, 1), "padding": 1}),
}
TOLERANCES = {"float32": 1e-5, "float64": 1e-13}


def close(value, expected, dtype) -> None:
    assert value.dtype == dtype
    scale = max(1.0, np.abs(expected).max())
    np.testing.assert_allclose(value, expected, rtol=0, atol=TOLERANCES[dtype] * scale)


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_is_its_matrix(name, dtype):
    kernel_shape, input_shape, options = LAYERS[name]
    rng = np.random.default_rng(7)
    kernel = rng.standard_normal(kernel_shape).astype(dtype)
    layer = lc.Conv(kernel, input_shape, **options)
    matrix = layer.matrix().astype("float64")
    x = rng.standard_normal(input_shape).astype(dtype)
    y = rng.standard_normal(layer.output_shape).astype(dtype)
    close(layer(x).ravel(), matrix @ x.ravel(), dtype)
    close(layer.T(y).ravel(), matrix.T @ y.ravel(), dtype)
    assert (layer.sparse() != layer.matrix()).sum() == 0


def test_the_figures_of_the_readme():
    image = np.array([[4, 5, 8, 7], [1, 8, 8, 8], [3, 6, 6, 4], [6, 5, 7, 8]])
    kernel = np.array([[10, -4, 10], [10, 0, 30], [30, 30, -1]])
    np.testing.assert_array_equal(lc.Conv(kernel, (4, 4))(image), [[614, 764], [591, 660]])
    blur = lc.Conv(kernel, (4, 4), padding="same")
    assert lc.inverse_kernel(blur, 3, image).mse == pytest.approx(1.26384, abs=1e-5)

"""Figures published elsewhere, met: the course's experiment first, then those of other projects."""

import numpy as np
import pytest

import linconv as lc


@pytest.fixture(params=["float64", "float32"])
def exact(request):
    """A dtype, and what "equal" means in it: exactly, or to a millionth of the largest value."""

    def same(actual, expected):
        expected = np.asarray(expected, np.float64)
        assert actual.dtype == np.dtype(request.param)
        assert actual.shape == expected.shape
        if request.param == "float64":
            np.testing.assert_array_equal(actual, expected)
        else:
            assert np.abs(actual - expected).max() <= 1e-6 * np.abs(expected).max()

    same.dtype = np.dtype(request.param)
    return same


@pytest.fixture
def image(course, exact):
    return np.array(course["image"], exact.dtype)


@pytest.fixture
def kernel(course, exact):
    return np.array(course["kernel"], exact.dtype)


@pytest.fixture
def op(image, kernel):
    return lc.Conv(kernel, image.shape)


# The course


def test_convolution_of_the_course(course, exact, op, image):
    exact(op(image), course["valid_convolution"])


def test_matrix_of_the_course(course, exact, op, image):
    exact(op.matrix(), course["convolution_matrix"])
    exact(op.sparse().toarray(), course["convolution_matrix"])
    exact((op.matrix() @ image.ravel()).reshape(2, 2), course["valid_convolution"])


def test_transpose_of_the_course(course, exact, op, image, kernel):
    y = op(image)
    exact(op.T(y), course["transposed_convolution_stride_1"])
    exact(lc.ConvTranspose(kernel, (2, 2))(y), course["transposed_convolution_stride_1"])
    exact((op.matrix().T @ y.ravel()).reshape(4, 4), course["transposed_convolution_stride_1"])
    assert np.abs(op.T(y) - image).max() > 1000  # a transpose is not an inverse


def test_padded_input_of_the_course(course, exact, op, image, kernel):
    y = op(image)
    same = op.T.as_conv()
    exact(same.prepared(y), course["padded_input_stride_1"])
    exact(same(y), course["transposed_convolution_stride_1"])
    padded = np.array(course["padded_input_stride_1"], exact.dtype)
    flipped = lc.Conv(kernel[::-1, ::-1], padded.shape)
    exact(flipped(padded), course["transposed_convolution_stride_1"])
    exact(same.conv.kernel, kernel[::-1, ::-1])


def test_stride_two_of_the_course(course, exact, op, image, kernel):
    y = op(image)
    up = lc.ConvTranspose(kernel, (2, 2), stride=2)
    exact(up(y), course["transposed_convolution_stride_2"])
    exact(up.as_conv().prepared(y), course["dilated_padded_input_stride_2"])
    exact(up.as_conv()(y), course["transposed_convolution_stride_2"])


def test_every_form_of_the_course(course, exact, op, image, kernel):
    y = op(image)
    layers = [
        (op, image, "valid_convolution"),
        (op.T, y, "transposed_convolution_stride_1"),
        (lc.ConvTranspose(kernel, (2, 2), stride=2), y, "transposed_convolution_stride_2"),
    ]
    for layer, x, name in layers:
        for form_name, form in lc.forms(layer).items():
            result = form(x)
            if form_name in ("fft", "spectra"):  # by way of transforms: to rounding
                scale = np.abs(course[name]).max()
                assert np.abs(result - course[name]).max() <= 4 * np.finfo(exact.dtype).eps * scale
            else:
                exact(result, course[name])


def test_best_inverse_kernel_of_the_course(course):
    """Least squares gives in closed form what 10,000 epochs of training came near to."""
    image = np.array(course["image"], float)
    op = lc.Conv(np.array(course["kernel"], float), image.shape, padding="same")
    published = course["inverse_filter"]
    best = lc.inverse_kernel(op, 3, image)
    assert best.mse == pytest.approx(published["exact_optimum_mse"], abs=5e-6)
    assert best.bias == pytest.approx([published["exact_optimum_bias"]], abs=1e-6)
    # the normal equations of these whole numbers, solved in fractions, rounded at the end
    assert best.bias == pytest.approx([4.110128677616796], rel=1e-9)
    assert best.mse == pytest.approx(1.263840423719223, rel=1e-9)
    assert best.mse < published["trained_mse"]
    up = lc.ConvTranspose(best.kernel, image.shape, padding="same")
    rebuilt = up(op(image)) + best.bias
    np.testing.assert_allclose(best.reconstruct(op(image)), rebuilt, rtol=1e-12)
    assert np.mean((rebuilt - image) ** 2) == pytest.approx(best.mse, rel=1e-9)


def test_trained_inverse_kernel_of_the_course(course):
    """The published weights, bias fitted, give the published reconstruction and error."""
    published = course["inverse_filter"]
    image = np.array(course["image"], float)
    op = lc.Conv(np.array(course["kernel"], float), image.shape, padding="same")
    up = lc.ConvTranspose(np.array(published["trained_kernel"]), image.shape, padding="same")
    trained = np.array(published["trained_reconstruction"])
    assert np.mean((trained - image) ** 2) == pytest.approx(published["trained_mse"], abs=5e-6)
    without_bias = trained - up(op(image))
    np.testing.assert_allclose(without_bias, without_bias.mean(), atol=2e-5)


# Elsewhere


def test_numerical_figures_of_the_guide(published):
    figures = published["numeric_figures"]
    kernel, image = np.array(figures["kernel"], float), np.array(figures["image"], float)
    np.testing.assert_array_equal(lc.Conv(kernel, (5, 5))(image), figures["valid_stride_1"])
    strided = lc.Conv(kernel, (5, 5), stride=2, padding=1)
    np.testing.assert_array_equal(strided(image), figures["padding_1_stride_2"])


def test_full_convolution_matrix_of_matlab(published):
    """convmtx2 is a convolution of the textbook: the kernel is flipped (these ones are not)."""
    magic = [[17, 24, 1, 8, 15], [23, 5, 7, 14, 16], [4, 6, 13, 20, 22], [10, 12, 19, 21, 3]]
    magic = np.array([*magic, [11, 18, 25, 2, 9]], float)
    assert set(magic.sum(0)) | set(magic.sum(1)) | {magic.trace()} == {65.0}
    op = lc.Conv(np.ones((3, 3)) / 9, (5, 5), padding="full")
    result = (op.sparse() @ magic.ravel()).reshape(op.output_shape)
    assert result.shape == (7, 7)
    row = published["full_convolution_matrix"]["what"].rpartition(" is ")[2].split()
    np.testing.assert_allclose(result[0], [float(value) for value in row], atol=5e-5)


def test_reflect_matrix_of_pyxu(published):
    op = lc.Conv([1, 2, -3], (5,), padding=((2, 0),), padding_mode="reflect")
    np.testing.assert_array_equal(op.matrix(), published["reflect_matrix"]["matrix"])


def test_transposed_values_of_keras_are_not_shifted(published):
    figures = published["transposed_same_values"]
    rng = np.random.default_rng(42)
    x = rng.standard_normal((4, 16, 16, 16))
    kernel = rng.standard_normal((3, 3, 32, 16)) * 0.05
    up = lc.ConvTranspose(kernel, (16, 16, 16), stride=2, padding="same")
    assert up(x).shape == (4, 32, 32, 32)
    assert up(x).sum() == pytest.approx(figures["sum_right"], abs=2e-6)
    shifted = lc.ConvTranspose(kernel, (16, 16, 16), stride=2, padding=1, output_padding=1)
    assert shifted(x).shape == (4, 32, 32, 32)
    assert shifted(x).sum() == pytest.approx(figures["sum_shifted_by_one"], abs=2e-6)


def test_overlap_of_transposed_layers(published):
    """Of the map itself: a kernel of ones applied to ones counts the contributions."""
    for row in published["overlap"]["rows"]:
        s, k = row["stride"], row["kernel"]
        for ndim, ratio in ((1, row["ratio_1d"]), (2, row["ratio_2d"])):
            up = lc.ConvTranspose(np.ones((k,) * ndim), (12,) * ndim, stride=s)
            counts = up(np.ones((12,) * ndim))[(slice(k, -k),) * ndim]
            assert counts.max() / counts.min() == ratio, row


def test_circular_spectra(published):
    """Singular values of the dense matrix, against those recomputed for the published kernels."""
    rows = published["circular_spectra"]["rows"]
    assert len(rows) == 3
    for row in rows:
        kernel = np.array(row["kernel"], float)
        op = lc.Conv(kernel, (20,) * kernel.ndim, padding="same", padding_mode="circular")
        values = np.linalg.svd(op.matrix(), compute_uv=False)
        assert values[0] == pytest.approx(row["sigma_max"], rel=1e-8)
        assert values[-1] == pytest.approx(row["sigma_min"], rel=1e-6)
        assert values[0] / values[-1] == pytest.approx(row["condition"], rel=1e-6)

"""Encoders: their weights, their features against plain loops, and what may stand in for them."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from linconv.errors import DTypeError, GeometryError, LinconvError, ShapeError
from linconv.study.encoders import BLOCK_BYTES, ConvLayer, Encoder, MaxPool, model_a, model_b
from linconv.study.encoding import encode
from reference import Layer, convolve, resolve_padding

MODELS = {
    "A 1": (lambda **k: model_a(1, **k), [(3, 3, 1, 1)], 10),
    "A 10": (lambda **k: model_a(10, **k), [(3, 3, 1, 10)], 100),
    "A 20": (lambda **k: model_a(20, **k), [(3, 3, 1, 20)], 200),
    "B as run": (model_b, [(3, 3, 1, 15)], 150),
    "B as described": (
        lambda **k: model_b("as described", **k),
        [(3, 3, 1, 5), (3, 3, 5, 15)],
        740,
    ),
}
EVERY_MODEL = pytest.mark.parametrize(
    ("make", "kernels", "parameters"), MODELS.values(), ids=MODELS
)


def images(*shape: int, seed: int = 0, dtype: str = "float64") -> np.ndarray:
    return np.random.default_rng(seed).random(shape).astype(dtype)


def loops(encoder: Encoder, image: np.ndarray) -> np.ndarray:
    """The features of one image, by the definition of each layer."""
    for layer in encoder.layers:
        if isinstance(layer, MaxPool):
            n, (height, width, _) = layer.size, image.shape
            blocks = [
                [image[i : i + n, j : j + n].max((0, 1)) for j in range(0, width - n + 1, n)]
                for i in range(0, height - n + 1, n)
            ]
            image = np.array(blocks)
            continue
        size, stride = image.shape[:2], (layer.stride, layer.stride)
        taps = layer.kernel.shape[:2]
        pads = resolve_padding("same", size, taps, stride, (1, 1))
        options = Layer(size, taps, stride, pads, ("zeros", "zeros"), (1, 1), 1, True)
        z = convolve(options, image, layer.kernel) + layer.bias
        image = {"linear": z, "tanh": np.tanh(z), "sigmoid": 1 / (1 + np.exp(-z))}[layer.activation]
    return image


# The course's models


@EVERY_MODEL
def test_the_models_are_those_of_the_course(make, kernels, parameters):
    encoder = make()
    assert [k.shape for k in encoder.kernels] == kernels
    assert encoder.parameters == parameters
    assert encoder.stride == 2
    assert str(parameters) in encoder.describe()
    assert encoder.to_dict()["parameters"] == parameters


@EVERY_MODEL
def test_weights_are_glorot_uniform_by_the_seed(make, kernels, parameters):
    drawn = [make(seed=seed).kernels for seed in range(40)]
    for position, shape in enumerate(kernels):
        limit = np.sqrt(6 / (9 * shape[2] + 9 * shape[3]))
        values = np.concatenate([kernels[position].ravel() for kernels in drawn])
        assert 0.95 * limit < np.abs(values).max() <= limit
        assert abs(values.mean()) < 5 * limit / np.sqrt(3 * values.size)
        assert values.std() == pytest.approx(limit / np.sqrt(3), rel=0.1)
    for first, again in zip(make(seed=7).kernels, drawn[7], strict=True):
        np.testing.assert_array_equal(first, again)
    assert not np.array_equal(drawn[0][0], drawn[1][0])


@EVERY_MODEL
def test_an_encoder_is_frozen_and_its_biases_are_zero(make, kernels, parameters):
    for layer in make().layers:
        if isinstance(layer, ConvLayer):
            assert not layer.bias.any()
            assert not layer.kernel.flags.writeable
            assert not layer.bias.flags.writeable


@EVERY_MODEL
@pytest.mark.parametrize("size", [(6, 4), (7, 5)], ids=["even", "odd"])
def test_features_are_those_of_the_definition(make, kernels, parameters, size):
    encoder, x = make(seed=3), images(2, *size, 1, seed=4)
    expected = np.array([loops(encoder, image) for image in x])
    np.testing.assert_allclose(encoder(x), expected, rtol=0, atol=1e-13)


def test_biases_and_strides_of_other_encoders_count():
    rng = np.random.default_rng(5)
    layer = ConvLayer(rng.normal(size=(2, 3, 2, 4)), rng.normal(size=4), "linear", 3)
    encoder = Encoder("other", (MaxPool(2), layer))
    x = images(2, 9, 12, 2)
    expected = np.array([loops(encoder, image) for image in x])
    np.testing.assert_allclose(encoder(x), expected, rtol=0, atol=1e-13)
    assert encoder.stride == 6


def test_the_wiring_as_run_reads_the_image_and_says_so():
    assert "not used" in model_b().describe()
    assert "5 filters" in model_b("as described").describe().partition(";")[0]


@pytest.mark.parametrize("batch", [1, 3, 7, 100])
def test_features_do_not_depend_on_the_batch(batch):
    encoder, x = model_a(4), images(7, 8, 8, 1)
    np.testing.assert_allclose(encoder(x, batch), encoder(x), rtol=0, atol=1e-14)


@pytest.mark.parametrize("given", ["float16", "float32", "float64", "uint8", "bool"])
def test_an_encoder_computes_in_the_dtype_of_its_kernels(given):
    x = (images(3, 6, 6, 1) * 2).astype(given)
    single, double = model_b(dtype="float32"), model_b()
    assert single.dtype == single(x).dtype == np.float32
    assert double.dtype == double(x).dtype == np.float64
    np.testing.assert_allclose(single(x), double(x), rtol=0, atol=3e-7)
    for a, b in zip(single.kernels, double.kernels, strict=True):
        np.testing.assert_array_equal(a, b.astype(np.float32))


def test_read_only_and_strided_images_are_left_as_they_are():
    x = images(4, 6, 6, 1)
    x.flags.writeable = False
    encoder = model_a(3)
    np.testing.assert_array_equal(encoder(x[::-1, ::-1]), encoder(x[::-1, ::-1].copy()))


def test_memory_does_not_grow_with_the_number_of_images():
    encoder, peaks = model_a(20, dtype="float32"), []
    for count in (100, 400):
        x = images(count, 32, 32, 1, dtype="float32")
        encoder(x[:1])
        tracemalloc.start()
        features = encoder(x)
        peaks.append(tracemalloc.get_traced_memory()[1] - features.nbytes)
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0]
    assert peaks[1] < 8 * BLOCK_BYTES


# What stands in


def test_encode_takes_an_encoder():
    encoder, x = model_b(), images(3, 8, 8, 1)
    np.testing.assert_array_equal(encode(encoder, x), encoder(x))


@pytest.mark.parametrize("batch", [None, 1, 2, 5])
def test_encode_takes_a_callable_batch_by_batch(batch):
    x, seen = images(5, 4, 6, 3), []

    def halves(block):
        seen.append(len(block))
        return block[:, ::2, ::2]

    np.testing.assert_array_equal(encode(halves, x, batch), x[:, ::2, ::2])
    assert seen == {None: [5], 1: [1] * 5, 2: [2, 2, 1], 5: [5]}[batch]


@pytest.mark.parametrize(
    ("given", "passed"), [("float16", "float32"), ("float32", "float32"), ("uint8", "float64")]
)
def test_a_callable_is_given_floats(given, passed):
    x = np.ones((2, 4, 4, 1), given)
    assert encode(lambda block: block, x).dtype == passed


def test_encode_takes_a_torch_module_channels_first():
    torch = pytest.importorskip("torch", reason="a PyTorch encoder needs torch")
    ours = model_b("as described", dtype="float32")
    convs = []
    for layer in ours.layers:
        conv = torch.nn.Conv2d(*layer.kernel.shape[2:], 3, stride=layer.stride)
        with torch.no_grad():
            conv.weight.copy_(torch.from_numpy(layer.kernel.transpose(3, 2, 0, 1).copy()))
            conv.bias.copy_(torch.from_numpy(layer.bias.copy()))
        convs.append(conv)
    # TensorFlow's "same": with stride 2 on even sides, one more row and column at the end only.
    pads = [torch.nn.ZeroPad2d(1), torch.nn.ZeroPad2d((0, 1, 0, 1))]
    module = torch.nn.Sequential(
        pads[0], convs[0], torch.nn.Tanh(), pads[1], convs[1], torch.nn.Sigmoid()
    )
    module.append(torch.nn.Dropout(0.5))
    module[0].eval()
    x = images(5, 8, 6, 1)
    x.flags.writeable = False
    features = encode(module, x, batch=2)
    assert features.dtype == np.float32
    np.testing.assert_allclose(features, ours(x), rtol=0, atol=1e-6)
    assert module[-1].training, "the mode of each part is given back"
    assert not module[0].training


def test_a_torch_module_without_weights_keeps_the_dtype():
    torch = pytest.importorskip("torch", reason="a PyTorch encoder needs torch")
    x = images(2, 4, 6, 3)
    pooled = x.reshape(2, 2, 2, 3, 2, 3).max((2, 4))
    np.testing.assert_array_equal(encode(torch.nn.MaxPool2d(2), x), pooled)


def test_encode_takes_a_keras_model_and_a_layer():
    pytest.importorskip("jax", reason="Keras runs on JAX here")
    keras = pytest.importorskip("keras", reason="a Keras encoder needs keras")
    ours = model_b(dtype="float32")
    (only,) = ours.layers
    layer = keras.layers.Conv2D(15, 3, 2, padding="same", activation="sigmoid")
    model = keras.Sequential([keras.Input((8, 6, 1)), layer, keras.layers.Dropout(0.5)])
    layer.set_weights([only.kernel, only.bias])
    x = images(5, 8, 6, 1)
    for encoder in (layer, model):
        np.testing.assert_allclose(encode(encoder, x, batch=2), ours(x), rtol=0, atol=1e-6)


# What is refused


@pytest.mark.parametrize("bad", [0, -1, 1.5])
def test_numbers_of_filters_and_seeds_are_checked(bad):
    with pytest.raises(GeometryError, match=r"n_filters must be .*; got"):
        model_a(bad)
    if bad:
        with pytest.raises(GeometryError, match=r"seed must be .*; got"):
            model_b(seed=bad)
    with pytest.raises(GeometryError, match=r"batch must be .*; got"):
        encode(model_b(), images(1, 4, 4, 1), bad)
    with pytest.raises(GeometryError, match=r"batch must be .*; got"):
        encode(np.asarray, images(1, 4, 4, 1), bad)


def test_an_unknown_wiring_is_refused_with_the_nearest():
    with pytest.raises(GeometryError, match="got 'as described ';.*did you mean 'as described'"):
        model_b("as described ")


@pytest.mark.parametrize("dtype", ["float16", "int64", "complex64"])
def test_other_dtypes_of_weights_are_refused(dtype):
    with pytest.raises(DTypeError, match=f"float32 or float64; got {dtype}"):
        model_b(dtype=dtype)


@pytest.mark.parametrize("encoder", [model_b(), np.asarray], ids=["Encoder", "callable"])
@pytest.mark.parametrize("shape", [(4, 4), (2, 4, 4), (0, 4, 4, 1), (2, 4, 4, 1, 1)])
def test_images_with_other_axes_are_refused(encoder, shape):
    with pytest.raises(ShapeError, match=r"\(n, height, width, channels\); got \("):
        encode(encoder, np.zeros(shape))


def test_complex_images_are_refused():
    with pytest.raises(DTypeError, match="must be real; got dtype complex128"):
        encode(np.asarray, np.zeros((1, 4, 4, 1), complex))


def test_colour_images_are_refused_by_a_grey_encoder():
    with pytest.raises(ShapeError, match=r"1 channel\(s\); got 3 in shape \(2, 4, 4, 3\)"):
        model_a()(np.zeros((2, 4, 4, 3)))


def test_images_too_small_to_pool_are_refused():
    with pytest.raises(ShapeError, match="at least 2 × 2 pixels; got 1 × 5"):
        model_a()(np.zeros((2, 1, 5, 1)))


def test_an_encoder_without_a_convolution_is_refused():
    with pytest.raises(LinconvError, match="must have a convolution; got 1 layers without one"):
        Encoder("pooling", (MaxPool(2),))


def test_what_cannot_be_called_is_no_encoder():
    with pytest.raises(LinconvError, match=r"a callable; got ndarray; use e.g. model_b\(\)"):
        encode(np.zeros(3), images(1, 4, 4, 1))


@pytest.mark.parametrize(
    "encoder",
    [lambda x: x[..., 0], lambda x: x[:1], lambda x: x[:, : 1 + len(x)]],
    ids=["no channels", "images lost", "another size by batch"],
)
def test_features_of_another_shape_are_refused(encoder):
    with pytest.raises(ShapeError, match=r"must return features of shape \(\d, height.*; got \("):
        encode(encoder, images(5, 8, 8, 1), batch=3)


def test_features_that_are_no_numbers_are_refused():
    with pytest.raises(DTypeError, match="the features must hold real or complex numbers"):
        encode(lambda x: x.astype(str), images(1, 4, 4, 1))

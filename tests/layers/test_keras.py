"""Layers of Keras are read as what they compute on JAX, in float64, over the grid of their options.

The layers of one test are compiled as one function: one at a time they would take minutes.
"""

import re
from itertools import product
from zlib import crc32

import numpy as np
import pytest

import linconv as lc
from linconv.errors import LinconvError, ShapeError

jax = pytest.importorskip("jax", reason="reading layers of Keras is tested on JAX")
keras = pytest.importorskip("keras", reason="reading layers of Keras needs keras")
if keras.backend.backend() != "jax":
    pytest.skip("the JAX backend is wanted", allow_module_level=True)

QUICK = {"xla_backend_optimization_level": 0}  # each function runs once

RANKS = pytest.mark.parametrize("ndim", [1, 2, 3])
FORMATS = pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
SIZES = {1: (7,), 2: (5, 6), 3: (4, 5, 4)}
KERNELS = {1: (3,), 2: (3, 2), 3: (2, 3, 2)}
STEPS = [(1, 1), (2, 1), (3, 1), (1, 2)]  # stride, dilation: Keras has one or the other


@pytest.fixture(autouse=True)
def double():
    """Keras computes in float64 while JAX is told to."""
    with jax.enable_x64(True):
        yield


class Grid:
    """Layers with their input shapes, run together and then compared one by one."""

    def __init__(self, name: str) -> None:
        self.rng = np.random.default_rng(crc32(name.encode()))
        self.cases = []

    def draw(self, shape, dtype=None):
        return self.rng.standard_normal(shape)

    def add(self, kind, shape, *args, **options):
        if "Conv" in kind:
            names = ["bias"]
            plain = not kind.startswith(("Depthwise", "Separable"))
            names += ["kernel"] if plain else ["depthwise"]
            names += ["pointwise"] if kind.startswith("Separable") else []
            options |= {f"{name}_initializer": self.draw for name in names}
        layer = getattr(keras.layers, kind)(*args, dtype="float64", **options)
        layer.build((None, *shape))
        self.cases.append((layer, shape, f"{kind} {args} {options}"))

    def check(self) -> list[lc.Layer]:
        layers = [layer for layer, _, _ in self.cases]
        inputs = [self.draw((2, *shape)) for _, shape, _ in self.cases]

        def run(weights, inputs):
            calls = zip(layers, weights, inputs, strict=True)
            return [layer.stateless_call(w, [], x)[0] for layer, w, x in calls]

        weights = [[w.value for w in layer.weights] for layer in layers]
        outputs = jax.jit(run, compiler_options=QUICK)(weights, inputs)
        found = []
        for (layer, shape, where), x, y in zip(self.cases, inputs, outputs, strict=True):
            expected = np.asarray(y)
            # Keras adds a bias in float32 on every backend but TensorFlow's.
            assert expected.dtype == np.float64 or layer.weights, where
            atol = 1e-11 if expected.dtype == np.float64 else 4e-6
            read = lc.from_layer(layer, shape)
            assert read.output_shape == expected.shape[1:], where
            np.testing.assert_allclose(read.apply(x), expected, atol=atol, err_msg=where)
            assert read.source == "keras"
            assert read.name == layer.name
            found.append(read)
        assert found
        return found


def shaped(size, channels, data_format):
    return (*size, channels) if data_format == "channels_last" else (channels, *size)


@RANKS
@FORMATS
def test_convolutions_are_read(ndim, data_format):
    grid = Grid(f"{ndim} {data_format}")
    for (stride, dilation), padding, groups in product(STEPS, ("valid", "same"), (1, 2)):
        grid.add(
            f"Conv{ndim}D",
            shaped(SIZES[ndim], 4, data_format),
            2 * groups,
            KERNELS[ndim],
            strides=stride,
            dilation_rate=dilation,
            padding=padding,
            groups=groups,
            data_format=data_format,
            use_bias=groups == 1 and stride > 1,
            activation="tanh" if stride == 2 else None,
        )
    if ndim == 1:
        for stride, dilation in STEPS:
            grid.add(
                "Conv1D",
                shaped((9,), 3, data_format),
                2,
                3,
                strides=stride,
                dilation_rate=dilation,
                padding="causal",
                data_format=data_format,
            )
    read = grid.check()
    assert {layer.activation for layer in read} == {None, "tanh"}
    assert {layer.bias is None for layer in read} == {False, True}


@RANKS
@FORMATS
def test_transposed_convolutions_are_read(ndim, data_format):
    grid = Grid(f"transposed {ndim} {data_format}")
    for (stride, dilation), padding in product(STEPS, ("valid", "same")):
        for output_padding in (None, *range(stride)):
            if output_padding is None or output_padding == stride - 1 or ndim == 1:
                grid.add(
                    f"Conv{ndim}DTranspose",
                    shaped((3, 2, 4)[:ndim], 2, data_format),
                    3,
                    KERNELS[ndim],
                    strides=stride,
                    dilation_rate=dilation,
                    padding=padding,
                    output_padding=output_padding,
                    data_format=data_format,
                    use_bias=stride == 1,
                )
    grid.check()


@FORMATS
@pytest.mark.parametrize("ndim", [1, 2])
def test_depthwise_and_separable_convolutions_are_read(ndim, data_format):
    grid = Grid(f"depthwise {ndim} {data_format}")
    for (stride, dilation), padding, multiplier in product(STEPS, ("valid", "same"), (1, 2)):
        options = {"strides": stride, "dilation_rate": dilation, "padding": padding}
        options |= {"depth_multiplier": multiplier, "data_format": data_format}
        options |= {"use_bias": stride == 3}
        shape = shaped(SIZES[ndim], 3, data_format)
        grid.add(f"DepthwiseConv{ndim}D", shape, 3, **options)
        if multiplier == 2:
            grid.add(f"SeparableConv{ndim}D", shape, 4, 3, **options)
    grid.check()


@RANKS
@FORMATS
def test_average_pooling_is_read(ndim, data_format):
    grid = Grid(f"pooling {ndim} {data_format}")
    for kernel, stride, padding in product((2, 3), (None, 1, 2), ("valid", "same")):
        shape = shaped(SIZES[ndim], 2, data_format)
        grid.add(f"AveragePooling{ndim}D", shape, kernel, stride, padding, data_format=data_format)
    grid.check()


@RANKS
@FORMATS
def test_resizing_padding_and_cropping_are_read(ndim, data_format):
    grid = Grid(f"sides {ndim} {data_format}")
    shape, option = shaped(SIZES[ndim], 2, data_format), {"data_format": data_format}
    pairs = ((1, 0), (0, 2), (1, 1))[:ndim]
    sides = pairs[0] if ndim == 1 else pairs
    grid.add(f"ZeroPadding{ndim}D", shape, 1, **option)
    grid.add(f"ZeroPadding{ndim}D", shape, sides, **option)
    if ndim > 1:
        grid.add(f"ZeroPadding{ndim}D", shape, (1, 2, 0)[:ndim], **option)
        grid.add(f"UpSampling{ndim}D", shape, (2, 3, 1)[:ndim], **option)
        grid.add(f"Cropping{ndim}D", shape, 1, **option)
        grid.add(f"Cropping{ndim}D", shape, sides, **option)
    elif data_format == "channels_last":
        grid.add("UpSampling1D", shape, 3)
        grid.add("Cropping1D", shape, 1)
        grid.add("Cropping1D", shape, sides)
    if ndim == 2:
        grid.add("UpSampling2D", shape, (2, 3), interpolation="bilinear", **option)
    grid.check()


def test_a_sequential_is_the_product_of_its_layers():
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((6, 7, 2)),
            layers.ZeroPadding2D(((1, 0), (2, 1)), dtype="float64"),
            layers.Conv2D(3, 3, kernel_initializer=draw, bias_initializer=draw, dtype="float64"),
            layers.UpSampling2D(2, dtype="float64"),
            layers.Activation("relu", dtype="float64"),
        ]
    )
    read = lc.from_layer(model)
    x = np.random.default_rng(0).standard_normal((2, 6, 7, 2))
    expected = np.asarray(model(x))
    np.testing.assert_allclose(read.apply(x), expected, atol=4e-6)
    assert (read.kind, read.activation) == ("Sequential", "relu")


def draw(shape, dtype=None):
    return np.random.default_rng(sum(shape)).standard_normal(shape)


@pytest.mark.parametrize(
    "name",
    [
        *("elu", "gelu", "hard_sigmoid", "hard_silu", "log_sigmoid", "relu", "relu6", "sigmoid"),
        *("silu", "softplus", "softsign", "tanh"),
    ],
)
def test_activations_are_read_and_computed(name):
    layer = keras.layers.Activation(name, dtype="float64")
    x = np.linspace(-9, 9, 40)
    read = lc.from_layer(layer, (40,))
    assert read.activation == name
    np.testing.assert_allclose(read.apply(x), np.asarray(layer(x[None]))[0], atol=4e-6)


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda k: None, None),
        (lambda k: "linear", None),
        (lambda k: "leaky_relu", "leaky_relu(0.2)"),
        (lambda k: k.LeakyReLU(negative_slope=0.1), "leaky_relu(0.1)"),
        (lambda k: k.ReLU(), "relu"),
        (lambda k: k.ReLU(6.0), "relu6"),
        (lambda k: k.ReLU(3.0, 0.5), "relu(3.0, 0.5, 0.0)"),
        (lambda k: k.ELU(), "elu"),
        (lambda k: k.ELU(0.5), "elu(0.5)"),
        (lambda k: "softmax", "softmax"),
        (lambda k: tanh, "tanh (not Keras' own)"),
        (lambda k: draw, "draw"),
    ],
)
def test_activations_of_a_layer_are_known_by_name(make, name):
    options = {"kernel_initializer": draw, "bias_initializer": draw}
    layer = keras.layers.Conv1D(2, 3, activation=make(keras.layers), **options)
    layer.build((None, 9, 2))
    assert lc.from_layer(layer).activation == name


def tanh(x):
    return 2 * x


# What the layer knows, and what does not change


def test_a_built_layer_knows_its_input_shape():
    layer = keras.layers.Conv2D(2, 3, kernel_initializer=draw)
    layer.build((None, 7, 8, 3))
    assert lc.from_layer(layer).input_shape == (7, 8, 3)
    assert lc.from_layer(layer, (5, 6, 3)).input_shape == (5, 6, 3)
    called = keras.layers.UpSampling2D(2)
    called(keras.Input((4, 5, 1)))
    assert lc.from_layer(called).output_shape == (8, 10, 1)


def test_reading_changes_nothing_and_copies():
    layer = keras.layers.Conv1D(2, 3, kernel_initializer=draw)
    layer.build((None, 9, 2))
    config, before = layer.get_config(), [np.array(w.value) for w in layer.weights]
    read = lc.from_layer(layer)
    for ours, theirs in zip(before, layer.weights, strict=True):
        np.testing.assert_array_equal(ours, np.array(theirs.value))
    assert layer.get_config() == config
    layer.set_weights([np.zeros_like(w) for w in before])
    np.testing.assert_array_equal(read.operator.kernel, before[0])
    unbuilt = keras.layers.Conv1D(2, 3)
    with pytest.raises(LinconvError):
        lc.from_layer(unbuilt, (9, 2))
    assert not unbuilt.built


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "mixed_float16"])
def test_half_precision_is_read_in_single(dtype):
    layer = keras.layers.Conv1D(2, 3, kernel_initializer="ones", dtype=dtype)
    layer.build((None, 9, 2))
    read = lc.from_layer(layer)
    assert read.operator.dtype == read.bias.dtype == np.float32
    assert (read.operator.kernel == 1).all()


def test_a_subclass_is_read():
    class Mine(keras.layers.Conv1DTranspose):
        pass

    layer = Mine(2, 3, strides=2, kernel_initializer=draw)
    layer.build((None, 5, 3))
    read = lc.from_layer(layer)
    assert (read.kind, read.output_shape) == ("Mine", (11, 2))


class Other(keras.layers.Conv1D):
    def call(self, inputs):
        return super().call(inputs) ** 2


class Model(keras.Sequential):
    def call(self, inputs, training=None, mask=None):
        return inputs


@pytest.mark.parametrize(
    ("make", "shape", "kind", "message"),
    [
        (lambda k: k.Dense(2), (3,), LinconvError, "a layer of Keras must be one of Conv1D/2D/3D"),
        (lambda k: Other(2, 3), (9, 2), LinconvError, "got Other, whose call is its own"),
        (lambda k: Model([k.Identity()]), (9, 2), LinconvError, "got Model, whose call is its"),
        (lambda k: k.Conv2D(2, 3), (9, 8, 2), LinconvError, "layer.build((None, 9, 8, 2)) first"),
        (lambda k: k.Conv2D(2, 3), None, ShapeError, "as in input_shape=(32, 32, 3)"),
        (lambda k: k.UpSampling2D(2), None, ShapeError, "input_shape must be given"),
        (lambda k: k.UpSampling2D(2), (1, 8, 8, 3), ShapeError, "(it has no batch axis)"),
        (
            lambda k: k.UpSampling2D(2, interpolation="bicubic"),
            (8, 8, 3),
            LinconvError,
            "must be 'nearest' or 'bilinear'; got 'bicubic'",
        ),
        (
            lambda k: keras.Sequential([k.ReLU(), k.UpSampling1D(2)]),
            (8, 3),
            LinconvError,
            "got 'relu' of ReLU before UpSampling1D",
        ),
    ],
)
def test_what_cannot_be_read_is_refused(make, shape, kind, message):
    with pytest.raises(kind, match=re.escape(message)):
        lc.from_layer(make(keras.layers), shape)


def test_other_channels_than_the_layer_reads_are_refused():
    layer = keras.layers.Conv1D(2, 3, kernel_initializer=draw)
    layer.build((None, 9, 2))
    with pytest.raises(ShapeError, match=re.escape("must have the 2 channels that the layer")):
        lc.from_layer(layer, (9, 3))


def test_the_published_transposed_convolution_holds(published):
    """Keras pull request 22876: one backend was shifted by a pixel, with the right shapes."""
    figure = published["transposed_same_values"]
    rng = np.random.default_rng(42)
    x = rng.standard_normal((4, 16, 16, 16)).astype(np.float32)
    kernel = (rng.standard_normal((3, 3, 32, 16)) * 0.05).astype(np.float32)
    layer = keras.layers.Conv2DTranspose(
        32, 3, strides=2, padding="same", use_bias=False, kernel_initializer=lambda *_, **__: kernel
    )
    layer.build(x.shape)
    total = lc.from_layer(layer).apply(x).sum(dtype=np.float64)
    assert total == pytest.approx(figure["sum_right"], abs=1e-3)
    assert total != pytest.approx(figure["sum_shifted_by_one"], abs=1)

"""Layers written for Keras compute the operator, in the plainest form that there is."""

import re
import sys
from itertools import product
from zlib import crc32

import numpy as np
import pytest

import linconv as lc
from linconv.errors import LinconvError

jax = pytest.importorskip("jax", reason="writing layers of Keras is tested on JAX")
keras = pytest.importorskip("keras", reason="writing layers of Keras needs keras")
if keras.backend.backend() != "jax":
    pytest.skip("the JAX backend is wanted", allow_module_level=True)

QUICK = {"xla_backend_optimization_level": 0}  # each function runs once


@pytest.fixture(autouse=True)
def double():
    """Keras computes in float64 while JAX is told to."""
    with jax.enable_x64(True):
        yield


def draw(*shape: int) -> np.ndarray:
    return np.random.default_rng(crc32(str(shape).encode())).standard_normal(shape)


def run(layers: list, inputs: list[np.ndarray]) -> list[np.ndarray]:
    """What layers of Keras compute, compiled as one function."""

    def together(weights, inputs):
        calls = zip(layers, weights, inputs, strict=True)
        return [layer.stateless_call(w, [], x)[0] for layer, w, x in calls]

    weights = [[w.value for w in layer.weights] for layer in layers]
    return [np.asarray(y) for y in jax.jit(together, compiler_options=QUICK)(weights, inputs)]


def kinds(layer) -> list[str]:
    layers = layer.layers if isinstance(layer, keras.Sequential) else [layer]
    return [type(part).__name__ for part in layers]


def check(cases: list[tuple]) -> None:
    """Write maps or layers, compare the kinds with those expected, and the outputs with ours."""
    layers = [lc.from_layer(case) for case, _ in cases]
    written = [lc.to_layer(case, "keras") for case, _ in cases]
    for layer, expected in zip(written, (wanted for _, wanted in cases), strict=True):
        assert kinds(layer) == expected
    inputs = [draw(2, *layer.input_shape).astype(layer.operator.dtype) for layer in layers]
    for layer, theirs, x, y in zip(layers, written, inputs, run(written, inputs), strict=True):
        # Keras adds a bias in float32 on every backend but TensorFlow's.
        exact = layer.bias is None and layer.operator.dtype == np.float64
        assert y.dtype == np.float64 or not exact
        atol = 1e-11 if exact else 1e-5
        np.testing.assert_allclose(y, layer.apply(x), atol=atol, err_msg=f"{kinds(theirs)}")


KERNEL, SHAPE = draw(3, 2, 4, 6), (7, 8, 4)


def test_convolutions_are_written_in_the_plainest_form():
    def conv(**options):
        return lc.Conv(KERNEL, SHAPE, **options)

    plain, padded = ["Conv2D"], ["ZeroPadding2D", "Conv2D"]
    cases = [
        (conv(), plain),
        (conv(padding="same"), plain),
        (conv(padding="same", stride=2), plain),
        (conv(padding="same", dilation=2), plain),
        (conv(padding=1), padded),
        (conv(padding="same_lower"), padded),
        (conv(padding=-1), ["Cropping2D", "Conv2D"]),
        (conv(padding=((-1, 2), (3, -2))), ["ZeroPadding2D", "Cropping2D", "Conv2D"]),
        (conv(stride=2, dilation=2), plain),  # the kernel holds the zeros of its dilation
        (conv(padding=0, padding_mode="reflect"), plain),
        (lc.Layer(conv(padding=1), draw(6), "relu", 2), padded),
        (lc.Layer(conv(padding="same"), draw(6), "tanh", -1), plain),
    ]
    check(cases)
    names = [lc.to_layer(case, "keras").padding for case, kind in cases if kind == plain]
    assert names == ["valid", "same", "same", "same", "valid", "valid", "same"]


def test_lines_are_written_causal_where_they_are():
    def conv(**options):
        return lc.Conv(draw(3, 2, 4), (9, 2), **options)

    cases = [
        (conv(padding="causal", stride=2), ["Conv1D"]),
        (conv(padding="causal", dilation=2), ["Conv1D"]),
        (conv(padding=((3, 0),)), ["ZeroPadding1D", "Conv1D"]),
    ]
    check(cases)
    assert lc.to_layer(cases[0][0], "keras").padding == "causal"


def test_groups_become_depthwise_where_they_are():
    cases = []
    for ndim, groups in product((1, 2, 3), (2, 4)):
        kernel = draw(*(3, 2, 2)[:ndim], 4 // groups, 8)
        op = lc.Conv(kernel, (*(5, 4, 3)[:ndim], 4), groups=groups, padding="same")
        kind = "DepthwiseConv" if groups == 4 and ndim < 3 else "Conv"
        cases.append((lc.Layer(op, draw(8), None, ndim), [f"{kind}{ndim}D"]))
    check(cases)


@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_transposed_convolutions_are_written_over_the_grid(ndim):
    """Every one comes back as the operator, plain where Keras has the geometry."""
    cases, kind = [], f"Conv{ndim}DTranspose"
    for stride, dilation, padding in product((1, 2, 3), (1, 2), ("valid", "same", 0, 1)):
        kernel = draw(*(3, 2, 3)[:ndim], 2, 3)
        options = {"stride": stride, "dilation": dilation, "padding": padding}
        op = lc.ConvTranspose(kernel, (*(4, 3, 3)[:ndim], 3), **options)
        written = kinds(lc.to_layer(op, "keras"))
        assert written in ([kind], [kind, f"Cropping{ndim}D"])
        if isinstance(padding, str) and (stride == 1 or dilation == 1):
            assert written == [kind]
        cases.append((op, written))
    for output_padding in range(3):
        op = lc.ConvTranspose(
            draw(*(3,) * ndim, 2, 3), (*(3,) * ndim, 3), stride=3, output_padding=output_padding
        )
        cases.append((lc.Layer(op, draw(2), "tanh", ndim), [kind]))
    check(cases)


def test_channels_first_stays_so():
    first = {"data_format": "channels_first"}
    up = lc.ConvTranspose(draw(3, 2, 3), (3, 5), padding=((1, 0),), **first)
    cases = [
        (lc.Conv(draw(4, 2, 3, 3), (2, 6, 7), padding=1, **first), ["Conv2D"]),
        (lc.Conv(draw(4, 1, 3), (2, 9), groups=2, **first), ["DepthwiseConv1D"]),
        # Keras crops lines that are channels last only: a convolution picks the samples
        (lc.Layer(up, draw(2), None, 0), ["Conv1DTranspose", "DepthwiseConv1D"]),
        (lc.Layer(lc.Pad((2, 5), ((0, 0), (2, -1))), None, None, 0), None),
    ]
    cases[-1] = (cases[-1][0], ["ZeroPadding1D", "DepthwiseConv1D"])
    check(cases)
    assert lc.to_layer(cases[0][0], "keras").data_format == "channels_first"


def test_other_maps_are_written():
    image = (6, 4, 2)
    pool = lc.from_layer(keras.layers.AveragePooling2D(3, 2, "same"), image)
    counted = lc.Conv(
        np.full((1, 1, 3, 3), 1 / 9), (1, 6, 5), padding=1, data_format="channels_first"
    )
    up = lc.Resize(image, (12, 12, 2))
    conv = lc.Conv(draw(3, 3, 2, 3), image)
    behind = lc.Pad(conv.output_shape, ((1, 0), (0, 1), (0, 0)))
    cases = [
        (pool, ["AveragePooling2D"]),
        (counted, ["ZeroPadding2D", "AveragePooling2D"]),
        (lc.Layer(up, None, "relu", 2), ["UpSampling2D", "Activation"]),
        (lc.Layer(lc.Resize(image, (6, 8, 2), "linear"), None, None, 2), ["UpSampling2D"]),
        (lc.Layer(lc.Resize((4, 2), (12, 2)), None, None, 1), ["UpSampling1D"]),
        (lc.DepthToSpace((3, 2, 8), 2, data_format="channels_last"), ["Conv2DTranspose"]),
        (lc.SpaceToDepth(image, 2, data_format="channels_last", order="DCR"), ["Conv2D"]),
        (lc.Layer(lc.identity(image), None, None, 2), ["Identity"]),
        (lc.Layer(lc.identity(image), None, "leaky_relu(0.2)", 2), ["LeakyReLU"]),
        # zeros padded behind would lack the bias: it comes in a convolution of size 1
        (lc.Layer(behind @ conv, draw(3), None, 2), ["Conv2D", "ZeroPadding2D", "DepthwiseConv2D"]),
    ]
    for case, _ in cases[:-3]:
        kept = lc.from_layer(lc.to_layer(case, "keras")).operator
        lc.testing.assert_same_map(kept, lc.from_layer(case).operator, rtol=1e-5)
    computed = [case for case in cases if case[1] not in (["LeakyReLU"],)]
    check(computed)
    assert kinds(lc.to_layer(cases[-2][0], "keras")) == ["LeakyReLU"]


def test_maps_without_channels_get_one():
    op = lc.Conv(draw(3, 2), (5, 6), padding="same")
    written = lc.to_layer(op, "keras")
    x = draw(5, 6)
    y = run([written], [x[None, :, :, None]])[0]
    np.testing.assert_allclose(y[0, :, :, 0], op(x), atol=1e-12)


def test_weights_are_single_where_jax_has_no_double():
    with jax.enable_x64(False):
        written = lc.to_layer(lc.Layer(lc.Conv(KERNEL, SHAPE), draw(6), None, 2), "keras")
        assert {w.dtype for w in written.weights} == {"float32"}
    with jax.enable_x64(True):
        written = lc.to_layer(lc.Conv(KERNEL, SHAPE), "keras")
        assert {w.dtype for w in written.weights} == {"float64"}


def test_a_written_layer_is_an_ordinary_one():
    layer = lc.to_layer(lc.Conv(KERNEL.astype(np.float32), SHAPE), "keras")
    copied = type(layer).from_config(layer.get_config())
    assert type(copied.kernel_initializer).__name__ == "GlorotUniform"
    assert copied.compute_output_shape((None, *SHAPE)) == (None, 5, 7, 6)


LINE = lc.Conv(draw(3, 2, 2), (6, 2))


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (lc.Conv(draw(3), (6,), padding=1, padding_mode="reflect"), "got reflect padding (1, 1)"),
        (
            lc.Conv(draw(3), (6,), padding=1, padding_mode="reflect").T,
            "must transpose one with zero padding; got ('reflect',)",
        ),
        (
            lc.ConvTranspose(draw(3, 1, 4), (5, 4), groups=2),
            "must have one group, for Keras has no others; got groups=2",
        ),
        (
            lc.Layer(lc.ConvTranspose(draw(3, 2, 2), (5, 2), padding=-3), draw(2), None, 1),
            "a bias that these would lack",
        ),
        (lc.Layer(LINE, None, "softmax", 1), "got 'softmax'"),
        (LINE + LINE, "got Sum((6, 2) -> (4, 2), float64) in the operator"),
        (lc.Conv(draw(2, 2, 2, 2), (3, 3, 3, 3)), "must have 1 to 3 spatial axes; got 4"),
        (lc.Resize((4, 2), (7, 2)), "must repeat samples a whole number of times"),
        (lc.Layer(lc.Resize((2, 4), (2, 8)), None, None, 0), "on one axis be channels last"),
    ],
)
def test_what_keras_has_no_layer_for_is_refused(layer, message):
    with pytest.raises(LinconvError, match=re.escape(message)):
        lc.to_layer(layer, "keras")


def test_padding_that_is_not_counted_must_be_that_of_same():
    torch = pytest.importorskip("torch", reason="a layer of PyTorch has such padding")
    pool = lc.from_layer(torch.nn.AvgPool2d(2, 1, 1, count_include_pad=False), (2, 6, 5))
    with pytest.raises(LinconvError, match="must be that of padding='same'"):
        lc.to_layer(pool, "keras")


def test_a_missing_framework_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "keras", None)
    with pytest.raises(ImportError, match=re.escape("linconv[keras]")):
        lc.to_layer(LINE, "keras")

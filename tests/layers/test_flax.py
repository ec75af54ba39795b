"""Flax NNX layers are read as what Flax computes, written, and read back."""

from functools import partial
from zlib import crc32

import numpy as np
import pytest

import linconv as lc
from random_layers import channels_last, random_layers

nnx = pytest.importorskip("flax.nnx", reason="reading layers of Flax needs flax")
jax = pytest.importorskip("jax", reason="reading layers of Flax needs jax")

SIZES = {1: (7,), 2: (7, 6), 3: (6, 7, 5)}
TAPS = {1: (4,), 2: (3, 4), 3: (2, 3, 1)}
PAIRS = ((1, 3), (4, -1), (0, 2))


def combinations(ndim, one_axis):
    """Strides and dilations: along one axis each pair, along more all at once, one per axis."""
    return one_axis if ndim == 1 else [((1, 2, 3)[:ndim], (2, 1, 1)[:ndim])]


def filled(layer, where):
    """Fill a layer's parameters with numbers seeded by a name."""
    rng = np.random.default_rng(crc32(where.encode()))
    for parameter in (layer.kernel, layer.bias):
        if parameter is not None:
            parameter[...] = rng.normal(size=parameter.shape).astype(parameter.dtype)
    return layer


def check(layer, shape, where="", tolerance=2e-4, dtype=np.float32):
    """Read a layer, and compare it with the layer itself."""
    x = np.random.default_rng(crc32(where.encode())).normal(size=(2, *shape)).astype(dtype)
    read = lc.from_layer(layer, shape)
    expected = np.asarray(layer(jax.numpy.asarray(x)))
    assert read.output_shape == expected.shape[1:], where
    np.testing.assert_allclose(read(x), expected, tolerance, tolerance, err_msg=where)
    assert read.source == "flax"
    return read


def make(kind, shape, where, taps, **options):
    groups = {"feature_group_count": 2} if kind == "Conv" else {}
    layer = getattr(nnx, kind)(shape[-1], 4, taps, rngs=nnx.Rngs(0), **groups, **options)
    return filled(layer, where)


@pytest.mark.parametrize("ndim", [1, 3])
@pytest.mark.parametrize("padding", ["SAME", "VALID", "CIRCULAR", "REFLECT", "CAUSAL", 2, "pairs"])
def test_conv_with_every_padding(ndim, padding):
    if padding == "CAUSAL" and ndim > 1:
        pytest.skip("Flax has causal padding along one axis only")
    padding = PAIRS[:ndim] if padding == "pairs" else padding
    for strides, dilation in combinations(ndim, ((1, 1), (2, 1), (3, 2))):
        dilation = 1 if padding == "VALID" else dilation
        where = f"{ndim} {padding} {strides} {dilation}"
        options = {"strides": strides, "kernel_dilation": dilation, "padding": padding}
        shape = (*SIZES[ndim], 2)
        check(make("Conv", shape, where, TAPS[ndim], **options), shape, where)


@pytest.mark.parametrize("strides", [1, 2])
@pytest.mark.parametrize("growth", [2, (3, 1)])
def test_conv_with_input_dilation(strides, growth):
    shape = (5, 4, 4)
    where = f"{strides} {growth}"
    options = {"strides": strides, "input_dilation": growth, "padding": ((1, 3), (2, 0))}
    read = check(make("Conv", shape, where, (3, 2), **options), shape, where)
    assert isinstance(read.operator, lc.ConvTranspose) == (strides == 1)


@pytest.mark.parametrize("ndim", [1, 3])
@pytest.mark.parametrize("flip", [False, True], ids=["as stored", "transpose_kernel"])
@pytest.mark.parametrize("padding", ["SAME", "VALID", "CIRCULAR", 1, "pairs"])
def test_conv_transpose_with_every_padding(ndim, flip, padding):
    padding = PAIRS[:ndim] if padding == "pairs" else padding
    for strides, dilation in combinations(ndim, ((1, 1), (2, 1), (3, 1), (2, 2))):
        where = f"{ndim} {padding} {strides} {dilation} {flip}"
        options = {"strides": strides, "kernel_dilation": dilation, "padding": padding}
        shape = (*SIZES[ndim][::-1], 3)
        layer = make("ConvTranspose", shape, where, TAPS[ndim], transpose_kernel=flip, **options)
        check(layer, shape, where)


@pytest.mark.parametrize("kind", ["Conv", "ConvTranspose"])
def test_double_precision_is_exact(kind):
    with jax.enable_x64(True):
        layer = make(kind, (6, 5, 2), kind, (3, 2), strides=2, param_dtype=np.float64)
        read = check(layer, (6, 5, 2), kind, 1e-12, np.float64)
    assert read.operator.dtype == np.float64


def test_mask_dtype_and_missing_bias_are_kept():
    mask = np.tril(np.ones((3, 2, 4), np.float32))
    layer = nnx.Conv(2, 4, 3, mask=mask, use_bias=False, rngs=nnx.Rngs(1))
    read = check(layer, (6, 2))
    assert read.bias is None
    np.testing.assert_array_equal(read.operator.kernel, np.asarray(layer.kernel[...]) * mask)
    half = nnx.Conv(2, 4, 3, dtype=jax.numpy.bfloat16, rngs=nnx.Rngs(1))
    rounded = np.asarray(half.kernel[...].astype(jax.numpy.bfloat16), np.float32)
    np.testing.assert_array_equal(lc.from_layer(half, (6, 2)).operator.kernel, rounded)


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (nnx.relu, "relu"),
        (jax.numpy.tanh, "tanh"),
        (nnx.silu, "silu"),
        (nnx.soft_sign, "softsign"),
        (partial(nnx.gelu, approximate=False), "gelu"),
    ],
)
def test_a_sequential_is_one_layer(function, name):
    layers = [nnx.Conv(2, 3, (2, 2), strides=2, rngs=nnx.Rngs(0))]
    layers.append(nnx.ConvTranspose(3, 2, (3, 3), strides=2, rngs=nnx.Rngs(1)))
    read = check(nnx.Sequential(*layers, function), (6, 5, 2), name)
    assert (read.activation, read.kind) == (name, "Sequential")


def test_reading_changes_nothing():
    layer = nnx.Conv(2, 3, (2, 2), rngs=nnx.Rngs(0))
    before = np.array(layer.kernel[...])
    read = lc.from_layer(layer, (4, 4, 2))
    assert not read.operator.kernel.flags.writeable
    np.testing.assert_array_equal(np.asarray(layer.kernel[...]), before)


# Writing


def test_random_layers_are_written_and_read_back():
    for layer in random_layers(7, 12):
        where = f"{layer.operator} {layer.activation}"
        made = lc.to_layer(layer, "flax")
        x = np.random.default_rng(3).normal(size=(2, *layer.input_shape)).astype(np.float32)
        expected, x = channels_last(layer, layer(x)), channels_last(layer, x)
        got = np.asarray(made(jax.numpy.asarray(x)))
        assert got.shape == expected.shape, where
        np.testing.assert_allclose(got, expected, 2e-4, 2e-4, err_msg=where)
        read = lc.from_layer(made, x.shape[1:])
        np.testing.assert_allclose(read(x), expected, 2e-4, 2e-4, err_msg=where)
        assert read.activation == layer.activation, where


def test_hundreds_of_random_layers_read_back_without_running_them():
    for layer in random_layers(8, 240):
        made = lc.to_layer(layer, "flax")
        x = np.random.default_rng(4).normal(size=layer.input_shape).astype(np.float32)
        expected = channels_last(layer, layer(x)[None])
        last = channels_last(layer, x[None])
        read = lc.from_layer(made, last.shape[1:])
        np.testing.assert_allclose(read(last), expected, 2e-4, 2e-4, err_msg=str(layer.operator))


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_names_of_padding_are_written_where_they_fit(stride):
    kernel = np.ones((4, 4, 2, 3), np.float32)
    for padding in ("SAME", "VALID"):
        op = lc.Conv(kernel, (12, 12, 2), stride=stride, padding=padding.lower())
        assert lc.to_layer(op, "flax").padding == padding
    up = lc.to_layer(lc.ConvTranspose(kernel, (5, 5, 3), stride=stride, padding="same"), "flax")
    assert (up.padding, up.transpose_kernel) == ("SAME", True)
    circular = lc.Conv(kernel, (8, 8, 2), padding=((1, 2),) * 2, padding_mode="circular")
    assert lc.to_layer(circular, "flax").padding == "CIRCULAR"


OTHERS = {
    "pad": (lc.Pad((2, 5, 6), ((0, 0), (1, -2), (3, 2)), "circular"), 0),
    "folded": (lc.Pad((2, 5, 6), ((0, 0), (1, -2), (3, 2)), "reflect").T, 0),
    "linear": (lc.Resize((5, 6, 2), (10, 18, 2), "linear"), 2),
    "nearest": (lc.Resize((5, 6), (7, 3), coordinates="align_corners"), None),
    "decimate": (lc.Decimate((2, 5, 6), (1, 2, 3)), 0),
    "dilate": (lc.Decimate((2, 6, 6), (1, 2, 3)).T, 0),
    "weights": (lc.Diagonal((2, 5, 6), np.arange(60.0).reshape(2, 5, 6)), 0),
    "shuffle": (lc.DepthToSpace((8, 3, 2), 2), 0),
    "identity": (lc.identity((2, 3, 4)), 0),
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_maps_are_written(name):
    operator, axis = OTHERS[name]
    layer = lc.Layer(operator, channel_axis=axis)
    made = lc.to_layer(layer, "flax")
    x = np.random.default_rng(1).normal(size=(2, *layer.input_shape)).astype(np.float32)
    expected, x = channels_last(layer, layer(x)), channels_last(layer, x)
    np.testing.assert_allclose(np.asarray(made(jax.numpy.asarray(x))), expected, 1e-5, 1e-5)
    np.testing.assert_allclose(lc.from_layer(made, x.shape[1:])(x), expected, 1e-5, 1e-5)


# Bad input


def conv(**options):
    return nnx.Conv(2, 4, (2, 2), rngs=nnx.Rngs(0), **options)


class Own(nnx.Conv):
    def __call__(self, x):
        return -super().__call__(x)


@pytest.mark.parametrize(
    ("make", "shape", "message"),
    [
        (conv, None, "input_shape must be given"),
        (conv, (2, 8, 8), "must have the 2 channels"),
        (conv, (1, 8, 8, 2), "no batch axis"),
        (lambda: conv(padding="SAMME"), (8, 8, 2), "padding of an nnx.Conv must be one of"),
        (lambda: conv(padding="CAUSAL"), (8, 8, 2), "padding of an nnx.Conv must be one of"),
        (lambda: conv(input_dilation=2), (8, 8, 2), "must have explicit padding"),
        (lambda: conv(mask=np.ones((2, 2))), (8, 8, 2), "the mask of an nnx.Conv"),
        (lambda: conv(conv_general_dilated=print), (8, 8, 2), "may compute anything"),
        (lambda: conv(promote_dtype=print), (8, 8, 2), "Flax' own promote_dtype"),
        (lambda: nnx.eval_shape(conv), (8, 8, 2), "must have values"),
        (lambda: nnx.Linear(2, 3, rngs=nnx.Rngs(0)), (8, 2), "must be an nnx.Conv"),
        (
            lambda: Own(2, 4, (2, 2), rngs=nnx.Rngs(0)),
            (8, 8, 2),
            "own __call__; got Own",
        ),
        (lambda: nnx.Sequential(conv(), lambda x: x**2), (8, 8, 2), "must be an nnx.Conv"),
        (lambda: nnx.Sequential(nnx.relu, conv()), (8, 8, 2), "only the last layer of a chain"),
        (lambda: lc.to_layer(lc.identity((2, 2)), "flax"), (3, 3), "input_shape of a FixedMap"),
        (
            lambda: nnx.ConvTranspose(2, 4, (2,), 2, padding="CAUSAL", rngs=nnx.Rngs(0)),
            (8, 2),
            "padding of an nnx.ConvTranspose must be one of",
        ),
    ],
)
def test_bad_layers_are_refused(make, shape, message):
    with pytest.raises(lc.LinconvError, match=message):
        lc.from_layer(make(), shape)


def test_unknown_activations_are_not_written():
    with pytest.raises(lc.LinconvError, match="the activation must be one of"):
        lc.to_layer(lc.Layer(lc.identity((2, 2)), None, "prelu", 1), "flax")

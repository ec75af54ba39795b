"""Layers written for PyTorch compute the operator, in the plainest form that there is."""

import re
from itertools import product
from zlib import crc32

import numpy as np
import pytest

import linconv as lc
from linconv.errors import DTypeError, GeometryError, LinconvError

torch = pytest.importorskip("torch", reason="writing layers of PyTorch needs torch")
nn = torch.nn


def draw(*shape: int) -> np.ndarray:
    return np.random.default_rng(crc32(str(shape).encode())).standard_normal(shape)


def first(layer: lc.Layer, batch: np.ndarray) -> np.ndarray:
    """A batch of samples with their channels first, one channel where there is none."""
    if layer.channel_axis is None:
        return batch[:, None]
    return np.moveaxis(batch, 1 + layer.channel_axis % (batch.ndim - 1), 1)


def check(layer, *, atol: float = 1e-11):
    """Write a layer, and compare what PyTorch computes with what linconv does."""
    written = lc.to_layer(layer, "torch")
    if not isinstance(layer, lc.Layer):
        layer = lc.from_layer(layer)
    x = draw(2, *layer.input_shape)
    y = written(torch.from_numpy(first(layer, x).copy()).double()).detach().numpy()
    np.testing.assert_allclose(y, first(layer, layer.apply(x)), atol=atol, err_msg=f"{written}")
    return written


def kinds(module: nn.Module) -> list[str]:
    parts = module if isinstance(module, nn.Sequential) else [module]
    return [type(part).__name__ for part in parts]


KERNEL = draw(3, 2, 4, 6)
SHAPE = (7, 8, 4)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, ["Conv2d"]),
        ({"padding": 1}, ["Conv2d"]),
        ({"padding": (2, 0)}, ["Conv2d"]),
        ({"padding": "same"}, ["ZeroPad2d", "Conv2d"]),
        ({"padding": "same_lower", "dilation": 1}, ["ZeroPad2d", "Conv2d"]),
        ({"padding": -1}, ["ZeroPad2d", "Conv2d"]),
        ({"padding": ((-1, 2), (3, -2)), "dilation": 2}, ["ZeroPad2d", "Conv2d"]),
        ({"padding": "full", "dilation": (1, 2)}, ["Conv2d"]),
        ({"padding": 1, "padding_mode": "reflect"}, ["Conv2d"]),
        ({"padding": (1, 0), "padding_mode": "circular", "stride": 2}, ["Conv2d"]),
        (
            {"padding": ((1, 0), (2, 1)), "padding_mode": "replicate"},
            ["ReplicationPad2d", "Conv2d"],
        ),
        (
            {"padding": ((-1, 2), (2, 1)), "padding_mode": "reflect"},
            ["ReflectionPad2d", "ZeroPad2d", "Conv2d"],
        ),
        (
            {"padding": 1, "padding_mode": ("zeros", "circular")},
            ["ZeroPad2d", "CircularPad2d", "Conv2d"],
        ),
    ],
)
def test_convolutions_are_written_in_the_plainest_form(options, expected):
    op = lc.Conv(KERNEL, SHAPE, **options)
    bias = draw(6)
    assert kinds(check(op)) == expected
    assert kinds(check(lc.Layer(op, bias, "tanh", 2))) == [*expected, "Tanh"]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"stride": 2}, ["ConvTranspose2d"]),
        ({"stride": 2, "padding": 1, "output_padding": 1}, ["ConvTranspose2d"]),
        ({"stride": 2, "padding": "same"}, ["ConvTranspose2d", "ZeroPad2d"]),
        ({"stride": 3, "padding": "same"}, ["ConvTranspose2d"]),
        ({"padding": "same", "dilation": 2}, ["ConvTranspose2d"]),
        ({"padding": ((1, 0), (0, 1)), "stride": 2}, ["ConvTranspose2d", "ZeroPad2d"]),
        ({"padding": ((0, -1), (0, 0)), "stride": 2}, ["ConvTranspose2d"]),
    ],
)
def test_transposed_convolutions_are_written_with_a_crop_behind_where_needed(options, expected):
    op = lc.ConvTranspose(KERNEL, (4, 3, 6), **options)
    written = check(op)
    assert kinds(check(lc.Layer(op, draw(4), None, -1))) == kinds(written)
    if expected != kinds(written):  # kernel 2 along the second axis: fits more often
        assert kinds(written) == ["ConvTranspose2d"], kinds(written)
        assert set(expected) == {"ConvTranspose2d", "ZeroPad2d"}


def test_transposed_padding_that_adds_zeros_is_written_without_a_bias_only():
    op = lc.ConvTranspose(KERNEL, (4, 3, 6), padding=((-2, -3), (0, 0)))
    assert kinds(check(op)) == ["ConvTranspose2d", "ZeroPad2d"]
    with pytest.raises(LinconvError, match="a bias that zeros behind it would lack"):
        lc.to_layer(lc.Layer(op, draw(4), None, 2), "torch")


@pytest.mark.parametrize("ndim", [1, 2, 3])
@pytest.mark.parametrize("transposed", [False, True], ids=["conv", "transposed"])
def test_every_rank_group_layout_and_dtype_is_written(ndim, transposed):
    for groups, stride, data_format, dtype in product(
        (1, 2), (1, 2), ("channels_last", "channels_first"), ("float32", "float64")
    ):
        last = data_format == "channels_last"
        kernel = (
            draw(*(3, 2, 2)[:ndim], 4 // groups, 6)
            if last
            else draw(6, 4 // groups, *(3, 2, 2)[:ndim])
        )
        size, channels = (5, 4, 3)[:ndim], 6 if transposed else 4
        shape = (*size, channels) if last else (channels, *size)
        make = lc.ConvTranspose if transposed else lc.Conv
        op = make(
            kernel.astype(dtype),
            shape,
            stride=stride,
            groups=groups,
            padding="same",
            data_format=data_format,
        )
        written = lc.to_layer(op, "torch")
        parameter = next(written.parameters())
        assert str(parameter.dtype) == f"torch.{dtype}"
        layer = lc.from_layer(op)
        x = draw(2, *shape)
        y = written.double()(torch.from_numpy(first(layer, x).copy())).detach().numpy()
        np.testing.assert_allclose(
            y, first(layer, op(x)), atol=1e-6 if dtype == "float32" else 1e-11
        )


def test_maps_without_channels_get_one():
    op = lc.Conv(draw(3, 2), (5, 6), padding="same")
    written = lc.to_layer(op, "torch")
    x = draw(5, 6)
    y = written(torch.from_numpy(x)[None, None]).detach().numpy()[0, 0]
    np.testing.assert_allclose(y, op(x), atol=1e-12)
    crop = lc.to_layer(lc.Pad((5, 6), ((1, -1), (0, 2))), "torch")
    np.testing.assert_array_equal(
        crop(torch.from_numpy(x)[None, None]).numpy()[0, 0], np.pad(x[:-1], ((1, 0), (0, 2)))
    )


@pytest.mark.parametrize(
    ("op", "expected"),
    [
        (lc.DepthToSpace((8, 3, 4), 2), ["PixelShuffle"]),
        (lc.SpaceToDepth((4, 6, 2), (2, 3), data_format="channels_last"), ["Conv2d"]),
        (
            lc.DepthToSpace((2, 3, 8), 2, data_format="channels_last", order="DCR"),
            ["ConvTranspose2d"],
        ),
        (lc.DepthToSpace((6, 3), 3), ["ConvTranspose1d"]),
        (lc.SpaceToDepth((2, 4, 4, 2), 2, order="DCR"), ["Conv3d"]),
        (lc.identity((3, 4)), ["Identity"]),
    ],
)
def test_shuffles_are_written(op, expected):
    written = lc.to_layer(op, "torch")
    assert kinds(written) == expected
    last = getattr(op, "data_format", "channels_first") == "channels_last"
    x = draw(2, *op.input_shape).astype(np.float32)
    moved, wanted = (np.moveaxis(a, -1, 1) if last else a for a in (x, op(x)))
    if expected == ["Identity"]:
        moved, wanted = x, x
    y = written(torch.from_numpy(np.ascontiguousarray(moved))).detach().numpy()
    np.testing.assert_array_equal(y, wanted)


@pytest.mark.parametrize("method", ["nearest", "linear"])
@pytest.mark.parametrize("size", [(4,), (3, 5), (2, 3, 4)], ids=str)
def test_resizing_is_written(size, method):
    for factor, more in ((2, 0), (41, 0), (1, 2)):
        wanted = tuple(n * factor + more for n in size)
        if factor == 41 and len(size) > 1:
            continue
        op = lc.Resize((2, *size), (2, *wanted), method)
        layer = lc.Layer(op, None, None, 0)
        written = lc.to_layer(layer, "torch")
        assert kinds(written) == ["Upsample"]
        x = draw(2, *op.input_shape).astype(np.float32)
        y = written(torch.from_numpy(x)).numpy()
        np.testing.assert_allclose(y, op(x), atol=1e-5)


POOLS = [
    nn.AvgPool2d(3, 2, 1),
    nn.AvgPool2d(3, 2, 1, ceil_mode=True, count_include_pad=False),
    nn.AvgPool2d(2),
    nn.AvgPool2d((3, 2), (1, 2), (1, 0), count_include_pad=False),
    nn.AvgPool2d(3, 2, 1, divisor_override=9),
]


@pytest.mark.parametrize("pool", POOLS, ids=str)
def test_average_pooling_stays_average_pooling(pool):
    assert "AvgPool2d" in kinds(check(lc.from_layer(pool, (3, 8, 9))))


@pytest.mark.parametrize("sizes", [(7, 8), (8, 9), (6, 5)], ids=str)
@pytest.mark.parametrize("options", [(2, 2), (3, 2), (3, 1), (2, 1), (4, 1), (5, 3)], ids=str)
def test_padding_that_is_not_counted_is_written(sizes, options):
    from linconv.layers.pooling import average_pool
    from linconv.layout import Layout

    layout = Layout(2, "channels_first", bare=False)
    kernel, stride = ((option,) * 2 for option in options)
    op = average_pool(layout, (2, *sizes), kernel, stride, "same", None)
    assert kinds(check(lc.Layer(op, None, None, 0)))[0] == "AvgPool2d"


def test_a_product_is_written_as_a_sequence_with_the_bias_at_its_end():
    conv = lc.Conv(draw(3, 2, 3, 3), (2, 6, 7), data_format="channels_first")
    up = lc.Resize(conv.output_shape, (3, 8, 10), "linear")
    pad = lc.Pad(up.output_shape, ((0, 0), (1, 0), (0, 1)))
    bias = draw(3)
    assert kinds(check(lc.Layer(2.0 * (up @ conv), bias, None, 0))) == ["Conv2d", "Upsample"]
    # zeros padded behind would lack the bias: it comes in a convolution of size 1
    padded = check(lc.Layer(pad @ up @ conv, bias, "relu", 0))
    assert kinds(padded) == ["Conv2d", "Upsample", "ZeroPad2d", "Conv2d", "ReLU"]
    weighted = lc.Diagonal(conv.output_shape, draw(3, 1, 1)) @ conv
    assert kinds(check(weighted)) == ["Conv2d", "Conv2d"]


def test_writing_draws_no_random_numbers():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    lc.to_layer(lc.Conv(KERNEL, SHAPE), "torch")
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("name", ["leaky_relu(0.2)", "gelu", "hard_silu"])
def test_activations_are_written(name):
    op = lc.Conv(draw(3, 2, 2), (6, 2))
    written = lc.to_layer(lc.Layer(op, None, name, 1), "torch")
    again = lc.from_layer(written, (2, 6))
    assert again.activation == name


LINE = lc.Conv(draw(3, 2, 2), (6, 2))


@pytest.mark.parametrize(
    ("layer", "kind", "message"),
    [
        (
            lc.Conv(draw(3), (6,), padding=1, padding_mode="symmetric"),
            LinconvError,
            "must be zeros, reflect, replicate or circular; got symmetric at axis 0",
        ),
        (
            lc.Conv(draw(3), (2,), padding=((3, 1),), padding_mode="circular"),
            LinconvError,
            "circular padding of PyTorch must be at most the size of the axis, 2; got (3, 1)",
        ),
        (
            lc.Conv(draw(3), (6,), padding=1, padding_mode="reflect").T,
            LinconvError,
            "must transpose one with zero padding; got reflect padding (1, 1)",
        ),
        (lc.Conv(1j * draw(3), (6,)), DTypeError, "must have real weights; got complex128"),
        (lc.Layer(LINE, None, "softmax", 1), LinconvError, "got 'softmax'"),
        (LINE + LINE, LinconvError, "got Sum((6, 2) -> (4, 2), float64) in the operator"),
        (lc.Diagonal((6, 2), draw(6, 2)), LinconvError, "got Diagonal((6, 2) -> (6, 2)"),
        (lc.Conv(draw(2, 2, 2, 2), (3, 3, 3, 3)), LinconvError, "must have 1 to 3 spatial axes"),
        (
            lc.Conv(draw(3, 2, 2), (6, 2)) @ lc.Pad((6, 1), ((0, 0), (0, 1))),
            LinconvError,
            "must leave the channels alone; got (0, 1) along them",
        ),
        (
            lc.Resize((3,), (7,), "linear", coordinates="asymmetric"),
            LinconvError,
            "must be nearest or linear with half-pixel or aligned corners",
        ),
        (
            lc.Layer(lc.Pad((2, 3, 4), 1), None, None, 1),
            GeometryError,
            "channel_axis must be the first or the last of at least two axes; got 1",
        ),
        ("conv", LinconvError, "a Layer or a map of linconv is needed; got str"),
    ],
)
def test_what_pytorch_has_no_layer_for_is_refused(layer, kind, message):
    with pytest.raises(kind, match=re.escape(message)):
        lc.to_layer(layer, "torch")


def test_other_frameworks_are_refused_by_name():
    with pytest.raises(GeometryError, match="did you mean 'torch'"):
        lc.to_layer(LINE, "pytorch")


def test_a_missing_framework_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "torch", None)
    with pytest.raises(ImportError, match=re.escape("linconv[torch]")):
        lc.to_layer(LINE, "torch")


def test_data_formats_must_not_change_within_a_chain():
    one = lc.Conv(draw(1, 2, 1), (2, 3), data_format="channels_first")  # (1 channel, 3 samples)
    other = lc.Conv(draw(1, 3, 1), (1, 3))
    with pytest.raises(LinconvError, match=re.escape("must have the same data_format; got")):
        lc.to_layer(other @ one, "torch")


def test_a_chain_is_written_in_one_dtype():
    wide = lc.Conv(draw(3, 3, 1), (3, 4), data_format="channels_first")
    narrow = lc.Conv(draw(3, 2, 2).astype(np.float32), (2, 5), data_format="channels_first")
    written = lc.to_layer(wide @ narrow, "torch")
    assert {str(p.dtype) for p in written.parameters()} == {"torch.float64"}

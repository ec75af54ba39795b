"""agreement names the planted difference, in each of its kinds."""

from itertools import combinations

import numpy as np
import pytest

import linconv as lc
from layers.framework_layers import (
    MAKERS,
    as_keras,
    as_map,
    as_onnx,
    as_torch,
    draw,
    hide,
    shape_for,
)

RANKS = pytest.mark.parametrize("ndim", [1, 2, 3], ids="{}d".format)
TRIALS = range(4)


@pytest.fixture
def rng(request):
    return np.random.default_rng(sum(request.node.name.encode()))


# The planted difference


@RANKS
@pytest.mark.parametrize("kind", ["map", "torch", "onnx"])
def test_shift_is_named_and_measured(kind, ndim, rng):
    for _ in TRIALS:
        spec = draw(rng, ndim, pads=((2, 2),) * ndim, taps=(3,) * ndim)
        steps = tuple(int(d) for d in rng.integers(-1, 2, ndim))
        if not any(steps):
            continue
        moved = tuple((2 + d, 2 - d) for d in steps)
        result = lc.agreement(as_map(spec), MAKERS[kind](spec.but(pads=moved)))
        assert result.difference == "shift", result
        assert result.details["shift"] == steps
        assert result.details["shift_in"] == "input"
        back = lc.agreement(MAKERS[kind](spec.but(pads=moved)), as_map(spec), shape_for(spec, kind))
        assert back.details["shift"] == tuple(-d for d in steps)


def test_keras_strided_same_against_torch_half_padding(rng):
    """The known case: right shapes, everything moved by one pixel; the remedy removes it."""
    torch = pytest.importorskip("torch", reason="the known case needs torch")
    spec = draw(rng, 2, taps=(3, 3), stride=(2, 2), groups=1, size=(32, 32), pads=((1, 1),) * 2)
    spec = spec.but(bias=rng.standard_normal(len(spec.kernel)))
    layer, other = as_keras(spec, "same"), as_torch(spec)
    result = lc.agreement(layer, other, shape_for(spec, "keras"))
    assert not result
    assert (result.difference, result.details["shift"]) == ("shift", (1, 1))
    assert "moved by (1, 1) pixels of the input" in result.explanation
    call = 'torch.nn.functional.pad(x, (0, 1, 0, 1), mode="constant")'
    assert f"{call} and give b padding=0" in result.suggestion

    class Padded(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = as_torch(spec.but(pads=((0, 0),) * 2))

        def forward(self, x):
            return self.layer(eval(call, {"torch": torch, "x": x}))

    assert lc.agreement(layer, Padded(), shape_for(spec, "keras"))


@RANKS
@pytest.mark.parametrize("kind", ["map", "torch", "onnx"])
def test_flipped_kernel_is_named(kind, ndim, rng):
    for count in range(1, ndim + 1):
        for flips in combinations(range(ndim), count):
            spec = draw(rng, ndim, taps=(3,) * ndim)
            wrong = np.flip(spec.kernel, [2 + axis for axis in flips]).copy()
            result = lc.agreement(as_map(spec), MAKERS[kind](spec.but(kernel=wrong)))
            assert result.difference == "flip", result
            assert result.details["flipped"] == flips
            axes = tuple(2 + axis for axis in flips)
            assert f"numpy.flip(kernel, axis={axes})" in result.suggestion


@pytest.mark.parametrize("order", [(1, 0), (1, 0, 2), (2, 0, 1), (2, 1, 0), (0, 2, 1)], ids=str)
@pytest.mark.parametrize("kind", ["map", "torch"])
def test_exchanged_axes_are_named(kind, order, rng):
    for _ in TRIALS:
        spec = draw(
            rng, len(order), square=True, stride=(1,) * len(order), dilation=(1,) * len(order)
        )
        wrong = spec.kernel.transpose(0, 1, *(2 + axis for axis in order)).copy()
        result = lc.agreement(as_map(spec), MAKERS[kind](spec.but(kernel=wrong)))
        assert result.difference == "axes", result
        assert result.details["axes"] == order
        # the remedy, tried
        back = tuple(int(axis) for axis in np.argsort(order))
        assert str(back) in result.suggestion
        np.testing.assert_array_equal(
            wrong.transpose(0, 1, *(2 + axis for axis in back)), spec.kernel
        )
        # and told the same way round where only b can be read
        hidden = lc.agreement(
            hide(as_torch(spec)), as_map(spec.but(kernel=wrong)), shape_for(spec, "torch")
        )
        assert hidden.details["axes"] == order


@RANKS
def test_flip_and_shift_together(ndim, rng):
    for _ in TRIALS:
        spec = draw(rng, ndim, pads=((1, 1),) * ndim, taps=(3,) * ndim)
        wrong = np.flip(spec.kernel, tuple(range(2, 2 + ndim))).copy()
        moved = ((2, 0), *spec.pads[1:])
        result = lc.agreement(as_map(spec), as_torch(spec.but(kernel=wrong, pads=moved)))
        assert result.difference == "flip + shift", result
        assert result.details["shift"] == (1, *(0,) * (ndim - 1))
        assert result.causes == ("flip", "shift")


@RANKS
def test_exchanged_channels_of_the_kernel_are_named(ndim, rng):
    for _ in TRIALS:
        spec = draw(rng, ndim, groups=1, channels=(3, 3), taps=(2,) * ndim)
        wrong = spec.kernel.swapaxes(0, 1).copy()
        result = lc.agreement(as_map(spec), as_torch(spec.but(kernel=wrong)))
        assert result.difference == "exchange", result
        # a transposed kernel: exchanged and flipped, as the adjoint has it
        wrong = np.flip(wrong, tuple(range(2, 2 + ndim))).copy()
        result = lc.agreement(as_map(spec), as_torch(spec.but(kernel=wrong)))
        assert result.difference == "exchange + flip", result


@RANKS
def test_order_of_channels_is_named(ndim, rng):
    for _ in TRIALS:
        spec = draw(rng, ndim, groups=1, channels=(5, 3), taps=(2,) * ndim)
        inputs, outputs = rng.permutation(3), rng.permutation(5)
        wrong = spec.kernel[:, inputs][outputs]
        result = lc.agreement(as_map(spec), as_torch(spec.but(kernel=wrong)))
        if np.array_equal(inputs, range(3)) and np.array_equal(outputs, range(5)):
            assert result
            continue
        assert result.difference == "channels", result
        found = result.details.get("input_order", (0, 1, 2))
        assert found == tuple(inputs)
        assert result.details.get("output_order", (0, 1, 2, 3, 4)) == tuple(outputs)


def test_colours_in_reverse_are_told(rng):
    spec = draw(rng, 2, groups=1, channels=(4, 3), taps=(3, 3))
    result = lc.agreement(as_map(spec), as_torch(spec.but(kernel=spec.kernel[:, ::-1].copy())))
    assert result.explanation == "b's input channels are a's in another order: reversed"


@RANKS
def test_order_of_groups_is_named(ndim, rng):
    """A depthwise kernel whose (channels, multiplier) were read the other way round."""
    for _ in TRIALS:
        spec = draw(rng, ndim, groups=3, channels=(6, 1), taps=(3,) * ndim)
        order = np.arange(6).reshape(3, 2).T.ravel()
        result = lc.agreement(as_map(spec), as_torch(spec.but(kernel=spec.kernel[order])))
        assert result.difference == "groups", result
        # and outputs that stand in the other order
        dense = draw(rng, ndim, groups=1, channels=(6, 2), taps=(3,) * ndim)
        result = lc.agreement(as_map(dense), as_torch(dense.but(kernel=dense.kernel[order])))
        assert result.difference == "groups", result


@RANKS
@pytest.mark.parametrize("kind", ["torch", "onnx", "flax"])
def test_bias_is_named(kind, ndim, rng):
    spec = draw(rng, ndim, channels=(4, 2), groups=1)
    bias = rng.standard_normal(4)
    other = bias + np.array([0, 0, 0.25, 0])
    make = MAKERS[kind]
    shape = shape_for(spec, kind)
    result = lc.agreement(make(spec.but(bias=bias)), make(spec.but(bias=other)), shape)
    assert result.difference == "bias", result
    np.testing.assert_allclose(result.details["bias_difference"], [0, 0, 0.25, 0], atol=1e-6)
    assert "most in channel 2" in result.explanation
    result = lc.agreement(make(spec.but(bias=bias)), make(spec), shape)
    assert result.difference == "bias", result
    assert "a has a bias" in result.explanation
    result = lc.agreement(make(spec), make(spec.but(bias=bias)), shape)
    assert "use_bias=False" in result.suggestion


@RANKS
def test_rounding_of_a_kernel_is_told_as_what_it_is(ndim, rng):
    spec = draw(rng, ndim)
    op = as_map(spec.but(kernel=spec.kernel * rng.uniform(0.9, 1.1, spec.kernel.shape)))
    rounded = as_torch(spec.but(kernel=op.kernel))
    result = lc.agreement(op, rounded)
    assert result.difference == "kernel", result
    assert "that of single precision" in result.explanation
    assert "rtol=1e-6" in result.suggestion
    assert lc.agreement(op, rounded, rtol=1e-6)


@RANKS
def test_scale_is_named(ndim, rng):
    spec = draw(rng, ndim, channels=(4, 2), groups=1)
    result = lc.agreement(as_map(spec), as_torch(spec.but(kernel=-3 * spec.kernel)))
    assert result.difference == "scale", result
    assert result.details["factor"] == pytest.approx(-3)
    factors = np.array([1.0, 2.0, 0.5, 4.0])
    scaled = spec.kernel * factors.reshape(-1, *(1,) * (ndim + 1))
    result = lc.agreement(as_map(spec), as_torch(spec.but(kernel=scaled)))
    assert result.difference == "scale", result
    np.testing.assert_allclose(result.details["factors"], factors, rtol=1e-6)


@RANKS
@pytest.mark.parametrize("mode", ["reflect", "circular", "replicate"])
def test_padding_mode_is_named(mode, ndim, rng):
    spec = draw(rng, ndim, taps=(3,) * ndim, pads=((1, 1),) * ndim, stride=(1,) * ndim)
    result = lc.agreement(as_map(spec), as_torch(spec, padding_mode=mode))
    assert result.difference == "padding", result
    assert result.details["padding_modes"] == (("zeros",) * ndim, (mode,) * ndim)
    result = lc.agreement(as_torch(spec, padding_mode=mode), as_map(spec))
    assert f"padding_mode='{mode}'" in result.suggestion


@RANKS
@pytest.mark.parametrize("kind", ["map", "torch", "onnx"])
def test_output_size_is_named(kind, ndim, rng):
    for _ in TRIALS:
        spec = draw(rng, ndim, pads=((0, 0),) * ndim, taps=(2,) * ndim, stride=(1,) * ndim)
        other = spec.but(pads=((0, 1), *spec.pads[1:]))
        result = lc.agreement(as_map(spec), MAKERS[kind](other))
        assert result.difference == "size", result
        assert result.details["output_shapes"] == (
            as_map(spec).output_shape,
            as_map(other).output_shape,
        )
        assert result.forward_error is None
        other = spec.but(pads=((1, 1), *spec.pads[1:]))
        result = lc.agreement(as_map(spec), MAKERS[kind](other))
        assert result.difference == "size + shift", result


def test_other_numbers_of_channels_are_named(rng):
    one, two = (draw(rng, 2, groups=1, channels=(c, 2), size=(8, 8), taps=(2, 2)) for c in (3, 4))
    result = lc.agreement(
        as_map(one), as_torch(two.but(pads=one.pads, stride=one.stride, dilation=one.dilation))
    )
    assert result.difference == "size", result
    assert "different numbers of channels" in result.explanation


def test_activation_is_named(rng):
    torch = pytest.importorskip("torch", reason="activations of torch")
    spec = draw(rng, 2, groups=1, pads=((0, 0),) * 2, bias=np.array([0.5, -0.5]), channels=(2, 2))
    plain, relu = as_torch(spec), torch.nn.Sequential(as_torch(spec), torch.nn.ReLU())
    result = lc.agreement(plain, relu, shape_for(spec, "torch"))
    assert result.difference == "activation", result
    assert result.details["activations"] == ("none", "relu")
    layer = as_keras(spec, "valid", activation="relu")
    assert lc.agreement(relu, layer, shape_for(spec, "torch"))
    assert lc.agreement(layer, as_onnx(spec, "Relu"), shape_for(spec, "keras"))
    result = lc.agreement(layer, as_onnx(spec, "Tanh"), shape_for(spec, "keras"))
    assert result.details["activations"] == ("relu", "tanh")


@RANKS
def test_other_kernel_values_are_named(ndim, rng):
    spec = draw(rng, ndim, taps=(3,) * ndim, groups=1, channels=(2, 2))
    wrong = spec.kernel.copy()
    place = tuple(int(rng.integers(n)) for n in wrong.shape)
    wrong[place] += 0.5
    result = lc.agreement(as_map(spec), as_torch(spec.but(kernel=wrong)))
    assert result.difference == "kernel", result
    assert (result.details["taps_that_differ"], result.details["largest_at"]) == (1, place)


@RANKS
def test_one_tap_off_by_a_thousandth_is_never_equal(ndim, rng):
    for _ in range(40 if ndim < 3 else 12):
        spec = draw(rng, ndim)
        wrong = spec.kernel.copy()
        place = tuple(int(rng.integers(n)) for n in wrong.shape)
        wrong[place] *= 1.001
        op, off = as_map(spec), as_map(spec.but(kernel=wrong))
        if not np.abs(op.sparse() - off.sparse()).max():
            continue  # a tap that reads nothing but padding
        for other in (off, as_torch(spec.but(kernel=wrong))):
            result = lc.agreement(op, other)
            assert not result, f"{spec} {place}"


@pytest.mark.parametrize("kind", ["keras", "flax", "onnx"])
def test_one_tap_off_by_a_thousandth_in_other_frameworks(kind, rng):
    steps = {"stride": (1, 2), "dilation": (1, 1)}
    for _ in range(4):
        spec = draw(rng, 2, size=(8, 8), taps=(3, 3), groups=1, pads=((0, 0),) * 2, **steps)
        wrong = spec.kernel.copy()
        wrong[tuple(int(rng.integers(n)) for n in wrong.shape)] *= 1.001
        make = as_keras if kind == "keras" else MAKERS[kind]
        assert not lc.agreement(make(spec.but(kernel=wrong)), as_map(spec), shape_for(spec, kind))

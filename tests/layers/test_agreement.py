"""agreement: no difference is found where there is none; its result, and what is refused."""

import json
from dataclasses import FrozenInstanceError
from itertools import combinations

import numpy as np
import pytest

import linconv as lc
from layers.framework_layers import (
    MAKERS,
    as_flax,
    as_keras,
    as_map,
    as_torch,
    draw,
    hide,
    shape_for,
)

RANKS = pytest.mark.parametrize("ndim", [1, 2, 3], ids="{}d".format)


@pytest.fixture
def rng(request):
    return np.random.default_rng(sum(request.node.name.encode()))


# No difference where there is none


@RANKS
@pytest.mark.parametrize("kinds", list(combinations(["map", "torch", "onnx"], 2)), ids="-".join)
def test_equal_pairs_of_maps_torch_and_onnx(kinds, ndim, rng):
    for _ in range(40):
        spec = draw(rng, ndim, bias=None)
        if kinds[0] != "map":
            spec = spec.but(bias=rng.standard_normal(len(spec.kernel)))
        a, b = (MAKERS[kind](spec) for kind in kinds)
        result = lc.agreement(a, b, shape_for(spec, kinds[0]))
        assert result, f"{spec}\n{result}"
        assert result.difference is None
        assert result.forward_relative <= result.tolerance
        assert result.adjoint_relative <= result.tolerance


@RANKS
@pytest.mark.parametrize("kind", ["map", "torch", "onnx"])
def test_equal_pairs_with_flax(kind, ndim, rng):
    for _ in range(2):
        spec = draw(rng, ndim)
        first, second = MAKERS[kind](spec), as_flax(spec)
        assert lc.agreement(second, first, shape_for(spec, "flax"))
        assert lc.agreement(first, second, shape_for(spec, kind))


@RANKS
@pytest.mark.parametrize("padding", ["same", "valid"])
def test_equal_pairs_with_keras(padding, ndim, rng):
    for _ in range(2):
        spec = draw(rng, ndim, groups=1)
        if max(spec.stride) > 1 and max(spec.dilation) > 1:
            continue
        bias = rng.standard_normal(len(spec.kernel))
        layer = as_keras(spec.but(bias=bias), padding)
        pads = lc.Geometry(
            spec.size,
            spec.kernel.shape[2:],
            stride=spec.stride,
            dilation=spec.dilation,
            padding=padding,
        ).padding
        for kind in ("torch", "onnx", "flax"):
            other = MAKERS[kind](spec.but(pads=pads, bias=bias))
            result = lc.agreement(layer, other, shape_for(spec, "keras"))
            assert result, f"{spec}\n{result}"


def test_a_layer_equals_itself_as_read():
    layer = as_torch(draw(np.random.default_rng(2), 2, symmetric=True))
    shape = (layer.in_channels, 9, 8)
    read = lc.layers.reading.from_layer(layer, shape)
    assert lc.agreement(layer, read, shape)
    assert lc.agreement(read, layer)


def test_transposed_layers_agree_across_frameworks(rng):
    torch = pytest.importorskip("torch", reason="transposed layers of torch")
    keras = pytest.importorskip("keras", reason="transposed layers of Keras")
    kernel = rng.standard_normal((3, 3, 2, 4)).astype(np.float32)  # Keras: (*size, out, in)
    layer = keras.layers.Conv2DTranspose(2, 3, strides=2, padding="valid")
    layer.build((None, 5, 6, 4))
    layer.kernel.assign(kernel)
    other = torch.nn.ConvTranspose2d(4, 2, 3, stride=2, bias=False)
    other.weight.data = torch.from_numpy(kernel.transpose(3, 2, 0, 1).copy())
    up = lc.ConvTranspose(kernel, (5, 6, 4), stride=2, padding="valid", output_padding=0)
    assert lc.agreement(layer, other, (5, 6, 4))
    assert lc.agreement(layer, up)


# The result, and what is refused


def test_the_result_is_plain_and_frozen(rng):
    spec = draw(rng, 2)
    result = lc.agreement(as_map(spec), as_torch(spec), seed=3)
    assert json.loads(json.dumps(result.to_dict()))["equal"] is True
    assert "equal" in str(result)
    with pytest.raises(FrozenInstanceError):
        result.equal = False
    again = lc.agreement(as_map(spec), as_torch(spec), seed=np.random.default_rng(3))
    assert again.forward_error == result.forward_error
    wrong = lc.agreement(as_map(spec), as_map(spec.but(kernel=2j * spec.kernel)))
    assert wrong.difference == "scale"
    factor = json.loads(json.dumps(wrong.to_dict()))["details"]["factor"]
    assert factor == pytest.approx([0.0, 2.0])


def test_formats_are_permuted_and_told(rng):
    spec = draw(rng, 2)
    result = lc.agreement(as_map(spec, "channels_last"), as_map(spec))
    assert result
    assert "arrays were permuted; input_shape is a's" in result.notes[0]
    assert result.b_input_shape == (spec.in_channels, *spec.size)
    bare = lc.Conv(spec.kernel[0, 0], spec.size)
    single = lc.Conv(spec.kernel[:1, :1], (1, *spec.size), data_format="channels_first")
    assert lc.agreement(bare, single)
    assert lc.agreement(single, bare)


def test_neither_layer_is_changed(rng):
    torch = pytest.importorskip("torch", reason="modules of torch")
    spec = draw(rng, 2, pads=((0, 0),) * 2)
    module = torch.nn.Sequential(as_torch(spec), torch.nn.Dropout(0.5)).train()
    layer = as_keras(spec.but(groups=1, kernel=spec.kernel[:, :1]), "valid", activation="relu")
    shape = shape_for(spec, "torch")
    state = {k: v.clone() for k, v in module.state_dict().items()}
    assert lc.agreement(module, as_map(spec), shape)
    assert module.training
    for name, value in module.state_dict().items():
        assert value.dtype == torch.float32
        assert torch.equal(value, state[name])
    config = layer.get_config()
    lc.agreement(layer, layer, (*spec.size, 1))
    assert layer.get_config() == config
    assert layer.compute_dtype == "float32"


def test_what_cannot_be_compared_is_refused(rng):
    spec = draw(rng, 2, groups=1)
    torch = pytest.importorskip("torch", reason="modules of torch")
    with pytest.raises(lc.LinconvError, match="agreement needs input_shape"):
        lc.agreement(as_torch(spec), as_torch(spec))
    with pytest.raises(lc.LinconvError, match="must be run on its own input_shape"):
        lc.agreement(as_map(spec), as_map(spec.but(size=(20, 20))))
    with pytest.raises(lc.LinconvError, match="got dict; give one of these"):
        lc.agreement(as_map(spec), {})
    with pytest.raises(lc.LinconvError, match=r"is not linear before its activation \(f\(x\)"):
        lc.agreement(
            hide(torch.nn.Sequential(as_torch(spec), torch.nn.ReLU())),
            as_map(spec),
            shape_for(spec, "torch"),
        )
    with pytest.raises(lc.LinconvError, match=r"must run on one sample of shape \(9, 8, 8\)"):
        lc.agreement(as_torch(spec), as_torch(spec), (9, 8, 8))
    with pytest.raises(lc.LinconvError, match="rtol must be a finite number of at least 0; got -1"):
        lc.agreement(as_map(spec), as_map(spec), rtol=-1)
    with pytest.raises(lc.LinconvError, match="compared with one of one channel; got 2 channels"):
        lc.agreement(as_map(draw(rng, 2, groups=2, channels=(2, 1))), lc.Conv([[1.0]], (3, 3)))

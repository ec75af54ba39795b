"""agreement names differences of layers that only running tells apart, and of their adjoints."""

import numpy as np
import pytest

import linconv as lc
from layers.framework_layers import as_onnx, as_torch, draw, hide, shape_for

RANKS = pytest.mark.parametrize("ndim", [1, 2, 3], ids="{}d".format)


@pytest.fixture
def rng(request):
    return np.random.default_rng(sum(request.node.name.encode()))


# Layers that nobody can read


@RANKS
def test_hidden_layers_are_told_by_running(ndim, rng):
    spec = draw(rng, ndim, pads=((1, 1),) * ndim, taps=(3,) * ndim, groups=1, channels=(2, 2))
    spec = spec.but(size=(9,) * ndim if ndim < 3 else (7,) * 3)
    shape = shape_for(spec, "torch")
    ours = hide(as_torch(spec))
    assert lc.agreement(ours, hide(as_torch(spec)), shape)
    moved = ((2, 0), *spec.pads[1:])
    result = lc.agreement(ours, hide(as_torch(spec.but(pads=moved))), shape)
    assert result.difference == "shift", result
    assert result.details["shift"] == (1, *(0,) * (ndim - 1))
    single = spec.but(stride=(1,) * ndim, dilation=(1,) * ndim)
    wrong = np.flip(spec.kernel, 2).copy()
    result = lc.agreement(hide(as_torch(single)), hide(as_torch(single.but(kernel=wrong))), shape)
    assert result.difference == "flip", result
    assert result.details["flipped"] == (0,)
    result = lc.agreement(
        hide(as_torch(single)), hide(as_torch(single, padding_mode="reflect")), shape
    )
    assert result.difference == "border", result


def test_pooling_that_counts_its_padding_differs_at_the_border():
    torch = pytest.importorskip("torch", reason="pooling layers of torch")
    one, two = (torch.nn.AvgPool2d(3, 1, 1, count_include_pad=c) for c in (True, False))
    result = lc.agreement(one, two, (2, 9, 9))
    assert result.difference == "border", result


def test_upsampling_that_is_moved(rng):
    torch = pytest.importorskip("torch", reason="upsampling layers of torch")

    class Moved(torch.nn.Module):
        def forward(self, x):
            return torch.roll(torch.nn.functional.interpolate(x, scale_factor=2), (1, 0), (2, 3))

    result = lc.agreement(torch.nn.Upsample(scale_factor=2), Moved(), (2, 8, 8))
    assert result.difference == "shift", result
    assert (result.details["shift"], result.details["shift_in"]) == ((1, 0), "output")


def test_what_has_no_simple_cause_is_said_so(rng):
    torch = pytest.importorskip("torch", reason="hidden layers are torch modules")
    one, two = (torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(9, 4)) for _ in range(2))
    with torch.no_grad():
        two[1].bias.copy_(one[1].bias)
    result = lc.agreement(one, two, (1, 3, 3))
    assert result.difference == "unexplained", result
    assert "without a simple cause" in result.explanation


# Transposed layers


@RANKS
def test_shift_of_a_transposed_layer_counts_output_pixels(ndim, rng):
    for _ in range(4):
        kernel = rng.standard_normal((2, 3, *(3,) * ndim))
        size = (2, *(5,) * ndim)
        pads = [((1, 1),) * ndim, ((0, 2), *((1, 1),) * (ndim - 1))]
        one, two = (
            lc.ConvTranspose(kernel, size, stride=2, padding=p, data_format="channels_first")
            for p in pads
        )
        result = lc.agreement(one, two)
        assert result.difference == "shift", result
        assert (result.details["shift"][0], result.details["shift_in"]) == (1, "output")
        # the picture: an impulse in b's output stands that much later
        x = np.zeros(size)
        x[(0, *(2,) * ndim)] = 1
        moved = np.roll(one(x), result.details["shift"], tuple(range(1, ndim + 1)))
        np.testing.assert_allclose(moved, two(x), atol=1e-12)


# The adjoint


def test_a_wrong_gradient_is_named(rng):
    torch = pytest.importorskip("torch", reason="custom gradients are torch's")

    class Wrong(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, layer):
            return layer(x)

        @staticmethod
        def backward(ctx, gradient):
            return torch.nn.functional.pad(2 * gradient, (1, 1, 1, 1))[:, :2], None

    class Layer(torch.nn.Module):
        def __init__(self, layer):
            super().__init__()
            self.layer = layer

        def forward(self, x):
            return Wrong.apply(x, self.layer)

    spec = draw(rng, 2, groups=1, channels=(2, 2), size=(7, 7), taps=(3, 3), pads=((0, 0),) * 2)
    spec = spec.but(stride=(1, 1), dilation=(1, 1))
    layer = as_torch(spec)
    result = lc.agreement(layer, Layer(layer), (2, 7, 7))
    assert result.difference == "adjoint", result
    assert result.forward_error == 0
    assert result.details["wrong_adjoint"] == ("b",)
    assert lc.agreement(Layer(layer), layer, (2, 7, 7)).details["wrong_adjoint"] == ("a",)
    # a layer without differentiation, too large for its matrix, still tells by dot products
    large = as_onnx(spec.but(size=(40, 40)))
    result = lc.agreement(large, Layer(layer), (2, 40, 40))
    assert result.difference == "adjoint", result
    assert any("dot products" in note for note in result.notes)
    assert lc.agreement(large, layer, (2, 40, 40))

"""Layers of PyTorch are read as what they compute, in float64, over the grid of their options."""

import copy
import re
from itertools import product
from zlib import crc32

import numpy as np
import pytest

import linconv as lc
from linconv.errors import LinconvError, ShapeError

torch = pytest.importorskip("torch", reason="reading layers of PyTorch needs torch")
nn = torch.nn

SIZES = {1: (9,), 2: (7, 8), 3: (5, 6, 4)}
KERNELS = {1: (3,), 2: (3, 2), 3: (2, 3, 2)}
RANKS = pytest.mark.parametrize("ndim", [1, 2, 3])
GROUPS = {"dense": (1, 2, 3), "groups": (2, 4, 2), "depthwise": (3, 3, 6)}


@pytest.fixture(autouse=True)
def one_thread():
    """On arrays this small, threads only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def filled(layer: nn.Module, where: str) -> nn.Module:
    """Fill a layer's weights with numbers seeded by a name, in float64."""
    rng = np.random.default_rng(crc32(where.encode()))
    layer = layer.double()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(torch.from_numpy(rng.standard_normal(tuple(parameter.shape))))
    return layer


def check(
    layer: nn.Module, shape: tuple[int, ...], where: str = "", atol: float = 1e-11
) -> lc.Layer:
    """Read a layer, and compare it with the layer itself, and with its gradient."""
    rng = np.random.default_rng(crc32(f"input {where}".encode()))
    read = lc.from_layer(layer, shape)
    x = torch.from_numpy(rng.standard_normal((2, *shape))).requires_grad_()
    expected = layer(x)
    values = expected.detach().numpy()
    assert read.output_shape == values.shape[1:], where
    np.testing.assert_allclose(read.apply(x.detach().numpy()), values, atol=atol, err_msg=where)
    assert read.source == "torch"
    if read.activation is None:
        y = rng.standard_normal(values.shape)
        expected.backward(torch.from_numpy(y))
        theirs = x.grad.numpy()
        np.testing.assert_allclose(read.operator.T(y), theirs, atol=10 * atol, err_msg=where)
    return read


@RANKS
@pytest.mark.parametrize("connection", GROUPS)
@pytest.mark.parametrize("mode", ["zeros", "reflect", "replicate", "circular"])
@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel:UserWarning")
def test_convolutions_are_read(ndim, connection, mode):
    groups, inputs, outputs = GROUPS[connection]
    kinds = product((1, 2, 3), (1, 2), (0, 1, "same", "valid"), (True, False))
    for stride, dilation, padding, bias in kinds:
        if padding == "same" and stride > 1:
            continue  # PyTorch has no such layer
        options = {"stride": stride, "dilation": dilation, "padding": padding, "bias": bias}
        where = f"{options} {ndim} {connection} {mode}"
        layer = getattr(nn, f"Conv{ndim}d")(
            inputs, outputs, KERNELS[ndim], groups=groups, padding_mode=mode, **options
        )
        read = check(filled(layer, where), (inputs, *SIZES[ndim]), where)
        assert read.kind == f"Conv{ndim}d"
        assert (read.bias is None) is not bias


@RANKS
@pytest.mark.parametrize("connection", GROUPS)
def test_transposed_convolutions_are_read(ndim, connection):
    groups, outputs, inputs = GROUPS[connection]
    for stride, dilation, padding in product((1, 2, 3), (1, 2), (0, 1)):
        for output_padding in range(max(stride, dilation)):
            options = {"stride": stride, "dilation": dilation, "padding": padding}
            where = f"{options} {output_padding} {ndim} {connection}"
            layer = getattr(nn, f"ConvTranspose{ndim}d")(
                inputs,
                outputs,
                KERNELS[ndim],
                groups=groups,
                output_padding=output_padding,
                **options,
            )
            check(filled(layer, where), (inputs, *(3, 4, 2)[:ndim]), where)


@RANKS
def test_average_pooling_is_read(ndim):
    layer = getattr(nn, f"AvgPool{ndim}d")
    for kernel, stride, padding, ceil, counted in product(
        (2, 3), (1, 2, 3), (0, 1), (False, True), (False, True)
    ):
        options = {"ceil_mode": ceil, "count_include_pad": counted}
        where = f"{kernel} {stride} {padding} {options}"
        check(layer(kernel, stride, padding, **options), (2, *SIZES[ndim]), where)
    if ndim > 1:
        for ceil in (False, True):
            check(layer(3, 2, 1, ceil_mode=ceil, divisor_override=5), (2, *SIZES[ndim]))


@RANKS
@pytest.mark.parametrize("mode", ["nearest", "nearest-exact", "linear"])
def test_upsampling_is_read(ndim, mode):
    names = {1: "linear", 2: "bilinear", 3: "trilinear"}
    name = names[ndim] if mode == "linear" else mode
    shape = (2, *(5, 4, 3)[:ndim])
    for align in (False, True) if mode == "linear" else (None,):
        for scale in (2, 3.0, 1.7, 0.6, (2.5, 1.0, 3.0)[:ndim]):
            layer = nn.Upsample(scale_factor=scale, mode=name, align_corners=align)
            check(layer, shape, f"{scale} {align}")
        check(nn.Upsample(size=(7, 2, 9)[:ndim], mode=name, align_corners=align), shape)
        layer = nn.Upsample(
            scale_factor=1.7, mode=name, align_corners=align, recompute_scale_factor=True
        )
        check(layer, shape, "recomputed")


def test_upsampling_of_old_names_is_read():
    check(nn.UpsamplingNearest2d(scale_factor=2), (2, 3, 4))
    check(nn.UpsamplingBilinear2d(size=(5, 9)), (2, 3, 4))


def test_nearest_rounds_as_pytorch_does_in_single_precision():
    for n, o in product(range(1, 25), range(1, 100, 3)):
        x = torch.arange(n, dtype=torch.float32)[None]
        layer = nn.Upsample(size=o)
        expected = layer(x[None])[0].numpy()
        np.testing.assert_array_equal(lc.from_layer(layer, (1, n)).apply(x.numpy()), expected)


@RANKS
@pytest.mark.parametrize("kind", ["Zero", "Constant", "Reflection", "Replication", "Circular"])
def test_padding_is_read(ndim, kind):
    layer = getattr(nn, f"{kind}Pad{ndim}d")
    value = (0.0,) if kind == "Constant" else ()
    check(layer(1, *value), (2, *SIZES[ndim]))
    check(layer((1, 2, 0, 1, 2, 1)[: 2 * ndim], *value), (2, *SIZES[ndim]))
    if kind in ("Zero", "Constant"):
        check(layer((-1, 2, 0, -2, -1, -1)[: 2 * ndim], *value), (2, *SIZES[ndim]))


def test_shuffles_and_identity_are_read():
    check(nn.PixelShuffle(2), (8, 3, 4))
    check(nn.PixelUnshuffle(3), (2, 3, 6))
    check(nn.Identity(), (2, 3))


@pytest.mark.parametrize(
    ("layer", "name"),
    [
        (nn.ReLU(), "relu"),
        (nn.ReLU6(), "relu6"),
        (nn.ELU(), "elu"),
        (nn.GELU(), "gelu"),
        (nn.Hardsigmoid(), "hard_sigmoid"),
        (nn.Hardswish(), "hard_silu"),
        (nn.LogSigmoid(), "log_sigmoid"),
        (nn.Sigmoid(), "sigmoid"),
        (nn.SiLU(), "silu"),
        (nn.Softplus(), "softplus"),
        (nn.Softsign(), "softsign"),
        (nn.Tanh(), "tanh"),
    ],
)
def test_activations_are_read_and_computed(layer, name):
    model = nn.Sequential(filled(nn.Conv1d(2, 3, 3), name), layer)
    assert check(model, (2, 9), atol=1e-8).activation == name


@pytest.mark.parametrize(
    ("layer", "name"),
    [
        (nn.LeakyReLU(0.2), "leaky_relu(0.2)"),
        (nn.ELU(0.5), "elu(alpha=0.5)"),
        (nn.GELU("tanh"), "gelu(approximate='tanh')"),
        (nn.Softplus(2.0), "softplus(beta=2.0, threshold=20.0)"),
        (nn.PReLU(), "prelu(num_parameters=1)"),
    ],
)
def test_activations_with_other_options_are_known_by_name_alone(layer, name):
    read = lc.from_layer(nn.Sequential(nn.Conv1d(2, 3, 3), layer), (2, 9))
    assert read.activation == name
    with pytest.raises(LinconvError, match="the activation must be one of"):
        read.apply(np.zeros((2, 9)))


def test_a_sequential_is_the_product_of_its_layers():
    model = nn.Sequential(
        nn.ReflectionPad2d((2, 1, 0, 1)),
        nn.Conv2d(2, 8, 3, stride=2),
        nn.Identity(),
        nn.PixelShuffle(2),
        nn.Sequential(nn.Conv2d(2, 3, 3, padding=1, bias=False), nn.Upsample(scale_factor=2)),
    )
    with torch.no_grad():
        model[1].bias.zero_()
    read = check(filled_but(model, model[1].bias), (2, 8, 9))
    assert read.kind == "Sequential"
    assert "mode='nearest'" in read.convention


def filled_but(model: nn.Module, spared: torch.Tensor) -> nn.Module:
    """Fill all weights but one, which stays zero."""
    model = filled(model, "sequential")
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.shape == spared.shape:
                parameter.zero_()
    return model


def test_a_bias_moves_behind_what_leaves_it_constant():
    model = nn.Sequential(
        nn.Conv2d(2, 3, 3), nn.Conv2d(3, 4, (2, 3), stride=2), nn.Upsample(scale_factor=2)
    )
    check(filled(model, "constant"), (2, 9, 8))


# What does not change, and what is current


def state(layer: nn.Module) -> dict[str, np.ndarray]:
    return {name: value.clone().numpy() for name, value in layer.state_dict().items()}


@pytest.mark.parametrize("name", ["weight_norm", "spectral_norm", "orthogonal"])
def test_parametrized_weights_are_read_as_they_act_and_left_alone(name):
    layer = getattr(nn.utils.parametrizations, name)(filled(nn.Conv2d(2, 3, 2), name))
    before = state(layer)
    for _ in range(2):
        check(copy.deepcopy(layer).eval(), (2, 5, 6))
        lc.from_layer(layer, (2, 5, 6))
    assert layer.training
    after = state(layer)
    assert all(np.array_equal(before[key], after[key]) for key in before)


@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")
def test_a_weight_that_a_hook_makes_is_asked_for_anew():
    layer = nn.utils.weight_norm(filled(nn.Conv2d(2, 3, 2), "hook"))
    with torch.no_grad():
        layer.weight_g.mul_(3)  # the weight itself is computed at the next call only
    read = lc.from_layer(layer, (2, 5, 6))
    x = np.random.default_rng(0).standard_normal((2, 5, 6))
    expected = layer(torch.from_numpy(x)).detach().numpy()
    np.testing.assert_allclose(read.apply(x), expected, atol=1e-12)


def test_a_pruned_weight_is_read_as_it_acts():
    from torch.nn.utils import prune

    layer = filled(nn.Conv2d(2, 3, 3), "pruned")
    prune.l1_unstructured(layer, "weight", amount=0.5)
    with torch.no_grad():
        layer.weight_orig.mul_(2)
    read = lc.from_layer(layer, (2, 5, 6))
    expected = (layer.weight_orig * layer.weight_mask).detach().numpy()
    np.testing.assert_array_equal(read.operator.kernel, expected)


def test_reading_copies():
    layer = filled(nn.Conv1d(2, 3, 3), "copy")
    read = lc.from_layer(layer, (2, 6))
    kernel, bias = read.operator.kernel.copy(), read.bias.copy()
    with torch.no_grad():
        layer.weight.zero_()
        layer.bias.zero_()
    np.testing.assert_array_equal(read.operator.kernel, kernel)
    np.testing.assert_array_equal(read.bias, bias)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_read_in_single(dtype):
    layer = nn.Conv1d(2, 3, 3).to(dtype)
    read = lc.from_layer(layer, (2, 6))
    assert read.operator.dtype == np.float32
    np.testing.assert_array_equal(read.operator.kernel, layer.weight.detach().float().numpy())


def test_complex_weights_are_read():
    layer = nn.Conv1d(2, 3, 3, dtype=torch.complex128)
    x = torch.randn(2, 6, dtype=torch.complex128)
    read = lc.from_layer(layer, (2, 6))
    np.testing.assert_allclose(read.apply(x.numpy()), layer(x).detach().numpy(), atol=1e-12)


def test_a_subclass_is_read_and_a_lazy_layer_once_it_has_weights():
    class Mine(nn.Conv2d):
        pass

    assert check(filled(Mine(2, 3, 3), "mine"), (2, 5, 6)).kind == "Mine"
    lazy = nn.LazyConv2d(3, 3)
    with pytest.raises(LinconvError, match="makes them at its first call; run it once"):
        lc.from_layer(lazy, (2, 5, 6))
    lazy(torch.zeros(1, 2, 5, 6))
    check(filled(lazy, "lazy"), (2, 5, 6))


class Other(nn.Conv2d):
    def forward(self, x):
        return super().forward(x) ** 2


class Model(nn.Sequential):
    def forward(self, x):
        return x


@pytest.mark.parametrize(
    ("layer", "shape", "kind", "message"),
    [
        (nn.Linear(2, 3), (2,), LinconvError, "a layer of PyTorch must be one of Conv1d/2d/3d"),
        (Other(2, 3, 3), (2, 5, 5), LinconvError, "got Other, whose forward is its own"),
        (Model(nn.Identity()), (2, 5), LinconvError, "got Model, whose forward is its own"),
        (nn.Conv2d(2, 3, 3), None, ShapeError, "as in input_shape=(2, 32, 32)"),
        (nn.Conv2d(2, 3, 3), (1, 2, 5, 5), ShapeError, "(it has no batch axis)"),
        (nn.Conv2d(2, 3, 3), (5, 5, 2), ShapeError, "must have the 2 channels that the layer"),
        (nn.Conv2d(2, 3, 3, device="meta"), (2, 5, 5), LinconvError, "got Conv2d on the meta"),
        (nn.ConstantPad1d(1, 2.0), (2, 5), LinconvError, "got ConstantPad1d of 2.0"),
        (nn.PixelShuffle(2), None, ShapeError, "as in input_shape=(12, 32, 32)"),
        (nn.Upsample(scale_factor=2, mode="bicubic"), (2, 5, 5), LinconvError, "got 'bicubic'"),
        (nn.AvgPool2d(2), None, ShapeError, "as in input_shape=(3, 32, 32)"),
        (nn.Sequential(), (2, 5), LinconvError, "got an empty Sequential"),
        (
            nn.Sequential(nn.Conv1d(2, 2, 3), nn.ReLU(), nn.Conv1d(2, 2, 3)),
            (2, 9),
            LinconvError,
            "got 'relu' of ReLU before Conv1d",
        ),
        (
            nn.Sequential(nn.Conv1d(2, 2, 3), nn.Conv1d(2, 2, 3, padding=1)),
            (2, 9),
            LinconvError,
            "the bias of Conv1d must come to one number per channel behind Conv1d",
        ),
        (nn.Conv2d, (2, 5, 5), LinconvError, "got Conv2d, the class itself; give an instance"),
        ("conv", (2, 5), LinconvError, "layer must be a layer of keras, torch"),
    ],
)
def test_what_cannot_be_read_is_refused(layer, shape, kind, message):
    with pytest.raises(kind, match=re.escape(message)):
        lc.from_layer(layer, shape)


def test_weights_are_for_onnx():
    with pytest.raises(LinconvError, match="got them with a layer of torch"):
        lc.from_layer(nn.Identity(), (2,), weights={})


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")
def test_a_quantized_layer_is_refused_with_the_remedy():
    quantized = torch.ao.nn.quantized.Conv2d(2, 3, 3)
    with pytest.raises(LinconvError, match="read the layer before it is quantized"):
        lc.from_layer(quantized, (2, 5, 5))

"""code: the text runs, and computes what the map does."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest

import linconv as lc
from cases import MODES, assert_close
from layers.framework_layers import as_map, draw

FRAMEWORKS = ("keras", "torch", "jax", "flax", "onnx")
RANKS = pytest.mark.parametrize("ndim", [1, 2, 3], ids="{}d".format)


@pytest.fixture
def rng(request):
    return np.random.default_rng(sum(request.node.name.encode()))


def moved(array, data_format, first, *, back=False):
    """Between the map's format and the framework's; arrays have a batch axis."""
    if data_format == "bare":
        return (
            np.squeeze(array, 1 if first else -1)
            if back
            else np.expand_dims(array, 1 if first else -1)
        )
    if (data_format == "channels_first") == first:
        return array
    to_first = first != back
    return np.moveaxis(array, -1, 1) if to_first else np.moveaxis(array, 1, -1)


def executed(op, framework, x, kernel, bias=None):
    """Run the text on arrays of the map's own format."""
    package = {"flax": "flax", "jax": "jax", "onnx": "onnxruntime"}.get(framework, framework)
    pytest.importorskip(package, reason=f"the code is for {framework}")
    operator = op.operator if isinstance(op, lc.Layer) else op
    layout = next(m for m in getattr(operator, "maps", (operator,)) if hasattr(m, "layout")).layout
    data_format = "bare" if layout.bare else layout.data_format
    first = framework in ("torch", "onnx")
    names = {"kernel": kernel, "bias": bias}
    exec(compile(lc.code(op, framework), framework, "exec"), names)
    arranged = np.ascontiguousarray(moved(x, data_format, first))
    if framework == "onnx":
        import onnxruntime

        session = onnxruntime.InferenceSession(names["layer"].SerializeToString())
        result = session.run(None, {"x": arranged})[0]
    elif framework == "torch":
        import torch

        result = names["layer"](torch.from_numpy(arranged)).numpy()
    else:
        result = np.asarray(names["layer"](arranged))
    return moved(result, data_format, first, back=True)


def check(op, framework, rng, bias=None):
    operator = op.operator if isinstance(op, lc.Layer) else op
    kernel = next(m for m in getattr(operator, "maps", (operator,)) if hasattr(m, "kernel")).kernel
    x = rng.standard_normal((2, *op.input_shape)).astype(np.float32)
    result = executed(op, framework, x, kernel, bias)
    assert_close(result, op(x), "float32", f"{op!r}\n{lc.code(op, framework)}")


def drawn(rng, ndim, data_format="channels_first", mode="zeros", **fixed):
    spec = draw(rng, ndim, **fixed)
    return as_map(spec.but(kernel=spec.kernel.astype(np.float32)), data_format, mode)


@RANKS
@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_code_of_convolutions_runs(framework, ndim, rng):
    for trial in range(2 if framework in ("keras", "flax", "jax") else 8):
        steps = {"stride": (2,) * ndim, "dilation": (1,) * ndim} if trial % 2 else {}
        steps = steps or {"stride": (1,) * ndim}
        data_format = ("channels_first", "channels_last")[trial % 2]
        check(drawn(rng, ndim, data_format, **steps), framework, rng)


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize(
    "padding", ["same", "valid", "same_lower", "full", ((-1, 2), (1, -2))], ids=str
)
def test_code_of_every_padding_runs(framework, padding, rng):
    kernel = rng.standard_normal((3, 3)).astype(np.float32)
    op = lc.Conv(kernel, (8, 7), stride=2, padding=padding)
    check(op, framework, rng)


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("mode", MODES)
def test_code_of_every_padding_mode_runs_or_is_refused(framework, mode, rng):
    kernel = rng.standard_normal((3, 3, 2, 4)).astype(np.float32)
    op = lc.Conv(kernel, (6, 7, 2), padding=((1, 2), (0, 1)), padding_mode=(mode, "zeros"))
    lacking = {"keras": set(MODES) - {"zeros"}, "torch": {"symmetric"}, "onnx": {"symmetric"}}
    if mode in lacking.get(framework, ()):
        with pytest.raises(
            lc.LinconvError, match=f"{framework} cannot express this layer: .*{mode}"
        ):
            lc.code(op, framework)
        return
    check(op, framework, rng)


@RANKS
@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("options", [{}, {"padding": "same"}, {"padding": 1}], ids=str)
def test_code_of_transposed_layers_runs(framework, ndim, options, rng):
    kernel = rng.standard_normal((*(3,) * ndim, 2, 4)).astype(np.float32)
    check(lc.ConvTranspose(kernel, (*(4,) * ndim, 4), stride=2, **options), framework, rng)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_code_of_a_transposed_layer_with_gaps_runs(framework, rng):
    kernel = rng.standard_normal((2, 2, 2, 4)).astype(np.float32)
    check(lc.ConvTranspose(kernel, (4, 5, 4), stride=3), framework, rng)


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("activation", ["relu", "tanh", "softsign"])
def test_code_of_layers_with_bias_and_activation_runs(framework, activation, rng):
    kernel = rng.standard_normal((3, 3, 2, 4)).astype(np.float32)
    bias = rng.standard_normal(4).astype(np.float32)
    for op in (
        lc.Conv(kernel, (6, 7, 2), stride=2, padding="same"),
        lc.ConvTranspose(kernel.swapaxes(2, 3), (6, 7, 2), stride=2),
    ):
        layer = lc.Layer(op, bias, activation, channel_axis=2)
        check(layer, framework, rng, bias)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_code_of_a_product_with_a_pad_runs(framework, rng):
    kernel = rng.standard_normal((3, 3, 2, 4)).astype(np.float32)
    pad = lc.Pad((6, 7, 2), ((0, 1), (2, 0), (0, 0)))
    check(lc.Conv(kernel, pad.output_shape, stride=2) @ pad, framework, rng)


def stand_in():
    """What is used of TensorFlow, by its documentation: "SAME" and "VALID" are XLA's own."""
    jax = pytest.importorskip("jax", reason="TensorFlow's convolution is XLA's: JAX stands in")

    def convolution(x, weight, strides=None, padding="VALID", dilations=None):
        n = x.ndim - 2
        letters = {1: "W", 2: "HW", 3: "DHW"}[n]
        order = (f"N{letters}C", f"{letters}IO", f"N{letters}C")
        assert padding in ("SAME", "VALID")
        return jax.lax.conv_general_dilated(
            x,
            weight,
            strides or (1,) * n,
            padding,
            rhs_dilation=dilations,
            dimension_numbers=order,
            feature_group_count=x.shape[-1] // weight.shape[-2],
        )

    def conv_transpose(x, weight, shape, strides, padding):
        assert padding == "VALID"
        _, pull = jax.vjp(
            lambda z: convolution(z, weight, tuple(strides)), np.zeros(shape, x.dtype)
        )
        return pull(jax.numpy.asarray(x))[0]

    return SimpleNamespace(
        constant=np.asarray,
        shape=np.shape,
        pad=np.pad,
        nn=SimpleNamespace(
            convolution=convolution, conv_transpose=conv_transpose, relu=jax.nn.relu
        ),
    )


@RANKS
def test_code_for_tensorflow_by_a_stand_in(ndim, rng, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow", stand_in())
    kernel = rng.standard_normal((*(3,) * ndim, 2, 4)).astype(np.float32)
    x = rng.standard_normal((2, *(7,) * ndim, 2)).astype(np.float32)
    for padding in ("same", "valid", 1, "causal"):
        op = lc.Conv(kernel, x.shape[1:], stride=2, padding=padding)
        names = {"kernel": kernel}
        exec(compile(lc.code(op, "tensorflow"), "tensorflow", "exec"), names)
        assert_close(names["layer"](x), op(x), "float32", lc.code(op, "tensorflow"))
        if padding == "causal":
            continue
        up = lc.ConvTranspose(kernel.swapaxes(-1, -2), x.shape[1:], stride=2, padding=padding)
        scope = {"kernel": up.kernel}
        exec(compile(lc.code(up, "tensorflow"), "tensorflow", "exec"), scope)
        assert_close(scope["layer"](x), up(x), "float32", lc.code(up, "tensorflow"))


def test_what_cannot_be_written_is_refused(rng):
    op = lc.Conv(rng.standard_normal((3, 3)), (8, 8))
    with pytest.raises(lc.LinconvError, match=r"framework must be one of .* got 'caffe'"):
        lc.code(op, "caffe")
    with pytest.raises(lc.LinconvError, match="code is written for one real convolution"):
        lc.code(op + op, "torch")
    with pytest.raises(lc.LinconvError, match="code is written for one real convolution"):
        lc.code(lc.Conv(np.array([1j]), (4,)), "torch")
    with pytest.raises(lc.LinconvError, match="code is written for the activations .* got 'gelu'"):
        lc.code(lc.Layer(op, activation="gelu"), "torch")
    wide = lc.Conv(np.ones((2, 2)), (8, 8), stride=2, dilation=2)
    for framework in ("keras", "tensorflow"):
        with pytest.raises(lc.LinconvError, match=r"stride \(2, 2\) beside dilation \(2, 2\)"):
            lc.code(wide, framework)
    grouped = lc.ConvTranspose(np.ones((4, 1, 2)), (4, 5), groups=2, data_format="channels_first")
    for framework in ("keras", "jax", "flax", "tensorflow"):
        with pytest.raises(lc.LinconvError, match="its transposed convolution has no groups"):
            lc.code(grouped, framework)
    folded = lc.ConvTranspose(np.ones(3), (5,), padding=1, padding_mode="reflect")
    with pytest.raises(lc.LinconvError, match="whose border is folded back"):
        lc.code(folded, "torch")
    cropped = lc.Conv(np.ones(3), (9,), padding=((-1, 1),), padding_mode="reflect")
    with pytest.raises(lc.LinconvError, match="a crop together with reflect padding"):
        lc.code(cropped, "torch")
    longer = lc.ConvTranspose(np.ones(3), (5,), padding=((-2, 0),))
    with pytest.raises(lc.LinconvError, match="ConvTranspose cannot cut its result"):
        lc.code(longer, "onnx")
    circular = lc.Conv(np.ones(3), (9,), padding=1, padding_mode="circular")
    with pytest.raises(lc.LinconvError, match="tf.pad has no mode circular"):
        lc.code(circular, "tensorflow")

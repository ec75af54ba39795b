"""Runners: every framework's layer runs as itself, and its adjoint is that of what it computes."""

import numpy as np
import pytest

import linconv as lc
from layers.framework_layers import as_flax, as_keras, as_map, as_onnx, as_torch, draw, shape_for
from linconv.layers import onnx_running
from linconv.layers.runner import BASIS_INPUTS
from linconv.layers.running import framework_of, known_input_shape, runner

KINDS = {"map": as_map, "torch": as_torch, "flax": as_flax, "onnx": as_onnx, "keras": as_keras}
RANKS = pytest.mark.parametrize("ndim", [1, 2, 3], ids="{}d".format)


@pytest.fixture
def rng(request):
    return np.random.default_rng(sum(request.node.name.encode()))


def spec_of(rng, ndim):
    spec = draw(rng, ndim, pads=((0, 0),) * ndim, stride=(1,) * ndim, groups=1)
    return spec if ndim < 3 else spec.but(size=(6, 6, 6))


@RANKS
@pytest.mark.parametrize("kind", KINDS)
def test_runs_as_the_framework_does_with_its_adjoint(kind, ndim, rng):
    spec = spec_of(rng, ndim)
    if kind != "map":
        spec = spec.but(bias=rng.standard_normal(len(spec.kernel)))
    run = runner(KINDS[kind](spec), shape_for(spec, kind))
    run.check(rng, 1e-4 if kind == "onnx" else 1e-9)
    x = rng.standard_normal((3, *run.input_shape))
    y = rng.standard_normal((3, *run.output_shape))
    eps = 1e-4 if run.dtype == np.float32 else 1e-10
    assert run.dtype == (np.float32 if kind == "onnx" else np.float64)
    left, right = (run.linear(x) * y).sum(), (x * run.adjoint(y)).sum()
    assert abs(left - right) <= eps * np.linalg.norm(run.linear(x)) * np.linalg.norm(y)
    # the sum over the kernel at one output, from the definition
    channels = x if kind not in ("keras", "flax") else np.moveaxis(x, -1, 1)
    window = tuple(
        slice(0, (k - 1) * d + 1, d)
        for k, d in zip(spec.kernel.shape[2:], spec.dilation, strict=True)
    )
    expected = (spec.kernel[0] * channels[(0, slice(None), *window)]).sum()
    last = kind in ("keras", "flax")
    place = (0, *(0,) * ndim, 0) if last else (0, 0, *(0,) * ndim)
    assert run.linear(x)[place] == pytest.approx(expected, rel=1e-4, abs=1e-4)
    np.testing.assert_allclose(run.forward(x[:1]) - run.offset, run.linear(x[:1]), atol=1e-4)


def test_activations_are_told_and_left_out(rng):
    spec = spec_of(rng, 2)
    torch = pytest.importorskip("torch", reason="modules of torch")
    for thing, kind, name in (
        (as_keras(spec, activation="relu"), "keras", "relu"),
        (torch.nn.Sequential(as_torch(spec), torch.nn.Tanh()), "torch", "tanh"),
        (as_onnx(spec, "Relu"), "onnx", "relu"),
        (lc.Layer(as_map(spec), activation="elu"), "map", "elu"),
    ):
        run = runner(thing, shape_for(spec, kind))
        assert run.activation == name
        run.check(rng, 1e-4)
        x = rng.standard_normal((2, *run.input_shape))
        assert np.abs(run.forward(x) - run.affine(x)).max() > 0.1


def test_complex_modules_give_the_plain_transpose(rng):
    torch = pytest.importorskip("torch", reason="modules of torch")
    run = runner(torch.nn.Conv1d(2, 3, 3, dtype=torch.complex64), (2, 7))
    x, y = (
        rng.standard_normal((2, *s)) + 1j * rng.standard_normal((2, *s))
        for s in (run.input_shape, run.output_shape)
    )
    assert (run.linear(x) * y).sum() == pytest.approx((x * run.adjoint(y)).sum())


def test_a_model_of_one_sample_at_a_time_and_large_ones(rng):
    spec = spec_of(rng, 2)
    one, any_number = as_onnx(spec, batch=1), as_onnx(spec)
    shape = shape_for(spec, "onnx")
    x = rng.standard_normal((3, *shape))
    ours = runner(one, shape).forward(x)
    np.testing.assert_allclose(ours, runner(any_number, shape).forward(x), rtol=1e-5, atol=1e-5)
    assert known_input_shape(one) == shape
    large = spec.but(size=(60, 60))
    run = runner(as_onnx(large), shape_for(large, "onnx"))
    assert not run.has_adjoint
    with pytest.raises(lc.LinconvError, match=f"unit vectors up to {BASIS_INPUTS} input samples"):
        run.adjoint(np.zeros((1, *run.output_shape)))


def test_what_cannot_be_run_is_refused(rng):
    torch = pytest.importorskip("torch", reason="modules of torch")
    keras = pytest.importorskip("keras", reason="layers of Keras")
    onnx = pytest.importorskip("onnx", reason="nodes of ONNX")
    with pytest.raises(lc.LinconvError, match="got a lazy torch LazyConv2d without them"):
        runner(torch.nn.LazyConv2d(3, 3), (3, 8, 8))
    with pytest.raises(lc.LinconvError, match=r"not built; call layer.build\(\(None, 8, 8, 3\)\)"):
        runner(keras.layers.Conv2D(2, 3), (8, 8, 3))
    node = onnx.helper.make_node("Conv", ["x", "w"], ["y"])
    with pytest.raises(lc.LinconvError, match="a NodeProto has no weights"):
        runner(node, (3, 8, 8))
    model = as_onnx(spec_of(rng, 2))
    model.graph.output.append(model.graph.output[0])
    with pytest.raises(lc.LinconvError, match="must have one input and one output to be run"):
        runner(model, (3, 8, 8))
    assert framework_of({}) is None


def test_onnx_own_evaluator_runs_where_onnxruntime_is_absent(monkeypatch, rng):
    pytest.importorskip("onnxruntime", reason="what it is compared with")
    spec = spec_of(rng, 2)
    by_runtime = runner(as_onnx(spec), shape_for(spec, "onnx"))
    monkeypatch.setattr(onnx_running, "find_spec", lambda name: None)
    by_reference = runner(as_onnx(spec), shape_for(spec, "onnx"))
    assert by_reference.name.endswith("(onnx.reference)")
    x = rng.standard_normal((2, *by_reference.input_shape))
    wanted = by_runtime.forward(x)
    np.testing.assert_allclose(by_reference.forward(x), wanted, atol=1e-5 * np.abs(wanted).max())


def test_a_built_layer_of_keras_knows_its_shape():
    keras = pytest.importorskip("keras", reason="a layer of Keras")
    layer = keras.layers.Conv2D(2, 3)
    layer.build((None, 6, 7, 3))
    assert known_input_shape(layer) == (6, 7, 3)
    assert lc.agreement(layer, lc.from_layer(layer))
    unknown = keras.layers.Conv2D(2, 3)
    unknown.build((None, None, None, 3))
    assert known_input_shape(unknown) is None

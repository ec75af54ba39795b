"""Layers keep their outputs: Keras to PyTorch to ONNX to Keras, PyTorch to Keras to PyTorch.

Every station is run by its own framework, in float32 as layers usually are; Keras' layers of one
test are compiled as one function.
"""

import numpy as np
import pytest

import linconv as lc

torch = pytest.importorskip("torch", reason="round trips need torch")
jax = pytest.importorskip("jax", reason="round trips run Keras on JAX")
keras = pytest.importorskip("keras", reason="round trips need keras")
pytest.importorskip("onnx", reason="round trips need onnx")
onnxruntime = pytest.importorskip("onnxruntime", reason="round trips need onnxruntime")
if keras.backend.backend() != "jax":
    pytest.skip("the JAX backend is wanted", allow_module_level=True)

QUICK = {"xla_backend_optimization_level": 0}  # each function runs once

OPTIONS = onnxruntime.SessionOptions()
OPTIONS.intra_op_num_threads = 1

RANKS = pytest.mark.parametrize("ndim", [1, 2, 3])
COUNT = 36


@pytest.fixture(autouse=True)
def one_thread():
    """On arrays this small, threads only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def run_keras(layers, inputs):
    def together(weights, inputs):
        calls = zip(layers, weights, inputs, strict=True)
        return [layer.stateless_call(w, [], x)[0] for layer, w, x in calls]

    weights = [[w.value for w in layer.weights] for layer in layers]
    return [np.asarray(y) for y in jax.jit(together, compiler_options=QUICK)(weights, inputs)]


def run_torch(layer, x):
    with torch.no_grad():
        return layer(torch.from_numpy(np.ascontiguousarray(x))).numpy()


def run_onnx(model, x):
    session = onnxruntime.InferenceSession(model.SerializeToString(), OPTIONS)
    return session.run(None, {model.graph.input[0].name: np.ascontiguousarray(x)})[0]


def close(actual, expected, where):
    scale = max(1.0, float(np.abs(expected).max()))
    np.testing.assert_allclose(actual, expected, atol=2e-6 * scale, rtol=0, err_msg=str(where))


def first(batch, last):
    return np.moveaxis(batch, -1, 1) if last else batch


def random_keras_layer(rng, ndim):
    """A layer of any kind, any legal options, with its input shape; its kernel is random."""

    def ints(low, high):
        return tuple(int(n) for n in rng.integers(low, high, ndim))

    def draw(shape, dtype=None):
        return rng.standard_normal(shape).astype(np.float32)

    last = bool(rng.integers(2))
    kind = str(rng.choice(["Conv", "Transpose", "Depthwise", "Pool", "Pad"]))
    groups = int(rng.choice([1, 2])) if kind == "Conv" else 1
    channels = 2 * groups
    shape = (*ints(5, 9), channels) if last else (channels, *ints(5, 9))
    options = {"data_format": "channels_last" if last else "channels_first"}
    padding = str(rng.choice(["valid", "same"]))
    strided = bool(rng.integers(2))
    stride, dilation = (ints(1, 4), 1) if strided else (1, ints(1, 3))
    if kind == "Pool":
        size = ints(1, 4)
        window = {"pool_size": size, "strides": ints(1, 4), "padding": "valid"}
        layer = getattr(keras.layers, f"AveragePooling{ndim}D")(**window, **options)
    elif kind == "Pad":
        sides = tuple((int(a), int(b)) for a, b in rng.integers(0, 3, (ndim, 2)))
        layer = getattr(keras.layers, f"ZeroPadding{ndim}D")(
            sides if ndim > 1 else sides[0], **options
        )
    else:
        options |= {"padding": padding, "dilation_rate": dilation, "bias_initializer": draw}
        options |= {"strides": stride, "use_bias": bool(rng.integers(2))}
        options["activation"] = str(rng.choice(["linear", "relu", "tanh"]))
        options["kernel_size"] = ints(1, 4)
        if kind == "Depthwise" and ndim < 3:
            options["strides"] = stride if ndim == 1 else (stride if stride == 1 else stride[0])
            layer = getattr(keras.layers, f"DepthwiseConv{ndim}D")(
                depth_multiplier=int(rng.integers(1, 3)), depthwise_initializer=draw, **options
            )
        elif kind == "Transpose":
            if strided and rng.integers(2):
                options["output_padding"] = tuple(int(rng.integers(s)) for s in stride)
            layer = getattr(keras.layers, f"Conv{ndim}DTranspose")(
                3, kernel_initializer=draw, **options
            )
        else:
            layer = getattr(keras.layers, f"Conv{ndim}D")(
                2 * groups, groups=groups, kernel_initializer=draw, **options
            )
    layer.build((None, *shape))
    return layer, shape, last


@RANKS
def test_keras_to_torch_to_onnx_to_keras(ndim):
    rng = np.random.default_rng(ndim)
    cases = [random_keras_layer(rng, ndim) for _ in range(COUNT)]
    inputs = [rng.standard_normal((2, *shape)).astype(np.float32) for _, shape, _ in cases]
    expected = run_keras([layer for layer, _, _ in cases], inputs)
    again = []
    for (layer, shape, last), x, y in zip(cases, inputs, expected, strict=True):
        written = lc.to_layer(lc.from_layer(layer), "torch")
        close(run_torch(written, first(x, last)), first(y, last), (layer.get_config(), written))
        channels_first = first(np.empty((1, *shape)), last).shape[1:]
        model = lc.to_layer(lc.from_layer(written, channels_first), "onnx")
        close(run_onnx(model, first(x, last)), first(y, last), (layer.get_config(), written))
        again.append(lc.to_layer(lc.from_layer(model, channels_first), "keras"))
    moved = [first(x, last) for x, (_, _, last) in zip(inputs, cases, strict=True)]
    # All are compared as linconv reads them, every third as Keras runs it: compiling takes long.
    ran = run_keras(again[::3], moved[::3])
    for position, (back, x, y) in enumerate(zip(again, moved, expected, strict=True)):
        layer, _, last = cases[position]
        close(lc.from_layer(back).apply(x), first(y, last), layer.get_config())
        if position % 3 == 0:
            close(ran[position // 3], first(y, last), layer.get_config())


def random_torch_layer(rng, ndim):
    """A layer that Keras can express, with its input shape; its weights are PyTorch's own."""
    nn = torch.nn

    def ints(low, high):
        return tuple(int(n) for n in rng.integers(low, high, ndim))

    kind = str(rng.choice(["Conv", "ConvTranspose", "AvgPool", "ConstantPad"]))
    groups = int(rng.choice([1, 2])) if kind == "Conv" else 1
    channels = 2 * groups
    shape = (channels, *ints(5, 9))
    if kind == "AvgPool":
        return nn.Sequential(getattr(nn, f"AvgPool{ndim}d")(ints(2, 4), ints(1, 4), 1)), shape
    if kind == "ConstantPad":
        sides = tuple(int(n) for n in rng.integers(-1, 3, 2 * ndim))
        return getattr(nn, f"ConstantPad{ndim}d")(sides, 0.0), shape
    stride, dilation = ints(1, 4), ints(1, 3)
    options = {"stride": stride, "dilation": dilation, "bias": bool(rng.integers(2))}
    options |= {"groups": groups, "padding": ints(0, 2)}
    if kind == "ConvTranspose":
        options["output_padding"] = tuple(
            int(rng.integers(max(s, d))) for s, d in zip(stride, dilation, strict=True)
        )
        # Keras gives back fewer samples than PyTorch where dilation exceeds stride; zeros behind
        # the layer would lack its bias.
        options["bias"] = options["bias"] and all(
            e < s for e, s in zip(options["output_padding"], stride, strict=True)
        )
    layer = getattr(nn, f"{kind}{ndim}d")(channels, 4, ints(1, 4), **options)
    return (nn.Sequential(layer, nn.SiLU()) if rng.integers(2) else layer), shape


@RANKS
def test_torch_to_keras_to_torch(ndim):
    rng = np.random.default_rng(100 + ndim)
    torch.manual_seed(ndim)
    cases = [random_torch_layer(rng, ndim) for _ in range(COUNT)]
    inputs = [rng.standard_normal((2, *shape)).astype(np.float32) for _, shape in cases]
    expected = [run_torch(layer, x) for (layer, _), x in zip(cases, inputs, strict=True)]
    written = [lc.to_layer(lc.from_layer(layer, shape), "keras") for layer, shape in cases]
    rows = zip(run_keras(written, inputs), expected, written, cases, inputs, strict=True)
    for through_keras, y, layer, (original, _), x in rows:
        close(through_keras, y, original)
        close(run_torch(lc.to_layer(lc.from_layer(layer), "torch"), x), y, original)

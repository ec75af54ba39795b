"""Layers written as ONNX models run in onnxruntime and read back; bad ONNX is refused by name."""

from zlib import crc32

import numpy as np
import pytest

import linconv as lc
from linconv.layers.layer import ACTIVATIONS
from linconv.layers.pooling import average_pool
from linconv.layout import Layout
from linconv.selection import Select
from random_layers import channels_first, random_layers

onnx = pytest.importorskip("onnx", reason="writing ONNX needs onnx")
helper = onnx.helper


@pytest.fixture(scope="module")
def run():
    runtime = pytest.importorskip("onnxruntime", reason="agreement with onnxruntime needs it")
    runtime.set_default_logger_severity(4)
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    return lambda model, x: runtime.InferenceSession(model.SerializeToString(), options).run(
        None, {"input": x}
    )[0]


def check(run, layer, where=""):
    """Write a layer, run the model and read it back: both compute what the layer does."""
    model = lc.to_layer(layer, "onnx")
    rng = np.random.default_rng(crc32(where.encode()))
    x = rng.normal(size=(2, *layer.input_shape)).astype(np.float32)
    expected = channels_first(layer, layer(x))
    first = np.ascontiguousarray(channels_first(layer, x))
    if model.graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.FLOAT:
        made = run(model, first)
        assert made.shape == expected.shape, where
        np.testing.assert_allclose(made, expected, rtol=1e-4, atol=1e-4, err_msg=where)
    read = lc.from_layer(model)
    np.testing.assert_allclose(read(first), expected, rtol=1e-4, atol=1e-4, err_msg=where)
    assert read.activation == layer.activation, where
    return [node.op_type for node in model.graph.node]


@pytest.mark.parametrize("part", range(6))
def test_random_layers_run_and_read_back(run, part):
    for layer in random_layers(part, 60):
        fold = isinstance(layer.operator, lc.ConvTranspose) and any(
            mode != "zeros" and any(pair)
            for mode, pair in zip(
                layer.operator.geometry.padding_mode, layer.operator.geometry.padding, strict=True
            )
        )
        if fold:
            with pytest.raises(lc.LinconvError, match="border would have to be folded back"):
                lc.to_layer(layer, "onnx")
        elif layer.activation == "log_sigmoid":
            with pytest.raises(lc.LinconvError, match="the activation must be one of"):
                lc.to_layer(layer, "onnx")
        else:
            check(run, layer, f"{layer.operator} {layer.activation}")


FIRST = Layout(2, "channels_first", bare=False)
OTHERS = {
    "average pool": (average_pool(FIRST, (2, 6, 7), (3, 2), (2, 1), ((1, 1), (0, 1)), None), 0),
    "wide pool": (average_pool(FIRST, (2, 6, 7), (3, 2), (2, 2), ((1, 1), (0, 2)), None), 0),
    "pad": (lc.Pad((2, 5, 6), ((0, 0), (1, -2), (3, 2)), "circular"), 0),
    "symmetric pad": (lc.Pad((5, 6, 2), ((1, 2), (3, 2), (0, 0)), "symmetric"), 2),
    "nearest": (lc.Resize((2, 5, 6), (2, 10, 18)), 0),
    "linear": (lc.Resize((5, 6, 2), (10, 18, 2), "linear"), 2),
    "corners": (lc.Resize((5, 6, 2), (7, 9, 2), "linear", coordinates="align_corners"), 2),
    "closest": (lc.Resize((5, 6), (7, 3), "nearest", coordinates="half_pixel"), None),
    "scale": (lc.Resize((2, 5, 6), (2, 7, 9), "linear", scale=(None, 1 / 1.5, 1 / 1.6)), 0),
    "decimate": (lc.Decimate((2, 5, 6), (1, 2, 3)), 0),
    "dilate": (lc.Decimate((2, 6, 6), (1, 2, 3)).T, 0),
    "weights": (lc.Diagonal((5, 6, 2), np.arange(60.0).reshape(5, 6, 2)), 2),
    "select": (Select((5, 2), [[4, 3, 0, 0], None]), 1),
    "shuffle": (lc.DepthToSpace((8, 3, 2), 2), 0),
    "shuffle DCR": (lc.DepthToSpace((3, 2, 8), 2, data_format="channels_last", order="DCR"), 2),
    "unshuffle": (lc.SpaceToDepth((2, 4, 6), 2), 0),
    "uneven blocks": (lc.DepthToSpace((12, 4, 6), (2, 3)), 0),
    "bare": (lc.Conv(np.ones((3, 2), np.float32), (6, 7), stride=2, padding="same"), None),
    "identity": (lc.identity((2, 3, 4)), 0),
    "scaled": (2.5 * lc.Conv(np.ones((3, 2), np.float32), (6, 7)), None),
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_maps_run_and_read_back(run, name):
    operator, axis = OTHERS[name]
    check(run, lc.Layer(operator, channel_axis=axis), name)


@pytest.mark.parametrize("name", [*sorted(set(ACTIVATIONS) - {"log_sigmoid"}), "leaky_relu(0.25)"])
def test_activations_are_written(run, name):
    model = lc.to_layer(lc.Layer(lc.identity((2, 3)), None, name, 0), "onnx")
    assert lc.from_layer(model).activation == name
    x = np.linspace(-8, 8, 6, dtype=np.float32).reshape(1, 2, 3)
    expected = ACTIVATIONS.get(name, lambda z: np.where(z > 0, z, z / 4))(x)
    np.testing.assert_allclose(run(model, x), expected, rtol=1e-3, atol=1e-5)


def test_a_model_is_plain_where_conventions_agree(run):
    kernel = np.ones((4, 3, 3, 3), np.float32)
    op = lc.Conv(kernel, (3, 8, 8), stride=2, padding="same", data_format="channels_first")
    assert check(run, lc.Layer(op, np.ones(4, np.float32), "relu", 0)) == ["Conv", "Relu"]
    assert check(run, lc.Layer(op.T, channel_axis=0)) == ["ConvTranspose"]
    model = lc.to_layer(op, "onnx")
    assert [w.name for w in model.graph.initializer] == ["conv_0_kernel"]
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"


def test_double_precision_is_kept():
    kernel = np.full((1, 1, 2), 1 / 3)
    model = lc.to_layer(lc.Conv(kernel, (1, 4), data_format="channels_first"), "onnx")
    np.testing.assert_array_equal(lc.from_layer(model).operator.kernel, kernel)


# Bad input


def conv(**options):
    return helper.make_node("Conv", ["x", "w"], ["y"], name="n", **options)


BIG = 1 << 40
W = {"w": np.ones((2, 3, 3, 3), np.float32)}


@pytest.mark.parametrize(
    ("node", "shape", "weights", "message"),
    [
        (conv(), None, W, "needs input_shape"),
        (conv(), (3, 8, 8), {}, "the kernel of a Conv node 'n' must be a constant; 'w'"),
        (conv(), (3, 8), W, "one axis more than input_shape"),
        (conv(), (4, 8, 8), W, "must have in_channels / groups"),
        (conv(auto_pad="SAME"), (3, 8, 8), W, "auto_pad must be one of the known names"),
        (conv(pads=[1, 1]), (3, 8, 8), W, "must be 4 numbers of at least 0"),
        (conv(pads=[0, 0, -1, 0]), (3, 8, 8), W, "must be 4 numbers of at least 0"),
        (conv(pads=[1] * 4, auto_pad="VALID"), (3, 8, 8), W, "must have pads or auto_pad"),
        (conv(kernel_shape=[2, 2]), (3, 8, 8), W, "must be that of its kernel"),
        (conv(stride=[1, 1]), (3, 8, 8), W, "has no attribute 'stride'; did you mean 'strides'"),
        (conv(strides=2), (3, 8, 8), W, "must be of kind INTS; got one of kind INT"),
        (conv(strides=[0, 1]), (3, 8, 8), W, "stride of axis 0 must be at least 1"),
        (conv(group=2), (3, 8, 8), W, "groups must divide in_channels"),
        (helper.make_node("MaxPool", ["x"], ["y"]), (3, 8, 8), {}, "no linear layer that is known"),
        (
            helper.make_node("Conv", ["x", "w"], ["y"], domain="com.microsoft"),
            (3, 8, 8),
            W,
            "of the domain 'com.microsoft'",
        ),
        (
            helper.make_node("AveragePool", ["x"], ["y"], kernel_shape=[1], pads=[1, 0]),
            (1, 3),
            {},
            "every window of an AveragePool node must see a sample",
        ),
        (
            helper.make_node("Resize", ["x", "", "", "s"], ["y"]),
            (1, 3),
            {"s": np.array([1, 1, 1 << 40])},
            "an axis must be resized to 1 to",
        ),
        (
            helper.make_node(
                "AveragePool", ["x"], ["y"], kernel_shape=[1 << 40], pads=[1 << 40] * 2
            ),
            (1, 3),
            {},
            "at most 67108864",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_bad_nodes_are_refused(node, shape, weights, message):
    with pytest.raises(lc.LinconvError, match=message):
        lc.from_layer(node, shape, weights=weights)


def model(tensor=None, shape=("batch", 3, 8, 8), nodes=None):
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes or [conv()],
        "g",
        [value("x", 1, shape)],
        [value("y", 1, None)],
        [] if tensor is None else [tensor],
    )
    return helper.make_model(graph)


def tensor(**fields):
    made = onnx.numpy_helper.from_array(W["w"], "w")
    for name, value in fields.items():
        if name == "dims":
            del made.dims[:]
            made.dims.extend(value)
        else:
            setattr(made, name, value)
    return made


def external():
    made = tensor()
    made.ClearField("raw_data")
    made.data_location = onnx.TensorProto.EXTERNAL
    made.external_data.add(key="location", value="../../secret.bin")
    return made


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda: model(tensor(dims=[1 << 40, 3, 3, 3])), "declares the shape .* are there"),
        (lambda: model(tensor(dims=[-2, -27])), "declares the shape"),
        (lambda: model(tensor(raw_data=b"abc")), "0.75 are there"),
        (lambda: model(tensor(data_type=8)), "must hold plain numbers"),
        (lambda: model(tensor(data_type=99)), "must hold plain numbers"),
        (lambda: model(external()), "lies outside the model, in the file '../../secret.bin'"),
        (lambda: model(), "the kernel of a Conv node 'n' must be a constant"),
        (lambda: model(tensor(), ("batch", 3, "height", 8)), "give input_shape"),
        (lambda: model(tensor(), None), "give input_shape"),
        (
            lambda: model(tensor(), nodes=[helper.make_node("Relu", ["x"], ["a"]), conv()]),
            "must be a chain",
        ),
        (lambda: model(tensor(), nodes=[helper.make_node("Relu", ["x"], ["a"])]), "must return"),
    ],
)
def test_bad_models_are_refused(made, message):
    with pytest.raises(lc.LinconvError, match=message):
        lc.from_layer(made())


def test_arrays_of_tensors_in_other_files_can_be_given():
    read = lc.from_layer(model(external()), weights=W)
    np.testing.assert_array_equal(read.operator.kernel, W["w"])


def test_an_activation_or_a_shifted_bias_in_the_middle_is_refused():
    relu = helper.make_node("Relu", ["x"], ["a"])
    late = helper.make_node("Conv", ["a", "w"], ["y"])
    with pytest.raises(lc.LinconvError, match="only the last layer of a chain"):
        lc.from_layer(model(tensor(), nodes=[relu, late]))
    bias = onnx.numpy_helper.from_array(np.ones((3, 1, 1), np.float32), "b")
    add = helper.make_node("Add", ["x", "b"], ["a"])
    padded = helper.make_node("Conv", ["a", "w"], ["y"], pads=[1] * 4)
    made = model(tensor(), nodes=[add, padded])
    made.graph.initializer.append(bias)
    with pytest.raises(lc.LinconvError, match="one number per channel"):
        lc.from_layer(made)

"""ONNX nodes and models are read as what onnxruntime and ONNX' own test cases compute."""

import importlib
import warnings
from itertools import product
from zlib import crc32

import numpy as np
import pytest

import linconv as lc

onnx = pytest.importorskip("onnx", reason="reading ONNX needs onnx")
helper = onnx.helper

RANKS = pytest.mark.parametrize("ndim", [1, 2, 3])
AUTO_PADS = pytest.mark.parametrize("auto_pad", ["NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"])
STEPS = list(product((1, 2, 3), (1, 2), (1, 2)))  # stride, dilation, group


@pytest.fixture(scope="module")
def run():
    """A function that runs a node, or a model, in onnxruntime."""
    runtime = pytest.importorskip("onnxruntime", reason="agreement with onnxruntime needs it")
    runtime.set_default_logger_severity(4)
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4

    def run(node, x, weights=None):
        model = node if isinstance(node, onnx.ModelProto) else model_of([node], x.shape, weights)
        session = runtime.InferenceSession(model.SerializeToString(), options)
        return session.run(None, {session.get_inputs()[0].name: x})[0]

    return run


def model_of(nodes, shape, weights=None, kind=onnx.TensorProto.FLOAT):
    constants = [onnx.numpy_helper.from_array(v, k) for k, v in (weights or {}).items()]
    graph = helper.make_graph(
        nodes,
        "chain",
        [helper.make_tensor_value_info("x", kind, shape)],
        [helper.make_tensor_value_info(nodes[-1].output[0], kind, None)],
        constants,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)


def node(kind, *inputs, output="y", **options):
    return helper.make_node(kind, ["x", *inputs], [output], **options)


def draw(where, *shape):
    return np.random.default_rng(crc32(where.encode())).normal(size=shape).astype(np.float32)


def same(ours, theirs, where):
    assert ours.shape == theirs.shape, where
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=2e-5, err_msg=where)


# The ONNX project's own cases

CASES = {
    "conv": 6,
    "convtranspose": 11,
    "averagepool": 20,
    "globalaveragepool": 2,
    "depthtospace": 2,
    "spacetodepth": 4,
    "pad": 6,
    "resize": 39,
    "upsample": 1,
}
REFUSED = {
    "test_constant_pad": "pad with zeros",
    "test_constant_pad_axes": "pad with zeros",
    "test_constant_pad_negative_axes": "pad with zeros",
    "test_resize_downsample_scales_linear_half_pixel_symmetric": "whole output size",
    "test_resize_upsample_scales_linear_half_pixel_symmetric": "whole output size",
    "test_resize_downsample_scales_linear_antialias": "antialias",
    "test_resize_downsample_sizes_linear_antialias": "antialias",
}


def refusal(name):
    """Why a case is no layer that is read, None if it is one."""
    if "cubic" in name:
        return "cubic"
    return "tf_crop_and_resize" if "tf_crop_and_resize" in name else REFUSED.get(name)


@pytest.mark.parametrize("kind", CASES)
def test_every_node_case_of_onnx(kind):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        package = importlib.import_module("onnx.backend.test.case.node")
        importlib.import_module(f"onnx.backend.test.case.node.{kind}")
    met = 0
    for case in package._NodeTestCases:
        nodes = case.model.graph.node
        if len(nodes) != 1 or nodes[0].op_type.lower() != kind:
            continue
        met += 1
        ((x, *constants), (expected,)) = case.data_sets[0]
        names = [value.name for value in case.model.graph.input]
        options = {"weights": dict(zip(names[1:], constants, strict=True))}
        reason = refusal(case.name)
        if reason is not None:
            with pytest.raises(lc.LinconvError, match=reason):
                lc.from_layer(nodes[0], x.shape[1:], **options)
            continue
        read = lc.from_layer(nodes[0], x.shape[1:], **options)
        assert read.output_shape == expected.shape[1:], case.name
        np.testing.assert_allclose(
            read(x), expected, rtol=max(case.rtol, 1e-5), atol=1e-4, err_msg=case.name
        )
        np.testing.assert_array_equal(lc.from_layer(case.model, **options)(x), read(x), case.name)
    assert met >= CASES[kind], "cases are missing"


# Agreement with onnxruntime


@RANKS
@AUTO_PADS
def test_conv_agrees_with_onnxruntime(run, ndim, auto_pad):
    size, taps = (9, 8, 7)[:ndim], (3, 2, 4)[:ndim]
    for stride, dilation, group in STEPS:
        if auto_pad == "VALID" and dilation == 2 and ndim == 3:
            taps = (2, 2, 2)
        options = {"strides": [stride] * ndim, "dilations": [dilation] * ndim, "group": group}
        if auto_pad == "NOTSET":
            options["pads"] = [1, 0, 2, 2, 3, 1][: 2 * ndim]
        where = f"{ndim} {auto_pad} {options}"
        weights = {"w": draw(where, 4, 4 // group, *taps), "b": draw(where, 4)}
        x = draw(where + "x", 2, 4, *size)
        each = node("Conv", "w", "b", auto_pad=auto_pad, **options)
        read = lc.from_layer(each, x.shape[1:], weights=weights)
        if auto_pad.startswith("SAME") and dilation > 1:  # not in onnxruntime
            evaluator = pytest.importorskip("onnx.reference").ReferenceEvaluator
            (expected,) = evaluator(model_of([each], x.shape, weights)).run(None, {"x": x})
        else:
            expected = run(each, x, weights)
        same(read(x), expected, where)


@RANKS
@AUTO_PADS
@pytest.mark.parametrize("longer", [None, -3, -2, -1, 0, 1], ids="output_shape{}".format)
def test_conv_transpose_agrees_with_onnxruntime(run, ndim, auto_pad, longer):
    """`longer`: by how much output_shape exceeds the full output."""
    size, taps = (4, 5, 3)[:ndim], (3, 2, 4)[:ndim]
    for stride, dilation, group in STEPS:
        for extra in {0, stride - 1}:
            options = {
                "strides": [stride] * ndim,
                "dilations": [dilation] * ndim,
                "group": group,
                "output_padding": [extra] * ndim,
            }
            full = [
                (n - 1) * stride + (k - 1) * dilation + 1 for n, k in zip(size, taps, strict=True)
            ]
            if longer is not None:
                options["output_shape"] = [f + min(longer, stride - 1) for f in full]
            elif auto_pad == "NOTSET":
                options["pads"] = [1, 0, 2, 1, 3, 0][: 2 * ndim]
            elif auto_pad.startswith("SAME") and any(
                f + extra < n * stride for f, n in zip(full, size, strict=True)
            ):
                continue  # onnxruntime returns fewer samples than the specification says
            if longer is not None and min(options["output_shape"]) < 1:
                continue
            where = f"{ndim} {auto_pad} {options}"
            weights = {"w": draw(where, 4, 4 // group, *taps), "b": draw(where, 4)}
            x = draw(where + "x", 2, 4, *size)
            each = node("ConvTranspose", "w", "b", auto_pad=auto_pad, **options)
            read = lc.from_layer(each, x.shape[1:], weights=weights)
            same(read(x), run(each, x, weights), where)


@pytest.mark.parametrize(
    ("options", "start", "length"),
    [
        ({}, 0, 7),
        ({"auto_pad": "SAME_UPPER"}, 0, 6),
        ({"auto_pad": "SAME_LOWER"}, 1, 6),
        ({"output_shape": [6]}, 1, 6),
        ({"output_shape": [5]}, 1, 5),
        ({"output_shape": [6], "auto_pad": "SAME_UPPER"}, 0, 6),
        ({"output_shape": [9]}, 0, 9),
        ({"output_shape": [1, 1, 6]}, 1, 6),
        ({"output_shape": [6], "pads": [0, 1]}, 1, 6),
    ],
    ids=str,
)
def test_which_samples_of_the_full_output_are_kept(options, start, length):
    """Input 3, kernel 3, stride 2: 7 samples, 6 with SAME_UPPER (onnx issue 4299)."""
    full = lc.ConvTranspose([1.0, 10.0, 100.0], (3,), stride=2)([1.0, 2.0, 3.0])
    padded = np.concatenate([full, np.zeros(4)])
    each = node("ConvTranspose", "w", strides=[2], **options)
    read = lc.from_layer(each, (1, 3), weights={"w": np.array([[[1.0, 10.0, 100.0]]])})
    np.testing.assert_array_equal(read([[1.0, 2.0, 3.0]])[0], padded[start : start + length])


def test_same_with_a_stride_above_the_kernel_has_the_size_of_the_specification():
    each = node("ConvTranspose", "w", strides=[3], auto_pad="SAME_UPPER")
    read = lc.from_layer(each, (1, 3), weights={"w": np.ones((1, 1, 2))})
    np.testing.assert_array_equal(read([[1.0, 2.0, 3.0]]), [[1, 1, 0, 2, 2, 0, 3, 3, 0]])


@RANKS
@pytest.mark.parametrize("counted", [0, 1])
@pytest.mark.parametrize("ceil", [0, 1])
def test_average_pool_agrees_with_onnxruntime(run, ndim, counted, ceil):
    size, taps = (9, 8, 7)[:ndim], [3, 2, 4][:ndim]
    for stride, dilation, pads in product((1, 2, 3), (1, 2), ([0] * 6, [1, 0, 2, 0, 1, 1])):
        where = f"{ndim} {counted} {ceil} {stride} {dilation} {pads}"
        chosen = pads[:ndim] + pads[3 : 3 + ndim]
        x = draw(where, 2, 3, *size)
        each = node(
            "AveragePool",
            kernel_shape=taps,
            strides=[stride] * ndim,
            dilations=[dilation] * ndim,
            pads=chosen,
            ceil_mode=ceil,
            count_include_pad=counted,
        )
        same(lc.from_layer(each, x.shape[1:])(x), run(each, x), where)


@pytest.mark.parametrize("mode", ["constant", "reflect", "edge", "wrap"])
def test_pads_agree_with_onnxruntime(run, mode):
    x = draw(mode, 2, 3, 6, 5)
    for pads in ([0, 0, 2, 1, 0, 0, 3, 0], [0, 0, -1, 2, 0, 0, 2, -2], [0, 0, -1, 0, 0, 0, -2, 0]):
        weights = {"p": np.array(pads, np.int64)}
        each = node("Pad", "p", mode=mode)
        same(lc.from_layer(each, (3, 6, 5), weights=weights)(x), run(each, x, weights), str(pads))


@pytest.mark.parametrize(
    "where", ["half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric"]
)
@pytest.mark.parametrize(
    "rounding", ["linear", "round_prefer_floor", "round_prefer_ceil", "floor", "ceil"]
)
def test_resizing_agrees_with_onnxruntime(run, where, rounding):
    x = draw(where, 2, 3, 6, 5)
    mode = {"mode": "linear"} if rounding == "linear" else {"mode": "nearest"}
    if rounding != "linear":
        mode["nearest_mode"] = rounding
    for sizes in ([12, 10], [3, 4], [7, 13], [6, 5], [18, 1]):
        weights = {"s": np.array([2, 3, *sizes], np.int64)}
        each = node("Resize", "", "", "s", coordinate_transformation_mode=where, **mode)
        read = lc.from_layer(each, (3, 6, 5), weights=weights)
        same(read(x), run(each, x, weights), str(sizes))
    if where != "align_corners":
        weights = {"s": np.array([1, 1, 1.7, 0.6], np.float32)}
        each = node("Resize", "", "s", coordinate_transformation_mode=where, **mode)
        read = lc.from_layer(each, (3, 6, 5), weights=weights)
        same(read(x), run(each, x, weights), "scales")


def test_slices_and_gathers_agree_with_onnxruntime(run):
    x = draw("slice", 2, 3, 9, 8)
    for start, end, axis, step in [(1, 7, 2, 2), (-5, 100, 3, 1), (8, -100, 2, -3), (0, 2, -3, 1)]:
        weights = {k: np.array([v]) for k, v in zip("seat", (start, end, axis, step), strict=True)}
        each = node("Slice", *"seat")
        same(lc.from_layer(each, (3, 9, 8), weights=weights)(x), run(each, x, weights), f"{start}")
    weights = {"i": np.array([2, -1, 0, 0])}
    each = node("Gather", "i", axis=-2)
    same(lc.from_layer(each, (3, 9, 8), weights=weights)(x), run(each, x, weights), "gather")


@pytest.mark.parametrize(
    ("kind", "options", "name"),
    [
        ("Relu", {}, "relu"),
        ("Sigmoid", {}, "sigmoid"),
        ("Tanh", {}, "tanh"),
        ("Softplus", {}, "softplus"),
        ("Softsign", {}, "softsign"),
        ("Elu", {}, "elu"),
        ("Gelu", {}, "gelu"),
        ("HardSwish", {}, "hard_silu"),
        ("HardSigmoid", {"alpha": 1 / 6}, "hard_sigmoid"),
    ],
)
def test_activations_agree_with_onnxruntime(run, kind, options, name):
    x = 3 * draw(kind, 2, 3, 5)
    read = lc.from_layer(node(kind, **options), (3, 5))
    assert read.activation == name
    same(read(x), run(node(kind, **options), x), kind)


def test_activations_with_other_options_are_known_by_name():
    assert lc.from_layer(node("Elu", alpha=0.5), (3, 5)).activation == "elu(alpha=0.5)"
    assert lc.from_layer(node("LeakyRelu", alpha=0.2), (3, 5)).activation == "leaky_relu(0.2)"
    assert (
        lc.from_layer(node("HardSigmoid"), (3, 5)).activation == "hard_sigmoid(alpha=0.2, beta=0.5)"
    )
    with pytest.raises(lc.LinconvError, match="the activation must be one of"):
        lc.from_layer(node("Elu", alpha=0.5), (3, 5))(np.ones((3, 5)))


# Chains


def chain():
    """Pad, Conv without bias, Add, Conv of size 1, Relu."""
    rng = np.random.default_rng(5)
    weights = {
        "pads": np.array([0, 0, 1, 2, 0, 0, 2, 0], np.int64),
        "w": rng.normal(size=(4, 3, 3, 2)).astype(np.float32),
        "b": rng.normal(size=(4, 1, 1)).astype(np.float32),
        "v": rng.normal(size=(2, 4, 1, 1)).astype(np.float32),
    }
    nodes = [
        node("Pad", "pads", output="a", mode="reflect"),
        helper.make_node("Conv", ["a", "w"], ["c"], strides=[2, 1]),
        helper.make_node("Add", ["c", "b"], ["d"]),
        helper.make_node("Conv", ["d", "v"], ["e"], name="last"),
        helper.make_node("Relu", ["e"], ["y"]),
    ]
    return nodes, weights


def test_a_chain_is_one_layer(run):
    nodes, weights = chain()
    model = model_of(nodes, ["batch", 3, 8, 7], weights)
    x = draw("chain", 2, 3, 8, 7)
    read = lc.from_layer(model)
    assert (read.activation, read.kind, read.source) == ("relu", "Pad + Conv + Conv", "onnx")
    same(read(x), run(model, x), "chain")
    same(lc.from_layer(model.graph, (3, 8, 7))(x), run(model, x), "graph")


def test_constant_nodes_and_given_weights_replace_initializers():
    nodes, weights = chain()
    kernel = weights.pop("w")
    tensor = onnx.numpy_helper.from_array(weights.pop("v"))
    nodes.insert(0, helper.make_node("Constant", [], ["v"], value=tensor))
    read = lc.from_layer(model_of(nodes, [1, 3, 8, 7], weights), weights={"w": kernel})
    full = lc.from_layer(model_of(chain()[0], [1, 3, 8, 7], chain()[1]))
    x = draw("constant", 3, 8, 7)
    np.testing.assert_array_equal(read(x), full(x))


def test_half_precision_is_read_in_single():
    kernel = np.array([[[1, 0.5, 0.25]]], np.float16)
    read = lc.from_layer(node("Conv", "w"), (1, 5), weights={"w": kernel})
    assert read.operator.dtype == np.float32

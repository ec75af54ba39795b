"""Other libraries compute the same: PyTorch, Keras, JAX, SciPy and NumPy, each by its own rules."""

from itertools import product

import numpy as np
import pytest
import scipy.ndimage
import scipy.signal

import linconv as lc
from cases import CASES, MODES, NAMES, Case, assert_close, draw

RANKS = pytest.mark.parametrize("ndim", [1, 2, 3])
SIZES = {1: ((9,), (3,)), 2: ((7, 8), (3, 2)), 3: ((5, 6, 4), (2, 3, 2))}
GROUPS = {"dense": (1, 2, 3), "groups": (2, 4, 2), "depthwise": (3, 3, 6)}


@pytest.fixture(scope="module")
def torch():
    module = pytest.importorskip("torch", reason="agreement with PyTorch needs torch")
    module.set_num_threads(1)  # on arrays this small, threads only wait for each other
    return module


@pytest.fixture(scope="module")
def jax():
    return pytest.importorskip("jax", reason="agreement with JAX needs jax")


@pytest.fixture(scope="module")
def keras(jax):
    module = pytest.importorskip("keras", reason="agreement with Keras needs keras")
    if module.backend.backend() != "jax":
        pytest.skip(f"the JAX backend is wanted; Keras runs on {module.backend.backend()}")
    return module


def arrays(name: str, *shapes: tuple[int, ...], dtype: str = "float64") -> list[np.ndarray]:
    case = Case(name, (1,), (1,))
    rng = case.rng
    return [draw(rng, shape, dtype) for shape in shapes]


# PyTorch


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel:UserWarning")
@RANKS
@pytest.mark.parametrize("connection", GROUPS)
@pytest.mark.parametrize("mode", [m for m in MODES if m != "symmetric"])
def test_conv_agrees_with_torch(torch, ndim, connection, mode):
    size, taps = SIZES[ndim]
    groups, inputs, outputs = GROUPS[connection]
    layer_class = getattr(torch.nn, f"Conv{ndim}d")
    for stride, dilation, padding in product((1, 2, 3), (1, 2), (0, 1, "same")):
        if padding == "same" and stride > 1:
            continue  # PyTorch has no such layer
        options = {"stride": stride, "dilation": dilation, "padding": padding, "groups": groups}
        where = f"{options} {mode}"
        kernel, x = arrays(where, (outputs, inputs // groups, *taps), (2, inputs, *size))
        layer = layer_class(
            inputs, outputs, taps, bias=False, padding_mode=mode, dtype=torch.float64, **options
        )
        with torch.no_grad():
            layer.weight.copy_(torch.from_numpy(kernel))
            expected = layer(torch.from_numpy(x)).numpy()
        op = lc.Conv(
            kernel, x.shape[1:], data_format="channels_first", padding_mode=mode, **options
        )
        assert_close(op(x), expected, where=where)


@RANKS
@pytest.mark.parametrize("connection", GROUPS)
def test_conv_transpose_agrees_with_torch(torch, ndim, connection):
    size, taps = SIZES[ndim]
    groups, outputs, inputs = GROUPS[connection]
    function = getattr(torch.nn.functional, f"conv_transpose{ndim}d")
    for stride, dilation, padding in product((1, 2, 3), (1, 2, 3), (0, 1, 2)):
        for output_padding in range(max(stride, dilation)):
            options = {
                "stride": stride,
                "dilation": dilation,
                "padding": padding,
                "groups": groups,
                "output_padding": output_padding,
            }
            where = str(options)
            kernel, x = arrays(where, (inputs, outputs // groups, *taps), (2, inputs, *size))
            op = lc.ConvTranspose(kernel, x.shape[1:], data_format="channels_first", **options)
            expected = function(torch.from_numpy(x), torch.from_numpy(kernel), **options)
            assert_close(op(x), expected.numpy(), where=where)


def test_conv_transpose_agrees_with_torch_by_axis(torch):
    options = {
        "stride": (2, 3),
        "dilation": (3, 1),
        "padding": (2, 1),
        "output_padding": (2, 1),
        "groups": 2,
    }
    kernel, x = arrays("by axis", (4, 3, 3, 2), (5, 4, 5, 4))
    op = lc.ConvTranspose(kernel, x.shape[1:], data_format="channels_first", **options)
    expected = torch.nn.functional.conv_transpose2d(
        torch.from_numpy(x), torch.from_numpy(kernel), **options
    )
    assert_close(op(x), expected.numpy())


@pytest.mark.parametrize("dtype", ["float32", "complex64", "complex128"])
def test_dtypes_agree_with_torch(torch, dtype):
    kernel, x = arrays(dtype, (3, 2, 2, 3), (2, 2, 6, 5), dtype=dtype)
    op = lc.Conv(kernel, x.shape[1:], stride=2, padding=1, data_format="channels_first")
    expected = torch.nn.functional.conv2d(
        torch.from_numpy(x), torch.from_numpy(kernel), stride=2, padding=1
    )
    assert op(x).dtype == np.dtype(dtype)
    assert_close(op(x), expected.numpy(), dtype)


@RANKS
@pytest.mark.parametrize("connection", GROUPS)
def test_transposes_are_torch_gradients(torch, ndim, connection):
    """The gradient with respect to the input is `op.T`, to the kernel that of the kernel map."""
    size, taps = SIZES[ndim]
    groups, inputs, outputs = GROUPS[connection]
    options = {"stride": 2, "padding": 1, "groups": groups}
    kernel, x = arrays(f"{ndim}{connection}", (outputs, inputs // groups, *taps), (inputs, *size))
    op = lc.Conv(kernel, x.shape, data_format="channels_first", **options)
    y = draw(np.random.default_rng(5), op.output_shape, "float64")
    leaf = torch.from_numpy(x).requires_grad_()
    weight = torch.from_numpy(kernel).requires_grad_()
    function = getattr(torch.nn.functional, f"conv{ndim}d")
    function(leaf[None], weight, **options).backward(torch.from_numpy(y)[None])
    assert_close(op.T(y), leaf.grad.numpy())
    assert_close(op.as_function_of_kernel(x).T(y), weight.grad.numpy())


# Keras


@RANKS
@pytest.mark.parametrize("padding", ["valid", "same"])
def test_conv_agrees_with_keras(keras, ndim, padding):
    size, taps = SIZES[ndim]
    layer_class = getattr(keras.layers, f"Conv{ndim}D")
    steps = [(1, 1), (2, 1), (3, 1), (1, 2)]  # Keras allows no stride beside dilation
    for (stride, dilation), (groups, inputs, outputs) in product(steps, GROUPS.values()):
        if stride > 1 and groups == 2:
            continue
        options = {"padding": padding, "groups": groups}
        where = f"{options} stride={stride} dilation={dilation}"
        shapes = (*taps, inputs // groups, outputs), (2, *size, inputs)
        kernel, x = arrays(where, *shapes, dtype="float32")
        layer = layer_class(
            outputs, taps, strides=stride, dilation_rate=dilation, use_bias=False, **options
        )
        layer.build(x.shape)
        layer.kernel.assign(kernel)
        op = lc.Conv(kernel, x.shape[1:], stride=stride, dilation=dilation, **options)
        assert_close(op(x), keras.ops.convert_to_numpy(layer(x)), "float32", where)


def test_causal_conv_agrees_with_keras(keras):
    kernel, x = arrays("causal", (3, 2, 4), (2, 9, 2), dtype="float32")
    for stride, dilation in ((1, 1), (1, 3), (2, 1)):
        layer = keras.layers.Conv1D(
            4, 3, strides=stride, dilation_rate=dilation, padding="causal", use_bias=False
        )
        layer.build(x.shape)
        layer.kernel.assign(kernel)
        op = lc.Conv(kernel, x.shape[1:], stride=stride, dilation=dilation, padding="causal")
        assert_close(op(x), keras.ops.convert_to_numpy(layer(x)), "float32", f"{stride} {dilation}")


@RANKS
@pytest.mark.parametrize("padding", ["valid", "same"])
def test_conv_transpose_agrees_with_keras(keras, ndim, padding):
    """Over kernels of every parity and strides above, at and below them."""
    layer_class = getattr(keras.layers, f"Conv{ndim}DTranspose")
    size = (4, 3, 2)[:ndim]
    kernels = {1: [(1,), (3,), (4,)], 2: [(3, 2)], 3: [(2, 3, 1)]}[ndim]
    # Keras' layers allow no stride beside dilation
    for taps, (stride, dilation) in product(kernels, [(1, 1), (2, 1), (3, 1), (1, 2)]):
        for output_padding in (None, *range(stride - 1, min(stride, 2))):
            where = f"{taps} stride={stride} dilation={dilation} output_padding={output_padding}"
            kernel, x = arrays(where, (*taps, 2, 3), (2, *size, 3), dtype="float32")
            try:
                op = lc.ConvTranspose(
                    kernel,
                    x.shape[1:],
                    stride=stride,
                    padding=padding,
                    dilation=dilation,
                    output_padding=output_padding,
                )
            except lc.LinconvError as error:
                # Keras makes an empty output where its rule gives no sample
                assert "at least 1 sample" in str(error), where  # noqa: PT017
                continue
            layer = layer_class(
                2,
                taps,
                strides=stride,
                dilation_rate=dilation,
                padding=padding,
                output_padding=output_padding,
                use_bias=False,
            )
            layer.build(x.shape)
            layer.kernel.assign(kernel)
            assert_close(op(x), keras.ops.convert_to_numpy(layer(x)), "float32", where)


def test_conv_transpose_agrees_with_keras_channels_first(keras):
    kernel, x = arrays("first", (3, 2, 2, 3), (2, 3, 4, 5), dtype="float32")
    op = lc.ConvTranspose(
        np.transpose(kernel, (3, 2, 0, 1)),
        x.shape[1:],
        stride=2,
        padding="same",
        data_format="channels_first",
    )
    expected = keras.ops.conv_transpose(
        np.moveaxis(x, 1, -1), kernel, strides=2, padding="same", data_format="channels_last"
    )
    assert_close(op(x), np.moveaxis(keras.ops.convert_to_numpy(expected), -1, 1), "float32")


# JAX

ZERO_PADDED = [c for c in CASES if set(c.layer.modes) == {"zeros"} and c.channels and c.ndim < 4]


def lax_conv(jax, case: Case, x, kernel):
    """The case by XLA's general convolution, padding given as pairs."""
    last = case.data_format == "channels_last"
    letters = "DHW"[-case.ndim :]
    arrays_spec, kernel_spec = (
        (f"N{letters}C", f"{letters}IO") if last else (f"NC{letters}", f"OI{letters}")
    )
    layer = case.layer
    return jax.lax.conv_general_dilated(
        x,
        kernel,
        layer.stride,
        layer.pads,
        rhs_dilation=layer.dilation,
        dimension_numbers=(arrays_spec, kernel_spec, arrays_spec),
        feature_group_count=case.groups,
    )


@pytest.mark.parametrize("case", ZERO_PADDED, ids=lambda case: case.name)
def test_conv_agrees_with_jax(jax, case):
    kernel, x, y = (a.astype(np.result_type(a, np.float32).char) for a in case.arrays(2))
    narrow = np.complex64 if kernel.dtype.kind == "c" else np.float32
    kernel, x, y = kernel.astype(narrow), x.astype(narrow), y.astype(narrow)
    op = lc.Conv(kernel, case.input_shape, **case.options)
    expected, pullback = jax.vjp(lambda a: lax_conv(jax, case, a, kernel), x)
    assert_close(op(x), np.asarray(expected), narrow, case.name)
    assert_close(op.T(y), np.asarray(pullback(y)[0]), narrow, case.name)


@pytest.mark.parametrize("padding", NAMES)
def test_transposed_conv_agrees_with_dilating_the_input_in_jax(jax, padding):
    """XLA's `lhs_dilation` does what `as_conv` says: dilate, pad, correlate with the flip."""
    for stride, dilation in ((1, 1), (2, 1), (3, 2)):
        kernel, _ = arrays(padding, (3, 2, 2, 3), (1,), dtype="float32")
        op = lc.Conv(kernel, (11, 9, 2), stride=stride, dilation=dilation, padding=padding)
        (y,) = arrays("y" + padding, op.output_shape, dtype="float32")
        t = op.geometry.transposed()
        expected = jax.lax.conv_general_dilated(
            y[None],
            np.flip(kernel, (0, 1)),
            (1, 1),
            t.padding,
            lhs_dilation=op.geometry.stride,
            rhs_dilation=t.dilation,
            dimension_numbers=("NHWC", "HWOI", "NHWC"),
        )
        assert_close(op.T(y), np.asarray(expected)[0], "float32", f"{stride} {dilation}")


# SciPy and NumPy


@pytest.mark.parametrize(("padding", "mode"), [("valid", "valid"), ("full", "full")])
def test_conv_agrees_with_scipy_correlate(padding, mode):
    for name, size, taps in (("1", (9,), (4,)), ("2", (6, 7), (3, 2)), ("3", (4, 3, 5), (2, 3, 2))):
        kernel, x = arrays(name + mode, taps, size, dtype="complex128")
        expected = scipy.signal.correlate(x, kernel.conj(), mode=mode, method="direct")
        assert_close(lc.Conv(kernel, size, padding=padding)(x), expected)


@pytest.mark.parametrize(
    ("mode", "theirs"),
    [
        ("zeros", "constant"),
        ("circular", "wrap"),
        ("reflect", "mirror"),
        ("replicate", "nearest"),
        ("symmetric", "reflect"),
    ],
)
def test_borders_agree_with_scipy_ndimage(mode, theirs):
    """Names differ: what SciPy calls "reflect" repeats the border sample."""
    for size, taps in (((8,), (5,)), ((5, 6), (3, 5)), ((4, 3, 5), (3, 3, 1))):
        kernel, x = arrays(mode + str(size), taps, size)
        expected = scipy.ndimage.correlate(x, kernel, mode=theirs)
        op = lc.Conv(kernel, size, padding="same", padding_mode=mode)
        assert_close(op(x), expected, where=str(size))


def test_convolution_of_the_textbook_is_the_flipped_kernel():
    kernel, x = arrays("textbook", (4,), (9,))
    op = lc.Conv(kernel[::-1], (9,), padding="full")
    assert_close(op(x), np.convolve(x, kernel, mode="full"))
    # and the transpose of a valid correlation is NumPy's full convolution
    y = draw(np.random.default_rng(6), (6,), "float64")
    assert_close(lc.Conv(kernel, (9,)).T(y), np.convolve(y, kernel, mode="full"))


def test_upsampling_filter_agrees_with_scipy_upfirdn():
    for stride in (1, 2, 3, 5):
        kernel, x = arrays(f"up{stride}", (4,), (6,))
        op = lc.ConvTranspose(kernel, (6,), stride=stride, padding=0)
        assert_close(op(x), scipy.signal.upfirdn(kernel, x, up=stride), where=str(stride))

"""Tensors in, tensors out: the numbers of NumPy, in every layout and dtype, for every map."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings

import linconv as lc
from cases import BY_NAME, CASES, assert_close
from strategies import legal_cases
from torch_ways import each_way

torch = pytest.importorskip("torch", reason="tensors need torch")
way = each_way(torch)

BY_CASE = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


def check(case, device: str = "cpu") -> None:
    """Every way to apply a map gives a tensor, equal to what NumPy arrays give."""
    kernel, x, y = case.arrays(2)
    op = lc.Conv(kernel, case.input_shape, **case.options)
    for own in (kernel, torch.tensor(kernel, device=device)):
        same = lc.Conv(own, case.input_shape, **case.options)
        decimate, correlate, pad = same.factors()
        chain = decimate @ correlate @ pad
        for ours, known, array in (
            (same, op, x),
            (same.T, op.T, y),
            (same.H, op.H, y),
            (chain, op, x),
            (chain.T, op.T, y),
            (same.T.as_conv(), op.T, y),
            (same.T.as_conv().T, op, x),
        ):
            result = ours(torch.tensor(array, device=device))
            assert isinstance(result, torch.Tensor)
            assert result.device.type == device
            assert str(result.dtype) == f"torch.{case.dtype}"
            assert_close(result.cpu().numpy(), known(array), case.dtype, repr(ours))


@pytest.mark.usefixtures("way")
@BY_CASE
def test_tensors_give_what_numpy_arrays_give(case):
    check(case)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
def test_tensors_on_a_gpu_give_what_numpy_arrays_give(monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    monkeypatch.setattr(torch.backends.cuda.matmul, "allow_tf32", False)
    for case in CASES:
        check(case, "cuda")


@given(legal_cases())
@settings(max_examples=20)
def test_tensors_give_what_numpy_arrays_give_on_any_legal_geometry(case):
    check(case)


def test_large_calls_go_to_the_compiled_kernels_and_agree(monkeypatch):
    """Of the choice itself: what pays is computed there, to the same numbers."""
    from linconv.engines import choice, torch_engine

    if choice.engine_in_use()[0] != "native":
        pytest.skip("the native engine is not in use")
    calls = []
    seen = torch_engine.operation
    monkeypatch.setattr(torch_engine, "operation", lambda *a: calls.append(a) or seen(*a))
    rng = np.random.default_rng(5)
    for dtype, channels, native in (
        ("float32", 2, True),
        ("float32", 48, False),
        ("float64", 48, True),
    ):
        kernel = torch.tensor(rng.standard_normal((channels, channels, 3, 3)).astype(dtype))
        op = lc.Conv(kernel, (channels, 64, 64), padding=1, data_format="channels_first")
        x = torch.tensor(rng.standard_normal((1, channels, 64, 64)).astype(dtype))
        calls.clear()
        result = op(x)
        assert bool(calls) is native, (dtype, channels)
        expected = torch.nn.functional.conv2d(x, kernel, padding=1)
        assert_close(result.numpy(), expected.numpy(), dtype)
        assert_close(op.T(x).numpy(), torch.conv_transpose2d(x, kernel, padding=1).numpy(), dtype)
    calls.clear()
    lc.Conv(kernel[:, :, :1, :1], (channels, 2, 2), data_format="channels_first")(x[..., :2, :2])
    assert not calls, "a small call stays with PyTorch"


def test_a_parameter_learns():
    weight = torch.nn.Parameter(torch.zeros(3, 2, 3, 3))
    op = lc.Conv(weight, (2, 8, 8), padding="same", data_format="channels_first")
    assert op.kernel is op.T.kernel is weight
    wanted = torch.tensor(np.random.default_rng(3).standard_normal((3, 2, 3, 3)), dtype=torch.float)
    x = torch.ones(4, 2, 8, 8).cumsum(-1).sin()
    target = lc.Conv(wanted, (2, 8, 8), padding="same", data_format="channels_first")(x)
    optimizer = torch.optim.SGD([weight], lr=1e-5)
    losses = []
    for _ in range(3):
        optimizer.zero_grad()
        loss = ((op(x) - target) ** 2).sum()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[0] > losses[1] > losses[2]  # the map sees what the optimizer wrote


def test_the_kernels_values_serve_where_numbers_are_asked_for():
    kernel = torch.tensor([[1.0, 2.0], [3.0, 4.0]], dtype=torch.bfloat16, requires_grad=True)
    op, plain = lc.Conv(kernel, (3, 3)), lc.Conv(kernel.detach().float().numpy(), (3, 3))
    assert op.dtype == np.float32
    np.testing.assert_array_equal(op.matrix(), plain.matrix())
    np.testing.assert_array_equal(op.sparse().toarray(), plain.matrix())
    result = op(np.eye(3, dtype=np.float32))
    assert isinstance(result, np.ndarray)
    np.testing.assert_array_equal(result, plain(np.eye(3, dtype=np.float32)))
    np.testing.assert_array_equal(lc.phase_gains(op.T), lc.phase_gains(plain.T))
    assert max(row.relative for row in lc.compare(op).rows) < 1e-5


@pytest.mark.usefixtures("way")
def test_dtype_rule():
    """What is given, the kernel's dtype, and what comes back."""
    rows = [
        ("float32", "float32", "float32"),
        ("float64", "float32", "float64"),
        ("float32", "complex64", "complex64"),
        ("float64", "complex64", "complex128"),
        ("float16", "float32", "float16"),
        ("bfloat16", "float64", "bfloat16"),
        ("bfloat16", "complex64", "complex64"),
        ("int8", "float32", "float64"),
        ("bool", "float32", "float64"),
    ]
    for given_dtype, kernel_dtype, wanted in rows:
        kernel = np.array([1.0, -2.0], kernel_dtype)
        x = torch.tensor([1, 0, 1]).to(getattr(torch, given_dtype))
        for own in (kernel, torch.tensor(kernel)):
            result = lc.Conv(own, (3,))(x)
            assert str(result.dtype) == f"torch.{wanted}", given_dtype
            assert result.tolist() == [1, -2], given_dtype


def test_half_precision_is_computed_in_single():
    x = torch.tensor([2048, 1, 1], dtype=torch.float16)
    assert lc.Conv(torch.ones(3, dtype=torch.float16), (3,))(x).item() == 2050


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("name", ["channels_first", "single", "everything"])
def test_tensors_of_every_memory_layout(name):
    case = BY_NAME[name]
    kernel, x, _ = map(torch.tensor, case.arrays(2))
    op = lc.Conv(kernel, case.input_shape, **case.options)
    expected = op(x)
    turned = x.transpose(0, -1).contiguous().transpose(0, -1)
    negated = torch.view_as_complex(torch.stack([0 * x, -x], -1)).conj().imag
    assert negated.is_neg()
    once = x[:1].expand(2, *x.shape[1:])
    for view in (turned, x.repeat_interleave(2, 0)[::2], x.flip(0).flip(0), negated):
        assert_close(op(view).numpy(), expected.numpy(), case.dtype)
    assert_close(op(once)[1].numpy(), expected[0].numpy(), case.dtype)
    strided = kernel.repeat_interleave(2, -1)[..., ::2]
    again = lc.Conv(strided, case.input_shape, **case.options)
    assert_close(again(x).numpy(), expected.numpy(), case.dtype)
    assert op(x[:0]).shape == (0, *expected.shape[1:])
    assert op(x[None]).shape == (1, *expected.shape)


@pytest.mark.parametrize(
    "op",
    [lc.identity((3,)), lc.Pad((3,), -1), lc.Pad((3,), 0), lc.Decimate((3,), 1)],
    ids=["identity", "crop", "no_padding", "no_stride"],
)
def test_results_are_tensors_of_their_own(op):
    x = torch.arange(3.0)
    for map_ in (op, op.T, lc.identity(op.output_shape) @ op):
        array = x[: map_.input_shape[0]].clone()
        before = array.clone()
        map_(array).add_(1)
        assert torch.equal(array, before)


def test_algebra_and_scipys_face_take_tensors():
    case = BY_NAME["image"]
    kernel, x, _ = map(torch.tensor, case.arrays())
    op = lc.Conv(kernel, case.input_shape, **case.options)
    plain = lc.Conv(kernel.numpy(), case.input_shape, **case.options)
    number = np.float64(2.5)
    for map_, known in ((number * op - op, number * plain - plain), (op.T @ op, plain.T @ plain)):
        assert_close(map_(x).numpy(), known(x.numpy()))
    flat = x.reshape(-1)
    assert_close((op @ flat).numpy(), plain @ flat.numpy())
    columns = torch.stack([flat, 2 * flat], 1)
    assert_close((op @ columns).numpy(), plain @ columns.numpy())
    rows = op(x).reshape(-1)
    assert_close(op.rmatvec(rows).numpy(), plain.rmatvec(rows.numpy()))


def test_wrong_shape_is_told_as_for_numpy_arrays():
    op = lc.Conv(torch.ones(3, 2), (6, 5))
    with pytest.raises(lc.LinconvError, match=r"\(\*batch, 6, 5\); got \(5, 6\); reshape"):
        op(torch.ones(5, 6))


def test_device_is_kept():
    """The meta device computes shapes alone, and stands for any other than the processor."""
    op = lc.Conv(np.ones((3, 3)), (6, 5), padding="same", padding_mode="reflect")
    for map_ in (op, op.T):
        result = map_(torch.ones(6, 5, device="meta"))
        assert result.device.type == "meta"
        assert result.shape == (6, 5)


def test_two_devices_are_refused():
    op = lc.Conv(torch.ones(3, 3, device="meta"), (6, 5))
    with pytest.raises(lc.LinconvError, match=r"one device; got .* on meta and one on cpu; move"):
        op(torch.ones(6, 5))


@pytest.mark.parametrize("layout", ["to_sparse_csr", "to_mkldnn"])
def test_tensors_without_plain_memory_are_refused(layout):
    if layout == "to_mkldnn" and not torch.backends.mkldnn.is_available():
        pytest.skip("needs oneDNN")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch calls its own layouts experimental
        array = getattr(torch.ones(6, 5), layout)()
    with pytest.raises(lc.LinconvError, match=r"must be dense; got a \w+ tensor; use .to_dense"):
        lc.Conv(np.ones((3, 2)), (6, 5))(array)

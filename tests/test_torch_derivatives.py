"""Derivatives of maps of tensors: of every order and direction, transformed, traced, compiled."""

import shutil

import numpy as np
import pytest

import linconv as lc
from cases import BY_NAME, CASES, assert_close
from tiny_layers import TINY
from torch_ways import each_way

torch = pytest.importorskip("torch", reason="tensors need torch")
way = each_way(torch)
# PyTorch's own forward derivatives call what it has deprecated itself.
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")

BY_CASE = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
BY_TINY = pytest.mark.parametrize("case", TINY, ids=lambda case: case.name)
REAL = pytest.mark.parametrize(
    "case", [case for case in TINY if case.dtype == "float64"], ids=lambda case: case.name
)


def tensors(case, *batch: int):
    """The layer as a function of its kernel, and its kernel, input and output as tensors."""
    kernel, x, y = map(torch.tensor, case.arrays(*batch))
    return lambda k: lc.Conv(k, case.input_shape, **case.options), kernel, x, y


@pytest.mark.usefixtures("way")
@BY_CASE
def test_gradients_are_the_exact_transposes(case):
    """Of <op(x), w>: with respect to x `op.T(w)`, to the kernel the kernel map's transpose."""
    kernel, x, w = case.arrays(2)
    op = lc.Conv(kernel, case.input_shape, **case.options)
    leaf, weights = torch.tensor(x, requires_grad=True), torch.tensor(kernel, requires_grad=True)
    same = lc.Conv(weights, case.input_shape, **case.options)
    for map_, known, array, other in ((same, op, leaf, w), (same.T, op.T, torch.tensor(w), x)):
        product = (map_(array) * torch.tensor(other)).sum()
        parts = product.real if product.is_complex() else product
        (gradient,) = torch.autograd.grad(parts, [weights], retain_graph=True)
        numbers = array.detach().numpy()
        expected = known.as_function_of_kernel(numbers).T(other).conj()
        assert_close(gradient.numpy(), expected, case.dtype)
        mapped = map_.as_function_of_kernel(array)
        assert_close(mapped.T(torch.tensor(other)).detach().numpy(), expected.conj(), case.dtype)
        assert_close(mapped(weights).detach().numpy(), known(numbers), case.dtype)
        if array is leaf:
            (gradient,) = torch.autograd.grad(parts, [leaf])
            assert_close(gradient.numpy(), op.T(w).conj(), case.dtype)


@BY_TINY
def test_gradcheck_of_both_orders(case, way):
    make, *arrays = tensors(case)
    kernel, x, y = (a.requires_grad_() for a in arrays)
    # Forward mode and batches are checked where the derivatives are not PyTorch's own.
    more = {}
    if way == "kernels" and not kernel.is_complex():
        more = {"check_forward_ad": True, "check_batched_grad": True}
    for function, array in ((lambda k, a: make(k)(a), x), (lambda k, a: make(k).T(a), y)):
        if (
            way == "kernels"
            and not kernel.is_complex()
            and lc.show_config("dicts")["engine"] == "native"
        ):
            assert "Eager" in names_of_graph(function(kernel, array).grad_fn)
        assert torch.autograd.gradcheck(function, (kernel, array), **more)
        twice = {"check_fwd_over_rev": True} if more and case.ndim < 3 else {"fast_mode": True}
        assert torch.autograd.gradgradcheck(function, (kernel, array), **twice)


def names_of_graph(node) -> str:
    """The names of a graph's nodes, joined."""
    if node is None:
        return ""
    return " ".join([node.name(), *(names_of_graph(n) for n, _ in node.next_functions)])


@pytest.mark.usefixtures("way")
@REAL
def test_vectorised_and_differentiated_by_torch_func(case):
    make, kernel, x, y = tensors(case, 3)
    op = make(kernel)
    for map_, array in ((op, x), (op.T, y), (make(kernel.numpy()), x)):
        assert_close(torch.func.vmap(map_)(array).numpy(), map_(array).numpy())
        turned = torch.func.vmap(map_, in_dims=1, out_dims=1)(array[:, None])
        assert_close(turned[:, 0].numpy(), map_(array).numpy())
        tangent = torch.func.jvp(map_, (array,), (2 * array,))[1]
        assert_close(tangent.numpy(), 2 * map_(array).numpy())
    kernels = torch.stack([kernel, 2 * kernel])
    many = torch.func.vmap(lambda k: make(k)(x))(kernels)
    assert_close(many.numpy(), np.stack([op(x).numpy(), 2 * op(x).numpy()]))
    pairs = torch.func.vmap(lambda k, a: make(k)(a))(kernels, x[:2])
    assert_close(pairs.numpy(), np.stack([op(x[0]).numpy(), 2 * op(x[1]).numpy()]))
    gradient = torch.func.grad(lambda v: op(v).sum())
    assert_close(gradient(x).numpy(), op.T(torch.ones_like(y)).numpy())
    each = torch.func.vmap(torch.func.grad(lambda k, a: make(k)(a).sum()), (None, 0))(kernel, x)
    ones = torch.ones_like(y[0])
    expected = [op.as_function_of_kernel(a).T(ones).numpy() for a in x]
    assert_close(each.numpy(), np.stack(expected))


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("name", ["groups_last", "reflect_first"])
def test_jacobians_and_hessians(name):
    case = next(case for case in TINY if case.name == name)
    make, kernel, x, _ = tensors(case)
    op, rows = make(kernel), int(np.prod(case.output_shape))
    for jacobian in (torch.func.jacrev, torch.func.jacfwd):
        assert_close(jacobian(op)(x).reshape(rows, -1).numpy(), op.matrix())
    hessian = torch.func.hessian(lambda k: (make(k)(x) ** 2).sum() / 2)(kernel)
    design = op.as_function_of_kernel(x).matrix()
    assert_close(hessian.reshape(kernel.numel(), -1).numpy(), design.T @ design)
    assert_close(torch.func.functionalize(op)(x).numpy(), op(x).numpy())
    batched = torch.autograd.functional.jacobian(op, x, vectorize=True)
    assert_close(batched.reshape(rows, -1).numpy(), op.matrix())


@pytest.mark.usefixtures("way")
def test_recorded_by_tracers_as_operations():
    """What records operations finds them: no number is baked in, nothing is left out."""
    from torch.fx.experimental.proxy_tensor import make_fx

    make, kernel, x, _ = tensors(BY_NAME["channels_first"], 2)
    op = make(kernel)
    recorded = make_fx(op)(x)
    assert "convolution" in recorded.code
    assert_close(recorded(2 * x).numpy(), op(2 * x).numpy())
    with torch.autocast("cpu", torch.bfloat16):
        assert op(x.float()).shape == op(x).shape


@pytest.mark.parametrize("name", ["line_circular", "groups_last", "even_pads"])
def test_traced_whole_by_the_compiler(name):
    case = next(case for case in TINY if case.name == name)
    make, kernel, x, y = tensors(case, 2)
    weights = kernel.clone().requires_grad_()
    torch._dynamo.reset()
    op = make(kernel)
    forward = torch.compile(lambda a: op(a), backend="aot_eager", fullgraph=True)
    assert_close(forward(x).numpy(), op(x).numpy())
    layer = make(weights)
    torch.compile(lambda b: layer.T(b).sum(), backend="aot_eager", fullgraph=True)(y).backward()
    expected = op.T.as_function_of_kernel(y).T(torch.ones_like(x))
    assert_close(weights.grad.numpy(), expected.numpy())


@pytest.mark.filterwarnings("ignore")
@pytest.mark.skipif(shutil.which("g++") is None, reason="PyTorch's compiler needs a C++ compiler")
def test_compiled_by_the_default_compiler():
    op = lc.Conv(torch.ones(1, 1, 2), (1, 4), padding=(1,), data_format="channels_first")
    torch._dynamo.reset()
    compiled = torch.compile(lambda a: op(a), fullgraph=True)
    x = torch.arange(4.0).reshape(1, 1, 4)
    assert torch.equal(compiled(x), op(x))

"""Singular values as tensors: against dense decompositions, with derivatives by differences."""

import numpy as np
import pytest

import linconv as lc
from linconv.errors import DTypeError

OPTIONS = {
    "circular": {"padding": "same", "padding_mode": "circular"},
    "circular_strided": {"padding": "same", "padding_mode": "circular", "stride": 2},
    "zeros": {"padding": "same"},
    "reflect": {"padding": 1, "padding_mode": "reflect"},
}


def _kernel(seed):
    return np.random.default_rng(seed).standard_normal((3, 3, 2, 3))


@pytest.mark.parametrize("transposed", [False, True], ids=["conv", "transpose"])
@pytest.mark.parametrize("name", OPTIONS)
def test_values_of_tensors_are_those_of_the_matrix(name, transposed):
    torch = pytest.importorskip("torch", reason="kernels are its tensors")
    kernel = _kernel(len(name))
    op = lc.Conv(torch.tensor(kernel), (6, 6, 2), **OPTIONS[name])
    dense = np.linalg.svd(lc.Conv(kernel, (6, 6, 2), **OPTIONS[name]).matrix(), compute_uv=False)
    op = op.T if transposed else op
    assert isinstance(lc.norm(op), torch.Tensor)
    np.testing.assert_allclose(lc.norm(op).numpy(), dense[0], rtol=1e-12)
    np.testing.assert_allclose(lc.svdvals(op, 5).numpy(), dense[:5], rtol=1e-10)
    np.testing.assert_allclose((2 * lc.norm(-3.0 * op)).numpy(), 6 * dense[0], rtol=1e-12)
    np.testing.assert_allclose(lc.norm(op.T @ op).numpy(), dense[0] ** 2, rtol=1e-12)


@pytest.mark.parametrize("name", OPTIONS)
def test_gradients_of_the_norm_in_torch(name):
    torch = pytest.importorskip("torch", reason="kernels are its tensors")
    kernel = torch.tensor(_kernel(7 + len(name)), requires_grad=True)

    def penalty(k):
        return lc.norm(lc.Conv(k, (4, 4, 2), **OPTIONS[name]))

    assert torch.autograd.gradcheck(penalty, (kernel,))


LARGE = {
    "screened": ((3, 3, 16, 14), (4, 6, 16), {"padding_mode": "circular"}),
    "screened, groups": ((3, 3, 14, 32), (3, 4, 28), {"padding_mode": "circular", "groups": 2}),
    "packets": ((3, 3, 4, 3), (10, 9, 4), {}),
    "packets, groups": ((3, 3, 2, 6), (9, 8, 4), {"groups": 2}),
}


@pytest.mark.parametrize("transposed", [False, True], ids=["conv", "transpose"])
@pytest.mark.parametrize("name", LARGE)
def test_the_norm_of_large_maps_has_the_same_gradient(name, transposed, monkeypatch):
    """What is screened or iterated gives the derivative ``u^T dA v`` of the dense decomposition."""
    torch = pytest.importorskip("torch", reason="kernels are its tensors")
    shape, inputs, options = LARGE[name]
    kernel = np.random.default_rng(3).standard_normal(shape)
    monkeypatch.setattr("linconv.analysis.circular_norm._CHEAP", 0.0)
    monkeypatch.setattr("linconv.analysis.structure._QUICK", 0.0)
    monkeypatch.setattr("linconv.analysis.iterative._SMALL", 0)

    def norm(values):
        op = lc.Conv(values, inputs, padding="same", **options)
        return lc.norm(op.T if transposed else op)

    tensor = torch.tensor(kernel, requires_grad=True)
    (found,) = torch.autograd.grad(norm(tensor), tensor)
    op = lc.Conv(kernel, inputs, padding="same", **options)
    u, values, vh = np.linalg.svd(op.matrix(), full_matrices=False)
    assert float(norm(tensor.detach())) == pytest.approx(values[0], rel=1e-9)
    image = op.as_function_of_kernel(vh[0].reshape(op.input_shape))
    expected = image.T(u[:, 0].reshape(op.output_shape))
    np.testing.assert_allclose(found.numpy(), expected, atol=2e-4 * abs(expected).max())


def test_a_penalty_trains():
    torch = pytest.importorskip("torch", reason="kernels are its tensors")
    kernel = torch.tensor(_kernel(1), requires_grad=True)
    before = None
    for _ in range(30):
        op = lc.Conv(kernel, (8, 8, 2), padding="same", padding_mode="circular")
        loss = (lc.norm(op) - 1) ** 2
        before = before or loss.item()
        (slope,) = torch.autograd.grad(loss, kernel)
        kernel = (kernel - 0.02 * slope).detach().requires_grad_()
    assert loss.item() < 0.1 * before


def test_gradients_of_the_norm_in_jax():
    jax = pytest.importorskip("jax", reason="kernels are its arrays")
    kernel = _kernel(3).astype(np.float32)

    def penalty(k):
        return lc.norm(lc.Conv(k, (4, 4, 2), padding="same", padding_mode="circular"))

    slope = np.asarray(jax.grad(penalty)(jax.numpy.asarray(kernel)))
    step = np.zeros(kernel.shape)
    for index in ((0, 0, 0, 0), (1, 2, 1, 2), (2, 1, 0, 1)):
        step[index] = 1e-6
        high, low = (
            np.linalg.svd(
                lc.Conv(k, (4, 4, 2), padding="same", padding_mode="circular").matrix(),
                compute_uv=False,
            )[0]
            for k in (kernel + step, kernel - step)
        )
        step[index] = 0
        assert slope[index] == pytest.approx((high - low) / 2e-6, rel=1e-3, abs=1e-4)
    with pytest.raises(DTypeError, match="trac"):
        jax.jit(penalty)(jax.numpy.asarray(kernel))


def test_other_questions_want_numpy_kernels():
    torch = pytest.importorskip("torch", reason="kernels are its tensors")
    op = lc.Conv(torch.ones(3), (8,))
    with pytest.raises(DTypeError, match="rank takes maps with NumPy kernels; got a kernel"):
        lc.rank(op)
    with pytest.raises(DTypeError, match="condition takes maps with NumPy kernels"):
        lc.condition(op)


def test_long_bands_of_several_channels_have_a_gradient():
    torch = pytest.importorskip("torch", reason="compares gradients")
    kernel = torch.tensor(np.random.default_rng(4).standard_normal((3, 2, 2)), requires_grad=True)
    norm = lc.norm(lc.Conv(kernel, (700, 2), stride=2))
    (gradient,) = torch.autograd.grad(norm, kernel)
    # A norm is homogeneous: its gradient times the kernel is the norm (Euler).
    values, found = kernel.detach(), norm.item()
    assert (gradient * values).sum().item() == pytest.approx(found, rel=1e-9)
    plain = lc.norm(lc.Conv(values.numpy(), (700, 2), stride=2))
    assert found == pytest.approx(float(plain), rel=1e-9)

"""JAX arrays in, JAX arrays out: the numbers of NumPy, under every transformation of JAX."""

import numpy as np
import pytest

import linconv as lc
from cases import BY_NAME, assert_close
from tiny_layers import TINY

jax = pytest.importorskip("jax", reason="JAX arrays need jax")
jnp = jax.numpy

BY_TINY = pytest.mark.parametrize("case", TINY, ids=lambda case: case.name)
MORE = tuple(BY_NAME[name] for name in ("four_axes", "everything", "single_complex"))
BY_CASE = pytest.mark.parametrize("case", TINY + MORE, ids=lambda case: case.name)


@pytest.fixture(autouse=True, scope="module")
def double_precision():
    """JAX with 64-bit numbers, as it was before once these tests are through."""
    before = jax.config.read("jax_enable_x64")
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", before)


def arrays(case, *batch: int):
    """The layer as a function of its kernel, and its kernel, input and output as JAX arrays."""
    kernel, x, y = map(jnp.asarray, case.arrays(*batch))
    return lambda k: lc.Conv(k, case.input_shape, **case.options), kernel, x, y


@BY_CASE
def test_jax_arrays_give_what_numpy_arrays_give(case):
    """As they are, when the compiled kernels serve them, and traced."""
    kernel, x, y = case.arrays(2)
    op = lc.Conv(kernel, case.input_shape, **case.options)
    same = lc.Conv(jnp.asarray(kernel), case.input_shape, **case.options)
    decimate, correlate, pad = same.factors()
    maps = ((same, op, x), (same.T, op.T, y), (decimate @ correlate @ pad, op, x))
    for ours, known, array in (*maps, (same.H, op.H, y)):
        result = ours(jnp.asarray(array))
        assert isinstance(result, jax.Array)
        assert result.dtype == np.dtype(case.dtype)
        assert_close(result, known(array), case.dtype, repr(ours))
    traced = jax.jit(lambda k, a, b: layer_both(case, k, a, b))(kernel, x, y)
    for result, expected in zip(traced, (op(x), op.T(y), op.T(y)), strict=True):
        assert_close(result, expected, case.dtype)


def layer_both(case, kernel, x, y):
    """A layer, its transpose, and that as an ordinary convolution."""
    op = lc.Conv(kernel, case.input_shape, **case.options)
    return op(x), op.T(y), op.T.as_conv()(y)


@BY_TINY
def test_gradients_are_the_exact_transposes(case):
    make, kernel, x, w = arrays(case, 2)
    op = make(np.asarray(kernel))
    numbers = np.asarray(w)

    @jax.jit
    def gradients(k, a, b):
        layer = make(k)
        _, pullback = jax.vjp(lambda k, a: make(k)(a), k, a)
        mapped = layer.as_function_of_kernel(a)
        return *pullback(b), mapped.T(b), mapped(k)

    of_kernel, of_input, of_map, applied = gradients(kernel, x, w)
    assert_close(of_input, op.T(numbers))
    assert_close(of_kernel, op.as_function_of_kernel(np.asarray(x)).T(numbers))
    assert_close(of_map, np.asarray(of_kernel))
    assert_close(applied, op(np.asarray(x)))


@pytest.mark.parametrize("case", TINY[1:2], ids=lambda case: case.name)
def test_check_grads_of_both_orders_and_modes(case):
    from jax.test_util import check_grads

    make, kernel, x, y = arrays(case)
    check_grads(jax.jit(lambda k, a, b: (make(k)(a), make(k).T(b))), (kernel, x, y), order=2)


@pytest.mark.parametrize("case", TINY[:3], ids=lambda case: case.name)
def test_compiled_and_vectorised(case):
    make, kernel, x, _ = arrays(case, 3)
    expected = np.asarray(make(kernel)(x))
    assert_close(jax.jit(jax.vmap(make(np.asarray(kernel))))(x), expected)
    many = jax.jit(jax.vmap(lambda k: make(k)(x)))(jnp.stack([kernel, 2 * kernel]))
    assert_close(many, np.stack([expected, 2 * expected]))


def test_kernel_stays_what_it_is_and_its_values_serve_numpy():
    kernel = jnp.asarray([[1.0, 2.0], [3.0, 4.0]], jnp.bfloat16)
    op, plain = lc.Conv(kernel, (3, 3)), lc.Conv(np.asarray(kernel, np.float32), (3, 3))
    assert op.kernel is op.T.kernel is kernel
    assert op.dtype == np.float32
    np.testing.assert_array_equal(op.matrix(), plain.matrix())
    result = op(np.eye(3))
    assert isinstance(result, np.ndarray)
    np.testing.assert_array_equal(result, plain(np.eye(3)))


def test_a_traced_kernel_and_a_numpy_array_are_refused_with_the_remedy():
    with pytest.raises(lc.LinconvError, match=r"JAX traces .* convert .* jax\.numpy\.asarray"):
        jax.grad(lambda k: lc.Conv(k, (3,))(np.ones(3)).sum())(jnp.ones(2))


def test_dtype_rule():
    rows = [
        ("float32", "float32", "float32"),
        ("float64", "float32", "float64"),
        ("float32", "complex64", "complex64"),
        ("float16", "float32", "float16"),
        ("bfloat16", "float64", "bfloat16"),
        ("int8", "float32", "float64"),
        ("bool", "float32", "float64"),
    ]
    for given_dtype, kernel_dtype, wanted in rows:
        kernel = np.array([1.0, -2.0], kernel_dtype)
        x = jnp.asarray([1, 0, 1]).astype(given_dtype)
        for own in (kernel, jnp.asarray(kernel)):
            result = lc.Conv(own, (3,))(x)
            assert str(result.dtype) == wanted, given_dtype
            assert result.tolist() == [1, -2], given_dtype
    jax.config.update("jax_enable_x64", False)
    try:
        assert lc.Conv([1.0, -2.0], (3,))(jnp.asarray([1, 0, 1])).dtype == np.float32
    finally:
        jax.config.update("jax_enable_x64", True)


def test_algebra_and_scipys_face_take_jax_arrays():
    make, kernel, x, _ = arrays(BY_NAME["image"])
    op, plain = make(kernel), make(np.asarray(kernel))
    number, numbers = np.float64(2.5), np.asarray(x)
    for map_, known in ((number * op - op, number * plain - plain), (op.T @ op, plain.T @ plain)):
        assert_close(map_(x), known(numbers))
    assert_close(op @ x.reshape(-1), plain @ numbers.reshape(-1))
    assert isinstance(op @ x.reshape(-1), jax.Array)
    assert isinstance(lc.identity(x.shape)(x), jax.Array)

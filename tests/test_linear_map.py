"""Maps obey the laws of matrices, and SciPy's solvers take them as they are."""

import copy
import dataclasses
import pickle

import numpy as np
import pytest
import scipy.sparse.linalg as sla

import linconv as lc
from cases import DTYPES, assert_close, draw
from linconv.errors import DTypeError, ShapeError, SizeError
from linconv.factors import Correlate, Decimate, Pad
from linconv.forms import MatrixMap
from linconv.linear_map import LinearMap

RNG_SEED = 20


def rng() -> np.random.Generator:
    return np.random.default_rng(RNG_SEED)


def conv(size=(5, 4), *, dtype="float64", seed=1, **options) -> LinearMap:
    return lc.Conv(draw(np.random.default_rng(seed), (3, 2), dtype), size, **options)


def maps() -> dict[str, LinearMap]:
    """One map of every kind that there is, all complex where they can be."""
    a = conv(dtype="complex128", padding="same")
    b = conv(dtype="complex128", padding="same", padding_mode="reflect", seed=2)
    return {
        "conv": a,
        "conv_transpose": lc.ConvTranspose(
            draw(rng(), (3, 2, 2, 3), "complex128"), (3, 4, 3), stride=2
        ),
        "transpose": a.T,
        "adjoint": b.H,
        "product": b @ a,
        "product_of_three": a.T @ b @ a,
        "sum": a + b,
        "difference": a - b,
        "scaled": (2 - 3j) * a,
        "scaled_sum_of_products": 2 * (a @ b) - (b @ a) * 1j,
        "negative": -a,
        "identity": lc.identity((5, 4)),
        "matrix": MatrixMap(draw(rng(), (6, 8), "complex128"), (2, 4), (3, 2)),
        "sparse_matrix": MatrixMap(a.sparse(), (5, 4), (5, 4)),
        "pad": Pad((3, 4), ((2, 1), (0, -1)), ("reflect", "zeros")),
        "decimate": Decimate((5, 4), (2, 3)),
        "correlate": Correlate(draw(rng(), (2, 2), "complex128"), (4, 3), dilation=2),
        "of_kernel": a.as_function_of_kernel(draw(rng(), (5, 4), "complex128")),
        "conjugate": a.conj(),
    }


MAPS = maps()
BY_MAP = pytest.mark.parametrize("name", MAPS)


# Every kind of map


@BY_MAP
def test_map_is_its_matrix(name):
    op = MAPS[name]
    matrix = op.matrix()
    x = draw(rng(), (2, 3, *op.input_shape), "complex128")
    y = draw(rng(), (2, 3, *op.output_shape), "complex128")
    rows, columns = op.shape
    assert matrix.shape == (rows, columns)
    assert (rows, columns) == (np.prod(op.output_shape), np.prod(op.input_shape))
    assert_close(op.sparse().toarray(), matrix)
    assert_close(op(x).reshape(6, rows), x.reshape(6, columns) @ matrix.T)
    assert_close(op.T(y).reshape(6, columns), y.reshape(6, rows) @ matrix)
    assert_close(op.H(y).reshape(6, columns), y.reshape(6, rows) @ matrix.conj())
    assert_close(op.conj()(x).reshape(6, rows), x.reshape(6, columns) @ matrix.conj().T)
    assert_close(op.T.matrix(), matrix.T)
    assert_close(op.H.matrix(), matrix.conj().T)
    assert_close(op.conj().matrix(), matrix.conj())


@BY_MAP
def test_vectors_and_columns(name):
    op = MAPS[name]
    matrix = op.matrix()
    v, u = draw(rng(), (op.shape[1],), "complex128"), draw(rng(), (op.shape[0],), "complex128")
    assert_close(op.matvec(v), matrix @ v)
    assert_close(op @ v, matrix @ v)
    assert_close(op.matvec(v[:, None]), (matrix @ v)[:, None])
    assert_close(op.rmatvec(u), matrix.conj().T @ u)
    columns = draw(rng(), (op.shape[1], 3), "complex128")
    rows = draw(rng(), (op.shape[0], 3), "complex128")
    assert_close(op.matmat(columns), matrix @ columns)
    assert_close(op @ columns, matrix @ columns)
    assert_close(op.rmatmat(rows), matrix.conj().T @ rows)
    assert op.matmat(columns[:, :0]).shape == (op.shape[0], 0)


@BY_MAP
def test_transposing_twice_gives_the_map_back(name):
    op = MAPS[name]
    for twice in (op.T.T, op.H.H, op.conj().conj()):
        assert (twice.input_shape, twice.output_shape) == (op.input_shape, op.output_shape)
        assert_close(twice.matrix(), op.matrix())
    for once in (op.T, op.H):
        assert (once.input_shape, once.output_shape) == (op.output_shape, op.input_shape)
        assert once.dtype == op.dtype


@BY_MAP
def test_batch_axes_of_any_number(name):
    op = MAPS[name]
    x = draw(rng(), (4, *op.input_shape), "complex128")
    one_by_one = np.stack([op(image) for image in x])
    assert one_by_one.shape == (4, *op.output_shape)
    assert_close(op(x), one_by_one)
    assert_close(
        op(x.reshape(2, 1, 2, *op.input_shape)), one_by_one.reshape(2, 1, 2, *op.output_shape)
    )
    assert op(x[:0]).shape == (0, *op.output_shape)
    assert op(x.reshape(4, *op.input_shape)[:, None][:0]).shape == (0, 1, *op.output_shape)


@BY_MAP
def test_result_is_new_and_the_argument_untouched(name):
    op = MAPS[name]
    x = draw(rng(), (2, *op.input_shape), "complex128")
    before = x.copy()
    x.flags.writeable = False
    result = op(x)
    assert not np.shares_memory(result, x)
    result[...] = 0  # a result may be written to
    np.testing.assert_array_equal(x, before)
    assert_close(op(x), MAPS[name](before))
    assert np.abs(op(x)).max() > 0


@BY_MAP
def test_changing_a_matrix_changes_no_map(name):
    op = MAPS[name]
    expected = op.matrix().copy()
    op.matrix()[...] = 7
    op.sparse().data[...] = 7
    op.T.sparse().data[...] = 7
    assert_close(op.matrix(), expected)
    assert_close(op.sparse().toarray(), expected)


@BY_MAP
def test_maps_are_frozen(name):
    op = MAPS[name]
    for field in ("input_shape", "dtype", "anything"):
        with pytest.raises(
            dataclasses.FrozenInstanceError, match=f"immutable; cannot set .{field}"
        ):
            setattr(op, field, 1)
    with pytest.raises(dataclasses.FrozenInstanceError, match="immutable; cannot delete .dtype"):
        del op.dtype


@BY_MAP
def test_maps_can_be_copied_and_pickled(name):
    op = MAPS[name]
    for twin in (copy.copy(op), copy.deepcopy(op), pickle.loads(pickle.dumps(op))):
        assert type(twin) is type(op)
        assert_close(twin.matrix(), op.matrix())


@BY_MAP
def test_repr_tells_shapes_and_dtype(name):
    text = repr(MAPS[name])
    assert str(MAPS[name].dtype) in text
    assert str(MAPS[name].input_shape) in text


# Algebra


def test_product_law_of_transposes():
    a, b = conv((5, 4), dtype="complex128"), conv((3, 3), dtype="complex128", seed=2)
    assert_close((b @ a).matrix(), b.matrix() @ a.matrix())
    assert_close((b @ a).T.matrix(), (a.T @ b.T).matrix())
    assert_close((b @ a).T.matrix(), (b.matrix() @ a.matrix()).T)
    assert_close((b @ a).H.matrix(), (a.H @ b.H).matrix())
    assert_close((b @ a).H.matrix(), (b.matrix() @ a.matrix()).conj().T)


def test_laws_of_sums_and_numbers():
    a, b, c = (
        conv(dtype="complex128", padding="same", seed=s, padding_mode=m)
        for s, m in ((1, "zeros"), (2, "circular"), (3, "reflect"))
    )
    A, B, C = a.matrix(), b.matrix(), c.matrix()
    laws = {
        "sum": (a + b, A + B),
        "difference": (a - b, A - B),
        "associative": ((a + b) + c, A + (B + C)),
        "distributive": (c @ (a + b), C @ A + C @ B),
        "associative_product": ((a @ b) @ c, A @ (B @ C)),
        "left": (2.5 * a, 2.5 * A),
        "right": (a * (1 - 2j), A * (1 - 2j)),
        "numpy_number": (np.float32(2) * a, 2 * A),
        "negative": (-a, -A),
        "zero": (0 * a, 0 * A),
        "transpose_of_sum": ((a + b).T, A.T + B.T),
        "adjoint_of_sum": ((a - b).H, (A - B).conj().T),
        "transpose_of_scaled": ((2j * a).T, 2j * A.T),
        "adjoint_of_scaled": ((2j * a).H, -2j * A.conj().T),
        "identity_left": (lc.identity(a.output_shape) @ a, A),
        "identity_right": (a @ lc.identity(a.input_shape), A),
        "identity_transposed": (lc.identity((2, 3)).T, np.eye(6)),
    }
    for law, (made, expected) in laws.items():
        assert_close(made.matrix(), expected, where=law)
        x = draw(rng(), made.input_shape, "complex128")
        assert_close(made(x).ravel(), expected @ x.ravel(), where=law)


@pytest.mark.parametrize("left", DTYPES)
@pytest.mark.parametrize("right", DTYPES)
def test_dtypes_are_promoted_as_in_numpy(left, right):
    a, b = conv(dtype=left, padding="same"), conv(dtype=right, padding="same", seed=2)
    expected = np.result_type(np.dtype(left), np.dtype(right))
    x = draw(rng(), (5, 4), right)
    for made in (a @ b, a + b, a - b):
        assert made.dtype == expected
        assert made.matrix().dtype == made.sparse().dtype == expected
        assert made(x).dtype == expected
    assert a(x).dtype == a.T(x).dtype == a.H(x).dtype == expected
    assert (2 * a).dtype == (-a).dtype == np.dtype(left)
    assert (2.5 * a)(draw(rng(), (5, 4), left)).dtype == np.dtype(left)
    assert (1j * a).dtype == np.result_type(np.dtype(left), np.complex64)
    assert (lc.identity((5, 4)) @ a).dtype == np.dtype(left)
    assert (np.float64(2) * a).dtype == np.result_type(np.dtype(left), np.float64)


def test_identity_keeps_every_array():
    one = lc.identity((2, 3))
    for dtype in (*DTYPES, "float16"):
        x = draw(rng(), (4, 2, 3), dtype)
        np.testing.assert_array_equal(one(x), x)
        assert one(x).dtype == np.dtype(dtype)
    assert lc.identity(3).input_shape == (3,)


# What does not fit


def test_arrays_of_the_wrong_shape_are_refused():
    op = conv((5, 4))
    for shape in ((4, 5), (5,), (), (5, 4, 1), (20,), (0,)):
        with pytest.raises(ShapeError, match=r"\(\*batch, 5, 4\); got .*; reshape it") as caught:
            op(np.ones(shape))
        assert str(shape) in str(caught.value)
    with pytest.raises(ShapeError, match=r"\(\*batch, 3, 3\); got \(5, 4\)"):
        op.T(np.ones((5, 4)))


def test_vectors_of_the_wrong_length_are_refused():
    op = conv((5, 4))
    for shape in ((19,), (5, 4), (20, 2), (1, 20)):
        with pytest.raises(ShapeError, match=r"20 entries.*; got shape .*; flatten") as caught:
            op.matvec(np.ones(shape))
        assert str(shape) in str(caught.value)
    with pytest.raises(ShapeError, match=r"9 entries.*got shape \(20,\).*\(3, 3\)"):
        op.rmatvec(np.ones(20))
    with pytest.raises(ShapeError, match=r"shape \(20, k\); got \(19, 2\).*\(5, 4\) per column"):
        op.matmat(np.ones((19, 2)))
    with pytest.raises(ShapeError, match=r"shape \(9, k\); got \(20, 2\)"):
        op.rmatmat(np.ones((20, 2)))


def test_maps_that_do_not_fit_are_refused():
    a, b = conv((5, 4)), conv((6, 4))
    with pytest.raises(ShapeError, match=r"A @ B.*got \(5, 4\) and \(3, 3\); make them fit"):
        a @ a
    with pytest.raises(ShapeError, match=r"A \+ B.*output_shape; got \(3, 3\) and \(4, 3\)|input"):
        a + b
    with pytest.raises(ShapeError, match=r"input_shape; got \(5, 4\) and \(6, 4\); make them fit"):
        a - b
    words = r"\(2, 4\) -> \(3, 2\) must have shape \(6, 8\); got \(8, 6\); check"
    with pytest.raises(ShapeError, match=words):
        MatrixMap(np.ones((8, 6)), (2, 4), (3, 2))


def test_only_maps_are_added_and_only_numbers_multiplied():
    op = conv((5, 4))
    for wrong in (1, np.ones((5, 4)), "2", None):
        with pytest.raises(TypeError):
            op + wrong
        with pytest.raises(TypeError):
            op - wrong
    with pytest.raises(TypeError):
        [2, 3] * op
    with pytest.raises(TypeError):
        np.ones((3, 3)) * op
    with pytest.raises(DTypeError, match="multiplied by a number; got str; use @"):
        "2" * op
    with pytest.raises(DTypeError, match="multiplied by a number; got Conv; use @"):
        op * op


# SciPy


def test_scipy_takes_a_map_as_a_linear_operator():
    op = conv((6, 5), dtype="complex128", stride=2, padding="same")
    matrix = op.matrix()
    theirs = sla.aslinearoperator(op)
    assert theirs.shape == op.shape
    assert theirs.dtype == op.dtype
    v, u = draw(rng(), (30,), "complex128"), draw(rng(), (op.shape[0],), "complex128")
    assert_close(theirs @ v, matrix @ v)
    assert_close(theirs.H @ u, matrix.conj().T @ u)
    assert_close(theirs.T @ u, matrix.T @ u)
    assert_close(theirs @ np.eye(30), matrix)
    assert_close((theirs.H @ theirs) @ v, matrix.conj().T @ (matrix @ v))


def test_scipy_lsmr_solves_with_a_map():
    op = conv((6, 5), dtype="float64", padding="full")
    x = draw(rng(), op.input_shape, "float64")
    b = op(x).ravel() + draw(rng(), (op.shape[0],), "float64")
    solution = sla.lsmr(op, b, atol=1e-14, btol=1e-14, maxiter=2000)[0]
    np.testing.assert_allclose(
        solution, np.linalg.lstsq(op.matrix(), b, rcond=None)[0], rtol=1e-8, atol=1e-9
    )


def test_scipy_svds_finds_the_singular_values_of_a_map():
    op = conv((6, 5), dtype="float64", padding="same", padding_mode="symmetric")
    dense = np.linalg.svd(op.matrix(), compute_uv=False)
    found = sla.svds(op, k=4, return_singular_vectors=False, random_state=0)
    np.testing.assert_allclose(np.sort(found)[::-1], dense[:4], rtol=1e-9)


def test_scipy_eigs_finds_the_eigenvalues_of_a_map():
    op = conv((6, 5), dtype="float64", padding="same", padding_mode="circular")
    dense = np.linalg.eigvals(op.matrix())
    found = sla.eigs(op, k=3, return_eigenvectors=False, v0=np.ones(30) + np.arange(30) % 7)
    largest = np.sort(np.abs(dense))[::-1][:3]
    np.testing.assert_allclose(np.sort(np.abs(found))[::-1], largest, rtol=1e-8)


def test_scipy_eigsh_takes_the_normal_map():
    op = conv((6, 5), dtype="complex128", padding="same")
    found = sla.eigsh(op.H @ op, k=3, return_eigenvectors=False, v0=np.ones(30, complex))
    dense = np.linalg.svd(op.matrix(), compute_uv=False)
    np.testing.assert_allclose(np.sort(found)[::-1], dense[:3] ** 2, rtol=1e-9)


def test_scipy_gmres_solves_with_a_square_map():
    op = lc.identity((6, 5)) + 0.1 * conv((6, 5), padding="same")
    b = draw(rng(), (30,), "float64")
    solution, failed = sla.gmres(op, b, rtol=1e-12)
    assert not failed
    np.testing.assert_allclose(solution, np.linalg.solve(op.matrix(), b), rtol=1e-9)


def test_kernels_of_derived_maps_cannot_be_written():
    op = lc.Conv(np.ones((3, 3)) + 1j, (6, 6), padding="same")
    image = np.random.default_rng(0).random((6, 6))
    inverse = lc.inverse_kernel(lc.Conv(np.ones((3, 3)), (6, 6), padding="same"), 3, image)
    kernels = [op.kernel, op.H.kernel, op.T.as_conv().conv.kernel, inverse.kernel]
    kernels += [op.factors()[1].kernel, op.as_function_of_kernel(image).fixed]
    for kernel in kernels:
        with pytest.raises(ValueError, match="read-only"):
            kernel[...] = 0


def test_a_product_with_another_kind_names_the_way():
    op = lc.Conv(np.ones(3), (8,), padding="same")
    for other in (op.sparse(), sla.aslinearoperator(op)):
        with pytest.raises(DTypeError, match=r"must be a map .*got .*; use op.sparse\(\) @ A or"):
            op @ other


@pytest.mark.parametrize("op", [lc.identity((100, 100)), lc.Pad((100, 100), 1)], ids=["I", "P"])
def test_small_limits_are_kept_by_every_map(op):
    with pytest.raises(SizeError, match="a sparse matrix .*raise the limit max_bytes"):
        op.sparse(max_bytes=10)

"""The matrix is the reference's, entry by entry, and its sparse form is in canonical order."""

import sys
import time
import tracemalloc

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given

import linconv as lc
from cases import CASES, GRID_SIZES, MODES, Case, assert_close, grid
from linconv.errors import SizeError
from linconv.geometry import Geometry
from linconv.layout import Layout
from linconv.matrix import check_bytes, incidence
from strategies import legal_cases

BY_CASE = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


def check_matrix(case: Case) -> None:
    kernel, _, _ = case.arrays()
    op = lc.Conv(kernel, case.input_shape, **case.options)
    expected = case.expected_matrix(kernel)
    dense, sparse = op.matrix(), op.sparse()
    assert dense.dtype == sparse.dtype == op.dtype == np.dtype(case.dtype)
    assert dense.shape == sparse.shape == op.shape == expected.shape
    assert_close(dense, expected, case.dtype, case.name)
    assert_close(sparse.toarray(), expected, case.dtype, case.name)
    transposed = op.T.matrix()
    assert_close(transposed, expected.T, case.dtype, case.name)
    assert_close(op.T.sparse().toarray(), expected.T, case.dtype, case.name)
    assert_close(op.H.matrix(), expected.conj().T, case.dtype, case.name)
    assert_close(op.H.sparse().toarray(), expected.conj().T, case.dtype, case.name)


@BY_CASE
def test_matrix_equals_the_loops_on_unit_vectors(case):
    check_matrix(case)


@given(legal_cases(max_ndim=2))
def test_matrix_equals_the_loops_on_any_legal_geometry(case):
    check_matrix(case)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("rank", GRID_SIZES)
def test_sparse_matrix_is_canonical_over_the_grid(rank, mode):
    for stride in (1, 2, 3):
        for case in grid(rank, mode, stride, ("float32",)):  # the pattern depends on no dtype
            kernel, _, _ = case.arrays()
            check_canonical(lc.Conv(kernel, case.input_shape, **case.options), case.name)


def check_canonical(op, where: str) -> None:
    matrix = op.sparse()
    assert isinstance(matrix, scipy.sparse.csr_array), where
    assert matrix.indices.dtype == matrix.indptr.dtype == np.int32, where
    rows = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    place = rows * matrix.shape[1] + matrix.indices.astype(np.int64)
    assert (np.diff(place) > 0).all(), f"{where}: columns not sorted, or one stored twice"
    assert matrix.indptr[0] == 0, where
    assert matrix.indptr[-1] == matrix.nnz == len(matrix.data) == len(matrix.indices), where
    if matrix.nnz:
        assert matrix.indices.min() >= 0, where
        assert matrix.indices.max() < matrix.shape[1], where


@BY_CASE
def test_transposed_sparse_matrices_are_canonical_too(case):
    kernel, _, _ = case.arrays()
    op = lc.Conv(kernel, case.input_shape, **case.options)
    check_canonical(op.T, case.name)
    check_canonical(op.H, case.name)


def test_zeros_of_the_kernel_are_stored():
    """The pattern is the geometry's: two kernels of one geometry can be compared entry by entry."""
    full = lc.Conv(np.ones((3, 3)), (5, 5), padding="same").sparse()
    holed = lc.Conv(np.eye(3), (5, 5), padding="same").sparse()
    np.testing.assert_array_equal(full.indices, holed.indices)
    np.testing.assert_array_equal(full.indptr, holed.indptr)
    # 25 windows of 9 taps, less the taps on padded zeros: (3 * 5 - 2) squared are left
    assert full.nnz == (3 * 5 - 2) ** 2


def test_changing_a_matrix_changes_no_other():
    op = lc.Conv(np.ones((2, 2)), (3, 3))
    for make in (op.matrix, op.sparse, op.T.matrix, op.T.sparse):
        first = make()
        before = make() @ np.ones(make().shape[1])
        data = first.data if scipy.sparse.issparse(first) else first
        data[...] = 7
        np.testing.assert_array_equal(make() @ np.ones(make().shape[1]), before)


def test_large_dense_matrix_is_refused_before_memory_is_taken():
    op = lc.Conv(np.ones((3, 3)), (512, 512), padding="same")  # 512 GiB
    tracemalloc.start()
    begin = time.perf_counter()
    with pytest.raises(SizeError, match=r"\(262144, 262144\).* 512 GiB.*sparse\(\)"):
        op.matrix()
    seconds = time.perf_counter() - begin
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2**20
    assert seconds < 1


def test_limit_of_the_dense_matrix_can_be_set():
    op = lc.Conv(np.ones((3, 3)), (20, 20))  # 324 x 400 entries of 8 bytes
    needed = 324 * 400 * 8
    assert op.matrix(max_bytes=needed).shape == (324, 400)
    with pytest.raises(SizeError, match=r"\(324, 400\).*needs.*sparse\(\)"):
        op.matrix(max_bytes=needed - 1)
    with pytest.raises(SizeError, match=r"\(400, 324\).*needs.*sparse\(\)"):
        op.T.matrix(max_bytes=needed - 1)


def test_large_sparse_matrix_is_refused_before_memory_is_taken():
    op = lc.Conv(np.ones((31, 31, 4, 4)), (2048, 2048, 4), padding="same")
    tracemalloc.start()
    with pytest.raises(SizeError, match=r"a sparse matrix .* GiB; .*max_bytes"):
        op.sparse()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2**22


def test_size_error_gives_both_sizes_and_the_remedy():
    check_bytes("a matrix", (3, 4), 2**31, 2**31, "do less")
    words = r"a matrix of shape \(3, 4\) may take at most 2 GiB; it needs 3 GiB; do less"
    with pytest.raises(SizeError, match=words):
        check_bytes("a matrix", (3, 4), 3 * 2**30, 2**31, "do less")


@BY_CASE
def test_incidence_lists_every_product(case):
    kernel, _, _ = case.arrays()
    g = Geometry(case.input_size, case.kernel_size, **case.geometry_options)
    layout = Layout(case.ndim, case.data_format, case.channels is None)
    outputs, inputs, weights = incidence(g, layout)
    summed = scipy.sparse.coo_array(
        (kernel.ravel()[weights], (outputs, inputs)), shape=case.expected_matrix(kernel).shape
    )
    assert_close(summed.toarray(), case.expected_matrix(kernel), case.dtype, case.name)


def test_matrix_of_an_image_is_assembled_without_a_loop_over_it():
    """Function calls are counted, so that the verdict does not hang on the machine."""
    op = lc.Conv(np.ones((3, 3)), (256, 256), padding="same")
    op.sparse()
    calls = []
    earlier = sys.getprofile()
    sys.setprofile(lambda frame, event, argument: calls.append(event))
    try:
        op.sparse()
    finally:
        sys.setprofile(earlier)
    assert len(calls) < 5000

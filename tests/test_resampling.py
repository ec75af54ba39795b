"""Resize, Diagonal, DepthToSpace, SpaceToDepth: against their definitions as loops, and PyTorch."""

import re
from fractions import Fraction
from itertools import product
from math import floor

import numpy as np
import pytest

from linconv import DepthToSpace, Diagonal, LinconvError, Resize, SpaceToDepth
from linconv.errors import DTypeError, GeometryError, ShapeError, SizeError
from linconv.testing import assert_same_map, dot_test

SIZES = [(1, 4), (2, 4), (3, 7), (5, 3), (6, 6), (4, 1), (2, 6), (7, 20)]
WAYS = list(product(("nearest", "linear"), ("half_pixel", "align_corners", "asymmetric")))


def position(o: int, size: int, out: int, coordinates: str, step: Fraction | None) -> Fraction:
    """Where an output sample stands on the input's axis, exactly."""
    step = Fraction(size, out) if step is None else step
    if coordinates == "half_pixel":
        return (o + Fraction(1, 2)) * step - Fraction(1, 2)
    if coordinates == "align_corners":
        return Fraction(o * (size - 1), max(1, out - 1))
    return o * step


def axis_by_loops(
    size: int, out: int, method: str, coordinates: str, step: Fraction | None = None
) -> np.ndarray:
    """The matrix of one axis in exact fractions, one row after the other."""
    matrix = np.zeros((out, size))
    for o in range(out):
        where = position(o, size, out, coordinates, step)
        if method == "nearest":
            half = 0 if coordinates == "asymmetric" else Fraction(1, 2)
            matrix[o, min(max(floor(where + half), 0), size - 1)] = 1
            continue
        where = min(max(where, Fraction(0)), Fraction(size - 1))
        before = floor(where)
        matrix[o, before] += float(1 - (where - before))
        if where > before:
            matrix[o, before + 1] += float(where - before)
    return matrix


@pytest.mark.parametrize(("method", "coordinates"), WAYS, ids="-".join)
@pytest.mark.parametrize(("size", "out"), SIZES)
def test_resize_is_what_its_definition_says(size, out, method, coordinates):
    expected = axis_by_loops(size, out, method, coordinates)
    op = Resize((size,), (out,), method, coordinates=coordinates)
    rng = np.random.default_rng(size * 100 + out)
    x, y = rng.standard_normal((2, size)), rng.standard_normal((3, out))
    np.testing.assert_allclose(op(x), x @ expected.T, atol=1e-14)
    np.testing.assert_allclose(op.T(y), y @ expected, atol=1e-14)
    np.testing.assert_allclose(op.matrix(), expected, atol=1e-7)
    np.testing.assert_allclose(op.axis_matrix(0), expected, atol=1e-14)


@pytest.mark.parametrize("method", ["nearest", "linear"])
@pytest.mark.parametrize(
    "shape", [((3, 4), (5, 2)), ((2, 3, 4), (2, 5, 8)), ((2, 1, 3), (4, 3, 3))]
)
def test_resize_of_several_axes_is_the_kronecker_product(shape, method):
    given, wanted = shape
    coordinates = "asymmetric" if method == "nearest" else "half_pixel"
    op = Resize(given, wanted, method)
    expected = np.eye(1)
    for n, o in zip(given, wanted, strict=True):
        expected = np.kron(expected, axis_by_loops(n, o, method, coordinates))
    np.testing.assert_allclose(op.matrix(), expected, atol=1e-7)
    x = np.random.default_rng(1).standard_normal((2, 3, *given))
    np.testing.assert_allclose(op(x).reshape(6, -1), x.reshape(6, -1) @ expected.T, atol=1e-14)
    dot_test(op, rtol=1e-12)


@pytest.mark.parametrize("method", ["nearest", "linear"])
@pytest.mark.parametrize("step", [Fraction(10, 13), Fraction(5, 3), Fraction(1, 3), Fraction(1)])
def test_a_scale_of_its_own_moves_the_samples(step, method):
    coordinates = "half_pixel"
    op = Resize((5,), (6,), method, coordinates=coordinates, scale=(float(step),))
    expected = axis_by_loops(5, 6, method, coordinates, step)
    np.testing.assert_allclose(op.axis_matrix(0), expected, atol=1e-13)


def test_whole_ratios_are_exact_where_floating_point_is_not():
    assert np.floor(np.float32(41) * np.float32(1 / 41)) == 0  # so would a product in float32 say
    op = Resize((2,), (82,), "nearest")
    np.testing.assert_array_equal(op([0.0, 1.0]), np.repeat([0.0, 1.0], 41))


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64", "complex128", "float16"])
def test_resampling_keeps_the_dtype(dtype):
    x = np.ones((3, 4, 4), dtype)
    assert Resize((4, 4), (8, 3), "linear")(x).dtype == dtype
    assert Diagonal((4, 4), np.full((4, 4), 1 / 3))(x).dtype == dtype
    assert DepthToSpace((4, 4), (2,))(x).dtype == dtype
    assert SpaceToDepth((4, 4), (2,))(x).dtype == dtype


@pytest.mark.parametrize("mode", ["nearest", "nearest-exact", "linear"])
@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_resize_agrees_with_torch(ndim, mode):
    torch = pytest.importorskip("torch", reason="agreement with PyTorch needs torch")
    rng = np.random.default_rng(ndim)
    size, names = (4, 3, 5)[:ndim], {1: "linear", 2: "bilinear", 3: "trilinear"}
    for out, align in product([(8, 6, 10), (5, 7, 4), (2, 1, 9)], (False, True)):
        if align and mode != "linear":
            continue
        options = {"align_corners": align} if mode == "linear" else {}
        x = rng.standard_normal((1, 2, *size)).astype(np.float32)
        theirs = torch.nn.functional.interpolate(
            torch.from_numpy(x),
            size=out[:ndim],
            mode=names[ndim] if mode == "linear" else mode,
            **options,
        )
        coordinates = {"nearest": "asymmetric"}.get(mode, "half_pixel")
        op = Resize(
            (2, *size),
            (2, *out[:ndim]),
            "linear" if mode == "linear" else "nearest",
            coordinates="align_corners" if align else coordinates,
        )
        np.testing.assert_allclose(op(x), theirs.numpy(), atol=1e-5)


def shuffle_by_loops(x: np.ndarray, block: tuple[int, ...], order: str) -> np.ndarray:
    """Depth to space of (channels, *size), sample by sample."""
    channels, size = len(x) // int(np.prod(block)), x.shape[1:]
    result = np.zeros((channels, *(n * b for n, b in zip(size, block, strict=True))))
    for c, pixel in product(range(channels), np.ndindex(size)):
        for number, place in enumerate(np.ndindex(block)):
            source = c * int(np.prod(block)) + number
            if order == "DCR":
                source = number * channels + c
            where = tuple(p * b + i for p, b, i in zip(pixel, block, place, strict=True))
            result[(c, *where)] = x[(source, *pixel)]
    return result


@pytest.mark.parametrize("order", ["CRD", "DCR"])
@pytest.mark.parametrize("data_format", ["channels_first", "channels_last"])
@pytest.mark.parametrize("block", [(2,), (3, 2), (2, 1, 2), (1, 1)], ids=str)
def test_shuffles_move_every_sample_where_their_definition_says(block, data_format, order):
    size = (3, 2, 2)[: len(block)]
    channels = 3 * int(np.prod(block))
    x = np.random.default_rng(3).standard_normal((channels, *size))
    expected = shuffle_by_loops(x, block, order)
    last = data_format == "channels_last"
    if last:
        x, expected = np.moveaxis(x, 0, -1), np.moveaxis(expected, 0, -1)
    up = DepthToSpace(x.shape, block, data_format=data_format, order=order)
    down = SpaceToDepth(expected.shape, block, data_format=data_format, order=order)
    np.testing.assert_array_equal(up(x), expected)
    np.testing.assert_array_equal(down(expected), x)
    np.testing.assert_array_equal(up.matrix() @ x.ravel(), expected.ravel())
    np.testing.assert_array_equal(down.matrix(), up.matrix().T)
    assert_same_map(up.T, down)
    assert_same_map(down.T, up)
    dot_test(up)
    assert data_format in repr(up)
    assert order in repr(up.T)


def test_shuffles_agree_with_torch():
    torch = pytest.importorskip("torch", reason="agreement with PyTorch needs torch")
    x = np.random.default_rng(0).standard_normal((2, 12, 3, 4))
    theirs = torch.nn.functional.pixel_shuffle(torch.from_numpy(x), 2).numpy()
    np.testing.assert_array_equal(DepthToSpace((12, 3, 4), 2)(x), theirs)
    np.testing.assert_array_equal(SpaceToDepth((3, 6, 8), 2)(theirs), x)


@pytest.mark.parametrize("order", ["CRD", "DCR"])
def test_shuffles_agree_with_onnx(order):
    onnx = pytest.importorskip("onnx", reason="agreement with ONNX needs onnx")
    from onnx.reference import ReferenceEvaluator

    x = np.random.default_rng(0).standard_normal((2, 12, 3, 4)).astype(np.float32)
    node = onnx.helper.make_node("DepthToSpace", ["x"], ["y"], blocksize=2, mode=order)
    theirs = ReferenceEvaluator(node).run(None, {"x": x})[0]
    np.testing.assert_array_equal(DepthToSpace((12, 3, 4), 2, order=order)(x), theirs)


def test_diagonal_weighs_every_sample():
    rng = np.random.default_rng(0)
    weights, x = rng.standard_normal((3, 1)), rng.standard_normal((2, 3, 4))
    op = Diagonal((3, 4), weights)
    np.testing.assert_array_equal(op(x), x * weights)
    np.testing.assert_allclose(
        op.matrix(), np.diag((weights + np.zeros((3, 4))).ravel()), atol=1e-7
    )
    assert op.T is op
    dot_test(op)
    assert not op.weights.flags.writeable


@pytest.mark.parametrize(
    ("make", "kind", "message"),
    [
        (lambda: Resize((2, 3), (4,)), ShapeError, "must have as many axes; got (2, 3), (4,)"),
        (lambda: Resize((2,), (4,), "cubic"), GeometryError, "method must be one of the known"),
        (
            lambda: Resize((2,), (4,), coordinates="half"),
            GeometryError,
            "did you mean 'half_pixel'?",
        ),
        (lambda: Resize((2,), (4,), scale=(0.0,)), GeometryError, "got 0.0 at axis 0"),
        (lambda: Resize((2,), (4,), scale=(np.nan,)), GeometryError, "scale must be a positive"),
        (lambda: DepthToSpace((6, 2, 2), 2), ShapeError, "got 4 samples, block (2, 2), and 6"),
        (lambda: DepthToSpace((4,), 2), ShapeError, "must have a channel axis and at least one"),
        (lambda: DepthToSpace((4, 2), 2, order="RCD"), GeometryError, "order must be one of"),
        (lambda: SpaceToDepth((1, 4, 5), 2), ShapeError, "got block 2 and size 5 at axis 1"),
        (
            lambda: Diagonal((3,), [1.0, 2.0]),
            ShapeError,
            "weights must broadcast to",
        ),
        (lambda: Diagonal((2,), [1j, 2.0]), DTypeError, "weights must be real"),
        (lambda: Diagonal((2,), [np.inf, 2.0]), LinconvError, "weights must be finite"),
        (
            lambda: Resize((99, 99), (9, 9), "linear").sparse(max_bytes=10),
            SizeError,
            "a sparse matrix of shape (81, 9801)",
        ),
        (lambda: Diagonal((9, 9), 1.0).sparse(max_bytes=10), SizeError, "a sparse matrix"),
        (lambda: DepthToSpace((4, 9), 2).sparse(max_bytes=10), SizeError, "a sparse matrix"),
    ],
)
def test_what_does_not_fit_is_refused(make, kind, message):
    with pytest.raises(kind, match=re.escape(message)):
        make()

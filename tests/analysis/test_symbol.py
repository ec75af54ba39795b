"""The block-diagonal form of periodic maps: exact, unitary, recognised wherever it exists."""

from itertools import product
from math import prod

import numpy as np
import pytest

import linconv as lc
from cases import BY_NAME, Case
from linconv.analysis.symbol import circulant, circulant_blocks
from linconv.analysis.waves import kernel_symbol, plane_waves, tap_positions
from linconv.errors import DTypeError, SizeError
from linconv.linear_map import Conjugate

CHANNELS = {
    "bare": (1, None),
    "dense": (1, (2, 3)),
    "groups": (2, (4, 6)),
    "depthwise": (3, (3, 3)),
}
SIZES = {1: ((12,), (3,)), 2: ((6, 12), (2, 4)), 3: ((2, 6, 4), (1, 3, 2))}


def periodic_cases():
    """Every rank, stride, dilation, origin, kind of channels, layout and number field."""
    for rank, stride, dilation, channels in product((1, 2, 3), (1, 2, 3), (1, 2), CHANNELS):
        size, taps = SIZES[rank]
        strides = tuple(s if n % s == 0 else 1 for n, s in zip(size, (stride,) * rank, strict=True))
        groups, pair = CHANNELS[channels]
        for shift, dtype, data_format in (
            (0, "float64", "channels_last"),
            (3, "complex128", "channels_first"),
            (-2, "float32", "channels_last"),
        ):
            reach = [(k - 1) * dilation + 1 for k in taps]
            pads = tuple(
                (shift, n - s + k - n - shift) for n, s, k in zip(size, strides, reach, strict=True)
            )
            yield Case(
                f"{rank}d-stride{stride}-dilation{dilation}-{channels}-shift{shift}-{dtype}",
                size,
                taps,
                strides,
                pads,
                "circular",
                dilation,
                groups,
                pair,
                data_format,
                dtype,
            )


PERIODIC = {case.name: case for case in periodic_cases()}


@pytest.fixture
def rng():
    return np.random.default_rng(5)


def conv(case):
    kernel, x, y = case.arrays()
    return lc.Conv(kernel, case.input_shape, **case.options), x, y


def whole_matrix(op, *, half):
    """F_outᴴ · blockdiag(B) · F_in as a dense matrix, one unit vector at a time."""
    form = circulant_blocks(op, half=half)
    units = np.eye(op.shape[1]).reshape(-1, *op.input_shape)
    back = form.codomain.from_frequency(form.apply(form.domain.to_frequency(units)))
    return back.reshape(op.shape[1], -1).T


@pytest.mark.parametrize("name", PERIODIC)
def test_blocks_between_the_two_bases_are_the_matrix(name):
    op, _, _ = conv(PERIODIC[name])
    dense = op.matrix()
    for half in (False,) if op.dtype.kind == "c" else (False, True):
        np.testing.assert_allclose(whole_matrix(op, half=half), dense, atol=1e-12 * op.shape[0])
        transposed = whole_matrix(op.T, half=half)
        np.testing.assert_allclose(transposed, dense.T, atol=1e-12 * op.shape[0])


@pytest.mark.parametrize("name", PERIODIC)
def test_bases_are_unitary(name):
    op, x, y = conv(PERIODIC[name])
    form = circulant_blocks(op)
    x, y = (np.asarray(a, np.result_type(a, np.float64)) for a in (x, y))
    for side, array in ((form.domain, x), (form.codomain, y)):
        found = side.to_frequency(array)
        weights = side.multiplicity[:, None, None]
        np.testing.assert_allclose((np.abs(found) ** 2 * weights).sum(), (abs(array) ** 2).sum())
        np.testing.assert_allclose(side.from_frequency(found), array, atol=1e-12)
        assert side.multiplicity.sum() == side.grid[-1]


def test_adjoint_blocks_apply_the_adjoint(rng):
    kernel = rng.standard_normal((3, 3, 2, 4)) + 1j * rng.standard_normal((3, 3, 2, 4))
    op = lc.Conv(kernel, (6, 4, 2), padding="same", padding_mode="circular", stride=(2, 1))
    form = circulant_blocks(op)
    y = rng.standard_normal(op.output_shape)
    back = form.domain.from_frequency(form.apply_adjoint(form.codomain.to_frequency(y)))
    np.testing.assert_allclose(back, op.H(y), atol=1e-12)


def algebra():
    rng = np.random.default_rng(11)
    options = {"padding": "same", "padding_mode": "circular"}
    one = lc.Conv(rng.standard_normal((3, 2, 2, 4)), (12, 6, 2), stride=(2, 1), **options)
    two = lc.Conv(rng.standard_normal((2, 3, 4, 6)), (6, 6, 4), stride=(3, 2), **options)
    grouped = lc.Conv(rng.standard_normal((2, 3, 2, 6)), (6, 6, 4), groups=2, **options)
    deep = lc.Conv(rng.standard_normal((3, 3, 1, 4)), (6, 6, 4), groups=4, **options)
    wavy = lc.Conv(1j * rng.standard_normal((3, 3, 4, 4)), (6, 6, 4), **options)
    square = lc.Conv(rng.standard_normal((3, 3, 4, 4)), (6, 6, 4), **options)
    return {
        "strides one after another": two @ one,
        "there and back": one.T @ one,
        "back and there": one @ one.T,
        "two strides there and back": (two @ one).T @ (two @ one),
        "groups after all channels": grouped @ one,
        "groups after groups": grouped @ deep,
        "groups there and back": grouped.T @ grouped,
        "sum of unlike groups": deep + square,
        "shifted by the identity": one.T @ one + 0.5 * lc.identity((12, 6, 2)),
        "difference": square - deep @ square,
        "complex multiple": (2 - 1j) * square + wavy,
        "adjoint of complex": (wavy @ one).H,
        "transpose of complex": (wavy @ one).T,
        "decimated": lc.Decimate((6, 6, 4), (2, 3, 1)) @ square,
        "dilated": square @ lc.Decimate((6, 6, 4), (3, 2, 1)).T,
        "the identity": lc.identity((4, 3, 2)),
        "decimation alone": lc.Decimate((4, 6), 2),
    }


@pytest.mark.parametrize("name", algebra())
def test_algebra_of_periodic_maps_has_blocks(name):
    op = algebra()[name]
    dense = op.matrix().astype(complex)
    for half in (False,) if op.dtype.kind == "c" else (False, True):
        np.testing.assert_allclose(whole_matrix(op, half=half), dense, atol=1e-11)


def test_windows_that_do_not_overlap_are_periodic_without_padding(rng):
    patches = lc.Conv(rng.standard_normal((4, 3, 3, 5)), (8, 9, 3), stride=(4, 3))
    np.testing.assert_allclose(whole_matrix(patches, half=True), patches.matrix(), atol=1e-12)
    pointwise = lc.Conv(rng.standard_normal((1, 1, 3, 5)), (8, 9, 3), padding="same")
    np.testing.assert_allclose(whole_matrix(pointwise, half=True), pointwise.matrix(), atol=1e-12)


def test_cropped_circles_are_periodic(rng):
    op = lc.Conv(rng.standard_normal(3), (7,), padding=((-2, 4),), padding_mode="circular")
    np.testing.assert_allclose(whole_matrix(op, half=True), op.matrix(), atol=1e-12)
    wide = lc.Conv(rng.standard_normal(9), (4,), padding=((5, 3),), padding_mode="circular")
    np.testing.assert_allclose(whole_matrix(wide, half=True), wide.matrix(), atol=1e-12)


@pytest.mark.parametrize(
    "op",
    [
        lc.Conv(np.ones(3), (9,), padding="same"),
        lc.Conv(np.ones(3), (9,), padding_mode="circular"),
        lc.Conv(np.ones(3), (9,), padding="same", padding_mode="circular", stride=2),
        lc.Conv(np.ones(3), (9,), padding="same", padding_mode="reflect"),
        lc.Conv(np.ones((3, 3)), (9, 9), padding="same", padding_mode=("circular", "zeros")),
        lc.Conv(np.ones(3), (9,), padding=4, padding_mode="circular"),
        lc.Decimate((9,), 2),
        lc.Pad((9,), 1, "circular"),
        lc.Conv(np.ones((1, 1, 2, 2)), (4, 6, 2)) @ lc.Conv(np.ones((1, 1, 1)), (4, 6, 2)),
        Conjugate(lc.Conv(np.ones(1), (4,))),
        lc.Conv(np.ones((1, 1)), (4, 6)) @ lc.Pad((4, 6), 0),
        lc.Decimate((4, 6, 2), 2) @ lc.Conv(np.ones((1, 1, 2, 2)), (4, 6, 2)),
        lc.Decimate((4, 6), 2) @ lc.identity((4, 6)) @ lc.Decimate((4, 12), (1, 2)),
    ],
    ids=lambda op: repr(op)[:50],
)
def test_blocks_are_found_only_where_the_matrix_has_them(op):
    form = circulant(op)
    if form is None:
        assert circulant_blocks(op) is None
    else:
        np.testing.assert_allclose(whole_matrix(op, half=True), op.matrix(), atol=1e-12)


def test_zero_padding_has_no_blocks():
    for name in ("same_odd", "full", "reflect", "replicate", "symmetric", "mode_each_axis"):
        case = BY_NAME[name]
        op, _, _ = conv(case)
        assert circulant(op) is None


def test_blocks_come_in_stretches(rng):
    op = lc.Conv(
        rng.standard_normal((3, 3, 2, 4)), (8, 10, 4), groups=2, padding="same",
        padding_mode="circular", stride=2,
    )  # fmt: skip
    form = circulant(op)
    stretches = [form.blocks(slice(first, first + 3)) for first in range(0, 4, 3)]
    np.testing.assert_array_equal(np.concatenate(stretches), circulant_blocks(op).blocks)
    assert form.count == prod(stretches[0].shape[1:3]) * 4
    assert form.block_shape == stretches[0].shape[-2:]


@pytest.mark.parametrize("name", [*algebra(), "strided"])
def test_blocks_at_chosen_frequencies(name, rng):
    kernel = rng.standard_normal((3, 2, 4, 4))
    strided = lc.Conv(
        kernel, (8, 6, 4), stride=(4, 3), padding=((2, -2), (5, -5)), padding_mode="circular"
    )
    form = circulant({**algebra(), "strided": strided}[name], half=False)
    points = np.stack([rng.integers(0, n, 5) for n in form.domain.grid], axis=1)
    np.testing.assert_allclose(form.blocks_at(points), form.blocks()[tuple(points.T)], atol=1e-12)


@pytest.mark.parametrize("name", algebra())
def test_degree_of_the_blocks_gram(name):
    form = circulant(algebra()[name], half=False)
    values = np.array(
        [
            np.linalg.svd(form.blocks_at(p[None], (64,) * len(p)), compute_uv=False)
            for p in _fine(form, 64)
        ]
    )
    traces = (values**2).sum(axis=-1).sum(axis=-1).reshape(64, -1)
    spectrum = abs(np.fft.fft(traces[:, 0]))
    degree = form.degrees[0]
    assert spectrum[degree + 1 : 64 - degree].max() < 1e-10 * spectrum.max()


def _fine(form, n):
    """Points along the first axis of a fine grid, the other axes at zero."""
    for index in range(n):
        yield np.array([index] + [0] * (len(form.domain.grid) - 1))


def test_symbol_of_a_long_kernel_is_its_transform(rng):
    kernel = rng.standard_normal((1, 1, 37))
    waves = plane_waves(np.arange(64), 64, tap_positions(37, 1, 0))
    expected = np.fft.fft(kernel[0, 0], 64).conj()
    np.testing.assert_allclose(kernel_symbol(kernel, [waves])[:, 0, 0], expected, atol=1e-12)


def test_plane_waves_are_exact_far_out():
    far = plane_waves(np.array([10**9 + 1]), 10**9, np.array([10**9 + 3]))
    near = plane_waves(np.array([1]), 10**9, np.array([3]))
    np.testing.assert_array_equal(far, near)


def test_half_of_the_frequencies_refuses_complex_arrays():
    form = circulant_blocks(lc.Conv(np.ones(3), (8,), padding="same", padding_mode="circular"))
    with pytest.raises(DTypeError, match="real arrays only; got complex128; take the two parts"):
        form.domain.to_frequency(np.ones(8, complex))


def test_blocks_that_would_not_fit_are_refused():
    op = lc.Conv(np.ones((3, 3)), (64, 64), padding="same", padding_mode="circular")
    with pytest.raises(SizeError, match=r"at most 3\.725e-06 GiB; they need 3\.147e-05 GiB; take"):
        circulant_blocks(op, max_bytes=4000)

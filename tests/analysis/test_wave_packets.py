"""The largest singular triplet of large maps: wave packets, and the iteration that they help."""

import numpy as np
import pytest

import linconv as lc
from linconv.analysis import iterative, wave_packets
from linconv.analysis.davidson import largest_triplet
from linconv.analysis.iterative import beginning, estimated_norm, estimated_values
from linconv.analysis.stretches import combined
from linconv.analysis.wave_packets import WavePackets, _top_vectors, packets_around


def conv(rng, kernel, shape, **options):
    values = rng.standard_normal(kernel)
    if options.pop("complex", False):
        values = values + 1j * rng.standard_normal(kernel)
    return lc.Conv(values, shape, **options)


MAPS = {
    "line": lambda r: conv(r, (5,), (90,), padding="same"),
    "line strided": lambda r: conv(r, (5, 2, 3), (61, 2), stride=3, padding=2),
    "image": lambda r: conv(r, (3, 3), (17, 15), padding="same"),
    "channels": lambda r: conv(r, (3, 3, 4, 5), (9, 8, 4), padding="same"),
    "channels first": lambda r: conv(
        r, (5, 4, 3, 3), (4, 9, 8), padding="same", data_format="channels_first"
    ),
    "groups": lambda r: conv(r, (3, 3, 2, 6), (9, 10, 4), groups=2, padding="same"),
    "strided": lambda r: conv(r, (4, 3, 2, 5), (12, 13, 2), stride=(2, 3), padding="same"),
    "dilated": lambda r: conv(r, (3, 3), (16, 15), dilation=2, padding="same"),
    "volume": lambda r: conv(r, (3, 2, 3), (7, 6, 8), padding="same"),
    "complex": lambda r: conv(r, (3, 3, 2, 2), (11, 10, 2), padding="same", complex=True),
    "reflect": lambda r: conv(r, (3, 3), (14, 13), padding="same", padding_mode="reflect"),
    "one tap": lambda r: conv(r, (1, 1, 5, 4), (8, 7, 5)),
    "blur": lambda _: lc.Conv(np.ones((3, 3)), (20, 20), padding="same"),
    "symmetric": lambda _: lc.Conv(np.array([1.0, -4, 6, -4, 1]), (120,), padding="same"),
}


@pytest.fixture
def rng():
    return np.random.default_rng(11)


@pytest.fixture
def no_map_is_small(monkeypatch):
    monkeypatch.setattr(iterative, "_SMALL", 0)


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("name", MAPS)
def test_norm_is_that_of_the_matrix(name, transposed, rng, no_map_is_small):
    op = MAPS[name](rng)
    op = op.T if transposed else op
    expected = np.linalg.svd(op.matrix(), compute_uv=False)[0]
    found, upper = estimated_norm(op)
    assert found.residual <= 1e-6
    assert found.value == pytest.approx(expected, rel=1e-9)
    assert found.value <= expected * (1 + 1e-13)
    assert expected <= upper
    back = op.H.matvec(found.left)
    measured = np.linalg.norm(back - found.value * found.right) / found.value
    assert measured == pytest.approx(found.residual, abs=1e-13)
    np.testing.assert_allclose(
        op.matvec(found.right), found.value * found.left, atol=1e-12 * expected
    )


@pytest.mark.parametrize("name", ["channels", "strided", "complex", "groups"])
def test_several_values_start_from_packets(name, rng, no_map_is_small):
    for op in (MAPS[name](rng), MAPS[name](rng).T):
        expected = np.linalg.svd(op.matrix(), compute_uv=False)[:3]
        np.testing.assert_allclose(estimated_values(op, 3, "largest")[0], expected, rtol=1e-9)


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64", "complex128"])
@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
def test_residuals_are_of_double_precision_at_any_scale(dtype, scale, rng, no_map_is_small):
    kernel = rng.standard_normal((3, 3, 4, 4))
    unit = lc.Conv(kernel.astype(dtype), (9, 8, 4), padding="same")
    op = lc.Conv((scale * kernel).astype(dtype), (9, 8, 4), padding="same")
    expected = scale * np.linalg.svd(unit.matrix().astype(complex), compute_uv=False)[0]
    found, _ = estimated_norm(op)
    assert found.right.dtype == np.result_type(dtype, np.float64)
    assert found.value == pytest.approx(expected, rel=1e-6)
    assert found.residual <= 1e-6


def test_tighter_than_single_precision(rng, no_map_is_small):
    op = MAPS["channels"](rng)
    found, _ = estimated_norm(op, rtol=1e-12)
    assert found.residual <= 1e-12


def test_packets_that_do_not_fit_are_given_up(rng, no_map_is_small):
    """A preconditioner of another frequency costs a few steps, and no accuracy."""
    op = conv(rng, (3, 3, 4, 4), (24, 24, 4), padding="same")
    begin = beginning(op)
    limits = {"rtol": 1e-6, "most": 2000, "single": begin.single}
    plain = largest_triplet(op, begin.start, **limits)
    wrong = packets_around(lc.Conv(op.kernel[::-1], op.input_shape, padding="same"), ((0.9, 2.0),))
    hindered = largest_triplet(op, begin.start, precondition=wrong.precondition, **limits)
    assert hindered.value == pytest.approx(plain.value, rel=1e-9)
    assert hindered.residual <= 1e-6
    assert hindered.applications <= 2 * plain.applications + 40


def test_nothing_has_no_norm(no_map_is_small):
    op = lc.Conv(np.zeros((3, 3)), (6, 5))
    found, _ = estimated_norm(op)
    assert (found.value, found.residual) == (0.0, 0.0)


@pytest.mark.parametrize("name", ["line strided", "groups", "channels first", "volume", "complex"])
def test_preconditioner_is_symmetric_and_positive(name, rng):
    op = MAPS[name](rng)
    packets = packets_around(op, ((0.3,) * op.geometry.ndim, (2.0,) * op.geometry.ndim))
    columns = np.eye(op.shape[1], dtype=np.result_type(op.dtype, np.float64))
    matrix = np.stack([packets.precondition(column) for column in columns])
    np.testing.assert_allclose(matrix, matrix.conj().T, atol=1e-5 * abs(matrix).max())
    assert np.linalg.eigvalsh(matrix).min() > 0.99
    assert np.linalg.eigvalsh(matrix).max() > 2


@pytest.mark.parametrize(
    ("kernel", "shape", "options"),
    [
        ((3, 3, 8, 8), (40, 40, 8), {}),
        ((5,), (3000,), {}),
        ((3, 3), (80, 80), {}),
    ],
)
def test_packets_save_most_applications(kernel, shape, options, rng):
    op = conv(rng, kernel, shape, padding="same", **options)
    begin = beginning(op)
    limits = {"rtol": 1e-6, "most": 2000, "single": begin.single}
    helped = largest_triplet(op, begin.start, precondition=begin.precondition, **limits)
    noise = rng.standard_normal(shape)
    plain = largest_triplet(op, noise, **limits)
    assert helped.residual <= 1e-6
    assert helped.value == pytest.approx(plain.value, rel=1e-7)
    assert 2 * helped.applications < plain.applications


def two_peaks(second, angle=1.0):
    """Return a kernel whose symbol peaks at 1 and, `second` times as high, two radians further."""
    taps = np.arange(-12, 13)
    window = np.hanning(27)[1:-1] / 13
    return 2 * window * (np.cos(angle * taps) + second * np.cos((angle + 1) * taps))


def packets_of(kernel):
    return beginning(lc.Conv(kernel, (4000,), padding="same")).precondition.__self__


def test_peaks_nearly_as_high_have_packets_of_their_own():
    assert len(packets_of(two_peaks(0.995)).peaks) == 2
    assert len(packets_of(two_peaks(0.9)).peaks) == 1


def test_packets_of_all_high_peaks_save_applications():
    kernel = np.random.default_rng(0).standard_normal((64, 64, 3, 3)).astype(np.float32)
    op = lc.Conv(kernel, (64, 32, 32), padding="same", data_format="channels_first")
    begin = beginning(op)
    limits = {"rtol": 1e-6, "most": 2000, "single": begin.single}
    both = largest_triplet(op, begin.start, precondition=begin.precondition, **limits)
    packets = begin.precondition.__self__
    one = WavePackets(op, packets.peaks[:1])
    alone = largest_triplet(op, begin.start, precondition=one.precondition, **limits)
    assert len(packets.peaks) == 2
    assert both.residual <= 1e-6
    assert both.value == pytest.approx(alone.value, rel=1e-7)
    assert both.applications < 0.8 * alone.applications


def test_a_mirrored_frequency_is_the_same_peak():
    op = lc.Conv(two_peaks(0.9), (4000,), padding="same")
    assert len(packets_around(op, ((1.0,), (-1.0,), (1.001,))).peaks) == 1
    turned = lc.Conv(two_peaks(0.9) * np.exp(0.0j), (4000,), padding="same")
    assert len(packets_around(turned, ((1.0,), (-1.0,))).peaks) == 2


@pytest.mark.parametrize("shape", [(3, 6, 6), (4, 5, 40), (2, 40, 5), (2, 140, 150)])
@pytest.mark.parametrize("kind", ["real", "complex"])
def test_top_vectors_are_those_of_the_decomposition(shape, kind, rng):
    blocks = rng.standard_normal(shape) + (1j * rng.standard_normal(shape) if kind != "real" else 0)
    expected = np.linalg.svd(blocks, full_matrices=False)[2][:, 0].conj()
    found = _top_vectors(blocks)
    assert found.shape == (shape[0], shape[2])
    np.testing.assert_allclose(abs((found.conj() * expected).sum(axis=-1)), 1, rtol=1e-12)


def test_strided_maps_of_many_channels_take_the_smaller_products(rng, monkeypatch):
    """Their blocks are wide: a Gram matrix of the columns would cost most of the time."""
    sizes = []

    def noted(coefficients, rows):
        sizes.append(coefficients.shape[-1])
        return combined(coefficients, rows)

    monkeypatch.setattr(wave_packets, "combined", noted)
    op = conv(rng, (3, 3, 24, 6), (12, 12, 24), stride=2, padding=1)
    packets_around(op, ((0.5, 1.0),))
    assert max(sizes[1:]) == 6


@pytest.mark.parametrize("scale", [1e-200, 1e-165, 1e165, 1e200])
def test_kernels_whose_squares_are_no_numbers(scale, rng, no_map_is_small):
    kernel = rng.standard_normal((3, 3, 4, 4))
    unit, _ = estimated_norm(lc.Conv(kernel, (12, 12, 4), padding=1))
    found, _ = estimated_norm(lc.Conv(scale * kernel, (12, 12, 4), padding=1))
    assert found.value == pytest.approx(scale * unit.value, rel=1e-9)
    assert found.applications <= unit.applications + 8

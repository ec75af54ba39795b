"""Artifacts in data: errors per phase, energy at the stride's frequencies, PSNR and SSIM."""

import math
import sys
from itertools import product

import numpy as np
import pytest
from skimage.metrics import structural_similarity

from linconv.analysis.artifact_map import artifact_map
from linconv.errors import (
    DTypeError,
    GeometryError,
    LinconvError,
    MissingPackageError,
    ShapeError,
)

CASES = [
    pytest.param((3, 21, 2), 3, id="line"),
    pytest.param((2, 12, 14, 1), 2, id="image"),
    pytest.param((4, 13, 11, 3), (3, 2), id="leftover"),
    pytest.param((2, 9, 8, 2), (1, 4), id="one_axis"),
    pytest.param((2, 8, 6, 9, 1), (2, 2, 3), id="volume"),
]


def pictures(shape: tuple[int, ...], seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng([seed, *shape])
    return rng.random(shape), rng.random(shape)


def strides(stride: int | tuple[int, ...], ndim: int) -> tuple[int, ...]:
    return (stride,) * ndim if isinstance(stride, int) else stride


@pytest.mark.parametrize(("shape", "stride"), CASES)
def test_errors_per_phase_are_those_of_the_loops(shape, stride):
    images, rebuilt = pictures(shape)
    steps = strides(stride, len(shape) - 2)
    found = artifact_map(images, rebuilt, stride)
    sums, counts, error_map = np.zeros(steps), np.zeros(steps), np.zeros(shape[1:-1])
    for index in np.ndindex(shape):
        place = index[1:-1]
        phase = tuple(i % s for i, s in zip(place, steps, strict=True))
        square = (rebuilt[index] - images[index]) ** 2
        sums[phase] += square
        counts[phase] += 1
        error_map[place] += square / (shape[0] * shape[-1])
    expected = sums / counts
    assert found.phase_mse.shape == steps
    np.testing.assert_allclose(found.phase_mse, expected, rtol=1e-12)
    np.testing.assert_allclose(found.error_map, error_map, rtol=1e-12)
    assert found.mse == pytest.approx(sums.sum() / counts.sum(), rel=1e-12)
    deviation = max(abs(e - expected.mean()) for e in expected.ravel())
    assert found.phase_imbalance == pytest.approx(deviation / expected.mean(), rel=1e-9)
    assert found.psnr == pytest.approx(-10 * math.log10(found.mse), rel=1e-12)


@pytest.mark.parametrize(("shape", "stride"), CASES)
def test_energy_is_that_of_the_explicit_transform(shape, stride):
    """Every frequency by its own sum of complex exponentials, no fast transform."""
    images, rebuilt = pictures(shape)
    steps = strides(stride, len(shape) - 2)
    size = [n - n % s for n, s in zip(shape[1:-1], steps, strict=True)]
    error = (rebuilt - images)[(slice(None), *(slice(n) for n in size))]
    places = np.indices(size).reshape(len(size), -1)
    flat = np.moveaxis(error, -1, 0).reshape(-1, places.shape[1])

    def energy(bins: tuple[int, ...]) -> float:
        angles = 2 * np.pi * (np.array(bins) / size) @ places
        return float(np.sum(np.abs(flat @ np.exp(-1j * angles)) ** 2))

    peaks, around = {}, {}
    for index in product(*map(range, steps)):
        if any(index):
            centre = [j * n // s for j, n, s in zip(index, size, steps, strict=True)]
            reaches = [
                min(2, n // s - 1) if j else 0 for j, n, s in zip(index, size, steps, strict=True)
            ]
            near = [
                energy(tuple(c + d for c, d in zip(centre, offset, strict=True)))
                for offset in product(*(range(-r, r + 1) for r in reaches))
                if any(offset)
            ]
            peaks[index], around[index] = energy(tuple(centre)), sum(near) / len(near)
    found = artifact_map(images, rebuilt, stride)
    assert found.energy_ratio == pytest.approx(sum(peaks.values()) / sum(around.values()), rel=1e-8)
    for axis, ratio in enumerate(found.axis_energy_ratios):
        alone = [i for i in peaks if all(j == 0 for a, j in enumerate(i) if a != axis)]
        if steps[axis] == 1:
            assert math.isnan(ratio)
        else:
            expected = sum(peaks[i] for i in alone) / sum(around[i] for i in alone)
            assert ratio == pytest.approx(expected, rel=1e-8)


@pytest.mark.parametrize("stride", [2, 3, 4])
def test_white_noise_knows_nothing_of_the_stride(stride):
    rng = np.random.default_rng(stride)
    images = rng.random((400, 24, 24, 1))
    found = artifact_map(images, images + rng.normal(0, 0.1, images.shape), stride)
    assert found.energy_ratio == pytest.approx(1, abs=0.1)
    assert found.axis_energy_ratios == pytest.approx((1, 1), abs=0.2)
    assert found.phase_imbalance < 0.05


def test_smooth_errors_know_nothing_of_the_stride():
    """A ramp and a blur: much energy along the axes of the spectrum, none of it of the stride."""
    rng = np.random.default_rng(9)
    rows, columns = np.mgrid[:32, :32] / 32
    slopes = rng.normal(0, 0.1, (2, 200, 1, 1, 1))
    images = rng.random((200, 32, 32, 1))
    smooth = slopes[0] * rows[..., None] + slopes[1] * columns[..., None] ** 2
    found = artifact_map(images, images + smooth, 2)
    assert found.energy_ratio < 1.1
    assert max(found.axis_energy_ratios) < 1.1


@pytest.mark.parametrize(
    ("planted", "high"),
    [("rows", (True, False)), ("columns", (False, True)), ("board", (False, False))],
)
def test_a_planted_artifact_is_found(planted, high):
    rng = np.random.default_rng(11)
    images = rng.random((20, 24, 24, 2))
    noise = rng.normal(0, 0.02, images.shape)
    row, column = (-1.0) ** np.arange(24)[:, None, None], (-1.0) ** np.arange(24)[:, None]
    pattern = {"rows": row, "columns": column, "board": row * column}[planted]
    found = artifact_map(images, images + 0.02 * pattern + noise, 2)
    assert found.energy_ratio > 50
    for ratio, is_high in zip(found.axis_energy_ratios, high, strict=True):
        assert ratio > 50 if is_high else ratio == pytest.approx(1, abs=0.5)
    assert artifact_map(images, images + noise, 2).energy_ratio < 1.5


def test_an_artifact_of_another_stride_is_not_taken_for_one():
    """Period 3 has no energy at the frequencies of stride 2, nor the other way round."""
    images = np.random.default_rng(12).random((30, 24, 1))
    noise = np.random.default_rng(13).normal(0, 0.01, images.shape)
    thirds = 0.05 * (np.arange(24) % 3 == 0)[:, None]
    assert artifact_map(images, images + thirds + noise, 3).energy_ratio > 50
    assert artifact_map(images, images + thirds + noise, 2).energy_ratio < 2


def test_one_phase_with_all_the_error():
    images = np.random.default_rng(14).random((2, 8, 8, 1))
    rebuilt = images.copy()
    rebuilt[:, 1::2, ::2] += 0.5
    found = artifact_map(images, rebuilt, 2)
    np.testing.assert_allclose(found.phase_mse, [[0, 0], [0.25, 0]], atol=1e-15)
    assert found.phase_imbalance == pytest.approx(3)


def test_an_artifact_and_nothing_else():
    images = np.zeros((1, 8, 1))
    found = artifact_map(images, images + (-1.0) ** np.arange(8)[:, None], 2)
    assert found.energy_ratio == math.inf
    assert found.to_dict()["energy_ratio"] is None
    assert found.to_dict()["axis_energy_ratios"] == [None]


def test_perfect_reconstructions():
    images = np.random.default_rng(15).random((2, 8, 9, 3))
    found = artifact_map(images, images, (2, 1))
    assert found.psnr == math.inf
    assert found.energy_ratio == found.axis_energy_ratios[0] == 1
    assert found.to_dict() == {
        "mse": 0.0,
        "phase_mse": [[0.0], [0.0]],
        "phase_imbalance": 0.0,
        "energy_ratio": 1.0,
        "axis_energy_ratios": [1.0, None],
        "psnr": None,
        "ssim": pytest.approx(1),
    }


@pytest.mark.parametrize(
    ("shape", "window"),
    [((3, 16, 9, 1), 7), ((2, 10, 5, 3), 5), ((2, 4, 6, 1), 3), ((2, 12, 2), 7)],
)
def test_similarity_is_the_mean_of_scikit_images(shape, window):
    images, rebuilt = pictures(shape, seed=1)
    options = {"win_size": window, "data_range": 1.0}
    expected = np.mean(
        [
            structural_similarity(images[i, ..., c], rebuilt[i, ..., c], **options)
            for i in range(shape[0])
            for c in range(shape[-1])
        ]
    )
    assert artifact_map(images, rebuilt, 2).ssim == pytest.approx(expected, rel=1e-9)


def test_similarity_of_tiny_images_is_not_defined():
    images, rebuilt = pictures((3, 8, 1, 1))
    found = artifact_map(images, rebuilt, (2, 1))
    assert found.phase_mse.shape == (2, 1)
    assert math.isnan(found.ssim)
    assert found.to_dict()["ssim"] is None


def test_other_ranges_and_dtypes_give_the_same_figures():
    rng = np.random.default_rng(16)
    images, rebuilt = rng.integers(0, 256, (2, 2, 12, 12, 1)).astype(np.uint8)
    whole = artifact_map(images, rebuilt, 2, data_range=255)
    scaled = artifact_map(images / 255, rebuilt / 255, 2)
    assert whole.mse == pytest.approx(255**2 * scaled.mse)
    for name in ("psnr", "ssim", "energy_ratio", "phase_imbalance"):
        assert getattr(whole, name) == pytest.approx(getattr(scaled, name), rel=1e-9)


def test_the_arrays_given_are_left_alone():
    images, rebuilt = pictures((2, 8, 8, 1))
    for array in (images, rebuilt):
        array.flags.writeable = False
    found = artifact_map(images[:, ::-1], rebuilt[:, ::-1], 2)
    np.testing.assert_allclose(found.phase_mse, artifact_map(images, rebuilt, 2).phase_mse[::-1])


FINE = np.zeros((2, 8, 8, 1))
BROKEN = FINE.copy()
BROKEN[0, 1, 2, 0] = np.nan
BROKEN[1, 1, 2, 0] = np.inf


@pytest.mark.parametrize(
    ("images", "rebuilt", "stride", "error", "match"),
    [
        (FINE, FINE[:, :7], 2, ShapeError, r"got \(2, 8, 8, 1\) and \(2, 7, 8, 1\); crop"),
        (FINE[0, 0], FINE[0, 0], 2, ShapeError, r"images must have shape .*got \(8, 1\); add"),
        (
            FINE,
            FINE[:0],
            2,
            ShapeError,
            r"reconstructions must .*hold a sample; got \(0, 8, 8, 1\)",
        ),
        (FINE, 1j * FINE, 2, DTypeError, r"reconstructions must be real; got complex128"),
        (BROKEN, FINE, 2, LinconvError, r"images must be finite; got 2 NaN or .* of 128; remove"),
        (FINE, FINE, 1, GeometryError, r"stride above 1 .*got \(1, 1\); use the stride of the dec"),
        (FINE, FINE, (2, 5), GeometryError, r"size 8 for stride 5 at axis 1; use images of 10 sa"),
        (FINE, FINE, 0, GeometryError, r"stride must be at least 1; got 0"),
        (FINE, FINE, (2, 2, 2), GeometryError, r"one per spatial axis; got 3 values"),
    ],
)
def test_data_that_cannot_be_compared_is_refused(images, rebuilt, stride, error, match):
    with pytest.raises(error, match=match):
        artifact_map(images, rebuilt, stride)


@pytest.mark.parametrize("data_range", [0, -1.0, np.nan, np.inf])
def test_ranges_that_are_none_are_refused(data_range):
    with pytest.raises(LinconvError, match=rf"data_range must .*got {data_range}; use 1.0 for"):
        artifact_map(FINE, FINE, 2, data_range=data_range)


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "skimage.metrics", None)
    with pytest.raises(
        MissingPackageError, match=r"\(SSIM\) needs the package scikit-image.*study"
    ):
        artifact_map(FINE, FINE, 2)

"""The study's inverses: the singular values of the course's matrix, and a blurred photograph."""

import json
import re

import numpy as np
import pytest
import scipy.linalg
import scipy.ndimage

from linconv.study import course_spectrum, photograph_restored
from linconv.study.course_spectrum import error_by_size, exact_inverse, spectrum
from linconv.study.figures import draw, png
from linconv.study.images import Image
from linconv.study.kernels import KERNELS
from linconv.study.photograph_maps import PhotographMaps
from linconv.study.photograph_restored import blur_of, restored
from linconv.study.published import IMAGE, KERNEL, SPECTRUM
from linconv.study.values import plain


def padded_matrix(n, wrap=False):
    """Return the matrix of the course's kernel, padded, written entry by entry."""
    matrix = np.zeros((n * n, n * n))
    for row in range(n):
        for column in range(n):
            for i in range(3):
                for j in range(3):
                    y, x = row + i - 1, column + j - 1
                    if wrap or (0 <= y < n and 0 <= x < n):
                        matrix[row * n + column, y % n * n + x % n] += KERNEL[i, j]
    return matrix


@pytest.fixture(scope="module")
def by_size():
    return error_by_size()


def test_the_reference_figures_are_those_of_the_matrix():
    values = scipy.linalg.svdvals(padded_matrix(4))
    assert np.linalg.matrix_rank(padded_matrix(4)) == SPECTRUM.rank
    assert float(f"{values[0] / values[-1]:.6g}") == SPECTRUM.condition
    assert float(f"{values[0]:.6g}") == SPECTRUM.largest
    assert float(f"{values[-1]:.6g}") == SPECTRUM.smallest


def test_the_spectrum_meets_the_reference_figures():
    part = spectrum()
    assert [v.verdict for v in part.verdicts] == ["agrees"] * 4
    found = part.section.numbers["singular_values"]
    np.testing.assert_allclose(found, scipy.linalg.svdvals(padded_matrix(4)), rtol=1e-11)
    (curve,) = part.section.pictures[0].rows
    np.testing.assert_array_equal(curve.series["singular value"], found)
    assert "563.1 times" in part.section.paragraphs[1]


def test_another_kernel_does_not_meet_them(monkeypatch):
    monkeypatch.setattr(course_spectrum, "KERNEL", KERNEL + np.eye(3))
    assert [v.met for v in spectrum().verdicts] == [True, False, False, False]


def test_the_course_is_undone_exactly():
    part = exact_inverse()
    assert part.verdicts[0].met
    before, output, after = (panel.values for panel in part.section.pictures[0].rows[0])
    np.testing.assert_array_equal(before, IMAGE)
    np.testing.assert_allclose(output.ravel(), padded_matrix(4) @ IMAGE.ravel(), rtol=1e-14)
    np.testing.assert_allclose(after, IMAGE, atol=1e-11)


@pytest.mark.parametrize(("wrap", "name"), [(True, "border wraps around"), (False, "zeros")])
def test_the_error_by_size_is_the_frobenius_optimum(by_size, wrap, name):
    n, size = course_spectrum.SIDE, 3
    matrix = padded_matrix(n, wrap)
    shifts = []  # what each weight of an inverse kernel makes of the matrix: least squares by hand
    for i in range(size):
        for j in range(size):
            one = np.zeros((n * n, n * n))
            for row in range(n):
                for column in range(n):
                    y, x = row + i - 1, column + j - 1
                    if wrap or (0 <= y < n and 0 <= x < n):
                        one[y % n * n + x % n, row * n + column] = 1
            shifts.append((one @ matrix).ravel())
    basis = np.array(shifts).T
    weights, *_ = np.linalg.lstsq(basis, np.eye(n * n).ravel(), rcond=None)
    wanted = np.sum((basis @ weights - np.eye(n * n).ravel()) ** 2) / n**2
    (curve,) = by_size.section.pictures[0].rows
    series = next(values for key, values in curve.series.items() if key.startswith(name))
    assert np.isnan(series[:2]).all()
    assert series[2] == pytest.approx(wanted, rel=1e-9)


def test_the_error_falls_to_the_exact_inverse(by_size):
    assert by_size.verdicts[0].met
    numbers = by_size.section.numbers
    assert len(by_size.section.tables[0].rows) == 3 + 2 * 10 + 1
    wrapped = numbers["12x12, border wraps around"]
    assert wrapped.exact_from == 12
    odd = wrapped.mse[::2]
    assert list(odd) == sorted(odd, reverse=True)
    assert numbers["12x12, zeros outside"].exact_from is None
    assert re.search("rounding at 12 × 12, and with zeros outside", by_size.section.paragraphs[2])


# The photograph


def maps(pixels, seed=0):
    return PhotographMaps(
        Image("sample", pixels, pixels.shape, "test", ""), KERNELS["box3"], "", seed
    )


@pytest.fixture(scope="module")
def natural():
    """Return random pixels whose power falls as that of photographs, with 1 / f^2."""
    shape = (48, 40)
    frequency = np.hypot(np.fft.fftfreq(shape[0])[:, None], np.fft.fftfreq(shape[1]))
    frequency[0, 0] = np.inf
    noise = np.fft.fft2(np.random.default_rng(3).standard_normal(shape))
    pixels = np.fft.ifft2(noise / frequency).real
    return (pixels - pixels.min()) / np.ptp(pixels)


@pytest.fixture(scope="module")
def part(natural):
    return restored(maps(natural, seed=5))


def test_the_blur_is_scipys(natural):
    wanted = scipy.ndimage.gaussian_filter(
        natural, photograph_restored.SIGMA, mode="reflect", radius=photograph_restored.REACH
    )
    np.testing.assert_allclose(blur_of(natural.shape)(natural), wanted, atol=1e-14)


def test_ratios_are_those_of_the_pictures_shown(part, natural):
    ratios = part.section.numbers["psnr"]
    above, below = part.section.pictures[0].rows
    np.testing.assert_array_equal(above[0].values, natural)
    for panel in (*above[1:], *below):
        name, shown = panel.title.split("\n")
        wanted = -10 * np.log10(np.mean((panel.values - natural) ** 2))
        assert ratios[name] == pytest.approx(wanted, rel=1e-9)
        assert shown.replace("−", "-") == f"{wanted:.1f} dB"


def test_noise_is_what_an_exact_inverse_cannot_take(part, natural):
    ratios = part.section.numbers["psnr"]
    assert all(verdict.met for verdict in part.verdicts)
    assert ratios["solved, no noise"] > 100
    assert ratios["solved, with noise"] < 0
    assert ratios["Wiener"] > max(ratios["ridge"], ratios["blurred, with noise"])
    noise = part.section.pictures[0].rows[1][0].values - blur_of(natural.shape)(natural)
    assert np.std(noise) == pytest.approx(photograph_restored.NOISE, rel=0.1)


@pytest.mark.parametrize("shape", [(3, 3), (4, 17)])
@pytest.mark.parametrize("level", [0.0, 1.0, None])
def test_small_and_constant_pictures_give_strict_results(shape, level):
    pixels = np.random.default_rng(1).random(shape) if level is None else np.full(shape, level)
    part = restored(maps(pixels))
    assert all(verdict.met for verdict in part.verdicts)
    json.dumps(plain(part.section), allow_nan=False)


def test_all_pictures_can_be_drawn(part, by_size):
    pytest.importorskip("matplotlib", reason="pictures need Matplotlib")
    for each in (part, by_size, spectrum(), exact_inverse()):
        for picture in each.section.pictures:
            assert png(draw(picture)).startswith(b"\x89PNG")

"""The study's experiments: every published figure met, on the course's image and on photographs."""

import json

import numpy as np
import pytest
import scipy.signal

import linconv as lc
from linconv.errors import GeometryError, InputError
from linconv.study import photograph, study
from linconv.study.by_hand import (
    convolve_pixel_by_pixel,
    convolve_tap_by_tap,
    transpose_pixel_by_pixel,
    transpose_tap_by_tap,
)
from linconv.study.course import course_steps
from linconv.study.course_figures import CourseFigures
from linconv.study.images import Image
from linconv.study.inverse_filter import SIZES
from linconv.study.kernels import KERNELS
from linconv.study.photograph import photograph_steps
from linconv.study.photograph_maps import PhotographMaps
from linconv.study.presenting import best_multiple, duration, psnr
from linconv.study.published import IMAGE, KERNEL, PUBLISHED
from linconv.study.report import to_json
from linconv.study.results import StudyResults
from linconv.study.values import plain, shown
from linconv.study.verdicts import Verdict
from linconv.study.whole import _max_side

# The published constants


def test_constants_are_the_published_ones(course):
    np.testing.assert_array_equal(IMAGE, course["image"])
    np.testing.assert_array_equal(KERNEL, course["kernel"])
    assert PUBLISHED.exact
    for name, values in PUBLISHED.exact.items():
        np.testing.assert_array_equal(values, course[name], err_msg=name)
    trained = course["inverse_filter"]
    np.testing.assert_array_equal(PUBLISHED.trained_kernel, trained["trained_kernel"])
    np.testing.assert_array_equal(
        PUBLISHED.trained_reconstruction, trained["trained_reconstruction"]
    )
    assert PUBLISHED.trained_mse == trained["trained_mse"]
    assert PUBLISHED.optimum_mse == trained["exact_optimum_mse"]
    assert PUBLISHED.optimum_bias == trained["exact_optimum_bias"]


# By hand


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_by_hand_agrees_with_scipy(stride):
    rng = np.random.default_rng(5)
    image, kernel = rng.standard_normal((9, 11)), rng.standard_normal((3, 2))
    wanted = scipy.signal.correlate2d(image, kernel, "valid")[::stride, ::stride]
    np.testing.assert_allclose(convolve_pixel_by_pixel(image, kernel, stride), wanted, rtol=1e-13)
    np.testing.assert_allclose(convolve_tap_by_tap(image, kernel, stride), wanted, rtol=1e-13)


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_transposes_by_hand_agree_with_scipy(stride):
    rng = np.random.default_rng(6)
    y, kernel = rng.standard_normal((4, 5)), rng.standard_normal((3, 2))
    dilated = np.zeros((3 * stride + 1, 4 * stride + 1))
    dilated[::stride, ::stride] = y
    wanted = scipy.signal.convolve2d(dilated, kernel, "full")
    np.testing.assert_allclose(transpose_pixel_by_pixel(y, kernel, stride), wanted, atol=1e-14)
    found = transpose_tap_by_tap(y, kernel, wanted.shape, stride)
    np.testing.assert_allclose(found, wanted, atol=1e-14)
    larger = transpose_tap_by_tap(y, kernel, (20, 20), stride)
    np.testing.assert_array_equal(larger[: wanted.shape[0], : wanted.shape[1]], found)
    assert np.count_nonzero(larger) == np.count_nonzero(found)


# The course


@pytest.fixture(scope="module")
def course_parts():
    return [step() for _, step in course_steps()]


def test_every_exact_figure_is_met_in_both_precisions(course):
    figures = CourseFigures()
    assert set(figures.found) == set(PUBLISHED.exact)
    for name, values in figures.found.items():
        assert values.dtype == np.float64
        np.testing.assert_array_equal(values, course[name], err_msg=name)
    for name, values in figures.found32.items():
        assert values.dtype == np.float32
        np.testing.assert_allclose(values, course[name], rtol=1e-6, err_msg=name)


def test_every_verdict_of_the_course(course_parts, course):
    verdicts = {v.name: v for part in course_parts for v in part.verdicts}
    outcomes = [v.verdict for v in verdicts.values()]
    assert outcomes.count("better") == 1
    assert outcomes.count("agrees") == 20
    assert outcomes.count("no published value") == 4
    assert len(outcomes) == 25
    best = verdicts["best 3 × 3 beats trained"]
    assert best.verdict == "better"
    assert float(best.published) == course["inverse_filter"]["trained_mse"]
    assert float(best.ours) == pytest.approx(1.2638404, abs=1e-7)


def test_sections_show_every_step(course_parts):
    sections = [part.section for part in course_parts]
    assert len(sections) == 11
    assert [len(section.pictures) for section in sections] == [1, 1, 1, 1, 1, 1, 2, 1, 1, 1, 0]
    assert all(section.paragraphs for section in sections)
    assert (
        "4·10 + 5·(−4) + 8·10 + 1·10 + 8·0 + 8·30 + 3·30 + 6·30 + 6·(−1) = 614"
        in (sections[0].paragraphs[0])
    )
    forms = sections[-1].numbers["transposed convolution, stride 2"]
    assert {row.name for row in forms.rows} >= {"direct", "matrix", "dilated", "polyphase"}


def test_inverse_filter_shows_kernels_and_reconstructions(course_parts):
    section = course_parts[6].section
    kernels, rebuilt = section.pictures
    assert [p.values.shape for p in kernels.rows[0]] == [(3, 3), (3, 3), (5, 5), (7, 7)]
    np.testing.assert_array_equal(kernels.rows[0][0].values, 1e3 * PUBLISHED.trained_kernel)
    errors = [np.mean((panel.values - IMAGE) ** 2) for panel in rebuilt.rows[0]]
    assert errors[0] == 0
    assert errors[1] == pytest.approx(1.64755, abs=5e-6)
    assert errors[2] == pytest.approx(1.26384, abs=5e-6)
    assert max(errors[3:]) < 1e-20
    assert section.numbers["trained"]["bias"] == pytest.approx(2.003535, abs=1e-6)
    assert "know this image by heart" in section.paragraphs[-1]


# Photographs


def picture(pixels):
    return Image("sample", pixels, pixels.shape, "a test", "")


@pytest.mark.parametrize("kernel", ["course", "laplacian", "motion7", "sobel_x"])
def test_photographs_agree_in_every_form(kernel):
    pixels = np.random.default_rng(8).random((23, 30))
    steps = photograph_steps(picture(pixels), KERNELS[kernel], kernel, 0)
    parts = [step() for _, step in steps]
    verdicts = [v for part in parts for v in part.verdicts]
    assert [v.name for v in verdicts if not v.met] == []
    assert sum(v.source == "rounding" for v in verdicts) == 4
    ratios = [float(v.ours) for v in verdicts if v.name.endswith("dB")]
    assert len(ratios) == len(SIZES)
    assert ratios == sorted(ratios), "a larger kernel cannot be worse"
    comparison = parts[-1].section.numbers["transposed convolution"]
    assert max(row.relative for row in comparison.rows) < 1e-12


def test_psnr_is_that_of_the_reconstruction():
    pixels = np.random.default_rng(9).random((20, 24))
    steps = photograph_steps(picture(pixels), KERNELS["box3"], "box3", 0)
    section = steps[4][1]().section
    rebuilt = section.pictures[1].rows[0][1].values
    wanted = -10 * np.log10(np.mean((rebuilt - pixels) ** 2))
    assert section.numbers["5x5"]["psnr"] == pytest.approx(wanted, rel=1e-9)


def test_the_corner_of_the_matrix_is_the_matrixs():
    pixels = np.random.default_rng(10).random((9, 40))
    kernel = KERNELS["course"]
    section = photograph_steps(picture(pixels), kernel, "course", 0)[1][1]().section
    panel = section.pictures[0].rows[0][1]
    dense = lc.Conv(kernel, pixels.shape).matrix()
    wanted = np.hstack([dense[:20, start : start + 22] for start in (0, 40, 80)])
    gaps = panel.inserted.any(axis=0)
    np.testing.assert_array_equal(panel.values[:, ~gaps], wanted)
    assert list(panel.columns_at.values()) == ["0", "40", "80"]
    assert section.numbers["stored_entries"] == 7 * 38 * 9


@pytest.mark.parametrize("level", [0.0, 0.5])
def test_a_constant_picture_gives_strict_results(level):
    pixels = np.full((12, 12), level)
    steps = photograph_steps(picture(pixels), KERNELS["laplacian"], "laplacian", 0)
    parts = [step() for _, step in steps]
    assert all(v.met for part in parts for v in part.verdicts)
    json.dumps([plain(part.section) for part in parts], allow_nan=False)
    json.dumps([plain(v) for part in parts for v in part.verdicts], allow_nan=False)


def test_a_kernel_larger_than_the_picture_is_refused():
    with pytest.raises(InputError, match="image must be at least 7 x 7 pixels.* sample has 5 x 5"):
        photograph_steps(picture(np.zeros((5, 5))), KERNELS["motion7"], "motion7", 0)


def test_large_kernels_get_smaller_pictures():
    assert _max_side((3, 3), 9) == 512
    side = _max_side((63, 63), 63 * 63)
    assert (side - 62) ** 2 * 63 * 63 <= 7_000_000
    assert side > 63


# The whole


@pytest.fixture
def sample(folder):
    file = folder / "a picture.npy"
    np.save(file, np.random.default_rng(12).random((16, 18)))
    return file


@pytest.mark.parametrize(("side", "left_out"), [(8, False), (512, True)])
def test_the_matrix_is_said_to_be_left_out_only_where_it_is(side, left_out):
    pixels = np.random.default_rng(4).random((side, side))
    maps = PhotographMaps(Image("noise", pixels, pixels.shape, "test", ""), KERNEL, "a kernel", 0)
    section = photograph.forms(maps).section
    assert ("would not fit" in section.paragraphs[0]) is left_out
    assert ("matrix" in section.numbers["convolution"].skipped) is left_out


def test_study_returns_everything_and_writes_nothing(sample, folder):
    shares = []
    results = study(
        sample,
        "box3",
        models="none",
        progress=lambda share, what: shares.append((share, what)),
    )
    assert isinstance(results, StudyResults)
    assert results.passed
    assert results.headline() == "All 15 published figures are met."
    assert [path.name for path in folder.iterdir()] == ["a picture.npy"]
    assert [share for share, _ in shares] == sorted(share for share, _ in shares)
    assert len(shares) == len(results.sections) == 18
    assert results.settings["command"] == (
        f"linconv study --image '{sample}' --kernel box3 --seed 0 --models none"
    )
    assert results.versions["linconv"] == lc.__version__


def test_the_same_study_gives_the_same_numbers(sample):
    first, second = (json.loads(to_json(study(sample, seed=3, models="none"))) for _ in range(2))
    assert first["verdicts"] == second["verdicts"]
    for one, other in zip(first["sections"], second["sections"], strict=True):
        if one["title"] != "All forms, compared":
            assert one == other


def test_bad_input_is_refused_before_any_step(sample, folder):
    called = []
    with pytest.raises(InputError, match="did you mean 'gaussian5'"):
        study(sample, "gausian5", progress=lambda *_: called.append(1))
    with pytest.raises(InputError, match="does not exist"):
        study(folder / "none.png", progress=lambda *_: called.append(1))
    with pytest.raises(GeometryError, match="seed must be at least 0; got -1"):
        study(sample, seed=-1)
    assert called == []


# Verdicts and values


def test_exact_verdicts_need_both_precisions_and_the_shape():
    wanted = [[1.0, 2.0]]

    def outcome(float64, float32):
        return Verdict.exact("x", float64, float32, wanted, "test").verdict

    assert outcome([[1.0, 2.0]], [[1.0, 2.0]]) == "agrees"
    assert outcome([[1.0, 2.0]], [[1.0, 2.000001]]) == "agrees"
    assert outcome([[1.0, 2.0]], [[1.0, 2.00001]]) == "NOT MET"
    assert outcome([[1.0, 2.0 + 1e-15]], [[1.0, 2.0]]) == "NOT MET"
    assert outcome([1.0, 2.0], [1.0, 2.0]) == "NOT MET"
    assert outcome([[1.0, np.nan]], [[1.0, 2.0]]) == "NOT MET"


def test_other_verdicts():
    assert Verdict.close("x", 1.01, 1.0, 0.02, "test").verdict == "agrees"
    assert Verdict.close("x", 1.03, 1.0, 0.02, "test").verdict == "NOT MET"
    assert Verdict.close("x", np.nan, 1.0, 0.02, "test").verdict == "NOT MET"
    assert Verdict.lower("x", 1.0, 2.0, "test").verdict == "better"
    assert Verdict.lower("x", 2.0, 2.0, "test").verdict == "NOT MET"
    assert Verdict.lower("x", np.nan, 2.0, "test").verdict == "NOT MET"
    assert Verdict.on_other_data("x", 1.0, 2.0, "test").verdict == "lower, other images"
    higher = Verdict.on_other_data("x", 3.0, 2.0, "test")
    assert higher.verdict == "higher, other images"
    assert higher.met
    assert Verdict.rounding("x", 1e-15).met
    assert not Verdict.rounding("x", 1e-9).met
    assert not Verdict.rounding("x", np.nan).met


def test_values_for_json_and_for_readers():
    values = {"a": np.array([1.0, np.nan, np.inf]), 2: (np.float32(0.5), None, True), "c": "x"}
    assert plain(values) == {"a": [1.0, None, None], "2": [0.5, None, True], "c": "x"}
    assert shown(None) == "–"
    assert shown(np.float64(1.2345678)) == "1.23457"
    assert shown(np.inf) == "∞"
    assert shown([[1, 2], [3, 4]]) == "1 2; 3 4"
    assert shown(np.arange(12.0).reshape(3, 4)) == "3 × 4: 0 … 11"
    assert [duration(s) for s in (2e-6, 2e-2, 2.0)] == ["2 µs", "20 ms", "2 s"]


def test_measures():
    assert best_multiple(np.array([2.0, 0.0]), np.array([3.0, 4.0])) == (1.5, 0.8)
    assert best_multiple(np.zeros(2), np.ones(2)) == (0.0, 1.0)
    assert psnr(0.01) == pytest.approx(20)
    assert psnr(0.0) is None

"""The frozen encoders: decoders as judged, what is said of them, and the training's place in it."""

import json
import math
import re
from dataclasses import replace

import numpy as np
import pytest

import linconv as lc
from linconv.analysis.artifacts import checkerboard, remove_checkerboard
from linconv.errors import GeometryError, InputError
from linconv.study import frozen_pictures, frozen_sections, frozen_words
from linconv.study.datasets import ImageSet
from linconv.study.frozen import examine
from linconv.study.frozen_results import ADAM, LINEAR, TANH
from linconv.study.frozen_study import MODELS, FrozenStudy, chosen_models, prepare
from linconv.study.published import PUBLISHED_TRAINING
from linconv.study.values import plain

pytest.importorskip("skimage", reason="the structural similarity is scikit-image's")

NAMES = [(name, evened) for name in (LINEAR, TANH) for evened in (False, True)]


def silent(share, what):
    pass


def image_set(count=25, height=12, width=14, seed=4):
    """Smooth random images, the last fifth of them held out."""
    rng = np.random.default_rng(seed)
    noise = rng.random((count, height + 2, width + 2, 1))
    parts = [noise[:, i : i + height, j : j + width] for i in range(3) for j in range(3)]
    return ImageSet("noise", np.mean(parts, axis=0), np.arange(count) >= count - count // 5, "")


def given(models=("A1", "B"), images=None, **options):
    return FrozenStudy(images or image_set(), models, 2, 0, **options)


@pytest.fixture(scope="module")
def untrained():
    """Model A with 2 x 2 max-pooling and model B, their best decoders only."""
    frozen = given()
    return frozen, [examine(frozen, key, silent) for key in frozen.models]


# What is published, and what is given


def test_published_figures_of_the_training(course):
    assert list(PUBLISHED_TRAINING.losses) == course["training"]["model_B_loss_per_epoch"]
    counts = course["model_B"]["parameters_as_run"]
    wanted = [counts[name] for name in ("total", "trainable", "frozen")]
    assert list(PUBLISHED_TRAINING.parameters) == wanted
    seconds = " to ".join(str(s) for s in PUBLISHED_TRAINING.seconds_per_epoch)
    assert seconds == course["training"]["seconds_per_epoch_as_published"]


def test_models_are_the_courses(course):
    filters = [MODELS[key](0).kernels[0].shape[-1] for key in ("A1", "A10", "A20")]
    assert filters == course["model_A"]["variants"]["n_filters"]
    assert [len(MODELS[key](0).kernels) for key in ("B", "B2")] == [1, 2]
    assert not np.array_equal(MODELS["B"](0).kernels[0], MODELS["B"](1).kernels[0])


@pytest.mark.parametrize(
    ("models", "wanted"),
    [
        (None, tuple(MODELS)),
        ("none", ()),
        ((), ()),
        ("B2, a1", ("A1", "B2")),
        (["B", "A20", "B"], ("A20", "B")),
    ],
)
def test_models_are_chosen_by_name(models, wanted):
    assert chosen_models(models) == wanted


@pytest.mark.parametrize("models", ["A2", "", "B,none", ["C"]])
def test_unknown_models_are_refused(models):
    with pytest.raises(InputError, match=r"models must be names .*; got '.*'; use some of A1,A10"):
        chosen_models(models)


def test_no_models_need_no_images():
    assert prepare("no such file", "none", 20, 0) is None
    with pytest.raises(InputError, match="no such file"):
        prepare("no such file.npz", "B", 20, 0)
    with pytest.raises(GeometryError, match="epochs must be at least 1; got 0"):
        prepare(None, "B", 0, 0)


def test_images_are_cut_to_even_sides():
    frozen = given(images=image_set(10, 9, 13))
    assert frozen.images.images.shape == (10, 8, 12, 1)
    np.testing.assert_array_equal(frozen.images.images, image_set(10, 9, 13).images[:, :8, :12])
    assert frozen.images.note.endswith("cut from 9 × 13 to 8 × 12 pixels")
    assert given().images.note == ""


@pytest.mark.parametrize("shape", [(1, 12, 12), (8, 3, 12), (8, 12, 2)])
def test_images_that_are_too_few_or_too_small_are_refused(shape):
    with pytest.raises(InputError, match=f"holds {shape[0]} of {shape[1]} × {shape[2]}; give more"):
        given(images=image_set(*shape))


def test_images_shown_are_held_out_and_drawn_by_the_seed():
    frozen = given(images=image_set(100))
    assert len(set(frozen.shown)) == 10
    np.testing.assert_array_equal(
        frozen.samples, frozen.images.held_out_images[frozen.shown, :, :, 0]
    )
    other = FrozenStudy(image_set(100), ("B",), 2, seed=1)
    assert set(other.shown) != set(frozen.shown)
    assert len(given().shown) == 5, "no more than there are"


# The decoders


def test_decoders_are_judged_on_both_kinds_of_images(untrained):
    frozen, results = untrained
    for result in results:
        assert [(d.name, d.evened) for d in result.decoders] == NAMES
        for judged in result.decoders:
            features = result.encoder(frozen.images.fitting)
            held = result.encoder(frozen.images.held_out_images)
            op = lc.ConvTranspose(
                judged.decoder.kernel, features.shape[1:], stride=2, padding="same"
            )
            squash = np.tanh if judged.name == TANH else np.asarray
            errors = squash(op(features) + judged.decoder.bias) - frozen.images.fitting
            rebuilt = squash(op(held) + judged.decoder.bias)
            wanted = np.mean((rebuilt - frozen.images.held_out_images) ** 2)
            assert judged.mse == pytest.approx(np.mean(errors**2), rel=1e-9)
            assert judged.held_out.mse == pytest.approx(wanted, rel=1e-9)
            assert judged.psnr == pytest.approx(-10 * math.log10(judged.mse))
            assert judged.checkerboard == pytest.approx(float(checkerboard(op)), abs=1e-12)
            np.testing.assert_allclose(judged.samples, rebuilt[frozen.shown, :, :, 0])
            assert judged.seconds > 0


def test_decoders_are_the_best_ones(untrained):
    _, results = untrained
    for result in results:
        for name in (LINEAR, TANH):
            assert result.mse(name) == pytest.approx(result.fits[name].mse, rel=1e-6)
            own, even = result.judged(name), result.judged(name, evened=True)
            np.testing.assert_array_equal(
                even.decoder.kernel, remove_checkerboard(own.decoder.kernel, 2)
            )
            assert own.checkerboard > 1e-3
            assert even.checkerboard < 1e-12
            assert own.mse < even.mse
        assert result.judged(ADAM) is None
        assert math.isnan(result.excess)


def test_lost_is_the_share_of_the_variance(untrained):
    frozen, (pooled, strided) = untrained
    assert pooled.lost == pytest.approx(pooled.fits[LINEAR].mse / frozen.images.fitting.var())
    assert strided.lost < 1e-3 < pooled.lost < 1


def test_images_of_one_grey_lose_nothing():
    grey = replace(image_set(), images=np.full((25, 8, 8, 1), 0.3))
    frozen = given(("A1", "B"), grey)
    for key in frozen.models:
        part = frozen_sections.model(frozen, key, silent)
        assert frozen.found[-1].lost == 0
        assert all(verdict.met for verdict in part.verdicts)
        json.dumps(plain(part.section), allow_nan=False)
    frozen_sections.together(frozen)


# Verdicts


def verdicts_of_b(frozen):
    return {v.name: v for v in frozen_sections.model(frozen, "B", silent).verdicts}


def test_published_figures_of_model_b_are_met():
    found = verdicts_of_b(given())
    lower = "lower, other images"
    assert [v.verdict for v in found.values()] == ["agrees", lower, lower]
    assert found["model B: parameters"].ours.tolist() == [286, 136, 150]
    assert float(found["model B: best linear"].published) == 0.0067
    assert found["model B: best linear"].source == "course, other images"


def test_an_optimum_above_the_published_loss_of_other_images(monkeypatch):
    low = PUBLISHED_TRAINING._replace(losses=(1e-30,))
    monkeypatch.setattr(frozen_sections, "PUBLISHED_TRAINING", low)
    found = verdicts_of_b(given())
    for name in ("model B: best linear", "model B: best tanh"):
        assert found[name].verdict == "higher, other images"
        assert found[name].met


def test_other_parameters_are_not_met(monkeypatch):
    other = PUBLISHED_TRAINING._replace(parameters=(286, 135, 151))
    monkeypatch.setattr(frozen_sections, "PUBLISHED_TRAINING", other)
    assert verdicts_of_b(given())["model B: parameters"].verdict == "NOT MET"


# Words


def told(result, **errors):
    """The result with decoders of other errors; Adam's, if given, stands for a training."""
    model = result.decoders[0]
    decoders = [
        replace(model, name=name, evened=evened, mse=errors.get(key, 1.0))
        for name, key in ((ADAM, "adam"), (LINEAR, "linear"), (TANH, "tanh"))
        for evened, key in ((False, key), (True, f"{key}_even"))
        if name != ADAM or "adam" in errors
    ]
    return replace(result, decoders=tuple(decoders), variance=1.0)


@pytest.mark.parametrize(
    ("share", "words"),
    [
        (0.814, "81 %"),
        (1.0, "100 %"),
        (0.0362, "3.6 %"),
        (2.5e-6, "0.00025 %"),
        (0.0, "0 %"),
        (1e-12, "less than 0.000001 %"),
    ],
)
def test_shares_in_words(share, words):
    assert frozen_words.percent(share) == words


def test_what_max_pooling_loses_in_words(untrained):
    pooled = untrained[1][0]
    more = replace(told(pooled, linear=0.016), feature_shape=(6, 7, 20))
    text = frozen_words.share_lost([told(pooled, linear=0.87), more])
    assert text.startswith("Max-pooling with 1 filter loses 87 % of the variance of the images")
    assert text.endswith("; with 20 it loses 1.6 %.")
    assert frozen_words.share_lost(untrained[1][1:]) == ""


@pytest.mark.parametrize(
    ("linear", "tanh", "adam", "words"),
    [
        (1e-6, 1e-4, 3e-3, "0.0001 %, and Adam's decoder misses 30 times .*: the encoder lost alm"),
        (0.5, 0.4, 0.42, "loses 50 %; the training found nearly all that is left"),
        (0.5, 0.1, 0.5, "loses 50 %; Adam's decoder misses 5 times what the best of its form does"),
    ],
)
def test_who_lost_the_image_in_words(untrained, linear, tanh, adam, words):
    strided = untrained[1][1]
    text = frozen_words.bottleneck(told(strided, linear=linear, tanh=tanh, adam=adam))
    assert re.search(words, text)


def test_without_training_only_the_encoder_is_judged(untrained):
    strided = untrained[1][1]
    text = frozen_words.bottleneck(told(strided, linear=1e-6))
    assert text == "Model B as run loses 0.0001 %, almost nothing."
    assert frozen_words.bottleneck(told(strided, linear=0.1)) == "Model B as run loses 10 %."


@pytest.mark.parametrize(
    ("adam", "words"),
    [
        (0.09, "has 0.1, a little more: its iterations ended in another minimum."),
        (0.105, "has 0.1: the training came within 5 % of it."),
        (0.15, "has 0.1: the training stayed 50 % above it."),
        (0.5, "has 0.1, 5 times less."),
    ],
)
def test_training_beside_the_best_in_words(untrained, adam, words):
    text = frozen_words._beside_the_best(told(untrained[1][1], tanh=0.1, adam=adam))
    assert (
        text == f"Its mean squared error is {adam:.3g}; the best decoder of the same form {words}"
    )


@pytest.mark.parametrize(
    ("even", "words"),
    [
        ({"linear_even": 1.05, "tanh_even": 1.0, "adam_even": 0.9}, "costs next to nothing."),
        ({"linear_even": 5.0, "tanh_even": 2.0, "adam_even": 0.9}, "In the kernel of Adam it is a"),
        ({"linear_even": 5.0, "tanh_even": 2.0, "adam_even": 3.0}, "It is of use: the patterns"),
    ],
)
def test_checkerboards_in_words(untrained, even, words):
    text = frozen_words.checkerboards(told(untrained[1][1], adam=1.0, **even))
    assert words in text
    assert f"from 1 to {even['linear_even']:g} (best linear)" in text


def test_optimum_in_words(untrained):
    result = untrained[1][1]
    assert "higher: it bends" in frozen_words.optimum(told(result, linear=0.1, tanh=0.2))
    text = frozen_words.optimum(told(result, linear=0.2, tanh=0.1))
    assert "has 0.1, lower: here the bend suits the images." in text
    assert f"{result.fits[LINEAR].unknowns} numbers" in text
    held = result.decoders[0].held_out.mse
    assert "by heart" in frozen_words.held_out(told(result, linear=held))
    assert "they differ" in frozen_words.held_out(told(result, linear=held / 2))


# Pictures


def test_pictures_show_the_arrays(untrained):
    frozen, results = untrained
    for result in results:
        (gallery,) = frozen_pictures.reconstructions(frozen, result).rows
        assert list(gallery.rows)[:2] == ["image", "best linear"]
        np.testing.assert_array_equal(gallery.rows["image"], frozen.samples)
        for judged in result.decoders:
            np.testing.assert_array_equal(
                gallery.rows[frozen_pictures.label(judged)], judged.samples
            )
        maps = [panel for row in frozen_pictures.errors(result).rows for panel in row]
        wanted = sorted(result.decoders, key=lambda d: d.evened)
        for panel, judged in zip(maps, wanted, strict=True):
            np.testing.assert_array_equal(panel.values, np.sqrt(judged.held_out.error_map))
        assert frozen_pictures.loss_curve(result) is None

"""The study with frozen encoders as a whole: trained and not, interrupted, on the user's images."""

import json
import os
import re
import signal
import subprocess
import sys

import numpy as np
import pytest

import linconv as lc
from linconv.errors import InputError, MissingPackageError
from linconv.study import frozen_pictures, frozen_sections, frozen_study, study
from linconv.study.datasets import load_images
from linconv.study.frozen import examine
from linconv.study.frozen_results import ADAM, LINEAR, TANH
from linconv.study.frozen_study import FrozenStudy
from linconv.study.published import IMAGE, KERNEL, PUBLISHED_TRAINING
from linconv.study.report import to_json

pytest.importorskip("skimage", reason="the structural similarity is scikit-image's")
testing = pytest.importorskip("click.testing", reason="the command line needs click")

CHAPTER = frozen_sections.CHAPTER


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A folder with spaces in its name: a picture, and small images in two kinds of file."""
    folder = tmp_path_factory.mktemp("my own files")
    rng = np.random.default_rng(21)
    noise = rng.random((26, 13, 13))
    smooth = (noise[:, 1:, 1:] + noise[:, :-1, 1:] + noise[:, 1:, :-1] + noise[:, :-1, :-1]) / 4
    np.save(folder / "a picture.npy", smooth[0])
    np.savez(folder / "small images.npz", x=smooth)
    return folder


def short(files, **options):
    options = {"data": files / "small images.npz", "models": "A1,B", "epochs": 2, **options}
    return study(files / "a picture.npy", "box3", **options)


def chapter(results):
    return {s.title: s for s in results.sections if s.chapter == CHAPTER}


def run(*arguments):
    from linconv.cli import linconv

    return testing.CliRunner().invoke(linconv, ["study", *map(str, arguments)])


@pytest.fixture
def undrawn(monkeypatch):
    """Leave the drawing to other tests."""
    from linconv.study import whole as module

    monkeypatch.setattr(module, "draw", lambda picture: picture)
    monkeypatch.setattr(module, "png", lambda figure: b"\x89PNG " + figure.name.encode())


@pytest.fixture
def without_keras(monkeypatch):
    def absent():
        raise MissingPackageError("training a decoder needs the package keras")

    monkeypatch.setattr(frozen_study, "import_keras", absent)


# Without training


def test_without_training_the_best_decoders_are_found(files):
    results = short(files, training=False)
    sections = chapter(results)
    assert list(sections) == [
        "The images",
        "Model A, 1 filter",
        "Model B, as run",
        "What the encoders lost, and what the training did",
    ]
    assert results.passed
    assert results.settings["command"].endswith("--models A1,B --epochs 2 --no-training")
    text = "The training was left out, as was asked for. The best decoders need none."
    assert sections["The images"].paragraphs[-1] == text
    for title in ("Model A, 1 filter", "Model B, as run"):
        assert "The training was left out, as was asked for." in sections[title].paragraphs
        assert len(sections[title].pictures) == 2
        assert sections[title].numbers["training"] is None
    (table,) = sections["Model A, 1 filter"].tables
    assert [row[0] for row in table.rows] == [
        "best linear",
        "best linear, no checkerboard",
        "best tanh",
        "best tanh, no checkerboard",
    ]
    json.loads(to_json(results), parse_constant=pytest.fail)


@pytest.mark.usefixtures("without_keras")
def test_without_keras_the_training_is_left_out_unless_asked_for(files):
    results = short(files, models=["A1"])
    (text,) = [t for t in chapter(results)["The images"].paragraphs if "training was" in t]
    assert "left out: training a decoder needs the package keras. The best decoders" in text
    assert results.passed
    called = []
    with pytest.raises(MissingPackageError, match="training a decoder needs the package keras"):
        short(files, training=True, progress=lambda _, what: called.append(what))
    assert called == ["loading Keras"]


def test_no_models_give_the_first_half_only(files):
    results = short(files, models="none", training=True, data="no such file.npz")
    assert chapter(results) == {}
    assert "frozen encoders" not in results.seconds
    assert not {"keras", "jax"} & set(results.versions)


def test_bad_data_is_refused_before_any_step(files):
    called = []
    for options, words in (
        ({"data": "no such file.npz"}, "no such file.npz"),
        ({"data": files / "a picture.npy"}, "a picture.npy"),
        ({"models": "A1,C"}, "models must be names"),
    ):
        with pytest.raises(InputError, match=words):
            short(files, progress=lambda *_: called.append(1), **options)
    assert called == []


# With training


@pytest.fixture(scope="module")
def trained(files):
    pytest.importorskip("keras", reason="trains with Keras")
    pytest.importorskip("jax", reason="the backend of Keras")
    told = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(frozen_sections, "FILTER_EPOCHS", 500)
        results = short(files, progress=lambda share, what: told.append((share, what)))
    return results, told


def test_training_is_shown_beside_the_best(trained):
    results, _ = trained
    assert results.passed
    assert {"keras", "jax"} <= set(results.versions)
    for key, title in (("A1", "Model A, 1 filter"), ("B", "Model B, as run")):
        section = chapter(results)[title]
        numbers = section.numbers
        assert len(numbers["training"].history) == 2
        adam = numbers["decoders"][0]
        assert (adam.name, adam.evened) == (ADAM, False)
        # The loss of an epoch is a mean over weights that still change.
        assert adam.mse < numbers["training"].history[0]
        assert numbers["adam_over_best_tanh"] > 1
        assert "decoder (Conv2DTranspose)" in numbers["keras_summary"]
        curves = section.pictures[0].rows[0]
        np.testing.assert_array_equal(curves.series[ADAM], numbers["training"].history)
        best = {d.name: d.mse for d in numbers["decoders"] if not d.evened}
        assert curves.lines == {name: best[name] for name in (TANH, LINEAR)}
        assert len(curves.series) == (2 if key == "B" else 1)
    published = curves.series[frozen_pictures.PUBLISHED_NAME]
    np.testing.assert_array_equal(published, PUBLISHED_TRAINING.losses)
    assert "CIFAR-10 instead of these" in section.pictures[0].caption
    assert section.tables[0].rows[-1][:2] == ("Adam, as published, other images", 0.0067)


def test_parameters_are_those_of_the_keras_model(trained):
    results, _ = trained
    (found,) = [v for v in results.verdicts if v.name == "model B: parameters"]
    assert found.ours.tolist() == [286, 136, 150]
    assert found.verdict == "agrees"


def test_the_inverse_filter_is_trained_and_beaten(trained):
    results, _ = trained
    section = chapter(results)["The inverse filter, trained again"]
    training = section.numbers["training"]
    conv = lc.Conv(KERNEL.astype(float), IMAGE.shape, padding="same")
    up = lc.ConvTranspose(training.kernel[:, :, 0, 0], conv.output_shape, padding="same")
    errors = up(conv(IMAGE.astype(float))) + training.bias - IMAGE
    assert section.numbers["mse"] == pytest.approx(np.mean(errors**2), rel=1e-5)
    assert section.numbers["best_mse"] == pytest.approx(1.2638404, abs=1e-7)
    (verdict,) = [v for v in results.verdicts if v.name == "inverse filter, Adam ÷ best"]
    assert verdict.met
    assert float(verdict.ours) == pytest.approx(section.numbers["mse"] / 1.2638404, rel=1e-6)
    (curves,) = section.pictures[0].rows
    assert curves.step == 100
    np.testing.assert_array_equal(curves.series["trained"], training.history)


def test_progress_of_every_epoch_is_told(trained):
    _, told = trained
    shares = [share for share, _ in told]
    assert shares == sorted(shares)
    whats = [re.sub(r"loss .*", "loss", what) for _, what in told]
    start = whats.index("model B, training")
    assert whats[start : start + 5] == [
        "model B, training",
        "model B, epoch 1 of 2, loss",
        "model B, epoch 2 of 2, loss",
        "model B, best linear decoder",
        "model B, best tanh decoder",
    ]


def test_results_hold_the_histories(trained):
    results, _ = trained
    found = json.loads(to_json(results), parse_constant=pytest.fail)
    sections = {s["title"]: s["numbers"] for s in found["sections"]}
    numbers = sections["Model B, as run"]
    assert len(numbers["training"]["history"]) == 2
    assert np.shape(numbers["decoders"][0]["kernel"]) == (3, 3, 1, 15)
    assert np.shape(numbers["decoders"][0]["held_out"]["phase_mse"]) == (2, 2)
    assert numbers["fits"]["best tanh"]["activation"] == "tanh"
    assert len(sections["The inverse filter, trained again"]["training"]["history"]) == 5


def test_ctrl_c_keeps_what_was_trained_and_trains_no_more(files):
    pytest.importorskip("keras", reason="trains with Keras")
    pytest.importorskip("jax", reason="the backend of Keras")
    images = load_images(files / "small images.npz")
    frozen = FrozenStudy(images, ("A1", "B"), 50, 0)
    frozen.begin_training(required=True)

    def pressed(share, what):
        if "epoch 3 of" in what:
            raise KeyboardInterrupt

    part = frozen_sections.model(frozen, "A1", pressed)
    first = frozen.found[0]
    assert first.training.interrupted
    assert len(first.training.history) == 3
    assert first.judged(ADAM).mse < first.training.history[0]
    assert "interrupted by Ctrl-C after 3 of 50 epochs" in part.section.paragraphs[1]
    second = examine(frozen, "B", pressed)
    assert second.training is None
    assert second.judged(TANH) is not None
    text = frozen_sections.model(frozen, "B", pressed).section.paragraphs[1]
    assert text == "The training was ended by Ctrl-C before it came to this model."


@pytest.mark.parametrize(
    ("moment", "trained"),
    [("the images", []), ("model A1, training", []), ("model A1, best tanh decoder", ["A1"])],
)
def test_ctrl_c_between_trainings_ends_only_the_training(files, moment, trained):
    pytest.importorskip("keras", reason="trains with Keras")
    pytest.importorskip("jax", reason="the backend of Keras")
    told = []

    def pressed(share, what):
        told.append(what)
        if what == moment and told.count(moment) == 1:
            signal.raise_signal(signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        results = short(files, training=True, progress=pressed)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
    assert moment in told
    numbers = {s.title: s.numbers for s in results.sections}
    models = {"A1": numbers["Model A, 1 filter"], "B": numbers["Model B, as run"]}
    assert [key for key, found in models.items() if found["training"]] == trained
    assert all(len(found["fits"]) == 2 for found in models.values())
    assert any("training ended by Ctrl-C" in what for what in told)


# The command line


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("kind", ["npz", "h5"])
def test_data_of_the_user(files, tmp_path, kind):
    data = files / f"small images.{kind}"
    if kind == "h5":
        h5py = pytest.importorskip("h5py", reason="writes an HDF5 file")
        with h5py.File(data, "w") as file:
            file["x"] = np.load(files / "small images.npz")["x"]
    out = tmp_path / "a study"
    picture = files / "a picture.npy"
    done = run(
        *("--image", picture, "--data", data, "--models", "b", "--no-training", "--out", out)
    )
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith("All 16 published figures are met.")
    recorded = json.loads((out / "results.json").read_text("utf-8"))
    (images,) = [s["numbers"] for s in recorded["sections"] if s["title"] == "The images"]
    assert images["name"] == f"small images.{kind}"
    assert (images["n_fitting"], images["n_held_out"]) == (21, 5)
    assert recorded["settings"]["data"] == str(data)
    assert f"--data '{data}'" in recorded["settings"]["command"]
    files_named = {p["file"] for s in recorded["sections"] for p in s["pictures"]}
    assert {"figures/frozen-B-errors.png", "figures/frozen-1-images.png"} <= files_named


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--models", "A2"], "got 'A2'; use some of A1,A10,A20,B,B2"),
        (["--data", "nowhere.h5"], "nowhere.h5"),
        (["--epochs", "0"], "0 is not in the range x>=1"),
    ],
)
def test_bad_options_are_told(files, tmp_path, arguments, message):
    done = run("--image", files / "a picture.npy", "--out", tmp_path / "study", *arguments)
    assert done.exit_code == 2
    assert message in done.stderr


@pytest.mark.skipif(os.name == "nt", reason="sends a signal")
def test_a_real_ctrl_c_leaves_a_report_of_what_there_is(files, tmp_path):
    pytest.importorskip("keras", reason="trains with Keras")
    pytest.importorskip("jax", reason="the backend of Keras")
    source = os.path.dirname(os.path.dirname(lc.__file__))
    environment = {**os.environ, "PYTHONPATH": source, "PYTHONUNBUFFERED": "1"}
    out = tmp_path / "a study"
    # A job in the background ignores Ctrl-C, and so would what it starts.
    program = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    program += "from linconv.__main__ import main; main()"
    command = [sys.executable, "-c", program, "study", "--image", str(files / "a picture.npy")]
    command += ["--data", str(files / "small images.npz"), "--models", "A1,B"]
    command += ["--epochs", "100000", "--training", "--out", str(out)]
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        for line in process.stderr:
            if "model A1, epoch 2 of" in line:
                process.send_signal(signal.SIGINT)
                break
        output, errors = process.communicate(timeout=180)
    finally:
        process.kill()
    assert process.returncode == 0, errors
    assert "model A1, training ended by Ctrl-C" in errors
    assert output.endswith(f"Report: {out / 'report.html'}\n")
    page = (out / "report.html").read_text("utf-8")
    assert re.search(r"interrupted by Ctrl-C after \d+ of 100000 epochs", page)
    assert "The training was ended by Ctrl-C before it came to this model." in page

"""`linconv spectrum` and `linconv invert`, as they are called."""

import json

import numpy as np
import pytest

pytest.importorskip("click", reason="the command line needs click")
pytest.importorskip("rich", reason="the command line prints with rich")
Image = pytest.importorskip("PIL.Image", reason="pictures are read with Pillow")

from click.testing import CliRunner  # noqa: E402

from linconv.cli import linconv  # noqa: E402

COURSE = "10 -4 10; 10 0 30; 30 30 -1"


def call(*arguments, status=0):
    done = CliRunner().invoke(linconv, [str(a) for a in arguments])
    assert done.exit_code == status, done.output
    return done.output


def test_the_courses_spectrum_is_the_published_one():
    told = json.loads(call("spectrum", COURSE, "--size", "4,4", "--json"))
    assert told["shape"] == [16, 16]
    assert told["condition"]["value"] == pytest.approx(563.086, rel=1e-6)
    assert told["largest"]["values"][0] == pytest.approx(89.0789, rel=1e-6)
    assert told["smallest"]["values"][-1] == pytest.approx(0.158198, rel=1e-5)
    low, high = told["bounds"]["interval"]
    assert low <= told["norm"]["value"] <= high
    printed = call("spectrum", COURSE, "--size", "4,4")
    assert "89.0789" in printed
    assert "certified" in printed


def test_a_spectrum_with_a_null_space_is_plain_json():
    options = ("--size", "9,9", "--padding-mode", "circular", "--json")
    told = json.loads(call("spectrum", "box3", *options))
    assert told["smallest"]["values"][-1] == pytest.approx(0, abs=1e-12)


def test_an_image_is_restored_beside_the_blurred_one(tmp_path):
    pixels = np.random.default_rng(5).integers(0, 256, (24, 30), dtype=np.uint8)
    source, out = tmp_path / "an image.png", tmp_path / "a restored one.png"
    Image.fromarray(pixels).save(source)
    told = json.loads(call("invert", source, "--kernel", "sharpen", "--out", out, "--json"))
    assert told["converged"]
    assert told["restored_psnr"] is None or told["restored_psnr"] > 100
    written = np.asarray(Image.open(out))
    assert written.shape == (24, 60)
    assert np.abs(written[:, 30:].astype(int) - pixels).max() <= 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a restored one.png", "an image.png"]


def test_noise_wants_a_ridge(tmp_path):
    def restored(ridge):
        options = ("--noise", "0.02", "--ridge", ridge, "--out", tmp_path / "out.png", "--json")
        return json.loads(call("invert", "camera", "--kernel", "gaussian5", *options))

    assert restored("0.02")["restored_psnr"] > restored("0")["restored_psnr"] + 10


def test_a_blurred_image_is_taken_as_it_is(tmp_path):
    pixels = np.random.default_rng(6).integers(0, 256, (16, 16), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "blurred.png")
    printed = call(
        "invert", tmp_path / "blurred.png", "--blurred", "--kernel", "sharpen", "--out",
        tmp_path / "out.png",
    )  # fmt: skip
    assert "from the original" not in printed
    assert "Restored:" in printed


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("spectrum", "gausian5", "--size", "8,8"), "neither a known name nor a file"),
        (("spectrum", "1 2; 3", "--size", "8,8"), "as many in each row"),
        (("spectrum", COURSE, "--size", "8"), "the kernel"),
        (("spectrum", COURSE, "--size", "8,x"), "whole numbers with commas"),
        (("invert", "camera", "--kernel", "box3", "--out", "x.jpg"), "end it with .png"),
        (("invert", "nothing.png", "--kernel", "box3", "--out", "x.png"), "nothing.png"),
        (
            (
                "invert",
                "camera",
                "--blurred",
                "--padding",
                "1",
                "--kernel",
                "box5",
                "--out",
                "x.png",
            ),
            "use --padding same",
        ),
    ],
)
def test_bad_input_is_told_in_one_line(arguments, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    printed = call(*arguments, status=2)
    assert words in printed
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_told(tmp_path):
    out = tmp_path / "no folder" / "x.png"
    assert "no folder" in call("invert", "camera", "--kernel", "box3", "--out", out, status=2)

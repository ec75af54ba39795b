"""`linconv invert`: a picture comes back, and what is told of it is true."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.ndimage

testing = pytest.importorskip("click.testing", reason="the command line needs click")
pytest.importorskip("rich", reason="the command line prints with rich")
pytest.importorskip("matplotlib", reason="the picture of all versions is drawn with Matplotlib")
image_module = pytest.importorskip("PIL.Image", reason="pictures are read with Pillow")

from linconv.commands import invert  # noqa: E402

BLUR = "1 2 1; 2 6 2; 1 2 1"


def run(*arguments):
    from linconv.cli import linconv

    return testing.CliRunner().invoke(linconv, ["invert", *map(str, arguments)])


def facts(*arguments, status=0):
    done = run(*arguments, "--json")
    assert done.exit_code == status, done.stderr
    return json.loads(done.stdout)


def kernel():
    return np.array([[1.0, 2, 1], [2, 6, 2], [1, 2, 1]])


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "my own files"
    path.mkdir()
    return path


@pytest.fixture
def photo(folder):
    """A file of 8 bits whose pixels are smooth, with some edges."""
    pixels = scipy.ndimage.gaussian_filter(np.random.default_rng(2).random((40, 32)), 1.5)
    pixels = (pixels > np.median(pixels)) * 0.6 + 0.2
    file = folder / "a photo.png"
    image_module.fromarray((255 * pixels).astype(np.uint8)).save(file)
    return file


def pixels_of(file):
    return np.asarray(image_module.open(file)) / 255


def test_without_noise_the_picture_comes_back(photo, folder):
    out = folder / "back.png"
    done = run(photo, "--kernel", BLUR, "--out", out)
    assert done.exit_code == 0, done.stderr
    np.testing.assert_array_equal(pixels_of(out), pixels_of(photo))
    assert done.stdout.splitlines()[0] == f"{photo}, 40 x 32, grey"
    assert f"Restored: {out}" in done.stdout
    beside = folder / "back-compared.png"
    assert beside.read_bytes().startswith(b"\x89PNG")
    assert {path.name for path in folder.iterdir()} == {photo.name, out.name, beside.name}


MODES = {"zeros": "constant", "circular": "wrap", "symmetric": "reflect", "replicate": "nearest"}


@pytest.mark.parametrize("mode", MODES)
def test_what_scipy_blurred_is_restored(photo, folder, mode):
    truth = pixels_of(photo)
    blurred = scipy.ndimage.correlate(truth, kernel() / 18, mode=MODES[mode])
    np.save(folder / "blurred.npy", blurred)
    np.save(folder / "k.npy", kernel() / 18)
    out = folder / "sharp.npy"
    given = (folder / "blurred.npy", "--blurred", "--kernel", folder / "k.npy")
    found = facts(*given, "--padding-mode", mode, "--rtol", "1e-12", "--out", out)
    np.testing.assert_allclose(np.load(out), truth, atol=1e-6)
    assert found["psnr"] is None
    assert found["relative_residual"] < 1e-9


@pytest.mark.parametrize(("padding", "change"), [("valid", 2), ("0,1", (2, 0)), ("2", -2)])
def test_an_output_of_another_size_is_restored_to_its_input(photo, folder, padding, change):
    found = facts(
        photo, "--blurred", "--kernel", BLUR, "--padding", padding, "--out", folder / "x.npy"
    )
    assert found["shape"] == (np.array([40, 32]) + change).tolist()
    assert np.load(folder / "x.npy").shape == tuple(found["shape"])


def test_noise_is_held_back(photo, folder):
    truth = pixels_of(photo)
    given = (photo, "--kernel", "gaussian5", "--padding-mode", "symmetric", "--noise", "0.02")
    out = folder / "x.npy"
    found = facts(*given, "--out", out)
    assert found["method"] == "Wiener"
    assert found["psnr"] == pytest.approx(-10 * np.log10(np.mean((np.load(out) - truth) ** 2)))
    assert found["psnr"] > found["psnr_before"] + 1
    naive = facts(*given, "--ridge", "0", "--out", out)
    assert naive["psnr"] < found["psnr_before"]
    ridge = facts(*given, "--ridge", "0.01", "--out", out)
    assert ridge["psnr"] > naive["psnr"]
    assert ridge["relative_residual"] > naive["relative_residual"]
    stronger = facts(*given, "--noise-to-signal", "100", "--out", out)
    assert stronger["noise_to_signal"] == 100
    assert stronger["psnr"] < found["psnr"]


def test_the_residual_is_that_of_the_file(photo, folder):
    out = folder / "x.npy"
    found = facts(photo, "--blurred", "--kernel", BLUR, "--ridge", "5", "--out", out)
    before = pixels_of(photo)
    left = scipy.ndimage.correlate(np.load(out), kernel(), mode="constant") - before
    wanted = np.linalg.norm(left) / np.linalg.norm(before)
    assert found["relative_residual"] == pytest.approx(wanted)


def test_colours_are_restored_one_by_one(folder):
    file, out = folder / "colours.png", folder / "back.png"
    colours = np.random.default_rng(5).integers(0, 256, (24, 20, 3), dtype=np.uint8)
    image_module.fromarray(colours).save(file)
    found = facts(file, "--kernel", BLUR, "--out", out)
    assert found["colours"] == 3
    np.testing.assert_array_equal(np.asarray(image_module.open(out)), colours)


def test_what_a_png_cannot_hold_is_counted(photo, folder):
    out = folder / "x.png"
    found = facts(photo, "--blurred", "--kernel", "0.5", "--out", out)
    truth = 2 * pixels_of(photo)
    assert found["highest"] == pytest.approx(truth.max())
    assert found["outside"] == pytest.approx(np.mean(truth > 1))
    assert pixels_of(out).max() == 1


def test_an_iteration_cut_short_gives_exit_status_1(photo, folder, monkeypatch):
    solve = invert.solve

    def short(*arguments, **options):
        return solve(*arguments, **options, method="cg", max_iterations=1)

    monkeypatch.setattr(invert, "solve", short)
    found = facts(photo, "--kernel", BLUR, "--out", folder / "x.png", status=1)
    assert not found["converged"]
    assert "max_iterations=1" in found["reason"]


def test_a_wiener_filter_that_ends_early_is_written_with_exit_status_1(photo, folder):
    given = (photo, "--kernel", "gaussian5", "--noise", "0.01", "--out", folder / "x.npy")
    early = facts(*given, "--rtol", "1e-17", status=1)
    assert not early["converged"]
    assert "rtol=1e-17" in early["reason"]
    x = np.load(folder / "x.npy")
    (folder / "x.npy").unlink()
    done = facts(*given, "--rtol", "1e-10")
    assert done["converged"]
    assert done["reason"] == "Wiener's filter for power 1 / frequency^2"
    assert done["iterations"] > 1
    np.testing.assert_allclose(x, np.load(folder / "x.npy"), rtol=0, atol=1e-7)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["FOLDER/none.png"], "does not exist"),
        (["FOLDER/broken.png"], "cannot be read as a picture"),
        (["FOLDER"], "is a directory"),
        (["PHOTO", "--kernel", "1 2; 3"], "rows of [2, 1]"),
        (["PHOTO", "--kernel", "FOLDER/cube.npy"], "--kernel must have two axes"),
        (["PHOTO", "--kernel", "FOLDER/nan.npy"], "--kernel must be finite; got 2 NaN or infinite"),
        (["PHOTO", "--kernel", "1 1e999"], "--kernel must be finite; got 1 NaN or infinite values"),
        (
            ["PHOTO", "--kernel", "FOLDER/wide.npy", "--padding", "valid"],
            "kernel must not be larger than the padded input",
        ),
        (["PHOTO", "--out", "FOLDER/x.gif"], "--out must be a PNG or NPY file"),
        (["PHOTO", "--out", "FOLDER/none/x.png"], "cannot be written: No such file"),
        (["PHOTO", "--out", "PHOTO"], "is the picture to be restored"),
        (["PHOTO", "--picture", "PHOTO"], "is the picture to be restored"),
        (["PHOTO", "--picture", "FOLDER/x.npy"], "--picture must be a PNG file"),
        (["PHOTO", "--picture", "FOLDER/out.png"], "must differ"),
    ],
)
def test_bad_input_is_told_in_one_line(photo, folder, arguments, message):
    (folder / "broken.png").write_bytes(photo.read_bytes()[:200])
    np.save(folder / "cube.npy", np.ones((2, 2, 2)))
    np.save(folder / "nan.npy", np.array([[1, np.nan, 2], [np.inf, 1, 1]]))
    np.save(folder / "wide.npy", np.ones((3, 50)))
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    arguments = [a.replace("FOLDER", str(folder)).replace("PHOTO", str(photo)) for a in arguments]
    done = run("--kernel", BLUR, "--out", folder / "out.png", *arguments)
    assert done.exit_code == 2
    assert done.stdout == ""
    assert message in done.stderr
    assert done.stderr.startswith("Error: ")
    assert len(done.stderr.splitlines()) == 1
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_two_ways_to_hold_noise_back_exclude_each_other(photo, folder):
    done = run(
        photo, "--kernel", BLUR, "--ridge", 1, "--noise-to-signal", 1, "--out", folder / "x.png"
    )
    assert done.exit_code == 2
    assert "exclude each other" in done.stderr


def test_a_folder_that_cannot_be_written_is_told_before_any_work(photo, folder, monkeypatch):
    def denied(self, *_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "touch", denied)
    monkeypatch.setattr(invert, "read_colours", pytest.fail)
    done = run(photo, "--kernel", BLUR, "--out", folder / "x.png")
    assert done.exit_code == 2
    assert "x.png cannot be written: Permission denied; give another folder" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("place", ["solve", "draw", "replace"])
def test_ctrl_c_leaves_nothing_half_written(photo, folder, monkeypatch, place):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(os if place == "replace" else invert, place, interrupted)
    done = run(photo, "--kernel", BLUR, "--out", folder / "x.png")
    assert done.exit_code == 130
    assert done.stdout == ""
    assert done.stderr.splitlines()[-1] == "Interrupted; no file is half written."
    assert [path.name for path in folder.iterdir()] == [photo.name]


def test_a_full_disk_leaves_the_old_picture(photo, folder, monkeypatch):
    out = folder / "x.png"
    out.write_bytes(b"old")
    write = Path.write_bytes

    def full(self, content):
        write(self, content[:10])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    done = run(photo, "--kernel", BLUR, "--out", out)
    assert done.exit_code == 2
    assert "No space left on device" in done.stderr
    assert out.read_bytes() == b"old"
    assert {path.name for path in folder.iterdir()} == {photo.name, out.name}


def test_a_real_run_from_another_folder(photo, folder):
    command = [sys.executable, "-m", "linconv", "invert", photo.name, "--kernel", BLUR]
    done = subprocess.run(
        [*command, "--out", "out put.png"], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    np.testing.assert_array_equal(pixels_of(folder / "out put.png"), pixels_of(photo))

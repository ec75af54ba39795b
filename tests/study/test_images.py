"""Pictures: what is read, how it is scaled, and what is refused before it is read."""

from __future__ import annotations

import os
import sys

import numpy as np
import pytest

from linconv.errors import InputError, LinconvError, MissingPackageError
from linconv.study import images
from linconv.study.images import PHOTOGRAPHS, load_image, photograph_file, unit_grey
from sample_files import Touch, bundled, colours, npy_declaring, pillow, png_header

# What is read


def test_the_default_is_the_bundled_camera_photograph():
    plain = bundled()
    image = load_image()
    expected = np.asarray(plain.open(photograph_file("camera")), dtype=np.float64) / 255
    assert image.name == "camera"
    assert image.original_shape == (512, 512)
    assert image.note == ""
    assert "scikit-image" in image.source
    np.testing.assert_array_equal(image.pixels, expected)


@pytest.mark.parametrize("name", sorted(PHOTOGRAPHS))
def test_every_named_photograph_lies_in_the_installed_package(name):
    bundled()
    image = load_image(name, max_side=100)
    assert max(image.pixels.shape) == 100
    assert image.pixels.dtype == np.float64
    assert 0 <= image.pixels.min() < image.pixels.max() <= 1


def test_scikit_image_is_not_even_imported(monkeypatch):
    bundled()
    monkeypatch.setitem(sys.modules, "pooch", None)
    for module in [name for name in sys.modules if name.partition(".")[0] == "skimage"]:
        monkeypatch.delitem(sys.modules, module)
    load_image("coins")
    assert "skimage" not in sys.modules


@pytest.mark.parametrize("suffix", [".png", ".tif", ".npy", ".dat"])
def test_colours_are_averaged_whatever_the_suffix(folder, suffix):
    values = colours(24, 40, 3)
    file = folder / f"a picture{suffix}"
    if suffix == ".npy":
        np.save(file, values)
    else:
        pillow().fromarray(values).save(file, format="TIFF" if suffix == ".tif" else "PNG")
    image = load_image(str(file))
    np.testing.assert_allclose(image.pixels, values.astype(float).sum(-1) / 765, atol=1e-15)
    assert image.original_shape == (24, 40, 3)
    assert (image.name, image.source) == (file.name, str(file))
    assert image.note == "grey is the mean of the colours"


def test_jpeg_is_close_to_what_was_saved(folder):
    row = np.linspace(0, 255, 64).astype(np.uint8)
    pillow().fromarray(np.tile(row, (32, 1))).save(folder / "ramp.jpg", quality=95)
    image = load_image(folder / "ramp.jpg")
    np.testing.assert_allclose(image.pixels, np.tile(row / 255, (32, 1)), atol=0.03)


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_alpha_is_dropped_and_said(folder, mode):
    values = colours(24, 40, len(mode))
    pillow().fromarray(values, mode=None).save(folder / "a b.png")
    image = load_image(folder / "a b.png")
    expected = values[..., :-1].astype(float).mean(-1) / 255
    np.testing.assert_allclose(image.pixels, expected, atol=1e-15)
    assert image.note.startswith("alpha dropped")


@pytest.mark.parametrize("suffix", [".png", ".tif", ".npy"])
def test_sixteen_bits_keep_their_precision(folder, suffix):
    values = np.random.default_rng(5).integers(0, 65536, (9, 7), dtype=np.uint16)
    file = folder / f"deep{suffix}"
    if suffix == ".npy":
        np.save(file, values.astype(">u2"))
    else:
        pillow().fromarray(values).save(file)
    np.testing.assert_array_equal(load_image(file).pixels, values / 65535)


def test_a_palette_and_a_bitmap_are_converted(folder):
    plain = pillow()
    values = colours(24, 40, 3)
    plain.fromarray(values).quantize(16).save(folder / "palette.png")
    expected = np.asarray(plain.open(folder / "palette.png").convert("RGB"), dtype=float)
    image = load_image(folder / "palette.png")
    np.testing.assert_allclose(image.pixels, expected.mean(-1) / 255, atol=1e-15)
    assert "converted from P to RGB" in image.note

    bits = values[..., 0] > 128
    plain.fromarray(bits).save(folder / "bits.png")
    np.testing.assert_array_equal(load_image(folder / "bits.png").pixels, bits.astype(float))


def test_a_photograph_is_turned_upright(folder):
    plain = pillow()
    values = np.zeros((32, 64), np.uint8)
    values[:, :32] = 255
    exif = plain.Exif()
    exif[0x0112] = 6  # the camera was held so that the picture must be turned clockwise
    plain.fromarray(values).save(folder / "turned.jpg", exif=exif, quality=100)
    image = load_image(folder / "turned.jpg")
    np.testing.assert_allclose(image.pixels, np.rot90(values, -1) / 255, atol=0.02)
    assert "EXIF" in image.note


def test_the_first_page_of_several_is_read(folder):
    plain = pillow()
    pages = [plain.fromarray(colours(24, 40, seed=seed)) for seed in (1, 2, 3)]
    pages[0].save(folder / "pages.tif", save_all=True, append_images=pages[1:])
    image = load_image(folder / "pages.tif")
    np.testing.assert_array_equal(image.pixels, np.asarray(pages[0]) / 255)
    assert image.note == "first of 3 pages"


@pytest.mark.parametrize(
    ("values", "expected", "note"),
    [
        pytest.param([[0.25, 0.5]], [[0.25, 0.5]], "", id="floats in [0, 1] as they are"),
        pytest.param([[-1e-9, 1.0]], [[0.0, 1.0]], "", id="rounding is clipped"),
        pytest.param([[-2.0, 0.0, 6.0]], [[0, 0.25, 1]], "values from -2 to 6", id="stretched"),
        pytest.param([[-1e308, 0.0, 1e308]], [[0, 0.5, 1]], "stretched", id="difference overflows"),
        pytest.param([[7.0, 7.0]], [[0, 0]], "values from 7 to 7", id="flat"),
        pytest.param([[0, 51, 255]], [[0, 0.2, 1]], "int64 values taken as 8-bit", id="wide 8-bit"),
        pytest.param([[-5, 0, 995]], [[0, 0.005, 1]], "stretched", id="other integers"),
        pytest.param([[True, False]], [[1, 0]], "", id="bools"),
    ],
)
def test_values_are_scaled_by_kind(folder, values, expected, note):
    array = np.array(values, dtype=np.int64 if isinstance(values[0][0], int) else None)
    if isinstance(values[0][0], bool):
        array = np.array(values)
    np.save(folder / "v.npy", array)
    image = load_image(folder / "v.npy")
    np.testing.assert_allclose(image.pixels, expected, rtol=1e-12)
    assert note in image.note
    assert bool(note) == bool(image.note)


@pytest.mark.parametrize("order", ["C", "F"])
def test_npy_in_either_order(folder, order):
    values = np.random.default_rng(3).random((5, 6, 3))
    np.save(folder / "o.npy", np.asarray(values, order=order))
    image = load_image(folder / "o.npy")
    np.testing.assert_allclose(image.pixels, values.mean(-1), atol=1e-15)
    image.pixels[0, 0] = 0.5  # the pixels are the caller's own, not a view of the file


def test_reduction_averages_areas_and_is_said(folder):
    pillow()
    values = np.random.default_rng(4).random((40, 60))
    np.save(folder / "large.npy", values)
    image = load_image(folder / "large.npy", max_side=30)
    expected = values.reshape(20, 2, 30, 2).mean((1, 3))
    np.testing.assert_allclose(image.pixels, expected, atol=1e-6)
    assert image.original_shape == (40, 60)
    assert image.note == "reduced from 40 x 60 to 20 x 30 by averaging over areas"
    assert load_image(folder / "large.npy", max_side=1).pixels.shape == (1, 1)
    assert load_image(folder / "large.npy", max_side=60).note == ""


def test_to_dict_tells_everything_but_the_pixels(folder):
    np.save(folder / "v.npy", np.zeros((2, 3), np.uint8))
    assert load_image(folder / "v.npy").to_dict() == {
        "name": "v.npy",
        "shape": [2, 3],
        "original_shape": [2, 3],
        "source": str(folder / "v.npy"),
        "note": "",
    }


def test_unit_grey_refuses_an_unknown_range_where_it_must_not_stretch():
    with pytest.raises(InputError, match=r"the set must hold .* from 0 to 200; .*divide by 255"):
        unit_grey(np.array([[0.0], [200.0]]), "the set", stretch=False)


# What is refused


def test_an_unknown_name_gets_the_nearest():
    with pytest.raises(InputError, match=r"image 'camra' is neither .* did you mean 'camera'"):
        load_image("camra")


def test_a_missing_file(folder):
    with pytest.raises(InputError, match=r"no such.png does not exist; check the path"):
        load_image(folder / "no such.png")


def test_a_directory(folder):
    with pytest.raises(InputError, match="my own files is a directory; give the path of a file"):
        load_image(folder)


def test_an_empty_file(folder):
    (folder / "empty.png").touch()
    with pytest.raises(InputError, match=r"empty.png is empty \(0 bytes\)"):
        load_image(folder / "empty.png")


def test_a_path_that_no_file_can_have():
    with pytest.raises(InputError, match=r"give the path of a readable file|does not exist"):
        load_image("a\0b.png")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no named pipes")
def test_a_pipe_is_refused_rather_than_waited_for(folder):
    os.mkfifo(folder / "pipe.png")
    with pytest.raises(InputError, match=r"pipe.png is not an ordinary file"):
        load_image(folder / "pipe.png")


@pytest.mark.parametrize("content", [b"hello, world", b"GIF89a" + b"\0" * 40, b"PK\x03\x04rest"])
def test_not_an_image(folder, content):
    pillow()
    (folder / "fake.png").write_bytes(content)
    with pytest.raises(
        InputError, match=r"fake.png is not a PNG, JPEG, TIFF or NPY file .*convert"
    ):
        load_image(folder / "fake.png")


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif"])
@pytest.mark.parametrize("kept", [0.002, 0.1, 0.6])
def test_a_truncated_picture(folder, suffix, kept):
    file = folder / f"cut.{suffix}"
    pillow().fromarray(colours(200, 300, 3)).save(file)
    content = file.read_bytes()
    file.write_bytes(content[: max(9, int(kept * len(content)))])
    with pytest.raises(InputError, match=r"cut\.\w+ cannot be read as a picture: .*truncated"):
        load_image(file)


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif"])
def test_damaged_bytes_never_escape_as_another_error(folder, suffix):
    file = folder / f"damaged.{suffix}"
    pillow().fromarray(colours(40, 60, 3)).save(file)
    content = np.frombuffer(file.read_bytes(), np.uint8)
    rng = np.random.default_rng(8)
    messages = []
    for _ in range(60):
        damaged = content.copy()
        places = rng.integers(4, min(400, len(content)), 12)
        damaged[places] = rng.integers(0, 256, 12)
        file.write_bytes(damaged.tobytes())
        try:
            image = load_image(file)
        except InputError as error:
            messages.append(str(error))
        else:
            assert np.isfinite(image.pixels).all()
    assert messages
    assert all(str(file) in message for message in messages)


@pytest.mark.parametrize("size", [(8001, 8000), (12_000, 12_000), (2**31 - 1, 2**31 - 1)])
def test_a_decompression_bomb_is_refused_by_its_header(folder, size):
    plain = pillow()
    limit = plain.MAX_IMAGE_PIXELS
    (folder / "bomb.png").write_bytes(png_header(*size))
    pixels = size[0] * size[1]
    with pytest.raises(InputError, match=f"too large to decode: .*{pixels} pixels, .*64000000"):
        load_image(folder / "bomb.png")
    assert limit == plain.MAX_IMAGE_PIXELS


def test_the_limit_does_not_hang_on_pillows(folder, monkeypatch):
    plain = pillow()
    plain.fromarray(colours(24, 40, 3)).save(folder / "fine.png")
    monkeypatch.setattr(plain, "MAX_IMAGE_PIXELS", 10)
    assert load_image(folder / "fine.png").pixels.shape == (24, 40)


def test_a_pickled_array_is_refused_and_not_run(folder):
    np.save(folder / "p.npy", np.array([[Touch(folder / "touched")]]), allow_pickle=True)
    with pytest.raises(
        InputError, match=r"p.npy holds pickled Python objects .*save plain numbers"
    ):
        load_image(folder / "p.npy")
    assert not (folder / "touched").exists()
    np.load(folder / "p.npy", allow_pickle=True)
    assert (folder / "touched").exists(), "the pickle must be one that would have run"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.zeros(5), r"shape is \(5,\)"),
        (np.zeros((2, 3, 5)), r"at most 4 channels; its shape is \(2, 3, 5\)"),
        (np.zeros((1, 2, 3, 3)), r"shape is \(1, 2, 3, 3\)"),
        (np.float64(1.0), r"shape is \(\)"),
        (np.zeros((0, 3)), r"is empty: its shape is \(0, 3\)"),
        (np.full((3, 2), np.nan), "must be finite; 6 of 6 values are NaN"),
        (np.array([[0.5, np.inf]]), "must be finite; 1 of 2 values"),
        (np.zeros((2, 2), complex), "must hold real numbers; its dtype is complex128"),
        (np.array([["a"]]), "must hold real numbers; its dtype is <U1"),
        (np.zeros((2, 2), [("r", "u1")]), "must hold real numbers"),
        (np.zeros((2, 2), "M8[s]"), "must hold real numbers"),
    ],
)
def test_an_array_that_is_no_picture(folder, values, message):
    np.save(folder / "bad array.npy", values)
    with pytest.raises(InputError, match=f"bad array.npy .*{message}"):
        load_image(folder / "bad array.npy")


@pytest.mark.parametrize("shape", [(3, 3), (10**9, 10**9)])
def test_an_npy_that_declares_more_than_it_holds(folder, shape):
    (folder / "short.npy").write_bytes(npy_declaring(shape))
    declared = shape[0] * shape[1] * 8
    with pytest.raises(InputError, match=f"short.npy is truncated: .* {declared} bytes .*64 are"):
        load_image(folder / "short.npy")


def test_an_npy_with_a_negative_size(folder):
    (folder / "negative.npy").write_bytes(npy_declaring((-2, -4)))
    with pytest.raises(InputError, match=r"negative.npy is empty: its shape is \(-2, -4\)"):
        load_image(folder / "negative.npy")


def test_an_npy_with_too_many_pixels(folder):
    with (folder / "huge.npy").open("wb") as stream:
        stream.write(npy_declaring((10_000, 10_000), b""))
        stream.truncate(stream.tell() + 8 * 10**8)  # sparse: takes no room on the disk
    with pytest.raises(InputError, match=r"too large: .*100000000 pixels, and at most 64000000"):
        load_image(folder / "huge.npy")


@pytest.mark.parametrize("length", [6, 7, 9, 40])
def test_an_npy_cut_in_its_header(folder, length):
    (folder / "cut.npy").write_bytes(npy_declaring((2, 4))[:length])
    with pytest.raises(InputError, match=r"cut.npy cannot be read as NPY: .*truncated or damaged"):
        load_image(folder / "cut.npy")


@pytest.mark.parametrize("max_side", [0, -3, 2.5, True])
def test_a_senseless_max_side(max_side):
    with pytest.raises(LinconvError, match=f"max_side must be .*got {max_side}"):
        load_image(max_side=max_side)


@pytest.mark.parametrize(("package", "extra"), [("PIL", "pillow"), ("skimage", "scikit-image")])
def test_a_missing_package_is_named_with_its_extra(monkeypatch, package, extra):
    bundled()
    if package == "skimage":
        monkeypatch.setattr(images.util, "find_spec", lambda name: None)
    else:
        for module in ["PIL", *(name for name in sys.modules if name.startswith("PIL."))]:
            monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingPackageError, match=rf"{extra}, .*pip install 'linconv\[study\]'"):
        load_image()


@pytest.mark.parametrize("missing", [1, 4, 8, 11, 12, 13, 20])
def test_a_png_cut_near_its_end(folder, missing):
    file = folder / "cut.png"
    pillow().fromarray(colours(24, 40, 3)).save(file)
    content = file.read_bytes()
    assert load_image(file).pixels.shape == (24, 40)
    file.write_bytes(content + b"more, after the last chunk")
    assert load_image(file).pixels.shape == (24, 40)
    file.write_bytes(content[:-missing])
    with pytest.raises(InputError, match=r"cut\.png cannot be read as a picture: .*truncated"):
        load_image(file)

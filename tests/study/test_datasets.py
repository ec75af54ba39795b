"""Sets of images: what is read, and how it is split."""

from __future__ import annotations

import pickle
import struct
import tracemalloc

import numpy as np
import pytest

from linconv.errors import InputError, LinconvError
from linconv.study.datasets import ImageSet, iter_hdf5, load_images
from linconv.study.images import PHOTOGRAPHS, load_image
from sample_files import FORMATS, Touch, bundled, colours, grey, h5, pillow, save

# The default: photographs


def test_the_default_is_a_thousand_patches_split_by_photograph():
    bundled()
    images = load_images()
    assert images.images.shape == (1000, 32, 32, 1)
    assert images.images.dtype == np.float64
    assert 0 <= images.images.min() < images.images.max() <= 1
    assert images.fitting.shape == (800, 32, 32, 1)
    assert images.held_out_images.shape == (200, 32, 32, 1)
    assert len(np.unique(images.images, axis=0)) > 950

    held_out_names = set(images.note.partition("held out: ")[2].split(", "))
    assert len(held_out_names) == 3
    assert held_out_names < set(PHOTOGRAPHS)


def test_no_photograph_gives_both_fitting_and_held_out_patches():
    bundled()
    images = load_images(limit=30, seed=3)
    held_out_names = set(images.note.partition("held out: ")[2].split(", "))
    whole = {name: load_image(name, max_side=2000).pixels for name in PHOTOGRAPHS}
    origins = [set() for _ in images.images]
    for index, patch in enumerate(images.images[..., 0]):
        for name, pixels in whole.items():
            corners = np.argwhere(pixels[:-31, :-31] == patch[0, 0])
            if any(np.array_equal(pixels[r : r + 32, c : c + 32], patch) for r, c in corners):
                origins[index].add(name)
    assert all(origins)
    for names, held_out in zip(origins, images.held_out, strict=True):
        assert names & held_out_names if held_out else names - held_out_names
    assert set().union(*(o for o, h in zip(origins, images.held_out, strict=True) if h))


def test_the_seed_decides_everything():
    bundled()
    first, again, other = (load_images(limit=30, seed=seed) for seed in (5, 5, 6))
    np.testing.assert_array_equal(first.images, again.images)
    np.testing.assert_array_equal(first.held_out, again.held_out)
    assert first.note == again.note
    assert not np.array_equal(first.images, other.images)


@pytest.mark.parametrize(("limit", "held_out"), [(1, 0), (4, 0), (5, 1), (17, 3)])
def test_few_patches_are_split_too(limit, held_out):
    bundled()
    images = load_images(limit=limit)
    assert images.images.shape == (limit, 32, 32, 1)
    assert images.held_out.sum() == held_out


# The user's files


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_every_format_gives_the_mean_colour(folder, suffix, channels):
    values = colours(25, 32, 32, channels)
    file = save(folder / f"mini cifar{suffix}", values)
    images = load_images(str(file))
    expected = grey(values[..., :3])
    np.testing.assert_allclose(images.images, expected, atol=1e-15)
    assert images.name == file.name
    np.testing.assert_array_equal(images.held_out, np.arange(25) >= 20)
    np.testing.assert_array_equal(images.fitting, images.images[:20])
    np.testing.assert_array_equal(images.held_out_images, images.images[20:])
    assert "the last 5 of 25 held out" in images.note
    assert ("alpha dropped" in images.note) == (channels == 4)


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("dtype", ["f4", "f8", ">u2", "i8", "?"])
def test_number_types(folder, suffix, dtype):
    values = colours(6, 5, 7)
    scale = {"f": 1, "u": 65535, "i": 255, "b": 1}[np.dtype(dtype).kind]
    stored = (values / 255 if scale == 1 else values).astype(dtype)
    images = load_images(save(folder / f"t{suffix}", stored))
    assert images.images.shape == (6, 5, 7, 1)
    np.testing.assert_array_equal(images.images[..., 0], stored.astype(float) / scale)


@pytest.mark.parametrize("suffix", FORMATS)
def test_the_first_images_are_taken(folder, suffix):
    values = colours(23, 32, 32, 3)
    file = save(folder / f"m{suffix}", values)
    np.testing.assert_allclose(load_images(file, limit=7).images, grey(values[:7]), atol=1e-15)
    assert len(load_images(file, limit=100).images) == 23


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_fortran_order(folder, suffix):
    values = colours(9, 4, 6, 3)
    file = save(folder / f"f{suffix}", np.asfortranarray(values))
    np.testing.assert_allclose(load_images(file, limit=5).images, grey(values[:5]), atol=1e-15)


@pytest.mark.parametrize("suffix", FORMATS)
def test_only_what_is_asked_for_is_read(folder, suffix):
    h5()
    file = save(folder / f"long{suffix}", np.zeros((4000, 32, 32, 3), np.uint8))
    load_images(file, limit=10)
    tracemalloc.start()
    try:
        load_images(file, limit=10)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2_000_000  # the array has 12 million bytes


def test_an_npz_with_one_array_of_any_name(folder):
    values = colours(25, 32, 32, 3)
    np.savez(folder / "one.npz", pictures=values)
    np.testing.assert_allclose(load_images(folder / "one.npz").images, grey(values), atol=1e-15)


@pytest.mark.parametrize(("count", "held_out"), [(1, 0), (2, 1), (9, 1), (10, 2), (14, 2)])
def test_the_last_fifth_is_held_out(folder, count, held_out):
    images = load_images(save(folder / "n.npy", colours(count, 4, 5)))
    np.testing.assert_array_equal(images.held_out, np.arange(count) >= count - held_out)


def test_to_dict_tells_everything_but_the_pixels(folder):
    values = colours(10, 4, 6, 3)
    assert load_images(save(folder / "n.npy", values)).to_dict() == {
        "name": "n.npy",
        "shape": [10, 4, 6, 1],
        "n_fitting": 8,
        "n_held_out": 2,
        "note": "grey is the mean of the colours; the last 2 of 10 held out",
    }


def test_any_split_can_be_given():
    values = np.random.default_rng(1).random((4, 2, 2, 1))
    images = ImageSet("mine", values, np.array([True, False, False, True]), "")
    np.testing.assert_array_equal(images.fitting, values[[1, 2]])
    np.testing.assert_array_equal(images.held_out_images, values[[0, 3]])


# A folder of pictures


def test_a_folder_is_cut_into_tiles_in_the_order_of_names(folder):
    plain = pillow()
    first, second = colours(70, 100, 3, seed=1), colours(32, 33, 3, seed=2)
    plain.fromarray(second).save(folder / "b second.PNG")
    plain.fromarray(first).save(folder / "a first.tif")
    np.save(folder / "c small.npy", np.zeros((31, 90)))
    (folder / "notes.txt").write_text("no picture")
    images = load_images(folder)
    tiles = [first[r : r + 32, c : c + 32] for r in (0, 32) for c in (0, 32, 64)]
    tiles.append(second[:32, :32])
    np.testing.assert_allclose(images.images, grey(np.array(tiles)), atol=1e-15)
    assert images.note.startswith("32 x 32 tiles of 2 pictures, 1 smaller ones left out")
    np.testing.assert_array_equal(load_images(folder, limit=3).images, images.images[:3])


@pytest.mark.parametrize("small", [0, 2])
def test_a_folder_without_pictures_large_enough(folder, small):
    for index in range(small):
        np.save(folder / f"{index}.npy", np.zeros((31, 90)))
    with pytest.raises(InputError, match=f"my own files must hold .*it holds {small} pictures"):
        load_images(folder)


def test_a_broken_picture_in_a_folder_is_named(folder):
    pillow().fromarray(colours(64, 64, 3)).save(folder / "cut.png")
    content = (folder / "cut.png").read_bytes()
    (folder / "cut.png").write_bytes(content[:2000])
    with pytest.raises(InputError, match=r"cut.png cannot be read as a picture"):
        load_images(folder)


# Keras' copy of CIFAR-10


def python2_pickle(pixels):
    """A batch as the CIFAR-10 archive has it: strings of bytes, and a call on the way."""
    text = b"T" + struct.pack("<I", len(pixels)) + pixels
    return b"\x80\x02}(U\x05labels]U\x04datacnumpy.core.multiarray\n_reconstruct\n" + text + b"u."


def python3_pickle(pixels):
    return pickle.dumps({b"data": np.frombuffer(pixels, np.uint8).reshape(-1, 3072)}, protocol=4)


@pytest.mark.parametrize("write", [python2_pickle, python3_pickle])
@pytest.mark.parametrize("inner", ["cifar-10-batches-py-target/cifar-10-batches-py", ""])
def test_keras_copy_of_cifar10(folder, monkeypatch, write, inner):
    monkeypatch.setenv("KERAS_HOME", str(folder))
    batches = folder / "datasets" / (inner or "cifar-10-batches-py")
    batches.mkdir(parents=True)
    values = colours(5, 10, 32, 32, 3)
    for number, batch in enumerate(values, start=1):
        pixels = batch.transpose(0, 3, 1, 2).tobytes()
        (batches / f"data_batch_{number}").write_bytes(write(pixels))
    images = load_images("cifar10", limit=23)
    np.testing.assert_allclose(images.images, grey(values.reshape(-1, 32, 32, 3)[:23]), atol=1e-15)
    assert images.name == "cifar10"
    assert images.held_out.sum() == 4
    assert len(load_images("cifar10").images) == 50


def test_a_hostile_cifar10_batch_is_not_run(folder, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(folder))
    batches = folder / "datasets" / "cifar-10-batches-py"
    batches.mkdir(parents=True)
    content = pickle.dumps([b"\0" * 3072, Touch(folder / "touched")], protocol=2)
    (batches / "data_batch_1").write_bytes(content)
    load_images("cifar10", limit=1)
    assert not (folder / "touched").exists()
    pickle.loads(content)
    assert (folder / "touched").exists(), "the pickle must be one that would have run"


def test_a_broken_cifar10_batch(folder, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(folder))
    batches = folder / "datasets" / "cifar-10-batches-py"
    batches.mkdir(parents=True)
    whole = python2_pickle(b"\1" * 6144)
    (batches / "data_batch_1").write_bytes(whole[:-1000])
    with pytest.raises(InputError, match="data_batch_1 cannot be read as a CIFAR-10 batch"):
        load_images("cifar10")
    (batches / "data_batch_1").write_bytes(python2_pickle(b"\1" * 6000))
    with pytest.raises(InputError, match=r"no 32 x 32 colour images .* has 6000 bytes"):
        load_images("cifar10")


def test_an_oversized_cifar10_batch(folder, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(folder))
    batches = folder / "datasets" / "cifar-10-batches-py"
    batches.mkdir(parents=True)
    with (batches / "data_batch_1").open("wb") as stream:
        stream.write(python2_pickle(b"\1" * 3072))
        stream.truncate(1 << 27)  # sparse: takes no room on the disk
    with pytest.raises(InputError, match=r"data_batch_1 has 134217728 bytes, .* at most 67108864"):
        load_images("cifar10")


def test_cifar10_is_never_downloaded(folder, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(folder))
    with pytest.raises(
        InputError, match=r"there is none in .*datasets; run keras.datasets.cifar10"
    ):
        load_images("cifar10")
    assert not list(folder.iterdir())


# Streaming


@pytest.mark.parametrize(
    ("batch", "limit", "sizes"),
    [
        (10, None, [10, 10, 5]),
        (25, None, [25]),
        (100, None, [25]),
        (10, 12, [10, 2]),
        (1, 2, [1, 1]),
    ],
)
def test_batches_of_an_hdf5_file(folder, batch, limit, sizes):
    values = colours(25, 32, 32, 3)
    file = save(folder / "stream me.h5", values)
    batches = list(iter_hdf5(file, batch, limit))
    assert [len(b) for b in batches] == sizes
    np.testing.assert_allclose(np.concatenate(batches), grey(values[: sum(sizes)]), atol=1e-15)


def test_streaming_holds_one_batch_at_a_time(folder):
    file = save(folder / "s.h5", np.zeros((3000, 32, 32, 3), np.uint8))
    next(iter_hdf5(file, 50))
    tracemalloc.start()
    try:
        count = sum(len(batch) for batch in iter_hdf5(file, 50))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert count == 3000
    assert peak < 6 * 50 * 32 * 32 * 8


def test_a_bad_file_is_refused_at_the_call(folder):
    h5()
    (folder / "text.h5").write_text("no HDF5")
    with pytest.raises(InputError, match=r"text.h5 cannot be read as HDF5"):
        iter_hdf5(folder / "text.h5")


def test_bad_values_are_refused_when_they_come(folder):
    values = np.zeros((6, 4, 5))
    values[5] = np.nan
    batches = iter_hdf5(save(folder / "late.h5", values), 3)
    assert next(batches).shape == (3, 4, 5, 1)
    with pytest.raises(InputError, match=r"late.h5 must be finite; 20 of 60 values"):
        next(batches)


@pytest.mark.parametrize(("name", "value"), [("batch", 0), ("batch", 1.5), ("limit", -1)])
def test_senseless_numbers(folder, name, value):
    file = save(folder / "s.h5", colours(3, 32, 32, 3))
    with pytest.raises(LinconvError, match=f"{name} .*got {value}"):
        iter_hdf5(file, **{name: value})
    if name == "limit":
        with pytest.raises(LinconvError, match=f"{name} .*got {value}"):
            load_images(file, limit=value)

"""Decoder: applied, written and read back."""

import json
import pickle
import zipfile
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import linconv as lc
from linconv.analysis import decoder as decoder_file
from linconv.analysis.decoder import Decoder
from linconv.analysis.fitting import fit_decoder
from linconv.errors import InputError, OutputError
from sample_files import Touch

OPTIONS: dict[str, Any] = {"kernel_size": 3, "stride": 2, "data_format": "channels_first"}


@pytest.fixture
def data():
    """Features (30, 2, 3, 3) and images (30, 3, 6, 6)."""
    rng = np.random.default_rng(30)
    return rng.standard_normal((30, 2, 3, 3)), rng.uniform(0.05, 0.95, (30, 3, 6, 6))


# The decoder


@pytest.fixture(params=["linear", "tanh", "sigmoid"])
def fitted(request, data) -> Decoder:
    return fit_decoder(*data, **OPTIONS, activation=request.param)


@pytest.fixture
def linear(data) -> Decoder:
    return fit_decoder(*data, **OPTIONS)


def test_apply_is_transposed_convolution_bias_and_activation(fitted, data):
    up = lc.ConvTranspose(
        *(fitted.kernel, (2, 3, 3)), stride=2, padding="same", data_format="channels_first"
    )
    shifted = up(data[0]) + fitted.bias[:, None, None]
    sigmoid = 1 / (1 + np.exp(-shifted))
    want = {"linear": shifted, "tanh": np.tanh(shifted), "sigmoid": sigmoid}[fitted.activation]
    np.testing.assert_allclose(fitted(data[0]), want, rtol=0, atol=1e-13)
    np.testing.assert_array_equal(fitted.apply(data[0]), fitted(data[0]))
    batch = data[0].reshape(5, 6, 2, 3, 3)
    assert fitted(batch).shape == (5, 6, 3, 6, 6)
    np.testing.assert_allclose(fitted(batch[1, 2]), want[8], rtol=0, atol=1e-13)
    lc.testing.assert_same_map(fitted.to_conv_transpose(), up)
    assert fitted.to_conv_transpose() is fitted.to_conv_transpose()


def test_psnr(linear):
    assert replace(linear, mse=1e-3).psnr == pytest.approx(30)
    assert replace(linear, mse=0.0).psnr == np.inf
    assert linear.psnr == pytest.approx(10 * np.log10(1 / linear.mse))


def test_to_dict_is_plain_json_and_whole(fitted):
    read = json.loads(json.dumps(fitted.to_dict(), allow_nan=False))
    assert set(read) == {f.name for f in fields(Decoder)} | {"psnr"}
    np.testing.assert_array_equal(read["kernel"], fitted.kernel)
    np.testing.assert_array_equal(read["bias"], fitted.bias)
    assert lc.Geometry.from_dict(read["geometry"]) == fitted.geometry
    assert (read["mse"], read["psnr"]) == (fitted.mse, fitted.psnr)


def test_to_dict_is_plain_json_where_nothing_is_determined():
    zeros = np.zeros((2, 8, 8, 1))
    decoder = fit_decoder(zeros, zeros, 3, bias=False)
    assert (decoder.rank, decoder.condition, decoder.psnr) == (0, np.inf, np.inf)
    json.dumps(decoder.to_dict(), allow_nan=False)


# Its file


@pytest.fixture
def path(tmp_path) -> Path:
    (tmp_path / "my own files").mkdir()
    return tmp_path / "my own files" / "a decoder.npz"


def assert_equal(a: Decoder, b: Decoder) -> None:
    for field in fields(Decoder):
        mine, other = getattr(a, field.name), getattr(b, field.name)
        np.testing.assert_array_equal(mine, other)
        assert type(mine) is type(other)


@pytest.mark.parametrize("kind", [Path, str])
def test_saved_and_loaded(fitted, data, path, kind):
    fitted.save(kind(path))
    again = Decoder.load(kind(path))
    assert_equal(again, fitted)
    np.testing.assert_array_equal(again(data[0]), fitted(data[0]))
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_infinite_figures_are_saved_and_loaded(linear, path):
    strange = replace(linear, condition=np.inf, mse=0.0)
    strange.save(path)
    assert_equal(Decoder.load(path), strange)


def test_a_file_is_plain_arrays_and_json(linear, path):
    linear.save(path)
    with np.load(path, allow_pickle=False) as archive:
        assert sorted(archive) == ["bias", "kernel", "settings"]
        np.testing.assert_array_equal(archive["kernel"], linear.kernel)
        assert json.loads(archive["settings"].tobytes())["activation"] == "linear"


def test_an_interrupted_save_leaves_the_old_file(linear, path, monkeypatch):
    linear.save(path)

    def interrupted(file, **arrays):
        file.write(b"half of it")
        raise KeyboardInterrupt

    monkeypatch.setattr(decoder_file.np, "savez", interrupted)
    with pytest.raises(KeyboardInterrupt):
        replace(linear, mse=9.0).save(path)
    assert_equal(Decoder.load(path), linear)
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_a_place_that_cannot_be_written(linear, path):
    with pytest.raises(OutputError, match=r"none.*a decoder.npz"):
        linear.save(path.parent / "none" / path.name)
    with pytest.raises(OutputError, match="my own files"):
        linear.save(path.parent)


def write(path: Path, decoder: Decoder, text: bytes | None = None, **changes: Any) -> Path:
    """A file as `save` writes it, with some of its arrays or settings changed."""
    arrays = {name: changes.pop(name, getattr(decoder, name)) for name in ("kernel", "bias")}
    settings = {k: v for k, v in decoder.to_dict().items() if k not in (*arrays, "psnr")}
    text = json.dumps(settings | changes).encode() if text is None else text
    np.savez(path, **arrays, settings=np.frombuffer(text, np.uint8))
    return path


def test_files_made_by_hand_are_read(linear, path):
    assert_equal(Decoder.load(write(path, linear)), linear)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"{", "cannot be read as a decoder: .*property name"),
        (b"[1, 2]", "cannot be read as a decoder"),
        (b"\xff\xfe", "cannot be read as a decoder"),
        (b"{}", "cannot be read as a decoder: .*geometry"),
        (b"[" * 100_000, "cannot be read as a decoder"),
    ],
    ids=["cut", "list", "bytes", "empty", "deep"],
)
def test_settings_that_are_not_ours(linear, path, text, message):
    with pytest.raises(InputError, match=f"a decoder.npz {message}"):
        Decoder.load(write(path, linear, text))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"colour": 3}, "colour"),
        ({"geometry": {"input_size": [0]}}, "kernel_size|input_size"),
        ({"geometry": 3}, "cannot be read as a decoder"),
        ({"activation": "__import__"}, "activation must be .*'__import__'"),
        ({"data_format": "NHWC"}, "data_format must be .*'NHWC'"),
        ({"mse": "little"}, "mse"),
        ({"kernel": np.zeros((2, 3, 3, 5))}, r"kernel.*\(2, 3, 3, 5\)"),
        ({"kernel": np.zeros(4)}, r"kernel.*\(4,\)"),
        ({"bias": np.zeros(2)}, r"bias.*\(2,\)"),
    ],
    ids=lambda value: str(next(iter(value))) if isinstance(value, dict) else "",
)
def test_settings_and_arrays_that_make_no_decoder(linear, path, changes, message):
    with pytest.raises(InputError, match=message):
        Decoder.load(write(path, linear, **changes))


@pytest.mark.parametrize("name", ["kernel", "bias", "settings"])
def test_missing_entries(linear, path, name):
    linear.save(path)
    with np.load(path) as archive:
        rest = {key: archive[key] for key in archive if key != name}
    np.savez(path, **rest)
    with pytest.raises(InputError, match=f"must hold an array '{name}'; it holds"):
        Decoder.load(path)


@pytest.mark.parametrize("name", ["kernel", "bias", "settings"])
def test_pickles_are_refused_and_not_run(linear, path, name):
    linear.save(path)
    with np.load(path) as archive:
        arrays = dict(archive)
    mark = path.parent / "touched"
    arrays[name] = np.array([Touch(mark)], object)
    np.savez(path, **arrays)
    with pytest.raises(InputError, match=f"'{name}' in .*holds pickled Python objects"):
        Decoder.load(path)
    path.write_bytes(pickle.dumps(Touch(mark)))
    with pytest.raises(InputError, match="cannot be read as a decoder"):
        Decoder.load(path)
    assert not mark.exists()


@pytest.mark.parametrize("kept", [0.05, 0.5, 0.98])
def test_truncated_files(linear, path, kept):
    linear.save(path)
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(InputError, match="a decoder.npz cannot be read as a decoder: .*truncated"):
        Decoder.load(path)


def test_zip_bombs_are_refused_by_their_declared_size(linear, path, monkeypatch):
    monkeypatch.setattr(decoder_file, "FILE_LIMIT", 1 << 20)
    arrays = {"bias": linear.bias, "settings": np.zeros(3, np.uint8)}
    np.savez_compressed(path, kernel=np.zeros(1 << 18), **arrays)
    assert path.stat().st_size < 10_000
    with pytest.raises(
        InputError, match=r"'kernel' in .* unpacks to 2097\d+ bytes, .*at most 1048576"
    ):
        Decoder.load(path)


def test_arrays_shorter_than_declared(linear, path):
    linear.save(path)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members["kernel.npy"] = members["kernel.npy"][:-8]
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    with pytest.raises(InputError, match="'kernel' in .* is truncated"):
        Decoder.load(path)


def test_files_that_are_none(path):
    with pytest.raises(InputError, match="a decoder.npz does not exist"):
        Decoder.load(path)
    with pytest.raises(InputError, match="my own files is a directory"):
        Decoder.load(path.parent)
    path.touch()
    with pytest.raises(InputError, match="a decoder.npz is empty"):
        Decoder.load(path)


def test_half_precision_is_computed_in_more_and_cast_back(fitted, data):
    features = data[0].astype(np.float16)
    result = fitted(features)
    assert result.dtype == np.float16
    np.testing.assert_array_equal(result, fitted(features.astype(np.float64)).astype(np.float16))


def test_arrays_of_a_decoder_cannot_be_written(fitted):
    for array in (fitted.kernel, fitted.bias):
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0

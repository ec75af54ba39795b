"""Broken and hostile model files: refused by name, nothing executed, no memory taken."""

import importlib
import json
import pickle
import struct
import sys
import tracemalloc
import zipfile
from contextlib import suppress

import numpy as np
import pytest

import linconv as lc
from linconv.errors import InputError, MissingPackageError
from sample_files import Touch

GIGANTIC = 1 << 40


@pytest.fixture(autouse=True)
def little_memory():
    """No test here may take memory: what is declared is a terabyte, what is there a few bytes."""
    for package in ("keras", "torch"):  # their own import is not what is measured
        with suppress(ImportError):
            importlib.import_module(package)
    tracemalloc.start()
    yield
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 64 << 20


def refused(file, match):
    with pytest.raises(InputError, match=match) as error:
        lc.inspect(file)
    assert file.name in str(error.value)


def archive(file, members, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(file, "w", compression) as target:
        for name, content in members.items():
            target.writestr(name, content)
    return file


SUFFIXES = (".keras", ".onnx", ".pt2", ".pt", ".pth", ".safetensors")


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("content", [b"\0", b"PK\3\4", b"not a model at all" * 9])
def test_noise_is_refused(tmp_path, suffix, content):
    file = tmp_path / f"a model{suffix}"
    file.write_bytes(content)
    for package in {".onnx": ["onnx"], ".safetensors": ["safetensors"]}.get(suffix, []):
        pytest.importorskip(package, reason="reads this format")
    with pytest.raises(InputError):
        lc.load_model(file)


@pytest.mark.parametrize("name", ["model.h5", "model.pkl", "model.bin", "model.txt", "model"])
def test_other_suffixes_are_refused(tmp_path, name):
    file = tmp_path / name
    file.write_bytes(b"x")
    refused(file, r"must be one of .keras, .onnx, .pt2, .pt, .pth, .safetensors")


def test_a_large_file_is_refused(tmp_path):
    file = tmp_path / "large.onnx"
    with file.open("wb") as stream:
        stream.truncate((2 << 30) + 1)
    refused(file, "at most 2147483648; save a smaller model")


@pytest.mark.parametrize("suffix", [".keras", ".pt2", ".pt"])
def test_zip_bombs_are_refused(tmp_path, suffix):
    bomb = archive(tmp_path / f"bomb{suffix}", {"x": bytes(20 << 20)}, zipfile.ZIP_DEFLATED)
    refused(bomb, "is compressed .* may be a zip bomb")


@pytest.mark.parametrize("name", ["../x", "/x", "a/../../x", "C:x", "a\\..\\x"])
def test_names_that_leave_the_archive_are_refused(tmp_path, name):
    refused(archive(tmp_path / "out.keras", {name: "x"}), "leads out of the archive")


# PyTorch


@pytest.mark.parametrize("legacy", [True, False])
def test_a_pickle_that_would_act_is_not_loaded(tmp_path, legacy):
    target, file = tmp_path / "touched", tmp_path / "model.pt"
    payload = pickle.dumps({"weight": Touch(target)}, protocol=2)
    if legacy:
        file.write_bytes(payload)
    else:
        archive(file, {"model/data.pkl": payload, "model/version": "3"})
    refused(file, "a pickle can run code")
    assert not target.exists()
    pickle.loads(payload)  # it would have
    assert target.exists()


def test_a_whole_module_and_a_script_are_refused(tmp_path):
    torch = pytest.importorskip("torch", reason="writes PyTorch's files")
    file = tmp_path / "module.pt"
    torch.save(torch.nn.Conv2d(1, 1, 3), file)
    refused(file, r"holds a pickled torch.nn.modules.conv.Conv2d.*save the weights with torch.save")
    refused(archive(tmp_path / "script.pt", {"m/constants.pkl": b"x"}), "TorchScript")


def test_a_state_dict_that_is_cut_off_or_declares_too_much(tmp_path):
    torch = pytest.importorskip("torch", reason="writes PyTorch's files")
    file = tmp_path / "weights.pt"
    torch.save({"a.weight": torch.ones(4, 3, 3, 3)}, file)
    whole = file.read_bytes()
    assert lc.inspect(file).rows[0].kernel_size is None  # without a bias, nothing tells the layout
    file.write_bytes(whole[: len(whole) // 2])
    refused(file, "cannot be read as a state dict")
    with zipfile.ZipFile(tmp_path / "again.zip", "w") as target:
        torch.save({"a.weight": torch.ones(4, 3, 3, 3)}, file)
        with zipfile.ZipFile(file) as source:
            for name in source.namelist():
                content = source.read(name)
                if name.endswith("data.pkl"):  # 108 numbers become 2 ** 31 - 1
                    content = content.replace(b"Kl", b"J\xff\xff\xff\x7f")
                    content = content.replace(b"K\x04K\x03K\x03", b"J\xff\xff\xff\x7fK\x03K\x03")
                target.writestr(name, content)
    file.write_bytes((tmp_path / "again.zip").read_bytes())
    refused(file, "cannot be read as a state dict|declares")


def program(sizes, strides, content=b"\0" * 36, *, pickled=False):
    meta = {
        "dtype": 7,
        "sizes": [{"as_int": n} for n in sizes],
        "strides": [{"as_int": n} for n in strides],
        "storage_offset": {"as_int": 0},
    }
    config = {"w": {"path_name": "weight_0", "use_pickle": pickled, "tensor_meta": meta}}
    return {
        "m/models/model.json": json.dumps({"schema_version": {"major": 8, "minor": 1}}),
        "m/data/weights/model_weights_config.json": json.dumps({"config": config}),
        "m/data/weights/weight_0": content,
    }


@pytest.mark.parametrize(
    ("sizes", "strides"),
    [
        ((GIGANTIC, 3), (3, 1)),
        ((GIGANTIC,), (0,)),
        ((1 << 62, 1 << 62), (1, 1)),
        ((3, 3), (3, 2)),
        ((3, 3), (-3, 1)),
    ],
)
def test_an_exported_program_that_declares_more_than_it_holds(tmp_path, sizes, strides):
    refused(archive(tmp_path / "p.pt2", program(sizes, strides)), "which its 36 bytes do not hold")


def test_an_exported_program_with_pickled_weights(tmp_path):
    members = program((3, 3), (3, 1), pickled=True)
    refused(archive(tmp_path / "p.pt2", members), "'w' .* is pickled, and a pickle can run code")


# safetensors


def safetensors(file, header, data=b"\0" * 16):
    text = json.dumps(header).encode()
    file.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return file


@pytest.mark.parametrize(
    "entry",
    [
        {"dtype": "F32", "shape": [GIGANTIC], "data_offsets": [0, 4 * GIGANTIC]},
        {"dtype": "F32", "shape": [GIGANTIC], "data_offsets": [0, 16]},
        {"dtype": "F32", "shape": [1 << 62, 1 << 62], "data_offsets": [0, 16]},
        {"dtype": "F32", "shape": [4], "data_offsets": [8, 24]},
    ],
)
def test_safetensors_that_declare_more_than_they_hold(tmp_path, entry):
    pytest.importorskip("safetensors", reason="reads this format")
    refused(safetensors(tmp_path / "w.safetensors", {"a": entry}), "cannot be read as safetensors")


def test_a_header_longer_than_the_file(tmp_path):
    file = tmp_path / "w.safetensors"
    file.write_bytes(struct.pack("<Q", GIGANTIC) + b"{}")
    refused(file, f"declares a header of {GIGANTIC} bytes, and 2 are there")


# ONNX


def onnx_model(file, **tensor):
    onnx = pytest.importorskip("onnx", reason="writes ONNX files")
    helper = onnx.helper
    weight = onnx.TensorProto(name="w", data_type=1)
    weight.dims.extend(tensor.pop("dims", (1, 1, 3, 3)))
    weight.raw_data = tensor.pop("raw", b"")
    for key, value in tensor.items():
        weight.data_location = onnx.TensorProto.EXTERNAL
        weight.external_data.append(onnx.StringStringEntryProto(key=key, value=value))
    if weight.external_data:
        weight.ClearField("raw_data")
    ends = [helper.make_tensor_value_info(n, 1, [1, 1, 8, 8]) for n in "xy"]
    node = helper.make_node("Conv", ["x", "w"], ["y"], "conv", pads=[1, 1, 1, 1])
    graph = helper.make_graph([node], "g", ends[:1], ends[1:], [weight])
    file.write_bytes(helper.make_model(graph).SerializeToString())
    return file


@pytest.mark.parametrize("dims", [(GIGANTIC, 1, 3, 3), (1 << 62, 1 << 62, 3, 3), (-1, 1, 3, 3)])
def test_onnx_tensors_that_declare_what_is_not_there(tmp_path, dims):
    refused(onnx_model(tmp_path / "m.onnx", dims=dims, raw=bytes(36)), "'w' .* declares the shape")


@pytest.mark.parametrize("location", ["/etc/hostname", "../secret", "a/../../secret", "", "C:x"])
def test_external_data_outside_the_folder_is_not_opened(tmp_path, location):
    (tmp_path / "secret").write_bytes(bytes(36))
    (tmp_path / "m").mkdir()
    file = onnx_model(tmp_path / "m" / "m.onnx", location=location)
    refused(file, "outside the model's folder; it is not opened")


def test_external_data_behind_a_link_is_not_opened(tmp_path):
    (tmp_path / "secret").write_bytes(bytes(36))
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "w").symlink_to(tmp_path / "secret")
    refused(onnx_model(tmp_path / "m" / "m.onnx", location="w"), "outside the model's folder")


def test_external_data_in_the_folder_is_read_if_it_is_whole(tmp_path):
    kernel = np.arange(9, dtype="<f4")
    (tmp_path / "w.bin").write_bytes(b"1234" + kernel.tobytes())
    file = onnx_model(tmp_path / "m.onnx", location="w.bin", offset="4", length="36")
    assert lc.inspect(file).rows[0].norm_bound == pytest.approx(36)
    refused(onnx_model(tmp_path / "m.onnx", location="w.bin", offset="8"), "from 8 in 'w.bin'")
    refused(onnx_model(tmp_path / "m.onnx", location="absent"), "which is not there")


# Keras


def keras_file(file, config, weights=None):
    h5py = pytest.importorskip("h5py", reason="writes Keras' weights")
    h5 = file.with_suffix(".weights")
    with h5py.File(h5, "w") as target:
        for name, values in (weights or {}).items():
            target[name] = values
    members = {"config.json": json.dumps(config), "metadata.json": "{}"}
    return archive(file, {**members, "model.weights.h5": h5.read_bytes()})


def entry(kind, module="keras.layers", registered=None, /, **config):
    return {"class_name": kind, "module": module, "config": config, "registered_name": registered}


@pytest.mark.parametrize("name", ["Lambda", "TFSMLayer", "TorchModuleWrapper", "JaxLayer"])
def test_layers_that_hold_code_are_refused(tmp_path, name):
    config = entry("Sequential", "keras", layers=[entry(name)])
    refused(keras_file(tmp_path / "m.keras", config), f"has a {name} layer, which holds code")


@pytest.mark.parametrize(
    "inner",
    [
        entry("Popen", "subprocess"),
        entry("get_file", "keras.utils"),
        entry("function", "builtins"),
        entry("Mine", "mine", "mine>Mine"),
        entry("Conv2D", "keras.layers", "mine>Conv2D"),
        entry("Conv2D", "keras.layersx"),
        entry("run_in_shell", "keras.layers"),
        entry("Conv2D", None),
    ],
)
def test_classes_that_are_not_keras_own_are_refused(tmp_path, inner):
    config = entry("Sequential", "keras", layers=[inner])
    refused(keras_file(tmp_path / "m.keras", config), "none of Keras' own classes")


def test_a_keras_model_that_declares_gigantic_weights(tmp_path):
    pytest.importorskip("keras", reason="reads Keras models")
    first = entry("InputLayer", batch_shape=[None, 8, 8, 3], dtype="float32", name="x")
    conv = entry("Conv2D", filters=10**9, kernel_size=[3, 3], name="c")
    config = entry("Sequential", "keras", name="s", layers=[first, conv])
    file = keras_file(tmp_path / "m.keras", config, {"w": np.zeros(3)})
    refused(file, r"declares layers with 112000000000 bytes of weights, and holds 24")


def test_weights_that_lie_elsewhere_or_nowhere(tmp_path):
    h5py = pytest.importorskip("h5py", reason="writes Keras' weights")
    file, h5 = tmp_path / "m.keras", tmp_path / "w.h5"
    config = {"config.json": json.dumps(entry("Sequential", "keras", layers=[]))}
    for make, match in (
        (lambda f: f.create_dataset("w", (GIGANTIC,), "f4", chunks=(9,)), "bytes of shape"),
        (lambda f: f.__setitem__("w", h5py.ExternalLink("secret.h5", "x")), "link to another"),
        (lambda f: f.__setitem__("w", h5py.SoftLink("/x")), "link to another place"),
        (lambda f: f.create_dataset("w", (9,), "f4", external=[("s", 0, 36)]), "in other files"),
    ):
        with h5py.File(h5, "w") as target:
            make(target)
        refused(archive(file, {**config, "model.weights.h5": h5.read_bytes()}), match)


# Absent packages


@pytest.mark.parametrize(
    ("suffix", "package"), [(".onnx", "onnx"), (".safetensors", "safetensors"), (".pt", "torch")]
)
def test_absent_packages_are_named_with_their_extra(tmp_path, monkeypatch, suffix, package):
    file = tmp_path / f"model{suffix}"
    pickled = pickle.dumps({}, protocol=2)
    archive(file, {"m/data.pkl": pickled})
    if suffix == ".safetensors":
        safetensors(file, {})
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingPackageError, match=rf"pip install 'linconv\[{package}\]'"):
        lc.load_model(file)

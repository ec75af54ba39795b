"""Inspecting whole models: shapes, padding and reach as checked by hand, in every format."""

import csv
import io
import json
import sys

import numpy as np
import pytest

import architectures
import linconv as lc
from linconv.errors import LinconvError, ShapeError
from linconv.layers.schur import norm_bound

# Checked by hand, layer by layer: output size (n + low + high - k) // s + 1, transposed
# (n - 1) s + k - low - high (+ output padding); receptive field r + (k - 1) * (product of
# the strides before), and behind transposed convolutions the union of the windows that the worst
# phase reads, as in the U-Net: 18 + 4 (two samples of the bottom), 18 + 8 (three). Gradients
# confirm it below.
# name: (kernel, stride, pads of both axes, output size, receptive field, leftover)
GOLDEN = {
    ("torch", "unet", (3, 32, 48)): {
        "enter.0": (3, 1, (1, 1), (1, 1), (32, 48), 3, (0, 0)),
        "down.0": (3, 1, (1, 1), (1, 1), (16, 24), 8, (0, 0)),
        "bottom.0": (3, 1, (1, 1), (1, 1), (8, 12), 18, (0, 0)),
        "up1": (2, 2, (0, 0), (0, 0), (16, 24), 18, (0, 0)),
        "join1.0": (3, 1, (1, 1), (1, 1), (16, 24), 22, (0, 0)),
        "up2": (3, 2, (1, 1), (1, 1), (32, 48), 26, (1, 1)),
        "join2.0": (3, 1, (1, 1), (1, 1), (32, 48), 26, (0, 0)),
        "leave": (1, 1, (0, 0), (0, 0), (32, 48), 26, (0, 0)),
    },
    ("torch", "generator", (16, 1, 1)): {
        "0": (4, 1, (0, 0), (0, 0), (4, 4), 4, (0, 0)),
        "3": (4, 2, (1, 1), (1, 1), (8, 8), 5, (0, 0)),
        "6": (4, 2, (1, 1), (1, 1), (16, 16), 6, (0, 0)),
        "9": (4, 2, (1, 1), (1, 1), (32, 32), 6, (0, 0)),
    },
    ("torch", "resnet", (3, 65, 64)): {
        "stem": (7, 2, (3, 3), (3, 3), (33, 32), 7, (0, 1)),
        "block1.conv1": (3, 1, (1, 1), (1, 1), (17, 16), 19, (0, 0)),
        "block1.conv2": (3, 1, (1, 1), (1, 1), (17, 16), 27, (0, 0)),
        "block2.conv1": (3, 2, (1, 1), (1, 1), (9, 8), 35, (0, 1)),
        "block2.conv2": (3, 1, (1, 1), (1, 1), (9, 8), 51, (0, 0)),
        "block2.shortcut.0": (1, 2, (0, 0), (0, 0), (9, 8), 27, (0, 1)),
    },
    ("keras", "unet", None): {
        "enter": (3, 1, (1, 1), (1, 1), (32, 48), 3, (0, 0)),
        "down1": (3, 2, (0, 1), (0, 1), (16, 24), 5, (0, 0)),
        "down": (3, 1, (1, 1), (1, 1), (16, 24), 9, (0, 0)),
        "bottom": (3, 1, (1, 1), (1, 1), (8, 12), 19, (0, 0)),
        "up1": (2, 2, (0, 0), (0, 0), (16, 24), 19, (0, 0)),
        "join1": (3, 1, (1, 1), (1, 1), (16, 24), 23, (0, 0)),
        "up2": (3, 2, (0, 1), (0, 1), (32, 48), 27, (0, 0)),
        "join2": (3, 1, (1, 1), (1, 1), (32, 48), 27, (0, 0)),
        "leave": (1, 1, (0, 0), (0, 0), (32, 48), 27, (0, 0)),
    },
    ("keras", "generator", None): {
        "up1": (4, 1, (0, 0), (0, 0), (4, 4), 4, (0, 0)),
        "up2": (4, 2, (1, 1), (1, 1), (8, 8), 5, (0, 0)),
        "up3": (5, 2, (1, 2), (1, 2), (16, 16), 6, (0, 0)),
        "up4": (4, 2, (1, 1), (1, 1), (32, 32), 6, (0, 0)),
    },
    ("keras", "resnet", (65, 64, 3)): {
        "stem": (7, 2, (0, 0), (0, 0), (33, 32), 7, (0, 1)),
        "block/conv1": (3, 2, (1, 1), (0, 1), (9, 8), 19, (0, 0)),
        "block/conv2": (3, 1, (1, 1), (1, 1), (9, 8), 35, (0, 0)),
        "block/shortcut": (1, 2, (0, 0), (0, 0), (9, 8), 11, (0, 1)),
    },
}

CHECKS = {
    ("torch", "unet"): {("up2", "checkerboard")},
    ("torch", "generator"): set(),
    ("torch", "resnet"): {("block2.shortcut.0", "leftover"), ("block2.shortcut.0", "skipped")},
    ("keras", "unet"): {("down1", "asymmetric"), ("up2", "checkerboard"), ("up2", "asymmetric")},
    ("keras", "generator"): {("up3", "checkerboard"), ("up3", "asymmetric")},
    ("keras", "resnet"): {
        ("block/conv1", "asymmetric"),
        ("block/shortcut", "leftover"),
        ("block/shortcut", "skipped"),
    },
}


def built(framework, name):
    pytest.importorskip(framework, reason=f"builds the model in {framework}")
    return getattr(architectures, f"{framework}_{name}")()


def rows(found):
    return {
        row.name: (
            *({*row.kernel_size}),
            *({*row.stride}),
            *row.padding,
            row.output_shape[:2] if found.source == "keras" else row.output_shape[1:],
            *({*row.receptive_field}),
            row.leftover,
        )
        for row in found.rows
        if row.kernel_size is not None
    }


@pytest.mark.parametrize("case", GOLDEN, ids=lambda case: f"{case[0]} {case[1]}")
def test_models_are_as_checked_by_hand(case):
    framework, name, shape = case
    found = lc.inspect(built(framework, name), shape)
    assert rows(found) == GOLDEN[case]
    assert {(layer, f.check) for layer, f in found.findings} == CHECKS[framework, name]
    assert all(row.norm_bound > 0 for row in found.rows)


def test_parameters_are_those_of_the_framework():
    model = built("torch", "generator")
    convolutions = [m for m in model if type(m).__name__ == "ConvTranspose2d"]
    expected = sum(p.numel() for m in convolutions for p in m.parameters())
    assert lc.inspect(model, (16, 1, 1)).parameters == expected


def test_reach_is_what_gradients_reach():
    """Behind average pooling, which spreads where the maximum would choose one sample."""
    torch = pytest.importorskip("torch", reason="differentiates")
    model = architectures.torch_unet(torch.nn.AvgPool2d(2)).double()
    for part in model.modules():
        if isinstance(part, torch.nn.ReLU):
            part.inplace = False
    for parameter in model.parameters():
        parameter.data.abs_().add_(0.1)  # nothing cancels, no ReLU is off
    x = torch.ones(1, 3, 96, 96, dtype=torch.float64, requires_grad=True)
    y = model(x)
    sizes = []
    for o in range(44, 48):
        (gradient,) = torch.autograd.grad(y[0, 0, o, o], x, retain_graph=True)
        sizes.append(int((gradient[0].abs().sum((0, 1)) > 0).sum()))
    assert {*lc.inspect(model, (3, 96, 96)).rows[-1].receptive_field} == {max(sizes)}


def test_files_tell_what_the_model_in_memory_tells(tmp_path):
    torch = pytest.importorskip("torch", reason="exports the model")
    model = architectures.torch_resnet()
    first = lc.inspect(model, (3, 65, 64))
    file = tmp_path / "a model.pt2"
    zeros = (torch.zeros(1, 3, 65, 64),)
    torch.export.save(torch.export.export(model, zeros), file)
    second = lc.inspect(file)
    assert second.rows == first.rows
    assert second.input_shapes == ((3, 65, 64),)
    with pytest.raises(ShapeError, match="must be what a model.pt2 was exported for"):
        lc.inspect(file, (3, 32, 32))


def test_an_exported_onnx_model(tmp_path):
    torch = pytest.importorskip("torch", reason="exports the model")
    pytest.importorskip("onnxscript", reason="PyTorch exports with it")
    model, file = architectures.torch_resnet(), tmp_path / "resnet.onnx"
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model, (torch.zeros(1, 3, 65, 64),), file, external_data=False, verbose=False
        )
    found = lc.inspect(file)
    wanted = list(GOLDEN["torch", "resnet", (3, 65, 64)].values())
    assert sorted(rows(found).values(), key=str) == sorted(wanted, key=str)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras' own
def test_a_keras_file_has_the_weights_of_its_model(tmp_path):
    keras = pytest.importorskip("keras", reason="saves the model")
    model, file = architectures.keras_resnet(), tmp_path / "a model.keras"
    model.save(file)
    loaded = lc.load_model(file)
    assert (loaded.source, loaded.path) == ("keras", str(file))
    x = np.random.default_rng(3).random((2, 33, 32, 3)).astype("float32")
    np.testing.assert_array_equal(loaded.content.predict(x, verbose=0), model.predict(x, verbose=0))
    assert lc.inspect(loaded, (65, 64, 3)).rows == lc.inspect(model, (65, 64, 3)).rows
    with pytest.raises(ShapeError, match=r"input_shape must be given.*input_shape=\(224, 224, 3\)"):
        lc.inspect(file)
    assert isinstance(loaded.content, keras.Model)


def test_a_module_asks_for_input_shape_and_stays_as_it_was():
    model = built("torch", "resnet").train()
    with pytest.raises(ShapeError, match="input_shape must be given, for a module of PyTorch"):
        lc.inspect(model)
    lc.inspect(model, (3, 33, 33))
    assert all(part.training for part in model.modules())
    with pytest.raises(LinconvError, match="must run on inputs of shape"):
        lc.inspect(model, (4, 33, 33))


@pytest.mark.parametrize("seed", range(40))
def test_the_bound_of_the_norm_is_above_the_largest_singular_value(seed):
    rng = np.random.default_rng(seed)
    k, s, d, groups = rng.integers(1, 5), *(int(n) for n in rng.integers(1, 4, 2)), 1 + seed % 2
    mode = ("zeros", "circular", "reflect", "replicate", "symmetric")[seed % 5]
    kernel = rng.standard_normal((k, k, 2, 2 * groups))
    pads = [(int(a), int(b)) for a, b in rng.integers(0, 4, (2, 2))]
    options = {"stride": s, "dilation": d, "groups": groups, "padding": pads}
    op = lc.Conv(kernel, (13, 14, 2 * groups), padding_mode=mode, **options)
    largest = np.linalg.norm(op.matrix(), 2)
    assert largest <= norm_bound(op) == norm_bound(op.T)
    assert norm_bound(op) < 40 * largest


def test_json_csv_and_html_are_stable_and_escaped():
    hostile = "<script>alert(1)</script>\x1b[31m"
    layer = lc.Layer(
        lc.ConvTranspose(np.ones((3, 3)), (4, 4), stride=2), kind="Up", name=f"={hostile}"
    )
    found = lc.inspect(layer)
    plain = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert list(plain) == [
        *("format", "name", "source", "input_shapes", "parameters", "layers", "passed_over"),
    ]
    assert list(plain["layers"][0]) == [
        *("name", "kind", "kernel_size", "stride", "dilation", "groups", "padding"),
        *("padding_mode", "transposed", "input_shape", "output_shape", "parameters"),
        *("receptive_field", "leftover", "overlap", "checkerboard", "norm_bound", "findings"),
    ]
    assert plain["layers"][0]["findings"][0]["check"] == "checkerboard"
    for page in (found.to_html(), found._repr_html_()):
        assert "<script>" not in page
        assert "&lt;script&gt;" in page
    assert "\x1b" not in str(found) + found.to_html() + found.to_csv()
    table = list(csv.DictReader(io.StringIO(found.to_csv())))
    assert table[0]["name"].startswith("'=")
    assert (table[0]["kernel_size"], table[0]["padding"]) == ("3 3", "0:0 0:0")


def test_what_cannot_be_inspected_is_told():
    with pytest.raises(LinconvError, match="inspect takes a model of Keras, PyTorch or ONNX"):
        lc.inspect(3)


def test_findings_in_words():
    even = lc.inspect(lc.Conv(np.ones((4, 4)), (9, 9), padding="same")).findings
    assert "output sample o is centred on input o + 0.5 along axes 0 and 1" in even[0][1].text
    lost = lc.inspect(lc.Conv(np.ones(3), (10,), stride=3)).findings
    assert "1 of 10 at the end of axis 0 (use an input of 9 or 12" in lost[0][1].text
    smooth = lc.ConvTranspose([1.0, 2.0, 1.0], (9,), stride=2)  # uneven, and yet without a pattern
    assert lc.inspect(smooth).findings == ()
    board = lc.inspect(lc.ConvTranspose(np.ones(3), (9,), stride=2)).findings
    assert "use kernel size 4 or 2 on axis 0, or the nearest kernel without it" in board[0][1].text
    assert lc.inspect(smooth).rows[0].receptive_field == (2,)
    padded = lc.inspect(lc.Conv(np.ones(3), (10,), stride=2, padding=1)).findings
    assert padded == ()  # what is left over is padding


def test_command_line(tmp_path, monkeypatch):
    testing = pytest.importorskip("click.testing", reason="the command line needs click")
    pytest.importorskip("rich", reason="the command line prints with rich")
    torch = pytest.importorskip("torch", reason="exports the model")
    from linconv.cli import linconv

    def run(*words):
        return testing.CliRunner().invoke(linconv, [str(word) for word in words])

    files = []
    for name, kernel in (("a model", 3), ("b model", 4)):
        layer = torch.nn.Sequential(torch.nn.ConvTranspose2d(2, 3, kernel, 2, 1))
        architectures.filled_torch(layer)
        files.append(tmp_path / f"{name}.pt2")
        torch.export.save(torch.export.export(layer, (torch.zeros(1, 2, 5, 5),)), files[-1])
    uneven, even = files
    done = run("inspect", uneven)
    assert done.exit_code == 1, done.output
    assert "checkerboard risk: kernel 3 x 3" in done.stdout
    assert done.stderr == ""
    assert run("inspect", uneven, "--fail-on", "leftover,half_pixel").exit_code == 0
    assert run("inspect", uneven, "--fail-on", "none").exit_code == 0
    assert run("inspect", uneven, "--fail-on", "checkerbord").exit_code == 2
    assert run("inspect", even).exit_code == 0
    done = run("inspect", uneven, "--json")
    assert json.loads(done.stdout)["layers"][0]["overlap"] == 4
    assert run("inspect", even, "--csv").stdout.count("\n") == 2
    assert run("inspect", even, "--csv", "--json").exit_code == 2
    page = tmp_path / "a page.html"
    assert run("inspect", even, "--html", page).exit_code == 0
    assert "<table>" in page.read_text("utf-8")
    for wrong in ("3,x", ""):
        done = run("inspect", even, "--input-shape", wrong)
        assert (done.exit_code, len(done.stderr.splitlines())) == (2, 1)
    assert run("inspect", tmp_path / "none.onnx").exit_code == 2

    assert run("compare", even, even, "--layer", "0").exit_code == 0
    done = run("compare", even, uneven, "--layer", "0")
    assert done.exit_code == 1
    assert "differ: size" in done.stdout
    done = run("compare", even, uneven, "--layer", "main", "--json")
    assert done.exit_code == 2
    assert "the layer must be one of" in done.stderr
    assert json.loads(run("compare", even, even, "--layer", "0", "--json").stdout)["equal"] is True
    for command in ("inspect", "compare"):
        assert "Exit status:" in run(command, "--help").stdout
        assert command in run("--help").stdout
    monkeypatch.setattr("linconv.commands.inspect.inspect", interrupted)
    assert run("inspect", even).exit_code == 130
    assert sys.modules["linconv.commands.inspect"] is not None


def interrupted(*_, **__):
    raise KeyboardInterrupt

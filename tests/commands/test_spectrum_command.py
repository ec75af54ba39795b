"""`linconv spectrum`: the figures it prints are those of the dense matrix."""

import json
import re

import numpy as np
import pytest
import scipy.linalg

import linconv as lc

testing = pytest.importorskip("click.testing", reason="the command line needs click")
pytest.importorskip("rich", reason="the command line prints with rich")

from linconv.commands import spectrum  # noqa: E402

COURSE = "10 -4 10; 10 0 30; 30 30 -1"


def run(*arguments):
    from linconv.cli import linconv

    return testing.CliRunner().invoke(linconv, ["spectrum", *map(str, arguments)])


def printed(*arguments):
    done = run(*arguments, "--json")
    assert done.exit_code == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "my own files"
    path.mkdir()
    return path


def test_the_course_is_printed_as_the_help_says():
    done = run("--kernel", COURSE, "--input-shape", "4,4")
    assert done.exit_code == 0
    lines = {line.split()[0]: line for line in done.stdout.splitlines()[1:]}
    assert done.stdout.startswith("4 x 4 -> 4 x 4, a matrix of 16 x 16\n")
    assert re.match(r"norm +89\.0789 +exact", lines["norm"])
    assert re.match(r"bounds +89\.0789 to 115\.\d+ +certified", lines["bounds"])
    assert re.match(r"condition 563\.086 +exact", lines["condition"])
    assert re.match(r"rank +16 of 16 +exact", lines["rank"])
    assert " 0.158198 " in lines["smallest"]


GRID = [
    ({}, ()),
    ({"stride": (2, 1)}, ("--stride", "2,1")),
    ({"padding": "valid", "dilation": 2}, ("--padding", "valid", "--dilation", "2")),
    ({"padding": (1, 2)}, ("--padding", "1,2")),
    ({"padding_mode": "circular"}, ("--padding-mode", "circular")),
    ({"padding_mode": "reflect", "stride": 2}, ("--padding-mode", "reflect", "--stride", "2")),
]


@pytest.mark.parametrize(("options", "arguments"), GRID, ids=[" ".join(a) for _, a in GRID])
def test_figures_are_those_of_the_matrix(folder, options, arguments):
    kernel = np.random.default_rng(len(arguments)).standard_normal((3, 2))
    file = folder / "a kernel.npy"
    np.save(file, kernel)
    found = printed("--kernel", file, "--input-shape", "8,9", "-k", "4", *arguments)
    op = lc.Conv(kernel, (8, 9), **{"padding": "same", **options})
    values = scipy.linalg.svdvals(op.matrix())
    assert found["norm"]["value"] == pytest.approx(values[0], rel=1e-6)
    low, high = found["bounds"]["interval"]
    assert low <= values[0] * (1 + 1e-12)
    assert values[0] <= high * (1 + 1e-12)
    assert found["bounds"]["kind"] == "certified"
    assert found["condition"]["value"] == pytest.approx(values[0] / values[-1], rel=1e-6)
    assert found["rank"]["value"] == np.linalg.matrix_rank(op.matrix())
    np.testing.assert_allclose(found["largest"]["values"], values[:4], rtol=1e-9)
    np.testing.assert_allclose(found["smallest"]["values"], values[-4:], rtol=1e-9)
    assert tuple(found["output_shape"]) == op.output_shape


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_a_layers_kernel_with_channels(folder, data_format):
    rng = np.random.default_rng(4)
    last = data_format == "channels_last"
    kernel = rng.standard_normal((3, 3, 2, 4) if last else (4, 2, 3, 3))
    file = folder / "layer.npy"
    np.save(file, kernel)
    shape = "6,6,4" if last else "4,6,6"
    given = ("--kernel", file, "--input-shape", shape, "--groups", 2, "--data-format", data_format)
    found = printed(*given)
    op = lc.Conv(
        kernel, tuple(map(int, shape.split(","))), padding="same", groups=2, data_format=data_format
    )
    values = scipy.linalg.svdvals(op.matrix())
    assert found["norm"]["value"] == pytest.approx(values[0], rel=1e-6)
    assert found["rank"]["value"] == np.linalg.matrix_rank(op.matrix())


def test_one_row_is_a_kernel_of_one_axis():
    found = printed("--kernel", "-1 2 -1", "--input-shape", "20")
    wanted = 2 - 2 * np.cos(np.pi * np.arange(20, 20 - 6, -1) / 21)
    np.testing.assert_allclose(found["largest"]["values"], wanted, rtol=1e-12)
    assert printed("--kernel", "-1 2 -1", "--input-shape", "4,20")["kernel_shape"] == [1, 3]


def test_what_is_lost_is_infinite_in_print_and_none_in_json():
    given = ("--kernel", "1 1 1", "--input-shape", "9", "--padding-mode", "circular")
    assert "condition inf " in run(*given).stdout
    found = printed(*given)
    assert found["condition"]["value"] is None
    assert found["rank"]["value"] == 7


def test_a_map_too_large_for_its_rank_says_so(monkeypatch):
    monkeypatch.setattr(spectrum, "DENSE_BYTES", 1000)
    given = ("--kernel", COURSE, "--input-shape", "24,24")
    done = run(*given)
    assert done.exit_code == 0
    assert re.search(r"^rank +not known: ", done.stdout, re.M)
    found = printed(*given)
    assert found["rank"] is None
    assert "rank" in found["unknown"]
    values = scipy.linalg.svdvals(
        lc.Conv(
            np.array([[10, -4, 10], [10, 0, 30], [30, 30, -1]]), (24, 24), padding="same"
        ).matrix()
    )
    np.testing.assert_allclose(found["largest"]["values"], values[:6], rtol=1e-6)
    np.testing.assert_allclose(found["smallest"]["values"], values[-6:], rtol=1e-6)


DRAWN = [
    ("--kernel", COURSE, "--input-shape", "8,8"),
    ("--kernel", "1 2 1", "--input-shape", "9"),
    ("--kernel", COURSE, "--input-shape", "8,8", "--stride", "2"),
    ("--kernel", "0", "--input-shape", "3,3"),
]


@pytest.mark.parametrize("arguments", DRAWN, ids=["plane", "line", "strided", "zero"])
def test_a_picture_is_drawn(folder, arguments):
    pytest.importorskip("matplotlib", reason="pictures need Matplotlib")
    out = folder / "the spectrum.png"
    done = run(*arguments, "--out", out)
    assert done.exit_code == 0, done.stderr
    assert out.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    assert done.stdout.endswith(f"Picture: {out}\n")
    assert [path.name for path in folder.iterdir()] == ["the spectrum.png"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--kernel", "1 2; 3"], "as many numbers in each row; got rows of [2, 1]"),
        (["--kernel", "1 2-3"], "numbers; got '1 2-3'"),
        (["--kernel", "gausian5"], "did you mean 'gaussian5'"),
        (["--kernel", "nowhere.npy"], "nowhere.npy does not exist"),
        (["--kernel", "FOLDER/pickled.npy"], "pickle"),
        (["--kernel", "FOLDER/nan.npy"], "finite"),
        (["--input-shape", "16x16"], "--input-shape must be whole numbers"),
        (["--input-shape", "0,4"], "0"),
        (["--input-shape", "2,2", "--padding", "valid"], "kernel"),
        (["--stride", "a"], "--stride must be whole numbers"),
        (["--stride", "0"], "stride"),
        (["--padding", "some"], "padding"),
        (["--out", "FOLDER/x.jpg"], "--out must be a PNG file"),
        (["--out", "FOLDER/none/x.png"], "cannot be written: No such file or directory"),
    ],
)
def test_bad_input_is_told_in_one_line(folder, arguments, message):
    np.save(folder / "pickled.npy", np.array([None]), allow_pickle=True)
    np.save(folder / "nan.npy", np.full((3, 3), np.nan))
    arguments = [argument.replace("FOLDER", str(folder)) for argument in arguments]
    done = run("--kernel", COURSE, "--input-shape", "16,16", *arguments)
    assert done.exit_code == 2
    assert done.stdout == ""
    assert done.stderr.startswith("Error: ")
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_ctrl_c_leaves_nothing(folder, monkeypatch):
    def interrupted(op):
        raise KeyboardInterrupt

    monkeypatch.setattr(spectrum, "condition", interrupted)
    out = folder / "x.png"
    done = run("--kernel", COURSE, "--input-shape", "4,4", "--out", out)
    assert done.exit_code == 130
    assert done.stdout == ""
    assert list(folder.iterdir()) == []

"""The command line: what it prints, what it leaves, and its exit status."""

import importlib
import json
import os
import re
import runpy
import shlex
import subprocess
import sys

import numpy as np
import pytest

import linconv as lc
from linconv.study import course_figures, photograph, report
from linconv.study.results import Part

pytest.importorskip("matplotlib", reason="the report has pictures drawn with Matplotlib")
pytest.importorskip("jinja2", reason="the report is written with Jinja2")
testing = pytest.importorskip("click.testing", reason="the command line needs click")
pytest.importorskip("rich", reason="the command line prints with rich")


def run(*arguments):
    from linconv.cli import linconv

    return testing.CliRunner().invoke(linconv, [str(argument) for argument in arguments])


def run_study(*arguments):
    """The study without frozen encoders, which have tests of their own."""
    return run("study", "--models", "none", *arguments)


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "my own files"
    path.mkdir()
    return path


@pytest.fixture
def sample(folder):
    file = folder / "a picture.npy"
    np.save(file, np.random.default_rng(2).random((14, 17)))
    return file


@pytest.fixture
def undrawn(monkeypatch):
    """Leave the drawing to other tests: it takes most of the time of a study."""
    from linconv.study import whole as module

    monkeypatch.setattr(module, "draw", lambda picture: picture)
    monkeypatch.setattr(module, "png", lambda figure: b"\x89PNG " + figure.name.encode())
    return module


def test_alone_it_shows_its_help():
    done = run()
    assert done.exit_code == 0
    assert done.output == run("--help").output == run("-h").output
    assert "linconv study" in done.output


def test_version():
    assert run("--version").output == f"linconv, version {lc.__version__}\n"


def test_help_teaches():
    text = run("study", "--help").output
    for words in (
        "linconv study --image holiday.jpg --kernel gaussian5",
        "[default: linconv-study]",
        "astronaut",
        "sobel_x",
        "linconv study --data mini_cifar.h5 --models A20,B --epochs 5",
        "A1,A10,A20,B,B2",
        "--no-training",
        "Exit status:",
        "70   an error inside linconv",
    ):
        assert words in text


@pytest.mark.usefixtures("undrawn")
def test_study_prints_verdicts_and_where_the_report_is(sample, folder):
    out = folder / "a study"
    done = run_study("--image", sample, "--kernel", "box3", "--out", out)
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert lines[0] == "All 15 published figures are met."
    assert lines[-1] == f"Report: {out / 'report.html'}"
    row = next(line for line in lines if "best 3 × 3 beats trained" in line)
    assert row.split()[-3:] == ["1.26384", "1.64755", "better"]
    row = next(line for line in lines if "best 3 × 3, bias" in line)
    assert row.split()[-4:] == ["4.11013", "agrees,", "own", "optimum"]
    assert sorted(path.name for path in out.iterdir()) == ["figures", "report.html", "results.json"]
    figures = {path.name for path in (out / "figures").iterdir()}
    recorded = json.loads((out / "results.json").read_text("utf-8"))
    files = {p["file"] for section in recorded["sections"] for p in section["pictures"]}
    assert files == {f"figures/{name}" for name in figures}
    assert recorded["settings"]["command"] == (
        f"linconv study --image '{sample}' --kernel box3 --out '{out}' --seed 0 --models none"
    )
    assert recorded["settings"]["command"].replace("'", "&#39;") in (
        (out / "report.html").read_text("utf-8")
    )


@pytest.mark.usefixtures("undrawn")
def test_progress_is_plain_lines_beside_the_results(sample, folder):
    done = run_study("--image", sample, "--out", folder / "study")
    lines = done.stderr.splitlines()
    assert all(re.fullmatch(r" {0,2}\d{1,3} %  [\w\d ]+", line) for line in lines), lines
    shares = [int(line.partition("%")[0]) for line in lines]
    assert shares == sorted(shares)
    assert lines[0] == "  0 %  the convolution"
    assert lines[-1] == "100 %  the report"
    assert "%" not in done.stdout


@pytest.mark.usefixtures("undrawn")
def test_json_is_all_that_is_printed(sample, folder):
    out = folder / "study"
    done = run_study("--image", sample, "--out", out, "--json")
    assert done.exit_code == 0
    assert done.stdout == (out / "results.json").read_text("utf-8")
    assert json.loads(done.stdout)["passed"] is True


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("option", [[], ["--json"]])
def test_a_figure_that_is_not_met_gives_exit_status_1(sample, folder, monkeypatch, option):
    wrong = {name: values.copy() for name, values in course_figures.PUBLISHED.exact.items()}
    wrong["valid_convolution"][0, 0] += 1
    published = course_figures.PUBLISHED._replace(exact=wrong)
    monkeypatch.setattr(course_figures, "PUBLISHED", published)
    done = run_study("--image", sample, "--out", folder / "study", *option)
    assert done.exit_code == 1
    if option:
        assert json.loads(done.stdout)["passed"] is False
    else:
        assert done.stdout.startswith("3 of 15 published figures are NOT MET.")
    assert "NOT MET" in (folder / "study" / "report.html").read_text("utf-8")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--image", "no such.png"], "no such.png does not exist; check the path"),
        (["--image", "astronout"], "did you mean 'astronaut'?"),
        (["--kernel", "gausian5"], "did you mean 'gaussian5'?"),
        (["--image", "FOLDER"], "is a directory; give the path of a file in it"),
        (["--out", "SAMPLE/study"], "cannot be written: Not a directory; give another folder"),
        (["--out", ""], "the output folder must have a name; got ''; give one"),
        (
            ["--kernel", "LARGE"],
            "at least 15 x 15 pixels, the size of the kernel; a picture.npy has 14 x 17",
        ),
    ],
)
def test_bad_input_is_told_in_one_line(sample, folder, arguments, message):
    large = folder / "large.csv"
    np.savetxt(large, np.ones((15, 15)), delimiter=",")
    names = {"FOLDER": folder, "SAMPLE": sample, "LARGE": large}
    for name, path in names.items():
        arguments = [argument.replace(name, str(path)) for argument in arguments]
    defaults = ["--image", sample, "--out", folder / "study"]
    done = run_study(*defaults, *arguments)
    assert done.exit_code == 2
    assert done.stdout == ""
    assert done.stderr.startswith("Error: ")
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("arguments", [["--seed", "-1"], ["--seed", "x"], ["--unknown"], ["extra"]])
def test_wrong_usage_gives_exit_status_2(arguments):
    done = run("study", *arguments)
    assert done.exit_code == 2
    assert "Usage: linconv study" in done.stderr


def test_ctrl_c_in_a_step_gives_exit_status_130(sample, folder, monkeypatch):
    def interrupted(_) -> Part:
        raise KeyboardInterrupt

    monkeypatch.setattr(photograph, "matrix", interrupted)
    done = run_study("--image", sample, "--out", folder / "study")
    assert done.exit_code == 130
    assert done.stdout == ""
    assert done.stderr.splitlines()[-1] == "Interrupted; no file is half written."
    assert list((folder / "study").rglob("*.*")) == []


@pytest.mark.usefixtures("undrawn")
def test_ctrl_c_while_writing_leaves_only_whole_files(sample, folder, monkeypatch):
    write_file = report.write_file

    def interrupted(path, content):
        if path.name == "results.json":
            raise KeyboardInterrupt
        write_file(path, content)

    monkeypatch.setattr(report, "write_file", interrupted)
    done = run_study("--image", sample, "--out", folder / "study")
    assert done.exit_code == 130
    files = [path for path in (folder / "study").rglob("*") if path.is_file()]
    assert files
    assert {path.suffix for path in files} == {".png"}


def left(monkeypatch, *arguments):
    """The exit status of the entry point."""
    main = importlib.import_module("linconv.__main__").main
    monkeypatch.setattr(sys, "argv", ["linconv", *(str(argument) for argument in arguments)])
    with pytest.raises(SystemExit) as error:
        main()
    return error.value.code


@pytest.mark.parametrize("error", [ZeroDivisionError("a bug"), OSError(5, "a bug", "a file")])
def test_an_error_of_ours_gives_exit_status_70(sample, folder, monkeypatch, capsys, error):
    def broken(_) -> Part:
        raise error

    monkeypatch.setattr(photograph, "matrix", broken)
    arguments = ["study", "--models", "none", "--image", sample, "--out", folder / "study"]
    assert left(monkeypatch, *arguments) == 70
    printed = capsys.readouterr().err
    assert "Traceback" in printed
    assert "a bug" in printed


def test_the_entry_point_leaves_with_the_status_of_the_command(monkeypatch):
    assert left(monkeypatch, "--version") == 0
    assert left(monkeypatch, "study", "--unknown") == 2


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("option", [[], ["--json"]])
def test_results_that_cannot_be_printed_give_exit_status_2(sample, folder, monkeypatch, option):
    def echo(message, err=False, **_):
        if not err:
            raise BrokenPipeError(32, "Broken pipe")

    monkeypatch.setattr("linconv.cli.click.echo", echo)
    done = run_study("--image", sample, "--out", folder / "study", *option)
    assert done.exit_code == 2
    assert (folder / "study" / "report.html").exists()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="has no full device")
@pytest.mark.parametrize(
    ("output", "message"),
    [(">/dev/full", "cannot be written: No space left on device"), (">&-", "is closed")],
)
def test_an_output_that_cannot_be_written_gives_exit_status_2(output, message):
    source = os.path.dirname(os.path.dirname(lc.__file__))
    command = f"{shlex.quote(sys.executable)} -m linconv --help {output}"
    environment = {**os.environ, "PYTHONPATH": source}
    done = subprocess.run(
        ["sh", "-c", command], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr.startswith("Error: standard output ")
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("shape", [(1, 1), (2, 300)])
def test_an_image_smaller_than_the_kernel_is_refused(folder, shape):
    np.save(folder / "small.npy", np.linspace(0, 1, shape[0] * shape[1]).reshape(shape))
    done = run_study("--image", folder / "small.npy", "--out", folder / "study")
    assert done.exit_code == 2
    size = f"{shape[0]} x {shape[1]}"
    assert (
        f"the image must be at least 3 x 3 pixels, the size of the kernel; small.npy has {size}"
        in (done.stderr)
    )


def test_a_real_run_from_another_folder(folder, sample):
    # The tests see the source tree; so does the interpreter that they start.
    source = os.path.dirname(os.path.dirname(lc.__file__))
    environment = {**os.environ, "PYTHONPATH": source, "PYTHONIOENCODING": "ascii"}
    command = [sys.executable, "-m", "linconv", "study", "--image", sample.name]
    command += ["--models", "none"]
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("All 15 published figures are met.\n")
    out = folder / "linconv-study"
    assert done.stdout.endswith(f"Report: {out / 'report.html'}\n")
    figures = list((out / "figures").iterdir())
    assert len(figures) == 18
    assert all(path.read_bytes().startswith(b"\x89PNG\r\n\x1a\n") for path in figures)
    page = (out / "report.html").read_text("utf-8")
    assert page.count("data:image/png;base64,") == 18
    assert not re.search(r'(?:src|href)="(?:https?:)?//', page)


@pytest.mark.parametrize("package", ["click", "rich"])
def test_missing_packages_of_the_command_line_are_named(package, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, package, None)
    reloaded = (f"{package}.", "linconv.cli", "linconv.commands")
    for name in [n for n in sys.modules if n.startswith(reloaded)]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delitem(sys.modules, "linconv.__main__", raising=False)
    with pytest.raises(SystemExit) as left:
        runpy.run_module("linconv", run_name="__main__")
    assert left.value.code == 2
    error = capsys.readouterr().err
    assert f"the command line needs the package {package}" in error
    assert 'pip install "linconv[study]"' in error
    assert len(error.splitlines()) == 1

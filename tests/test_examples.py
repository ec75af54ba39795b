"""The examples run, and what they print is true."""

import re
import runpy
from importlib import util
from pathlib import Path

import numpy as np
import pytest

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
TESTED = {"by_hand_4x4", "port_strided_same", "deblur", "best_inverse_of_photograph"}


@pytest.fixture
def printed(capsys, monkeypatch):
    """Run an example as a script; return what it prints."""

    def run(name: str, *arguments: str) -> str:
        path = EXAMPLES / f"{name}.py"
        monkeypatch.setattr("sys.argv", [str(path), *arguments])
        runpy.run_path(str(path), run_name="__main__")
        return capsys.readouterr().out

    return run


def decibels(text: str) -> dict[str, list[float]]:
    """The numbers followed by dB on each line, by the line's first words."""
    rows = {}
    for line in text.splitlines():
        if found := re.findall(r"(-?[\d.]+) dB", line):
            rows[re.split(r"\s{2,}|\s+-?[\d.]+ dB", line)[0]] = [float(value) for value in found]
    return rows


def test_every_example_is_tested():
    assert {path.stem for path in EXAMPLES.glob("*.py")} == TESTED


def test_by_hand(printed, course):
    text = printed("by_hand_4x4")
    figures = (
        "valid_convolution",
        "convolution_matrix",
        "transposed_convolution_stride_1",
        "padded_input_stride_1",
        "transposed_convolution_stride_2",
        "dilated_padded_input_stride_2",
    )
    assert {name for name in figures if str(np.array(course[name])) not in text} == set()


def test_port_strided_same(printed):
    text = printed("port_strided_same")
    kernel = np.outer([1, 2, 1], [1, 2, 1]) / 16
    rows, columns = np.indices((32, 32))
    spot = np.exp(-((rows - 15.0) ** 2 + (columns - 17.0) ** 2) / 18.0)
    wanted = strided(np.pad(spot, ((0, 1), (0, 1))), kernel)
    shifted = strided(np.pad(spot, 1)[:-1, :-1], kernel)
    error = f"{np.abs(shifted - wanted).max():.3f}"
    assert re.search(r'^padding="same" +\(16, 16\) +0\.000 +\(15\.00, 17\.00\)$', text, re.M)
    assert re.search(rf"^padding=1 +\(16, 16\) +{error} +\(16\.00, 18\.00\)$", text, re.M)
    assert re.search(r"^padding=\(\(0, 1\), .* 0\.000 +\(15\.00, 17\.00\)$", text, re.M)
    assert re.search(r"^31 +\(1, 1\) +padding=1 is right$", text, re.M)
    assert re.search(r"^224 +\(0, 1\) +pad first", text, re.M)
    if util.find_spec("torch"):
        assert re.search(rf"^PyTorch itself.*\npadding=1 +{error}\npad, .* 0\.000$", text, re.M)


def strided(padded: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """The definition, at stride 2."""
    return np.array(
        [
            [
                np.sum(padded[row : row + 3, column : column + 3] * kernel)
                for column in range(0, padded.shape[1] - 2, 2)
            ]
            for row in range(0, padded.shape[0] - 2, 2)
        ]
    )


def test_deblur(printed):
    rows = decibels(printed("deblur"))
    blurred, symmetric, zeros, transposed = (values[0] for values in rows.values())
    assert [name.partition(",")[0] for name in rows] == [
        "blurred",
        "lsmr",
        "lsmr",
        "the transpose (blurs once more)",
    ]
    assert symmetric > blurred + 12, "the solver sharpens"
    assert zeros < blurred, "the wrong border spoils it"
    assert transposed < blurred, "the transpose is no inverse"


def test_best_inverse_of_photograph(printed):
    pytest.importorskip("skimage", reason="the photograph is scikit-image's")
    pytest.importorskip("PIL", reason="pictures are read with Pillow")
    rows = decibels(printed("best_inverse_of_photograph", "coins"))
    assert list(rows) == ["blurred", *(f"{k} x {k} inverse" for k in (3, 5, 7, 9))]
    fitted, unseen = np.array(list(rows.values())).T
    assert np.all(np.diff(fitted) > 0), "a larger kernel fits better"
    assert np.all(unseen[1:] > unseen[0] + 3), "and helps where it was not fitted"

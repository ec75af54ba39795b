"""The benchmarks run, and time nothing whose result is wrong."""

import json
import re
import runpy
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"


@pytest.fixture
def benchmark_folder(monkeypatch):
    """Make the scripts importable, as Python does for a script that it runs."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))


@pytest.fixture
def figures(benchmark_folder, capsys, monkeypatch, tmp_path):
    """Run a benchmark on the cases whose name contains a text; return table and figures."""

    def run(name: str, only: str) -> tuple[str, dict]:
        file = tmp_path / f"{name}.json"
        path = str(BENCHMARKS / f"{name}.py")
        monkeypatch.setattr("sys.argv", [path, "--json", str(file), "--only", only])
        runpy.run_path(path, run_name="__main__")
        return capsys.readouterr().out, json.loads(file.read_text(encoding="utf-8"))

    return run


def test_assembly(figures):
    text, found = figures("assembly", "28x28, 64 -> 64, last")
    (case,) = found["assembly"]
    # All windows less, per axis, one tap at either border.
    assert case["entries"] == (3 * 28 - 2) ** 2 * 64 * 64
    rate = case["entries"] / case["timings"]["linconv"]["seconds"]
    assert case["entries_per_second"]["linconv"] == pytest.approx(rate)
    assert re.search(r"^28x28, 64 -> 64, last +27\.54 M +\d", text, re.M)
    assert "Target of 20 M entries/s" in text


def test_assembly_compares_with_kronecker_sums(figures):
    _, found = figures("assembly", "512x512 k3")
    with_sums = {c["name"] for c in found["assembly"] if "kron" in c["timings"]}
    assert with_sums == {"512x512 k3", "512x512 k3 circular"}


def test_application(figures):
    pytest.importorskip("torch", reason="a peer is needed that has channels")
    text, found = figures("application", "1 -> 15")
    runs = found["application"]
    assert {(run["dtype"], run["transposed"]) for run in runs} == {
        (dtype, transposed) for dtype in ("float32", "float64") for transposed in (False, True)
    }
    for run in runs:
        ratio = run["timings"]["torch"]["seconds"] / run["timings"]["linconv"]["seconds"]
        assert run["ratios"]["torch"] == pytest.approx(ratio)
        assert f"{ratio:.2f}" in text
    assert found["machine"]["numpy"] == np.__version__


def test_a_wrong_result_is_not_timed(benchmark_folder):
    import timing

    calls = {"ours": lambda: np.array([1.0, 2.0]), "peer": lambda: np.array([1.0, 2.001])}
    with pytest.raises(AssertionError, match="peer deviates by 0.0005, allowed is 1e-05"):
        timing.race(calls, rtol=1e-5)
    assert set(timing.race(calls, rtol=1e-3, budget=0.001)) == {"ours", "peer"}

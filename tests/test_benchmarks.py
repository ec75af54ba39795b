"""The benchmarks run, and time nothing whose result is wrong."""

import json
import re
import runpy
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import scipy

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"


@pytest.fixture
def benchmark_folder(monkeypatch):
    """Make the scripts importable, as Python does for a script that it runs."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))


@pytest.fixture
def figures(benchmark_folder, capsys, monkeypatch, tmp_path):
    """Run a benchmark on the cases whose name contains a text; return table and figures."""

    def run(name: str, only: str, *flags: str) -> tuple[str, dict]:
        file = tmp_path / f"{name}.json"
        path = str(BENCHMARKS / f"{name}.py")
        monkeypatch.setattr("sys.argv", [path, "--json", str(file), "--only", only, *flags])
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


@pytest.mark.parametrize("race", ["circular", "zeros"])
def test_spectrum(race, figures):
    text, found = figures("spectrum", race, "--quick")
    timings = {name: each["seconds"] for name, each in found[race]["timings"].items()}
    bars = {bar["text"]: bar for bar in found[race]["bars"]}
    if race == "circular":
        ratio = timings["published, NumPy"] / timings["linconv"]
        assert bars["published / linconv, all values"]["value"] == pytest.approx(ratio)
        alone = bars["all / norm, linconv"]
        ratio = timings["linconv"] / timings["linconv, the norm alone"]
        assert alone["value"] == pytest.approx(ratio)
        assert alone["met"] == (ratio >= 10)
    else:
        assert found[race]["residual"] <= 1e-6
        for bar in bars.values():  # none without PyTorch
            ratio = timings["torch, 100 iterations"] / timings["linconv"]
            assert bar["value"] == pytest.approx(ratio)
            assert 0.99 < found[race]["torch value"] / found[race]["value"] <= 1 + 1e-4
    for name, bar in bars.items():
        met = "yes" if bar["met"] else "no"
        assert re.search(
            rf"^{re.escape(name)} +{bar['value']:.2f} +{bar['wanted']} +{met}$", text, re.M
        )


def fastest(timings):
    return min(timing["seconds"] for timing in timings.values())


def test_native(figures):
    text, found = figures("native", "1 -> 15", "--quick", "--no-peers")
    limits, cells = found["limits"], found["native"]
    assert limits["gflops"] == max(limits["products"].values())
    assert limits["gigabytes_per_second"] == max(limits["copies"].values())
    assert [cell["transposed"] for cell in cells] == [False, True]
    for cell in cells:
        assert cell["gflop"] == pytest.approx(2e-9 * 1000 * 16 * 16 * 15 * 9)
        gigabytes = 4e-9 * (1000 * (32 * 32 + 15 * 16 * 16) + 15 * 9)
        limit = max(cell["gflop"] / limits["gflops"], gigabytes / limits["gigabytes_per_second"])
        assert cell["limit_ms"] == pytest.approx(1e3 * limit)
        assert set(cell["timings"]) == {"linconv", "linconv-last"}
        ours = fastest(cell["timings"])
        assert cell["timings"][cell["format"]]["seconds"] == ours
        assert cell["of_limit"] == pytest.approx(limit / ours)
        assert cell["float64_ratio"] == pytest.approx(fastest(cell["float64_timings"]) / ours)
        assert cell["best_peer"] is cell["ratio"] is cell["torch_ratio"] is None
        assert f"{1e3 * ours:.2f} ms" in text
    bars = {bar["text"]: bar for bar in found["summary"]}
    assert len(bars) == 9
    double = bars["float64 / float32 time"]
    assert double["value"] == max(cell["float64_ratio"] for cell in cells)
    assert double["met"] == (double["value"] <= 2.5)
    for dtype, most in ("float32", 2e-6), ("float64", 1e-13):
        error = bars[f"largest error, {dtype}"]
        assert error["value"] == max(cell["errors"][dtype] for cell in cells) < most
        assert error["met"] is True
    assert bars["best peer / linconv, slowest layer"]["met"] is None


@pytest.mark.parametrize("transposed", [False, True])
def test_native_compares_with_the_best_peer(benchmark_folder, transposed):
    import native
    import peers

    case = peers.Case("small", (2, 1, 3, 5), (2, 12, 9), 3, {"groups": 2})
    rivals = {name: peers.PEERS[name] for name in ("fftconvolve", "oaconvolve", "ndimage")}
    settings = {"budget": 0.001, "rounds": 2, "pause": 0.0, "patience": 3.0, "turns": 2}
    limits = {"gflops": 100.0, "gigabytes_per_second": 10.0}
    cell = native.measured(case, rivals, limits, settings, transposed=transposed)
    times = {name: timing.seconds for name, timing in cell["timings"].items()}
    assert cell["best_peer"] == min(rivals, key=times.__getitem__)
    ratio = times[cell["best_peer"]] / min(times["linconv"], times["linconv-last"])
    assert cell["ratio"] == pytest.approx(ratio)
    mean, *_ = native.summary([cell, cell | {"name": "other", "ratio": 4 * ratio}], small=1.0)
    assert mean["value"] == pytest.approx(2 * ratio)
    assert mean["met"] == (2 * ratio >= 1.8)
    assert ("small" in ", ".join(mean["missing"])) == (ratio < 1.8)

    def wrong(cell):
        entry = peers.PEERS["ndimage"](cell)
        return peers.Entry(entry.call, lambda result: entry.read(result) + 1)

    with pytest.raises(AssertionError, match="wrong deviates"):
        native.race(
            peers.Cell.of(case, "float32", transposed=transposed),
            {**peers.OURS, "wrong": wrong},
            "float32",
        )


def test_a_wrong_result_is_not_timed(benchmark_folder):
    import timing

    calls = {"ours": lambda: np.array([1.0, 2.0]), "peer": lambda: np.array([1.0, 2.001])}
    with pytest.raises(AssertionError, match="peer deviates by 0.0005, allowed is 1e-05"):
        timing.race(calls, rtol=1e-5)
    assert set(timing.race(calls, rtol=1e-3, budget=0.001)) == {"ours", "peer"}


def test_solve(figures, monkeypatch):
    """With SciPy's convolution in the place of PyLops', which takes seconds to import."""
    import timing

    def blur(dims, h, offset, dtype):
        def apply(kernel):
            return lambda x: scipy.signal.convolve(x.reshape(dims), kernel, mode="same").ravel()

        assert offset == tuple(n // 2 for n in h.shape)
        size = (np.prod(dims),) * 2
        adjoint = apply(h[::-1, ::-1])
        return scipy.sparse.linalg.LinearOperator(size, apply(h), rmatvec=adjoint, dtype=dtype)

    peer = types.SimpleNamespace(Convolve2D=blur)
    monkeypatch.setitem(sys.modules, "pylops", types.SimpleNamespace(signalprocessing=peer))
    monkeypatch.setitem(sys.modules, "pylops.signalprocessing", peer)
    monkeypatch.setattr(timing, "installed", lambda *names: names == ("pylops",))
    text, found = figures("solve", "Gaussian, sigma 2", "--quick")
    (case,) = found["solve"]
    runs = case["runs"]
    assert runs["linconv, auto"]["method"] == "separable"
    assert runs["linconv, auto"]["residual"] < 1e-12
    assert runs["linconv, cg"]["residual"] <= 1e-6
    small, fast = found["bars"]
    assert (small["value"], small["met"]) == (runs["linconv, auto"]["residual"], True)
    ratio = runs["lsqr"]["seconds"] / runs["linconv, auto"]["seconds"]
    assert fast["value"] == pytest.approx(ratio)
    assert fast["met"] == (ratio >= 20)
    near = runs["linconv, cg, to lsqr's residual"]
    assert near["residual"] <= runs["lsqr"]["residual"] < 1e-2
    assert near["steps"] < runs["linconv, cg"]["steps"]
    assert f"{runs['linconv, cg']['residual']:.1e}" in text


def test_solve_measures_residuals_by_itself(benchmark_folder):
    """Zero at the ridge solution of a dense matrix made tap by tap, one at nothing."""
    import solve

    kernel = np.random.default_rng(0).random((3, 5))
    padded = np.pad(np.eye(56).reshape(56, 7, 8), ((0, 0), (1, 1), (2, 2)))
    matrix = sum(
        kernel[i, j] * padded[:, i : i + 7, j : j + 8].reshape(56, 56).T
        for i, j in np.ndindex(3, 5)
    )
    y = np.random.default_rng(1).random(56)
    best = np.linalg.solve(matrix.T @ matrix + solve.RIDGE * np.eye(56), matrix.T @ y)
    image = y.reshape(7, 8)
    assert solve.normal_residual(kernel, image, best.reshape(7, 8)) < 1e-12
    assert solve.normal_residual(kernel, image, np.zeros((7, 8))) == 1
    assert solve.normal_residual(kernel, image, image) > 1e-2

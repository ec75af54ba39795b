"""Which engine computes, and what linconv tells of it."""

import os
import subprocess
import sys

import numpy as np
import pytest

import linconv as lc
from linconv.engines import by_path, choice, native_engine
from linconv.engines.choice import Choice, choose, engine_in_use, paths
from linconv.errors import LinconvError
from linconv.geometry import Geometry

F32 = np.dtype(np.float32)
NATIVE = pytest.mark.skipif(not native_engine.available(), reason="needs the native engine")


def forget() -> None:
    """Let nothing that was chosen before be taken again."""
    choose.cache_clear()
    by_path.operation.cache_clear()


@pytest.fixture
def forced(monkeypatch):
    """Force an engine as the environment variable does, for one test."""

    def force(engine: str | None) -> None:
        forget()
        monkeypatch.setattr(choice, "FORCED", engine)

    yield force
    forget()


def test_the_cheapest_path_that_can_is_taken():
    for options in ({}, {"stride": 2}, {"in_channels": 8, "out_channels": 8, "groups": 8}):
        for last in (True, False):
            for transposed in (True, False):
                g = Geometry((32, 32), 3, padding=1, **options)
                made = choose(g, last, transposed=transposed, dtype=F32)
                assert set(made.cycles) == set(paths(g, last))
                assert all(cycles > 0 for cycles in made.cycles.values())
                direct = {k: v for k, v in made.cycles.items() if k != "fft"}
                assert made.path == min(direct, key=direct.get)


@NATIVE
@pytest.mark.parametrize(
    ("path", "options", "last"),
    [
        ("rows", {"kernel_size": 3}, False),
        ("pixels", {"kernel_size": 5, "in_channels": 64, "out_channels": 64}, True),
        ("channels", {"kernel_size": 3, "in_channels": 64, "out_channels": 64, "groups": 64}, True),
        ("spectra", {"kernel_size": 31}, False),
        ("winograd", {"kernel_size": 3, "in_channels": 64, "out_channels": 64}, True),
    ],
)
def test_each_path_is_at_home_somewhere(path, options, last):
    g = Geometry((64, 64), padding="same", **options)
    for transposed in (False, True):
        assert choose(g, last, transposed=transposed, dtype=F32).path == path


def test_large_kernels_go_by_spectra_also_without_the_native_engine(forced):
    forced("numpy")
    g = Geometry((256, 256), 41, padding="same")
    assert choose(g, False, transposed=False, dtype=F32).path == "fft"
    assert choose(g.replace(kernel_size=3), False, transposed=False, dtype=F32).path == "windows"


@NATIVE
def test_transforms_along_a_line_are_told():
    told = lc.Conv(np.ones((31, 31), np.float32), (256, 256), padding="same").explain()
    assert (told.path, "31 taps along a line are many" in told.reason) == ("spectra", True)


@NATIVE
def test_fewer_products_are_told():
    told = lc.Conv(np.ones((3, 3, 64, 64), np.float32), (32, 32, 64), padding="same").explain()
    assert (told.path, "saves products" in told.reason) == ("winograd", True)


def test_forced_engine_is_used_and_told(forced):
    forced("numpy")
    engine, reason = engine_in_use()
    assert (engine, "LINCONV_ENGINE is 'numpy'" in reason) == ("numpy", True)
    assert lc.Conv(np.ones(3), (9,)).explain().path == "windows"
    assert lc.show_config("dicts")["engine"] == "numpy"


def test_unknown_engine_is_refused_with_the_nearest(forced):
    forced("nativ")
    with pytest.raises(LinconvError, match="LINCONV_ENGINE must be .*native"):
        engine_in_use()


def test_forced_native_engine_that_is_absent_is_refused(forced, monkeypatch):
    forced("native")
    monkeypatch.setattr(native_engine, "available", lambda: False)
    with pytest.raises(LinconvError, match="got an installation without it.*compiler"):
        engine_in_use()


def test_absent_native_engine_is_told(forced, monkeypatch):
    forced(None)
    monkeypatch.setattr(native_engine, "available", lambda: False)
    monkeypatch.setattr(native_engine, "NOT_LOADED", "No module named '_native'")
    engine, reason = engine_in_use()
    assert engine == "numpy"
    assert "No module named '_native'" in reason
    assert "install a C++ compiler" in reason
    config = lc.show_config("dicts")
    assert (config["engine"], config["target"], config["widest"]) == ("numpy", None, None)


@NATIVE
def test_four_axes_are_left_to_numpy():
    op = lc.Conv(np.ones((2, 2, 2, 2)), (3, 3, 3, 3))
    assert op.explain().path == "windows"
    assert "more than 3 spatial axes" in op.explain().reason
    wide = lc.Conv(np.ones((3, 3)), (16, 16), dilation=10_000, padding=10_000)
    assert wide.explain().path == "windows"
    assert "windows that span (20001, 20001) samples" in wide.explain().reason


@pytest.mark.parametrize("value", ["numpy", "native"])
def test_environment_variable_chooses_the_engine(value):
    if value == "native" and not native_engine.available():
        pytest.skip("needs the native engine")
    code = "import linconv as lc; print(lc.show_config('dicts')['engine'])"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "LINCONV_ENGINE": value},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == value


def test_config_is_printed(capsys):
    assert lc.show_config() is None
    printed = capsys.readouterr().out
    for name, value in lc.show_config("dicts").items():
        assert f"{name:<8} {value}" in printed


def test_config_refuses_another_mode():
    with pytest.raises(LinconvError, match="mode must be .*dicts"):
        lc.show_config("dict")


def test_explanations_are_of_the_direction():
    op = lc.Conv(np.ones((3, 3, 3, 40)), (16, 16, 3), stride=2)
    for of in (op, op.T):
        told = of.explain()
        assert isinstance(told, Choice)
        assert f"-> {told.path}" in str(told)
        assert told.to_dict() == {
            "path": told.path,
            "reason": told.reason,
            "cycles": told.cycles,
        }
    assert op.explain().cycles != op.T.explain().cycles


@NATIVE
def test_unknown_instruction_set_is_refused():
    with pytest.raises(LinconvError, match="target must be .*avx2"):
        native_engine.use_target("avx")


def test_every_path_is_described_and_is_a_form():
    op = lc.Conv(np.ones((2, 2, 1, 4)), (5, 6, 4), groups=4)
    able = paths(op.geometry, True)
    assert set(able) <= set(choice.DESCRIPTIONS)
    forms = lc.forms(op)
    assert set(able) <= set(forms)
    x = np.random.default_rng(3).standard_normal(op.input_shape)
    for path in able:
        by_matrix = (op.sparse() @ x.ravel()).reshape(op.output_shape)
        np.testing.assert_allclose(forms[path](x), by_matrix, atol=1e-12)

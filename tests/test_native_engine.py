"""The native engine: every length of tail, no byte outside its arrays, any number of threads."""

import ctypes
import mmap
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from math import prod

import numpy as np
import pytest

from cases import CASES, draw
from linconv.engines import fft_engine, native_engine, numpy_engine
from linconv.geometry import Geometry

pytestmark = pytest.mark.skipif(
    not native_engine.available(), reason=f"not there: {native_engine.NOT_LOADED}"
)
PATHS = pytest.mark.parametrize("path", native_engine.PATHS)
# Relative to the largest value of the result.
TOLERANCE = {"float32": 2e-6, "float64": 1e-13}


def arrays(g: Geometry, last: bool, dtype: str, batch: int = 1, seed: int = 0):
    """Random kernel, input and output of a geometry."""
    rng = np.random.default_rng(seed)
    inputs = g.in_channels // g.groups
    kernel = (*g.kernel_size, inputs, g.out_channels)
    x, y = (batch, *g.input_size, g.in_channels), (batch, *g.output_size, g.out_channels)
    if not last:
        kernel = (g.out_channels, inputs, *g.kernel_size)
        x, y = (batch, g.in_channels, *g.input_size), (batch, g.out_channels, *g.output_size)
    return tuple(draw(rng, shape, dtype) for shape in (kernel, x, y))


def both(path: str, kernel, x, y, g: Geometry, last: bool):
    return (
        native_engine.correlate(x, kernel, g, last, path),
        native_engine.correlate_transpose(y, kernel, g, last, path),
    )


def check(g: Geometry, last: bool, dtype: str, batch: int = 1, paths=native_engine.PATHS) -> None:
    """All paths equal NumPy's in double precision, to the bounds that the README gives."""
    kernel, x, y = arrays(g, last, dtype, batch)
    double = [a.astype(np.float64) for a in (kernel, x, y)]
    expected = (
        numpy_engine.correlate(double[1], double[0], g, last),
        numpy_engine.correlate_transpose(double[2], double[0], g, last),
    )
    for path in paths:
        if not native_engine.fits(path, g, last):
            continue
        for actual, wanted in zip(both(path, kernel, x, y, g, last), expected, strict=True):
            assert actual.dtype == np.dtype(dtype)
            error = np.abs(actual - wanted).max(initial=0.0)
            bound = TOLERANCE[dtype] * max(1.0, np.abs(wanted).max(initial=0.0))
            assert error <= bound, (path, g, last)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("length", range(1, 71))
def test_tails_of_every_length(dtype, length):
    """Width, output channels, input channels and kernel: every remainder of every vector."""
    for g in (
        Geometry((length,), 3, padding=1),
        Geometry((3, length), (3, 2), padding=(1, 0) if length > 1 else 1),
        Geometry((length,), length, padding="same"),
        Geometry((4, length), 3, stride=2, padding=1),
        Geometry((length + 4,), 3, stride=3, dilation=2),
        Geometry((5, 9), 3, padding=1, in_channels=length, out_channels=length, groups=length),
        Geometry((4, 5), 3, padding=1, in_channels=2, out_channels=length),
        Geometry((4, 5), 2, in_channels=length, out_channels=3),
    ):
        for last in (True, False):
            check(g, last, dtype)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize(("size", "taps"), [
    ((130, 117), 3), ((61, 700), (5, 1)), ((9, 30, 33), 3), ((6000,), 301), ((40, 41), 31),
])  # fmt: skip
def test_large_enough_for_bands_threads_and_long_sums(dtype, size, taps):
    """Several bands and channel blocks: what the small cases of the grid do not reach."""
    for inputs, outputs, more in (
        (1, 1, {}),
        (33, 33, {"groups": 33}),
        (8, 8, {"groups": 8, "stride": 2}),
        (300, 2, {}),
        (6, 40, {"groups": 2}),
        (40, 17, {"stride": 2}),
    ):
        products = prod(size) * prod(np.broadcast_to(taps, len(size))) * inputs * outputs
        if products / more.get("groups", 1) > 5e7:
            continue
        g = Geometry(size, taps, padding="same", in_channels=inputs, out_channels=outputs, **more)
        for last in (True, False):
            check(g, last, dtype, batch=2)


def test_many_images_and_none():
    g = Geometry((3, 4), 2, padding=1, in_channels=2, out_channels=2, groups=2)
    check(g, True, "float32", batch=20_000)
    kernel, x, y = arrays(g, True, "float32", batch=0)
    for path in native_engine.PATHS:
        image, pullback = both(path, kernel, x, y, g, True)
        assert (image.shape, pullback.shape) == (y.shape, x.shape)


@PATHS
@pytest.mark.parametrize("last", [True, False], ids=["channels_last", "channels_first"])
def test_results_do_not_depend_on_threads(path, last):
    threadpoolctl = pytest.importorskip("threadpoolctl", reason="sets the number of threads")
    channels = {"in_channels": 24, "out_channels": 24, "groups": 24}
    dense = {"in_channels": 12, "out_channels": 20}
    one = {"in_channels": 1, "out_channels": 1}
    for options in (channels, dense, one):
        g = Geometry((61, 83), 5, padding=2, **options)
        if not native_engine.fits(path, g, last):
            continue
        given = arrays(g, last, "float32", batch=2)
        results = []
        for threads in (1, 2, 3, 8):
            with threadpoolctl.threadpool_limits(threads, user_api="openmp"):
                results.append(both(path, *given, g, last))
        for result in results[1:]:
            for one_thread, many in zip(results[0], result, strict=True):
                np.testing.assert_array_equal(one_thread, many)


@PATHS
def test_eight_callers_at_once(path):
    """Calls from many threads, of many shapes, give what each gives alone."""
    problems = []
    for seed in range(8):
        channels = 16 + seed
        g = Geometry(
            (40 + 7 * seed, 33), 3, padding=1, in_channels=channels, out_channels=channels,
            groups=channels,
        )  # fmt: skip
        assert native_engine.fits(path, g, True)
        problems.append((g, arrays(g, True, "float32", batch=2, seed=seed)))
    alone = [both(path, *given, g, True) for g, given in problems]

    def work(caller: int) -> None:
        for step in range(40):
            number = (caller + step) % len(problems)
            g, given = problems[number]
            for actual, wanted in zip(both(path, *given, g, True), alone[number], strict=True):
                np.testing.assert_array_equal(actual, wanted)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))


@pytest.mark.skipif(sys.platform == "win32", reason="guard pages are made with mprotect")
class TestGuardPages:
    """Arrays that end, or begin, at a page that may be neither read nor written."""

    PAGE = mmap.PAGESIZE

    @classmethod
    def guarded(cls, values: np.ndarray, *, at_end: bool) -> np.ndarray:
        pages = -(-max(1, values.nbytes) // cls.PAGE)
        memory = mmap.mmap(-1, (pages + 2) * cls.PAGE)
        address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
        libc = ctypes.CDLL(None, use_errno=True)
        for page in (0, pages + 1):
            where = ctypes.c_void_p(address + page * cls.PAGE)
            assert libc.mprotect(where, ctypes.c_size_t(cls.PAGE), 0) == 0, ctypes.get_errno()
        offset = cls.PAGE + (pages * cls.PAGE - values.nbytes if at_end else 0)
        array = np.frombuffer(memory, values.dtype, values.size, offset).reshape(values.shape)
        array[...] = values
        return array

    @PATHS
    @pytest.mark.parametrize("at_end", [True, False], ids=["end", "start"])
    @pytest.mark.parametrize("dtype", TOLERANCE)
    def test_nothing_outside_is_touched(self, path, dtype, at_end, monkeypatch):
        empty = np.empty
        monkeypatch.setattr(
            native_engine.np,
            "empty",
            lambda shape, dtype: self.guarded(empty(shape, dtype), at_end=at_end),
        )
        cases = [c for c in CASES if set(c.layer.modes) == {"zeros"} and c.ndim <= 3]
        for case in cases:
            g = Geometry(case.input_size, case.kernel_size, **case.geometry_options)
            last = case.data_format == "channels_last"
            if native_engine.fits(path, g, last):
                given = arrays(g, last, dtype)
                plain = both(path, *given, g, last)
                inside = both(path, *(self.guarded(a, at_end=at_end) for a in given), g, last)
                for one, other in zip(plain, inside, strict=True):
                    np.testing.assert_array_equal(one, other)
        for width in range(1, 40):
            g = Geometry((3, width), (2, 3), padding=2, in_channels=3, out_channels=3, groups=3)
            for last in (True, False):
                if native_engine.fits(path, g, last):
                    given = (self.guarded(a, at_end=at_end) for a in arrays(g, last, dtype))
                    both(path, *given, g, last)


@pytest.mark.parametrize("target", native_engine.TARGETS)
def test_every_instruction_set_of_this_processor(target):
    """The same sources for each vector width: tails, phases and layouts on each."""
    known = list(native_engine.TARGETS)
    if known.index(target) > known.index(native_engine.widest()):
        pytest.skip(f"this processor, or this build, has no {target}")
    try:
        assert native_engine.use_target(target) == target
        for width in (*range(1, 20), 31, 64, 65):
            for options in (
                {},
                {"in_channels": 3, "out_channels": width},
                {"in_channels": width, "out_channels": width, "groups": width},
                {"stride": 2, "in_channels": 2, "out_channels": 3},
            ):
                g = Geometry((5, width), 3, padding=1, **options)
                for last in (True, False):
                    for dtype in TOLERANCE:
                        check(g, last, dtype)
    finally:
        native_engine.use_target(None)
    assert native_engine.target() == native_engine.widest()


def test_strided_arrays_are_read_where_they_lie():
    """No copy is made for the native engine but of unaligned arrays: all strides are followed."""
    g = Geometry((6, 7), 3, padding=1, in_channels=2, out_channels=2)
    kernel, x, y = arrays(g, True, "float64", batch=3)
    turned = x[::-1, ::-1, ::-1, ::-1].copy()[::-1, ::-1, ::-1, ::-1]
    broadcast = np.broadcast_to(x[:1], x.shape)
    for path in ("rows", "pixels", "spectra"):
        expected = numpy_engine.correlate(x, kernel, g, True)
        np.testing.assert_allclose(native_engine.correlate(turned, kernel, g, True, path), expected,
                                   atol=1e-12)  # fmt: skip
        same = native_engine.correlate(broadcast, kernel, g, True, path)
        np.testing.assert_allclose(same, np.broadcast_to(expected[:1], same.shape), atol=1e-12)
    assert y.shape == expected.shape


@PATHS
def test_a_path_that_does_not_fit_still_computes_the_same(path):
    """The kernels take another path then, rather than read what is not there."""
    for options, last in (({"stride": 3}, False), ({"in_channels": 3, "out_channels": 2}, True)):
        g = Geometry((7, 9), 3, padding=1, **options)
        kernel, x, y = arrays(g, last, "float64")
        image, pullback = both(path, kernel, x, y, g, last)
        wanted = numpy_engine.correlate(x, kernel, g, last)
        np.testing.assert_allclose(image, wanted, atol=1e-12)
        wanted = numpy_engine.correlate_transpose(y, kernel, g, last)
        np.testing.assert_allclose(pullback, wanted, atol=1e-12)


def test_numbers_that_are_none_pass_through():
    """NaN and infinity reach just the outputs whose windows hold them, as in NumPy."""
    g = Geometry((9, 40), 3, padding=1)
    kernel, x, _ = arrays(g, False, "float32")
    x[0, 0, 4, 20] = np.nan
    for path in ("rows", "pixels"):
        lost = np.argwhere(np.isnan(native_engine.correlate(x, kernel, g, False, path)[0, 0]))
        assert {tuple(at) for at in lost} == {(r, c) for r in (3, 4, 5) for c in (19, 20, 21)}


def test_the_fft_engine_keeps_the_same_bounds():
    g = Geometry((200, 90), 33, padding="same", in_channels=2, out_channels=2, groups=2)
    for dtype, tolerance in TOLERANCE.items():
        kernel, x, y = arrays(g, False, dtype)
        double = [a.astype(np.float64) for a in (kernel, x, y)]
        for name, given in (("correlate", 1), ("correlate_transpose", 2)):
            wanted = getattr(numpy_engine, name)(double[given], double[0], g, False)
            actual = getattr(fft_engine, name)((kernel, x, y)[given], kernel, g, False)
            assert np.abs(actual - wanted).max() <= tolerance * np.abs(wanted).max()


def test_memory_of_large_results_is_used_again_but_never_while_seen():
    g = Geometry((700, 600), 3, padding=1)
    kernel, x, _ = arrays(g, False, "float32")
    assert x.nbytes >= native_engine.LARGE
    first = native_engine.correlate(x, kernel, g, False)
    expected, view = first.copy(), first[0, 0, 5:]
    address = first.ctypes.data
    del first
    other = native_engine.correlate(2 * x, kernel, g, False)
    assert other.ctypes.data != address  # a view still sees the first
    np.testing.assert_array_equal(view, expected[0, 0, 5:])
    del view
    again = native_engine.correlate(x, kernel, g, False)
    assert again.ctypes.data == address
    np.testing.assert_array_equal(again, expected)
    assert again.flags.writeable
    assert again.flags.c_contiguous
    again[...] = 0
    np.testing.assert_array_equal(other, 2 * expected)


def test_results_outlive_many_others():
    """Blocks are handed out once, whatever is let go in between, from many threads."""
    g = Geometry((600, 500), 3, padding=1)
    kernel, x, _ = arrays(g, False, "float64")
    expected = native_engine.correlate(x, kernel, g, False)

    def work(caller: int) -> None:
        kept = []
        for step in range(30):
            kept.append(native_engine.correlate(caller * x, kernel, g, False))
            if step % 3:
                kept.pop(0)
            for result in kept:
                np.testing.assert_array_equal(result, caller * expected)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, (1, 2, 4, 8)))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_process_computes_too():
    """OpenMP's threads do not outlive a fork: the new process must not wait for them."""
    code = """
import os, numpy as np, linconv as lc
op = lc.Conv(np.ones((5, 5)), (600, 500), padding="same")
x = np.random.default_rng(0).standard_normal(op.input_shape)
expected = op(x)
child = os.fork()
if child == 0:
    os._exit(0 if np.array_equal(op(x), expected) else 1)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    done = run(code, OMP_NUM_THREADS="4")
    assert (done.stdout.strip(), done.stderr) == ("0", "")


def run(code: str, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_threads_follow_the_environment():
    code = "from linconv.engines.threads import threads; print(threads())"
    for wanted in ("1", "3"):
        assert run(code, OMP_NUM_THREADS=wanted).stdout.strip() == wanted

"""The native engine reads and writes nothing but its arrays, from any number of threads."""

import ctypes
import mmap
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from cases import CASES
from linconv import engines
from linconv.engines import native_engine
from linconv.geometry import Geometry
from native_problems import NEEDED, PATHS, TOLERANCE, arrays, both, check

pytestmark = NEEDED


@PATHS
@pytest.mark.parametrize("last", [True, False], ids=["channels_last", "channels_first"])
def test_results_do_not_depend_on_threads(path, last):
    threadpoolctl = pytest.importorskip("threadpoolctl", reason="sets the number of threads")
    channels = {"in_channels": 24, "out_channels": 24, "groups": 24}
    dense = {"in_channels": 12, "out_channels": 20}
    one = {"in_channels": 1, "out_channels": 1, "padding": 0}
    short = dense | {"kernel_size": 3}
    for options in (channels, dense, one, short, short | {"stride": 2}):
        g = Geometry((61, 83), **{"kernel_size": 5, "padding": 2, **options})
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


@pytest.mark.parametrize("kernel", [3, 7, 40, 101])
@pytest.mark.parametrize("size", [(57, 79), (58, 131), (61, 300), (9, 20), (1000,), (7003,)])
def test_how_an_image_is_cut_into_bands_changes_no_sum(size, kernel):
    """Bands follow from the number of threads; windows that overlap are summed in a fixed order."""
    threadpoolctl = pytest.importorskip("threadpoolctl", reason="sets the number of threads")
    for padding in (0, kernel // 2):
        if min(size) + 2 * padding < kernel or (len(size) > 1 and kernel > 7):
            continue
        g = Geometry(size, kernel, padding=padding)
        given = arrays(g, True, "float32")
        results = []
        for threads in (1, 2, 3, 5, 16):
            with threadpoolctl.threadpool_limits(threads, user_api="openmp"):
                results.append(both("rows", *given, g, True))
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
            g = Geometry((4, width), (2, 3), padding=2, in_channels=3, out_channels=3, groups=3)
            for last in (True, False):
                if native_engine.fits(path, g, last):
                    given = (self.guarded(a, at_end=at_end) for a in arrays(g, last, dtype))
                    both(path, *given, g, last)
        for width in (*range(26, 45), 800) if path == "rows" else ():  # read in place, inside
            for padding in (0, 1):
                g = Geometry((9, width), 3, padding=padding)
                given = (self.guarded(a, at_end=at_end) for a in arrays(g, False, dtype))
                both(path, *given, g, False)


@pytest.mark.parametrize("channels", [100, 128, 256])
def test_phases_without_taps_and_many_channels(channels):
    """A stride beyond the kernel leaves phases that see no tap: their tables are empty."""
    for stride in (8, 16):
        g = Geometry(
            (8, 12 * stride),
            (3, 1),
            stride=(1, stride),
            padding=1,
            in_channels=channels,
            out_channels=1,
        )
        check(g.replace(out_channels=channels, in_channels=1), False, "float32")
        check(g, False, "float32")


def test_taps_far_apart_on_a_small_image_take_little_memory():
    """Their windows span mostly zeros, which the kernels would pack."""
    g = Geometry((16, 16), 3, dilation=10_000, padding=10_000)
    assert not any(native_engine.fits(path, g, False) for path in native_engine.PATHS)
    kernel, x, _ = arrays(g, False, "float64")
    centre = kernel[0, 0, 1, 1]
    np.testing.assert_allclose(engines.correlate(x, kernel, g, False), centre * x)


def test_offsets_beyond_32_bits_are_left_to_another_path():
    """A crop of an array of many gigabytes (of which no page is touched but the crop's)."""
    try:
        base = np.zeros((1, 3, 2**26, 16), np.float32)
    except MemoryError:
        pytest.skip("no such array can be had here")
    x = base[:, :, :8]
    x[...] = np.arange(3)[:, None, None]
    g = Geometry((3, 8), (3, 1), in_channels=16, out_channels=16, groups=16)
    kernel = np.ones((3, 1, 1, 16), np.float32)
    assert (native_engine.correlate(x, kernel, g, True, "channels") == 3).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": (2, 7, 9, 2)}, "channels of x is 2 where 3 is needed"),
        ({"x": (2, 7, 8, 3)}, "samples of x along an axis is 8 where 9 is needed"),
        ({"y": (2, 4, 4, 4)}, "samples of y along an axis is 4 where 5 is needed"),
        ({"y": (1, 4, 5, 4)}, "the batch of y is 1 where 2 is needed"),
        ({"kernel": (3, 2, 3, 4)}, "taps of the kernel along an axis is 2 where 3 is needed"),
        ({"kernel": (3, 3, 2, 4)}, "input channels of the kernel is 2 where 3 is needed"),
        ({"kernel": (3, 3, 3, 4), "dtype": "float64"}, "all arrays must have one dtype"),
    ],
)
def test_arrays_that_do_not_fit_are_refused_before_they_are_read(change, message):
    g = Geometry((7, 9), 3, stride=2, padding=1, in_channels=3, out_channels=4)
    shapes = {"x": (2, 7, 9, 3), "kernel": (3, 3, 3, 4), "y": (2, 4, 5, 4)}
    shapes |= {name: shape for name, shape in change.items() if name != "dtype"}
    made = {name: np.ones(shape, np.float32) for name, shape in shapes.items()}
    made["kernel"] = made["kernel"].astype(change.get("dtype", "float32"))
    plan = native_engine._plan(g, True, False)
    with pytest.raises(ValueError, match=message):
        plan.run(0, made["x"], made["kernel"], made["y"])


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

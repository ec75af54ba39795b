"""The native engine: tails of every length, every instruction set, sums of any length."""

from math import prod

import numpy as np
import pytest

from linconv import engines
from linconv.engines import fft_engine, native_engine, numpy_engine
from linconv.geometry import Geometry
from native_problems import NEEDED, PATHS, TOLERANCE, arrays, both, check

pytestmark = NEEDED


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
        Geometry((6, length + 3), (3, 4), stride=(1, 2), padding=(1, 2), in_channels=3),
        Geometry((length + 3, 7), (3, 2), padding=(2, 1), out_channels=5),
        Geometry((5, 9), 3, padding=1, in_channels=length, out_channels=length, groups=length),
        Geometry((4, 5), 3, padding=1, in_channels=2, out_channels=length),
        Geometry((4, 5), 2, in_channels=length, out_channels=3),
        Geometry((9, length + 20), (4, 3), in_channels=2, out_channels=2, groups=2),
    ):
        for last in (True, False):
            check(g, last, dtype)


@pytest.mark.parametrize(("size", "taps"), [
    ((130, 117), 3), ((61, 700), (5, 1)), ((9, 30, 33), 3), ((6000,), 301), ((40, 41), 31),
])  # fmt: skip
def test_large_enough_for_bands_threads_and_long_sums(size, taps):
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
            check(g, last, "float32", batch=2)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("size", [(2300,), (13, 900), (7, 9, 800)], ids=["1-D", "2-D", "3-D"])
def test_windows_inside_are_read_in_place_and_those_of_the_frame_are_not(dtype, size):
    """Wide images of one output channel: padded or not, on every side or some."""
    n, even = len(size), len(size) % 2 == 0
    along = 41 if n == 1 else 3
    for options in (
        {},
        {"padding": "same"},
        {"padding": [(3, 0)] * n},
        {"padding": [(0, 2)] * n},
        {"padding": [(1, 1)] * (n - 1) + [(0, 0)]},
        {"in_channels": 3},
        {"in_channels": 2, "out_channels": 2, "groups": 2, "padding": 1},
        {"dilation": (1,) * (n - 1) + ((2,) if n > 1 else (1,)), "padding": 4},
        {"stride": (2,) + (1,) * (n - 1) if n == 3 else 1, "padding": -1 if even else 0},
    ):
        g = Geometry(size, (3,) * (n - 1) + (along,), **options)
        check(g, False, dtype, batch=2, paths=("rows",))


@pytest.mark.parametrize("channels", [96, 100])
@pytest.mark.parametrize("options", [{}, {"padding": 1}, {"stride": 2}, {"dilation": 2}], ids=str)
def test_large_results_of_depthwise_layers_are_written_past_the_caches(options, channels):
    """More bytes than are kept in them, at aligned places and others."""
    g = Geometry(
        (150, 160), 3, in_channels=channels, out_channels=channels, groups=channels, **options
    )
    check(g, True, "float32", batch=5 if "stride" in options else 1, paths=("channels",))


def test_views_are_read_where_they_lie():
    """Cropped, thinned out and turned arrays give what their copies give."""
    whole = np.random.default_rng(0).standard_normal((2, 3, 40, 200))
    for view in (
        whole[:, :1, 3:-2, 5:-7],
        whole[:, ::2, ::3],
        whole[:, :, ::-1],
        whole[..., ::-1],
        whole[..., ::2],
        whole.swapaxes(2, 3),
        np.broadcast_to(whole[:, :, :1], whole.shape),
    ):
        channels = view.shape[1]
        for padding in (0, 1):
            g = Geometry(view.shape[2:], (3, 5), padding=padding, in_channels=channels)
            kernel, *_ = arrays(g, False, "float64")
            actual = native_engine.correlate(view, kernel, g, False, "rows")
            expected = numpy_engine.correlate(view, kernel, g, False)
            np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-13 * abs(expected).max())


def test_many_images_and_none():
    g = Geometry((3, 4), 2, padding=1, in_channels=2, out_channels=2, groups=2)
    check(g, True, "float32", batch=20_000)
    kernel, x, y = arrays(g, True, "float32", batch=0)
    for path in native_engine.PATHS:
        image, pullback = both(path, kernel, x, y, g, True)
        assert (image.shape, pullback.shape) == (y.shape, x.shape)


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


@PATHS
def test_strided_arrays_are_read_where_they_lie(path):
    """All strides are followed, of either sign and zero."""
    g = Geometry((6, 7), 3, padding=1, in_channels=16, out_channels=16, groups=16)
    kernel, x, y = arrays(g, True, "float64", batch=3)
    wanted = both(path, kernel, x, y, g, True)

    def turned(array):
        reverse = (slice(None, None, -1),) * array.ndim
        return array[reverse].copy()[reverse]

    run = native_engine.operation.__wrapped__(path, g, True, transposed=False)
    for given in ((kernel, x, y), tuple(turned(a) for a in (kernel, x, y))):
        for actual, expected in zip(both(path, *given, g, True), wanted, strict=True):
            np.testing.assert_allclose(actual, expected, atol=1e-12)
    same = run(np.broadcast_to(x[:1], x.shape), kernel)
    np.testing.assert_allclose(same, np.broadcast_to(wanted[0][:1], same.shape), atol=1e-12)


@PATHS
def test_sums_of_many_taps_keep_their_bounds(path):
    """Thousands of numbers of one sign: what a single running sum would lose."""
    channels = 16
    for size, taps in (((9000,), (8001,)), ((40, 700), (3, 601)), ((70, 70), (41, 41))):
        g = Geometry(
            size, taps, padding="same", in_channels=channels, out_channels=channels, groups=channels
        )
        if prod(size) * prod(taps) > 1e8:
            continue
        if not native_engine.fits(path, g, True):
            continue
        rng = np.random.default_rng(5)
        x = rng.random((1, *size, channels), np.float32)
        kernel = rng.random((*taps, 1, channels), np.float32)
        wanted = fft_engine.correlate(x.astype("f8"), kernel.astype("f8"), g, True)
        actual = native_engine.correlate(x, kernel, g, True, path)
        assert np.abs(actual - wanted).max() <= TOLERANCE["float32"] * wanted.max()


def test_transforms_near_a_power_of_two():
    for taps in (1000, 1024, 1025, 2040, 2048, 2049):
        check(Geometry((5000,), taps, padding=taps // 3), False, "float64", paths=("spectra",))


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


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize(
    ("size", "taps"), [((9, 40), 3), ((90,), 20), ((200,), 33), ((300,), 101), ((70, 80), 31)]
)
def test_numbers_that_are_none_pass_through(size, taps, value):
    """NaN and infinity reach just the outputs whose windows hold them, as in NumPy, on any path."""
    channels = 16
    g = Geometry(
        size, taps, padding="same", in_channels=channels, out_channels=channels, groups=channels
    )
    for last in (True, False):
        kernel, x, y = arrays(g, last, "float32")
        x[(0, *(n // 2 for n in x.shape[1:]))] = value
        y[(0, *(n // 3 for n in y.shape[1:]))] = value
        with np.errstate(invalid="ignore"):  # NumPy warns where infinities meet zeros
            wanted = (
                numpy_engine.correlate(x, kernel, g, last),
                numpy_engine.correlate_transpose(y, kernel, g, last),
            )
        ways = [p for p in native_engine.PATHS if native_engine.fits(p, g, last)]
        for way in (*ways, "fft", None):
            with np.errstate(invalid="ignore"):
                results = (
                    engines.correlate(x, kernel, g, last, way),
                    engines.correlate_transpose(y, kernel, g, last, way),
                )
            for actual, expected in zip(results, wanted, strict=True):
                np.testing.assert_array_equal(np.isfinite(actual), np.isfinite(expected))


def test_the_fft_engine_keeps_the_same_bounds():
    g = Geometry((200, 90), 33, padding="same", in_channels=2, out_channels=2, groups=2)
    for dtype, tolerance in TOLERANCE.items():
        kernel, x, y = arrays(g, False, dtype)
        double = [a.astype(np.float64) for a in (kernel, x, y)]
        for name, given in (("correlate", 1), ("correlate_transpose", 2)):
            wanted = getattr(numpy_engine, name)(double[given], double[0], g, False)
            actual = getattr(fft_engine, name)((kernel, x, y)[given], kernel, g, False)
            assert np.abs(actual - wanted).max() <= tolerance * np.abs(wanted).max()

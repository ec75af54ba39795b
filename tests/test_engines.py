"""Every engine keeps the contract of `linconv.engines`: both operations equal the plain loops."""

import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given

from cases import CASES, DTYPES, FORMATS, Case, assert_close, draw
from linconv import engines
from linconv.engines import fft_engine, native_engine, numpy_engine
from linconv.geometry import Geometry
from strategies import legal_cases


class NativePath:
    """One path of the native engine, as an engine of its own."""

    def __init__(self, path: str) -> None:
        self.path = path

    def fits(self, g: Geometry, channels_last: bool) -> bool:
        return native_engine.available() and native_engine.fits(self.path, g, channels_last)

    def correlate(self, x, kernel, g, channels_last):
        return native_engine.correlate(x, kernel, g, channels_last, self.path)

    def correlate_transpose(self, y, kernel, g, channels_last):
        return native_engine.correlate_transpose(y, kernel, g, channels_last, self.path)


# A new engine is added here and gets every test below.
ENGINES = {
    "chosen": engines,
    "numpy": numpy_engine,
    "fft": fft_engine,
    **{f"native-{path}": NativePath(path) for path in native_engine.PATHS},
}
BY_ENGINE = pytest.mark.parametrize("engine", ENGINES.values(), ids=ENGINES)
# Engines know zero padding alone, and always have a channel axis.
ZERO_PADDED = [case for case in CASES if set(case.layer.modes) == {"zeros"}]


def problem(case: Case, batch: int = 2):
    """Geometry, kernel, inputs, outputs, layout flag: what an engine is given."""
    g = Geometry(case.input_size, case.kernel_size, **case.geometry_options)
    kernel, x, y = case.arrays(batch)
    if case.channels is None:
        last = case.data_format == "channels_last"
        kernel = kernel[..., None, None] if last else kernel[None, None]
        x, y = (a[..., None] if last else a[:, None] for a in (x, y))
    return g, kernel, x, y, case.data_format == "channels_last"


def need(engine, g: Geometry, channels_last: bool) -> None:
    """Skip what a path of the native engine does not compute, and all of it where it is absent."""
    if not isinstance(engine, NativePath):
        return
    if not native_engine.available():
        pytest.skip(f"the native engine is not there: {native_engine.NOT_LOADED}")
    if not engine.fits(g, channels_last):
        pytest.skip(f"the path {engine.path!r} does not take this geometry")


def check(engine, case: Case, batch: int = 2) -> None:
    g, kernel, x, y, last = problem(case, batch)
    bare = kernel.reshape(case.kernel_shape)
    images = [case.expected(v.reshape(case.input_shape), bare) for v in x]
    pullbacks = [case.expected_transpose(v.reshape(case.output_shape), bare) for v in y]
    image = engine.correlate(x, kernel, g, last)
    pullback = engine.correlate_transpose(y, kernel, g, last)
    assert image.dtype == pullback.dtype == np.dtype(case.dtype)
    assert_close(image, np.stack(images).reshape(y.shape), case.dtype, case.name)
    assert_close(pullback, np.stack(pullbacks).reshape(x.shape), case.dtype, case.name)


def made_to_fit(engine, case: Case) -> Case:
    """The case with those options changed that a path of the native engine does not take."""
    path = getattr(engine, "path", None)
    if path == "channels":
        many = 17
        return replace(case, channels=(many, many), groups=many, data_format="channels_last")
    if path == "winograd":
        return with_short_kernels(case)
    return replace(case, stride=1) if path == "spectra" else case


def with_short_kernels(case: Case) -> Case:
    """The case on its first and last axis: strides one and two, two to three taps a residue."""

    def ends(value):
        return (value[0], value[-1]) if isinstance(value, tuple) else value

    layer = case.layer
    stride = tuple(1 + s % 2 for s in ends(layer.stride))
    kernel = tuple(
        s + 1 + k % (2 * s) for k, s in zip(ends(layer.kernel_size), stride, strict=True)
    )
    size = tuple(n + 9 for n in ends(case.input_size))
    options = {"padding": ends(case.padding), "padding_mode": "zeros", "dilation": 1}
    return replace(case, input_size=size, kernel_size=kernel, stride=stride, **options)


@BY_ENGINE
@pytest.mark.parametrize("case", ZERO_PADDED, ids=lambda case: case.name)
def test_engine_equals_the_loops(engine, case):
    g, *_, last = problem(case)
    need(engine, g, last)
    check(engine, case)


@BY_ENGINE
def test_engine_equals_the_loops_on_any_legal_geometry(engine):
    if isinstance(engine, NativePath) and not native_engine.available():
        pytest.skip(f"the native engine is not there: {native_engine.NOT_LOADED}")

    @given(legal_cases(modes=("zeros",)))
    def law(case):
        case = made_to_fit(engine, case)
        g, *_, last = problem(case)
        assume(not isinstance(engine, NativePath) or engine.fits(g, last))
        check(engine, case)

    law()


@pytest.mark.parametrize("block_bytes", [1, 700, 3000])
@pytest.mark.parametrize("case", ZERO_PADDED, ids=lambda case: case.name)
def test_blocks_of_any_size_give_the_same(monkeypatch, case, block_bytes):
    monkeypatch.setattr(numpy_engine, "BLOCK_BYTES", block_bytes)
    check(numpy_engine, case, batch=3)


@BY_ENGINE
@pytest.mark.parametrize("data_format", FORMATS)
def test_batch_of_no_images(engine, data_format):
    case = Case("no_images", (5, 4), (3, 2), channels=(2, 3), data_format=data_format, padding=1)
    g, kernel, x, y, last = problem(case, batch=0)
    need(engine, g, last)
    assert engine.correlate(x, kernel, g, last).shape == y.shape
    assert engine.correlate_transpose(y, kernel, g, last).shape == x.shape


@BY_ENGINE
@pytest.mark.parametrize("data_format", FORMATS)
@pytest.mark.parametrize("padding", [0, 1, -1])
def test_views_of_every_kind_are_read_and_left_alone(engine, data_format, padding):
    case = Case(
        "views",
        (6, 5),
        (3, 2),
        channels=(4, 2),
        groups=2,
        data_format=data_format,
        padding=padding,
    )
    g, kernel, x, y, last = problem(case)
    need(engine, g, last)
    image = engine.correlate(x, kernel, g, last)
    pullback = engine.correlate_transpose(y, kernel, g, last)
    for x_view, y_view, kernel_view in zip(
        views(x).values(), views(y).values(), views(kernel).values(), strict=True
    ):
        before = x_view.copy(), y_view.copy(), kernel_view.copy()
        assert_close(engine.correlate(x_view, kernel_view, g, last), image)
        assert_close(engine.correlate_transpose(y_view, kernel_view, g, last), pullback)
        for view, copy in zip((x_view, y_view, kernel_view), before, strict=True):
            np.testing.assert_array_equal(view, copy)


@BY_ENGINE
@pytest.mark.parametrize("data_format", FORMATS)
def test_results_are_arrays_of_their_own(engine, data_format):
    """Nothing given may be reachable through a result, whatever the engine pads or crops."""
    for padding in (0, 1, -1):
        case = Case("own", (4, 4), (1, 1), padding=padding, channels=(1, 1), groups=1)
        g, kernel, x, y, last = problem(case)
        need(engine, g, last)
        image = engine.correlate(x, kernel, g, last)
        pullback = engine.correlate_transpose(y, kernel, g, last)
        assert not np.shares_memory(image, x)
        assert not np.shares_memory(pullback, y)
        assert image.flags.writeable
        assert pullback.flags.writeable


@BY_ENGINE
@pytest.mark.parametrize("dtype", DTYPES)
def test_nothing_is_conjugated(engine, dtype):
    """<correlate(x), y> = <x, correlate_transpose(y)> with the plain product, complex or not."""
    case = Case("plain_product", (5, 4), (2, 3), channels=(2, 3), padding="same", dtype=dtype)
    g, kernel, x, y, last = problem(case)
    need(engine, g, last)
    left = np.sum(engine.correlate(x, kernel, g, last) * y)
    right = np.sum(x * engine.correlate_transpose(y, kernel, g, last))
    assert_close(left, right, dtype)


def test_memory_is_bounded_by_blocks():
    """Windows of the whole batch would be 9 x 16 MiB; a few copies of the images are allowed."""
    g = Geometry((256, 256), 3, padding=1, in_channels=4, out_channels=4)
    rng = np.random.default_rng(11)
    x = draw(rng, (8, 256, 256, 4), "float64")
    kernel = draw(rng, (3, 3, 4, 4), "float64")
    for operation in (numpy_engine.correlate, numpy_engine.correlate_transpose):
        tracemalloc.start()
        operation(x, kernel, g, True)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 3.5 * x.nbytes + 8 * numpy_engine.BLOCK_BYTES, operation.__name__


def views(array: np.ndarray) -> dict[str, np.ndarray]:
    """The same values laid out in memory in every way that NumPy allows."""
    read_only = array.copy()
    read_only.flags.writeable = False
    backwards = array[tuple(slice(None, None, -1) for _ in array.shape)].copy()
    wide = np.repeat(array, 2, axis=-1)
    packed = np.zeros(array.shape, np.dtype([("pad", "i1"), ("value", array.dtype)]))
    packed["value"] = array
    return {
        "read_only": read_only,
        "negative_strides": backwards[tuple(slice(None, None, -1) for _ in array.shape)],
        "every_other": wide[..., ::2],
        "fortran": np.asfortranarray(array),
        "unaligned": packed["value"],
    }


def test_engines_are_listed():
    """Every engine of NumPy arrays stands in the table above; others have tests of their own."""
    files = Path(engines.__file__).parent.glob("*_engine.py")
    listed = {name.partition("-")[0] for name in ENGINES}
    foreign = {
        m.__name__.rpartition(".")[2].removesuffix("_engine") for m in engines.FOREIGN.values()
    }
    assert {file.stem.removesuffix("_engine") for file in files} <= listed | foreign

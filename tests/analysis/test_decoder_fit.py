"""DecoderFit: accumulated and merged in any way."""

import pickle
import tracemalloc
from itertools import pairwise, permutations
from typing import Any

import numpy as np
import pytest

from linconv.analysis.decoder import Decoder
from linconv.analysis.decoder_fit import DecoderFit
from linconv.analysis.fitting import fit_decoder
from linconv.errors import GeometryError, LinconvError, ShapeError

OPTIONS: dict[str, Any] = {"kernel_size": 3, "stride": 2, "data_format": "channels_first"}


def draw(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Features (count, 2, 3, 3) and images (count, 3, 6, 6)."""
    rng = np.random.default_rng([seed, count])
    return rng.standard_normal((count, 2, 3, 3)), rng.uniform(0.05, 0.95, (count, 3, 6, 6))


@pytest.fixture
def data():
    return draw(30)


def accumulated(data: Any, cuts: Any = ()) -> DecoderFit:
    fit = DecoderFit(**OPTIONS)
    for features, images in zip(*(np.split(array, cuts) for array in data), strict=True):
        assert fit.update(features, images) is fit
    return fit


def between(data: Any, start: int, stop: int) -> DecoderFit:
    return accumulated([array[start:stop] for array in data])


def assert_same(a: Decoder, b: Decoder) -> None:
    np.testing.assert_allclose(a.kernel, b.kernel, rtol=0, atol=1e-12)
    np.testing.assert_allclose(a.bias, b.bias, rtol=0, atol=1e-12)
    assert a.mse == pytest.approx(b.mse, rel=1e-12)
    assert (a.rank, a.unknowns, a.geometry) == (b.rank, b.unknowns, b.geometry)
    assert a.condition == pytest.approx(b.condition, rel=1e-9)


@pytest.mark.parametrize("cuts", [(), (15,), (1, 2, 29), range(1, 30)], ids=str)
def test_batches_of_any_size_give_the_same_decoder(data, cuts):
    fit = accumulated(data, cuts)
    assert fit.images == 30
    assert_same(fit.solve(), fit_decoder(*data, **OPTIONS))


def test_sums_in_any_order_give_the_same_decoder(data):
    parts = [between(data, a, b) for a, b in pairwise((0, 4, 5, 19, 30))]
    whole = accumulated(data).solve()
    for a, b, c, d in permutations(parts):
        assert_same((a + b + c + d).solve(), whole)
        assert_same(((a + b) + (c + d)).solve(), whole)
        assert_same((a + (b + (c + d))).solve(), whole)


def test_batches_from_a_generator(data):
    fit = DecoderFit(**OPTIONS)
    for features, images in ((y[None], x[None]) for y, x in zip(*data, strict=True)):
        fit.update(features, images)
    assert_same(fit.solve(), accumulated(data).solve())


def test_more_batches_after_a_solution(data):
    fit = between(data, 0, 9)
    fit.solve()
    fit.update(*(array[9:] for array in data))
    assert_same(fit.solve(), accumulated(data).solve())


def test_sums_leave_their_parts_as_they_were(data):
    a, b = between(data, 0, 9), between(data, 9, 30)
    before = a.solve(), b.solve()
    total = (a + b).update(*draw(5))
    alone = a + DecoderFit(**OPTIONS)
    assert (a.images, b.images, total.images, alone.images) == (9, 21, 35, 9)
    for fit, was in zip((a, b), before, strict=True):
        np.testing.assert_array_equal(fit.solve().kernel, was.kernel)
    a.update(*draw(2))
    assert alone.images == 9
    np.testing.assert_array_equal(alone.solve().kernel, before[0].kernel)


def test_a_fit_without_batches_adds_nothing(data):
    full, empty = accumulated(data), DecoderFit(**OPTIONS)
    for total in (full + empty, empty + full):
        np.testing.assert_array_equal(total.solve().kernel, full.solve().kernel)
        assert total.images == 30
    with pytest.raises(LinconvError, match=r"a decoder needs images; got none; call update"):
        (empty + empty).solve()


def test_batches_without_images_are_as_good_as_none(data):
    none = [array[:0] for array in data]
    with pytest.raises(LinconvError, match=r"a decoder needs images; got none; call update"):
        accumulated(none).solve()
    fit = accumulated(data).update(*none)
    np.testing.assert_array_equal(fit.solve().kernel, accumulated(data).solve().kernel)


def test_memory_does_not_depend_on_the_number_of_images():
    """Kept: the same bytes for ten times the images. While adding: far less than the rows."""
    rng = np.random.default_rng(1)
    features, images = rng.random((200, 32, 32, 4)), rng.random((200, 32, 32, 1))
    few, many = (DecoderFit(3).update(features[:n], images[:n]) for n in (20, 200))
    assert abs(len(pickle.dumps(few)) - len(pickle.dumps(many))) < 100
    bytes_of_rows = 8 * images.size * (9 * 4 + 2)
    tracemalloc.start()
    many.update(features, images)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < bytes_of_rows / 2


def test_a_fit_goes_through_pickle_and_is_merged(data):
    sent = pickle.loads(pickle.dumps(between(data, 0, 9)))
    assert_same((sent + between(data, 9, 30)).solve(), accumulated(data).solve())


@pytest.mark.parametrize(
    "change",
    [{"stride": 1}, {"bias": False}, {"ridge": 1.0}, {"padding": "valid"}, {"dilation": 2}],
    ids=str,
)
def test_fits_of_other_options_are_not_added(change):
    with pytest.raises(GeometryError, match="fits can be added if their options are the same; got"):
        DecoderFit(**OPTIONS) + DecoderFit(**OPTIONS | change)


@pytest.mark.parametrize("size", [(3, 3), [3, 3], np.array([3, 3])], ids=repr)
def test_options_written_in_another_way_are_the_same(data, size):
    total = DecoderFit(**OPTIONS | {"kernel_size": size}).update(*data) + accumulated(data)
    assert total.images == 60


def test_fits_of_other_sizes_are_not_added(data):
    other = DecoderFit(**OPTIONS).update(np.zeros((1, 2, 4, 4)), np.zeros((1, 3, 8, 8)))
    with pytest.raises(ShapeError, match=r"images have the same sizes; got .*\(6, 6\).*\(8, 8\)"):
        accumulated(data) + other
    with pytest.raises(TypeError, match="unsupported operand"):
        other + 1


def test_batches_of_another_size_are_refused_and_change_nothing(data):
    fit = accumulated(data)
    with pytest.raises(
        ShapeError, match=r"all batches must have .* the same sizes; got .*\(8, 8\)"
    ):
        fit.update(np.zeros((1, 2, 4, 4)), np.zeros((1, 3, 8, 8)))
    with pytest.raises(LinconvError, match="images must be finite"):
        fit.update(data[0], np.full_like(data[1], np.nan))
    assert fit.images == 30
    np.testing.assert_array_equal(fit.solve().kernel, accumulated(data).solve().kernel)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ridge": "a"}, "ridge must be a finite number of at least 0; got 'a'; use 0.0"),
        ({"stride": (2, 0)}, "stride of axis 1 must be at least 1; got 0"),
        ({"dilation": 0}, "dilation must be at least 1; got 0"),
    ],
    ids=str,
)
def test_options_are_refused_before_any_batch(options, message):
    with pytest.raises(LinconvError, match=message):
        DecoderFit(3, **options)

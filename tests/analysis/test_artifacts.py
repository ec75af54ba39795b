"""Checkerboard artifacts of maps: overlap, gains, their imbalance, and the kernel without it."""

from dataclasses import replace
from math import gcd, inf, prod
from typing import Any

import numpy as np
import pytest
from scipy.optimize import minimize

import linconv as lc
from cases import CASES
from linconv.analysis.artifacts import checkerboard, overlap, phase_gains, remove_checkerboard
from linconv.errors import DTypeError, GeometryError, LinconvError, ShapeError

FORMATS = ("channels_last", "channels_first")


def random_layer(seed: int, ndim: int, *, fill_phases: bool = False) -> tuple[Any, dict[str, Any]]:
    """A seeded transposed convolution with channels, large enough to have an interior.

    Strides, dilations and kernel sizes differ from axis to axis; `fill_phases` gives each phase
    a tap.
    """
    rng = np.random.default_rng([seed, ndim])
    stride = tuple(int(s) for s in rng.integers(1, 5 if ndim == 1 else 4, ndim))
    dilation = tuple(int(d) for d in rng.integers(1, 4 if ndim == 1 else 3, ndim))
    if fill_phases:
        dilation = tuple(d if gcd(d, s) == 1 else 1 for d, s in zip(dilation, stride, strict=True))
    least = stride if fill_phases else (1,) * ndim
    size = tuple(int(rng.integers(k, k + 4 if ndim < 3 else k + 2)) for k in least)
    groups, data_format = int(rng.integers(1, 3)), FORMATS[rng.integers(2)]
    per_group, inputs = int(rng.integers(1, 4)), groups * int(rng.integers(1, 3))
    first = rng.standard_normal((inputs, per_group, *size))
    last = data_format == "channels_last"
    kernel = np.moveaxis(first, (0, 1), (-1, -2)) if last else first
    counts = [2 * -(-k * d // s) + 3 for k, d, s in zip(size, dilation, stride, strict=True)]
    padding = ("valid", "same", ((1, 0),) * ndim, ((-1, 2),) * ndim)[rng.integers(4)]
    options = {"stride": stride, "dilation": dilation, "groups": groups, "padding": padding}
    options["data_format"] = data_format
    shape = (*counts, inputs) if last else (inputs, *counts)
    return lc.ConvTranspose(kernel, shape, **options), options


def flat_responses(op: Any) -> np.ndarray:
    """The interior of the output for an input of ones in one channel at a time.

    Shape (in, out, *stride, *periods): along the last axes all values should be equal.
    """
    g, last = op.geometry, op.data_format == "channels_last"
    cut, split = [slice(None)], []
    for axis, s in enumerate(g.stride):
        # The samples that meet a window under each of their taps, cut to whole periods.
        low = g.padding[axis][0]
        first = max(0, -(-((g.kernel_size[axis] - 1) * g.dilation[axis] - low) // s) * s)
        stop = min(g.input_size[axis], (g.output_size[axis] - 1) * s - low + 1)
        periods = (stop - first) // s
        assert periods >= 1, "the layer has no interior"
        cut.append(slice(first, first + periods * s))
        split += [periods, s]
    responses = []
    for channel in range(op.input_shape[-1 if last else 0]):
        x = np.zeros(op.input_shape)
        x[(..., channel) if last else (channel,)] = 1
        y = np.moveaxis(op(x), -1, 0) if last else op(x)
        apart = y[tuple(cut)].reshape(y.shape[0], *split)
        order = (0, *range(2, 2 * g.ndim + 1, 2), *range(1, 2 * g.ndim, 2))
        responses.append(apart.transpose(order))
    return np.stack(responses)


def pairs_first(array: np.ndarray, data_format: str) -> np.ndarray:
    """A kernel, or gains, with the channels (in, out/groups) before the spatial axes."""
    return np.moveaxis(array, (-1, -2), (0, 1)) if data_format == "channels_last" else array


def constraints(
    size: tuple[int, ...], stride: tuple[int, ...], dilation: tuple[int, ...]
) -> np.ndarray:
    """One row of ones and zeros per phase over the flattened kernel, tap by tap."""
    rows = np.zeros((*stride, *size))
    for tap in np.ndindex(size):
        rows[tuple(t * d % s for t, d, s in zip(tap, dilation, stride, strict=True))][tap] = 1
    return rows.reshape(prod(stride), -1)


# Overlap


def test_published_overlap_ratios(published):
    rows = published["overlap"]["rows"]
    assert len(rows) >= 6
    for row in rows:
        k, s = row["kernel"], row["stride"]
        for ndim in (1, 2):
            found = overlap(lc.ConvTranspose(np.zeros((k,) * ndim), (6,) * ndim, stride=s))
            inside = found.counts[(slice(k, -k),) * ndim]
            assert found.ratio == row[f"ratio_{ndim}d"] == inside.max() / inside.min(), row


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_overlap_is_the_response_to_ones_through_ones(case):
    bare = replace(case, channels=None, groups=1, dtype="float64")
    ones = np.ones(bare.kernel_size)
    conv = lc.Conv(ones, bare.input_size, **bare.options)
    expected = bare.expected_transpose(np.ones(bare.output_shape), ones)
    for op in (conv, conv.T):
        found = overlap(op)
        assert found.counts.dtype == np.int64
        np.testing.assert_array_equal(found.counts, expected)
        np.testing.assert_array_equal(np.asarray(found), expected)


def test_overlap_counts_samples_not_channels():
    kernel = np.ones((3, 2, 4))
    found = overlap(lc.ConvTranspose(kernel, (3, 4), stride=2))
    assert found.to_dict() == {"counts": [1, 1, 2, 1, 2, 1, 1], "ratio": 2.0}


@pytest.mark.parametrize(
    ("size", "stride", "dilation"), [(2, 3, 1), (3, 2, 2), (4, 4, 2)], ids=["gap", "even", "half"]
)
def test_samples_that_nothing_reaches_make_the_ratio_infinite(size, stride, dilation):
    op = lc.ConvTranspose(np.ones(size), (9,), stride=stride, dilation=dilation)
    found = overlap(op)
    assert found.ratio == inf
    assert (found.counts[9:-9] == 0).any()
    assert found.to_dict()["ratio"] is None


def test_overlap_converts_as_arrays_do():
    found = overlap(lc.ConvTranspose(np.ones(3), (4,), stride=2))
    assert np.asarray(found, np.float32).dtype == np.float32
    changed = np.array(found)
    changed[:] = 0
    assert found.counts.all()


# Gains


@pytest.mark.parametrize("ndim", [1, 2, 3])
@pytest.mark.parametrize("seed", range(8))
def test_gains_are_the_responses_to_flat_inputs(seed, ndim):
    op, options = random_layer(seed, ndim)
    gains, groups = phase_gains(op), options["groups"]
    spatial = slice(0, ndim) if op.data_format == "channels_last" else slice(2, None)
    assert gains.shape[spatial] == options["stride"]
    first = pairs_first(gains, op.data_format)
    inputs, per_group = first.shape[:2]
    expected = np.zeros((inputs, per_group * groups, *options["stride"]))
    for i in range(inputs):
        start = i // (inputs // groups) * per_group
        expected[i, start : start + per_group] = first[i]
    responses = flat_responses(op)
    repeated = expected.reshape(*expected.shape, *(1,) * ndim)
    np.testing.assert_allclose(responses, np.broadcast_to(repeated, responses.shape), atol=1e-12)


def test_gains_of_bare_kernels_and_of_the_transpose():
    kernel = np.random.default_rng(1).standard_normal((5, 3))
    up = lc.ConvTranspose(kernel, (4, 4), stride=(2, 3))
    expected = [[kernel[p::2, q].sum() for q in range(3)] for p in range(2)]
    np.testing.assert_allclose(phase_gains(up), expected, atol=1e-14)
    np.testing.assert_array_equal(phase_gains(up.T), phase_gains(up))


def test_circular_padding_has_no_border():
    """A constant comes out as the gains everywhere, if whole periods fit."""
    kernel = np.random.default_rng(2).standard_normal((3, 4))
    down = lc.Conv(kernel, (6, 9), stride=(2, 3), padding="same", padding_mode="circular")
    answer = down.T(np.ones(down.output_shape))
    np.testing.assert_allclose(answer, np.tile(phase_gains(down), (3, 3)), atol=1e-13)


def test_gains_keep_the_dtype_and_a_nan_its_phase():
    kernel = np.array([1, np.nan, 2, 4], np.float32)
    gains = phase_gains(lc.ConvTranspose(kernel, (3,), stride=2))
    assert gains.dtype == np.float32
    np.testing.assert_array_equal(gains, [3, np.nan])
    complex_gains = phase_gains(lc.ConvTranspose([1j, 2, 3j], (3,), stride=2))
    np.testing.assert_array_equal(complex_gains, [4j, 2])


# Imbalance


@pytest.mark.parametrize("data_format", FORMATS)
def test_checkerboard_is_its_definition(data_format):
    first = np.random.default_rng(3).standard_normal((4, 3, 3, 2))  # in, out, *size
    last = data_format == "channels_last"
    kernel = np.moveaxis(first, (0, 1), (-1, -2)) if last else first
    found = checkerboard(lc.ConvTranspose(kernel, (4, 4, 4), stride=2, data_format=data_format))
    deviations, sizes = np.zeros((4, 3)), []
    for i, o in np.ndindex(4, 3):
        gains = [first[i, o, p::2, q::2].sum() for p in range(2) for q in range(2)]
        deviations[i, o] = max(abs(gain - sum(gains) / 4) for gain in gains)
        sizes += [abs(gain) for gain in gains]
    pairs = deviations / np.mean(sizes)
    np.testing.assert_allclose(found.by_channel, pairs.T if last else pairs, rtol=1e-12)
    assert found.value == float(found) == pytest.approx(pairs.max(), rel=1e-12)
    assert found.to_dict() == {
        "value": found.value,
        "by_channel": found.by_channel.tolist(),
        "gains": found.gains.tolist(),
    }


@pytest.mark.parametrize(
    ("kernel", "stride", "value"),
    [
        ([1.0, 1, 1], 2, 1 / 3),  # gains 2, 1
        ([1.0, 2, 3, 2], 2, 0),  # even overlap and even gains
        ([1.0, 2, 3, 4], 2, 0.2),  # even overlap, gains 4, 6
        ([1.0, 3, 2], 2, 0),  # uneven overlap, even gains
        ([1.0, -1], 2, 1),  # a kernel that sums to zero
        ([5.0], 2, 1),  # a phase that nothing reaches
        ([0.0, 0, 0], 2, 0),  # nothing at all
        ([1.0, 7, -3], 1, 0),  # one phase
        ([3j, 1], 2, np.sqrt(10) / 4),  # complex gains
    ],
)
def test_checkerboard_of_known_kernels(kernel, stride, value):
    op = lc.ConvTranspose(kernel, (4,), stride=stride)
    assert checkerboard(op).value == pytest.approx(value, abs=1e-15)
    assert checkerboard(op.T).value == checkerboard(op).value
    scaled = lc.ConvTranspose(-50 * np.asarray(kernel), (4,), stride=stride)
    assert checkerboard(scaled).value == pytest.approx(value, abs=1e-14)


def test_nearest_neighbour_kernels_make_no_checkerboard():
    kernel = np.kron(np.random.default_rng(4).standard_normal((2, 3)), np.ones((3, 2)))
    assert checkerboard(lc.ConvTranspose(kernel, (4, 4), stride=(3, 2))).value < 1e-15
    assert checkerboard(lc.ConvTranspose(kernel, (4, 4), stride=(2, 3))).value > 0.1


@pytest.mark.parametrize("function", [overlap, phase_gains, checkerboard])
@pytest.mark.parametrize("op", [lc.identity((3,)), np.ones(3), None], ids=["map", "array", "none"])
def test_other_things_are_refused(function, op):
    with pytest.raises(LinconvError, match=rf"ConvTranspose or a Conv; got {type(op).__name__};"):
        function(op)


# Removal


@pytest.mark.parametrize("keep_sum", [True, False], ids=["sum", "free"])
@pytest.mark.parametrize("ndim", [1, 2, 3])
@pytest.mark.parametrize("seed", range(6))
def test_removal_solves_the_constrained_least_squares_problem(seed, ndim, keep_sum):
    """The conditions of Karush, Kuhn and Tucker, one dense system per pair of channels."""
    op, options = random_layer(seed, ndim, fill_phases=True)
    found = remove_checkerboard(
        op.kernel,
        options["stride"],
        keep_sum=keep_sum,
        dilation=options["dilation"],
        data_format=op.data_format,
    )
    before, after = (pairs_first(k, op.data_format) for k in (op.kernel, found))
    size = before.shape[2:]
    rows = constraints(size, options["stride"], options["dilation"])
    law = rows[1:] - rows[0]
    if keep_sum:
        law = np.vstack([law, np.ones(law.shape[1])])
    taps, laws = law.shape[1], len(law)
    system = np.block([[np.eye(taps), law.T], [law, np.zeros((laws, laws))]])
    for i, o in np.ndindex(before.shape[:2]):
        kernel = before[i, o].ravel()
        right = np.zeros(laws)
        if keep_sum:
            right[-1] = kernel.sum()
        solved = np.linalg.solve(system, np.concatenate([kernel, right]))[:taps]
        np.testing.assert_allclose(after[i, o].ravel(), solved, atol=1e-12)


@pytest.mark.parametrize("keep_sum", [True, False], ids=["sum", "free"])
def test_removal_agrees_with_an_iterative_solver(keep_sum):
    kernel = np.random.default_rng(5).standard_normal((3, 3))
    rows = constraints((3, 3), (2, 2), (1, 1))
    laws = [{"type": "eq", "fun": lambda w: (rows[1:] - rows[0]) @ w}]
    if keep_sum:
        laws.append({"type": "eq", "fun": lambda w: w.sum() - kernel.sum()})
    solved = minimize(
        lambda w: np.sum((w - kernel.ravel()) ** 2),
        np.zeros(9),
        method="SLSQP",
        constraints=laws,
        options={"ftol": 1e-14},
    )
    assert solved.success
    found = remove_checkerboard(kernel, 2, keep_sum=keep_sum)
    np.testing.assert_allclose(found.ravel(), solved.x, atol=1e-6)
    assert np.abs(found - kernel).max() > 0.05


@pytest.mark.parametrize("ndim", [1, 2, 3])
@pytest.mark.parametrize("seed", range(4))
def test_after_removal_a_flat_region_stays_flat(seed, ndim):
    op, options = random_layer(seed, ndim, fill_phases=True)
    plain = {"dilation": options["dilation"], "data_format": op.data_format}
    kernel = remove_checkerboard(op.kernel, options["stride"], **plain)
    clean = lc.ConvTranspose(kernel, op.input_shape, **options)
    spatial = tuple(range(2, 2 * ndim + 2))
    assert np.ptp(flat_responses(clean), axis=spatial).max() < 1e-12
    assert checkerboard(clean).value < 1e-14
    if prod(options["stride"]) > 1:
        assert np.ptp(flat_responses(op), axis=spatial).max() > 0.1
    # The sums stay, and a second removal finds nothing to do.
    axes = tuple(range(ndim)) if op.data_format == "channels_last" else tuple(range(2, ndim + 2))
    np.testing.assert_allclose(kernel.sum(axes), op.kernel.sum(axes), atol=1e-12)
    again = remove_checkerboard(kernel, options["stride"], **plain)
    np.testing.assert_allclose(again, kernel, atol=1e-14)


def test_free_sum_comes_nearer():
    kernel = np.random.default_rng(6).standard_normal((5, 5, 2, 3))
    kept, free = (remove_checkerboard(kernel, 2, keep_sum=keep) for keep in (True, False))
    distance = [np.square(k - kernel).sum(axis=(0, 1)) for k in (kept, free)]
    assert (distance[1] < distance[0]).all()


def test_one_stride_per_axis_tells_channels_from_space():
    kernel = np.random.default_rng(8).standard_normal((4, 3, 3))
    volume = remove_checkerboard(kernel, (2, 2, 2))
    line = remove_checkerboard(kernel, (2,))
    for i in range(3):
        for o in range(3):
            alone = remove_checkerboard(kernel[:, o, i], 2)
            np.testing.assert_allclose(line[:, o, i], alone, atol=1e-15)
    sums = [volume[p::2, q::2, r::2].sum() for p, q, r in np.ndindex(2, 2, 2)]
    np.testing.assert_allclose(sums, kernel.sum() / 8, atol=1e-14)
    assert np.abs(volume - line).max() > 0.01


@pytest.mark.parametrize(
    ("given", "returned", "tolerance"),
    [
        ("float16", "float16", 2e-3),
        ("float32", "float32", 1e-6),
        ("float64", "float64", 1e-15),
        (">f8", "float64", 1e-15),
        ("complex64", "complex64", 1e-6),
        ("int32", "float64", 1e-15),
    ],
)
def test_removal_keeps_the_dtype_and_the_kernel_given(given, returned, tolerance):
    kernel = np.array([1, 2, 3], given)
    kernel.flags.writeable = False
    found = remove_checkerboard(kernel[::-1], 2)
    assert found.dtype == np.dtype(returned)
    np.testing.assert_allclose(found, [2.5, 3, 0.5], rtol=tolerance)
    np.testing.assert_array_equal(kernel, [1, 2, 3])


@pytest.mark.parametrize(
    ("shape", "stride", "options", "error", "match"),
    [
        (
            (3, 2),
            (2, 3),
            {},
            GeometryError,
            r"phase 2 of axis 1 \(kernel size 2, stride 3, dilation 1\); use a kernel size of at "
            r"least 3",
        ),
        (
            (6,),
            4,
            {"dilation": 2},
            GeometryError,
            r"phase 1 of axis 0 \(kernel size 6, stride 4, dilation 2\); use a dilation that "
            r"shares no factor with the stride",
        ),
        ((3, 3, 3), 2, {}, ShapeError, r"got shape \(3, 3, 3\) for stride 2; give one stride per"),
        ((3, 3), (2, 2, 2), {}, ShapeError, r"got shape \(3, 3\) for stride \(2, 2, 2\)"),
        ((), 2, {}, ShapeError, r"one axis per stride.*got shape \(\)"),
        ((0, 3), 2, {}, ShapeError, r"no empty one; got shape \(0, 3\)"),
        ((3,), 0, {}, GeometryError, r"stride must be at least 1; got 0"),
        ((3,), 2, {"dilation": 0}, GeometryError, r"dilation must be at least 1; got 0"),
        (
            (3, 3, 1, 1),
            2,
            {"data_format": "channel_last"},
            GeometryError,
            r"data_format.*got 'channel_last'; did you mean 'channels_last'",
        ),
    ],
)
def test_kernels_that_cannot_be_mended_are_refused(shape, stride, options, error, match):
    with pytest.raises(error, match=match):
        remove_checkerboard(np.ones(shape), stride, **options)


def test_kernels_that_are_no_numbers_are_refused():
    with pytest.raises(DTypeError, match=r"the kernel must hold real or complex numbers.*object"):
        remove_checkerboard(np.array([None, 1.0]), 2)

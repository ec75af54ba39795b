"""Certified intervals: they hold the dense norm, on thousands of random maps, and are tight."""

from math import prod

import numpy as np
import pytest

import linconv as lc
from linconv.analysis.supremum import proof_grid, symbol_supremum
from linconv.errors import LinconvError
from linconv.padding import PADDING_MODES


def draw(rng):
    """A random small layer of any rank, stride, dilation, padding, mode and channels."""
    ndim = int(rng.integers(1, 4))
    size = rng.integers(2, (9, 7, 5)[ndim - 1], ndim)
    taps = [int(rng.integers(1, min(4, n) + 1)) for n in size]
    groups = int(rng.integers(1, 3))
    kernel = rng.standard_normal((*taps, int(rng.integers(1, 3)), groups * int(rng.integers(1, 3))))
    if rng.random() < 0.3:
        kernel = kernel + 1j * rng.standard_normal(kernel.shape)
    if rng.random() < 0.2:
        kernel = abs(kernel)
    widened = tuple(1 + int(2 * t - 1 <= n) for t, n in zip(taps, size, strict=True))
    options = {
        "stride": tuple(int(s) for s in rng.integers(1, 4, ndim)),
        "padding": tuple((int(a), int(b)) for a, b in rng.integers(0, 2, (ndim, 2))),
        "padding_mode": tuple(rng.choice(PADDING_MODES, ndim)) if rng.random() < 0.6 else "zeros",
        "dilation": 1 if rng.random() < 0.7 else widened,
        "groups": groups,
    }  # fmt: skip
    shape = (*(int(n) for n in size), groups * kernel.shape[-2])
    return lc.Conv(kernel, shape, **options)


@pytest.mark.parametrize("seed", range(20))
def test_intervals_hold_the_dense_norm(seed):
    rng = np.random.default_rng(seed)
    for _ in range(100):
        op = draw(rng)
        if rng.random() < 0.3:
            op = op.T
        expected = np.linalg.svd(op.matrix(), compute_uv=False)[0]
        found = lc.norm_bounds(op)
        low, high = found.interval
        assert found.kind == "certified"
        assert float(found) == high
        assert 0 <= low <= expected * (1 + 1e-14), f"{op!r}: {low} > {expected}"
        assert expected <= high * (1 + 1e-15), f"{op!r}: {expected} > {high}"
        assert low >= 0.9 * expected


LARGE = {
    "line": lambda rng: lc.Conv(rng.standard_normal(5), (600,), padding="same"),
    "image": lambda rng: lc.Conv(rng.standard_normal((3, 3)), (150, 160), padding="same"),
    "valid": lambda rng: lc.Conv(rng.standard_normal((4, 5)), (200, 150)),
    "channels": lambda rng: lc.Conv(
        rng.standard_normal((3, 3, 4, 6)), (100, 100, 4), padding="same"
    ),
    "strided": lambda rng: lc.Conv(
        rng.standard_normal((4, 4, 2, 3)), (200, 200, 2), stride=2, padding="same"
    ),
    "dilated": lambda rng: lc.Conv(
        rng.standard_normal((3, 3)), (250, 250), dilation=2, padding="same"
    ),
    "groups": lambda rng: lc.Conv(
        rng.standard_normal((3, 3, 2, 4)), (120, 120, 4), groups=2, padding="same"
    ),
    "transposed": lambda rng: (
        lc.Conv(rng.standard_normal((3, 3, 2, 3)), (150, 150, 2), stride=2, padding="same").T
    ),
    "complex": lambda rng: lc.Conv(
        rng.standard_normal((3, 3)) + 1j * rng.standard_normal((3, 3)), (150, 150), padding="same"
    ),
    "blur": lambda rng: lc.Conv(np.ones((7, 7)) / 49, (300, 300), padding="same"),
    "circular": lambda rng: lc.Conv(
        rng.standard_normal((3, 3, 2, 2)), (20, 20, 2), padding="same", padding_mode="circular"
    ),
}


@pytest.mark.parametrize("name", LARGE)
def test_tight_to_one_percent_where_the_input_is_large(name):
    low, high = lc.norm_bounds(LARGE[name](np.random.default_rng(3))).interval
    assert low <= high <= 1.01 * low


def test_the_upper_bound_holds_at_every_size():
    kernel = np.random.default_rng(1).standard_normal((3, 3))
    bounds = {
        lc.norm_bounds(lc.Conv(kernel, (n, n), padding="same")).interval[1] for n in (4, 9, 30)
    }
    assert max(bounds) == pytest.approx(min(bounds), rel=1e-14)
    norms = [
        np.linalg.svd(lc.Conv(kernel, (n, n), padding="same").matrix(), compute_uv=False)[0]
        for n in (4, 9, 30)
    ]
    assert norms == sorted(norms)
    assert norms[-1] < max(bounds)


@pytest.mark.parametrize("degree", [1, 2, 3, 7])
def test_the_constant_is_reached_in_the_worst_case(degree):
    """|1 + exp(i d t)| = 2 |cos(d t / 2)|: halfway between points its maximum is the bound."""
    kernel = np.zeros((1, 1, degree + 1))
    kernel[0, 0, [0, -1]] = 1
    grid, factor = proof_grid((degree,), 1.01)
    half_a_step = np.pi / grid[0]
    assert 2 * abs(np.cos(degree * half_a_step / 2)) * factor == pytest.approx(2, rel=1e-12)
    found = symbol_supremum(kernel, lc.Geometry(50, degree + 1))
    assert found.lower <= 2 <= found.upper


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("taps", [(5,), (3, 4), (2, 3, 2)])
def test_supremum_bounds_a_much_finer_grid(taps, stride):
    rng = np.random.default_rng(5)
    for _ in range(20):
        kernel = rng.standard_normal((2, 2, *taps))
        g = lc.Geometry((12,) * len(taps), taps, stride=stride, in_channels=2, out_channels=2)
        found = symbol_supremum(kernel, g, spare=1.1)
        n = {1: 400, 2: 60, 3: 18}[len(taps)]
        op = lc.Conv(np.moveaxis(kernel, (0, 1), (-1, -2)), (12,) * len(taps) + (2,), stride=stride)
        blocks = lc.frequency_response(op, n)
        top = np.linalg.svd(blocks, compute_uv=False)[..., 0].max()
        assert top <= found.upper <= 1.11 * max(top, found.lower)


def test_algebra_of_bounds():
    rng = np.random.default_rng(2)
    one = lc.Conv(rng.standard_normal((3, 3)), (8, 9), padding="same")
    two = lc.Conv(rng.standard_normal((2, 3)), (8, 9), padding="same")
    kinds = {
        "product": two @ one,
        "sum": 2 * one - two,
        "square": one.T @ one,
        "factors": one.factors()[1] @ one.factors()[2],
        "padding": lc.Pad((4, 5), 3, "replicate"),
        "decimation": lc.Decimate((5, 5), 2).T,
        "identity": lc.identity((3, 2)),
        "equivalent": lc.Conv(rng.standard_normal((3, 3)), (8, 9), stride=2).T.as_conv(),
        "complex": (1 + 2j) * one,
    }
    for name, op in kinds.items():
        expected = np.linalg.svd(op.matrix(), compute_uv=False)[0]
        low, high = lc.norm_bounds(op).interval
        assert low <= expected * (1 + 1e-6), name  # factors' matrices are of single precision
        assert expected <= high * (1 + 1e-6), name


def test_padding_norm_is_exact():
    for mode in PADDING_MODES:
        op = lc.Pad((5, 4), ((2, 3), (1, 0)), mode)
        expected = np.linalg.svd(op.matrix().astype(float), compute_uv=False)[0]
        assert float(lc.norm_bounds(op)) == pytest.approx(expected)


def test_maps_without_a_bound_are_refused():
    op = lc.Conv(np.ones((2, 2)), (4, 4)).as_function_of_kernel(np.ones((4, 4)))
    with pytest.raises(LinconvError, match="factors, products and sums; got KernelMap; use norm"):
        lc.norm_bounds(op)
    with pytest.raises(LinconvError, match="norm_bounds takes a map of linconv; got int; make it"):
        lc.norm_bounds(3)


def test_bounds_of_nothing():
    assert lc.norm_bounds(lc.Conv(np.zeros((2, 2)), (4, 4))).interval == (0.0, 0.0)
    assert prod(lc.norm_bounds(lc.Conv([[0.0, 3.0]], (4, 4))).interval) == pytest.approx(
        9, rel=0.01
    )

"""solve, pinv and invertibility: maps of any scale."""

import numpy as np
import pytest

import linconv as lc

# Maps of any scale

SPLIT = np.outer([0.2, 1.0, 0.3], [0.1, 1.0, 0.4])
SKEW = np.array([[0.1, 0.3, 0.0], [0.2, 1.0, 0.1], [0.0, 0.2, 0.15]])
EXTREME = (1e-300, 1e-170, 1e-160, 1e160, 1e200, 1e300)


def of_kernel(kernel: np.ndarray, kind: str) -> lc.LinearMap:
    if kind == "circular":
        return lc.Conv(kernel, (12, 12), padding=1, padding_mode="circular")
    if kind == "transpose":
        return lc.Conv(kernel, (12, 12), stride=2, padding=1).T
    op = lc.Conv(kernel, (12, 12), padding=1)
    return 1 * op if kind == "scaled" else op


@pytest.mark.parametrize("scale", EXTREME)
@pytest.mark.parametrize(
    ("method", "kind", "kernel"),
    [
        ("fft", "circular", SKEW),
        ("separable", "plain", SPLIT),
        ("dense", "transpose", SKEW),
        ("sparse", "plain", SKEW),
        ("cg", "scaled", SKEW),
        ("lsmr", "plain", SKEW),
    ],
)
def test_maps_of_extreme_scale(method, kind, kernel, scale):
    usual, op = of_kernel(kernel, kind), of_kernel(kernel * scale, kind)
    assert np.abs(op.T(np.ones(op.output_shape))).max() > 0
    x = np.random.default_rng(17).standard_normal(op.input_shape)
    y = usual(x)
    want = lc.solve(usual, y, method=method, rtol=1e-12)
    found = lc.solve(op, scale * y, method=method, rtol=1e-12)
    assert found.converged, found.reason
    np.testing.assert_allclose(found.x, want.x, atol=1e-8)
    assert found.rank == want.rank
    inverse = lc.pinv(op, method=method)
    np.testing.assert_allclose(inverse(scale * y), want.x, atol=1e-6)
    start = np.ones(op.input_shape)
    if method in ("cg", "lsmr"):
        found = lc.solve(op, scale * y, method=method, x0=x + 1e-3 * start, rtol=1e-12)
        np.testing.assert_allclose(found.x, want.x, atol=1e-8)


@pytest.mark.parametrize("scale", [1e-170, 1e-140, 1e140, 1e200])
@pytest.mark.parametrize("method", ["fft", "dense", "banded", "cg", "lsmr"])
def test_ridges_of_maps_of_extreme_scale(method, scale):
    kernel = np.array([0.3, 1.0, -0.4])
    mode = "circular" if method == "fft" else "zeros"
    op = lc.Conv(kernel * scale, (30,), padding=1, padding_mode=mode)
    matrix = lc.Conv(kernel, (30,), padding=1, padding_mode=mode).matrix()
    y = np.random.default_rng(18).standard_normal(30)
    for ridge in (1e-3, 1e-2 * scale**2) if 1e-150 < scale < 1e150 else (1e-3,):
        found = lc.solve(op, y, method=method, ridge=ridge, rtol=1e-12)
        assert found.converged, found.reason
        inner = ridge / scale / scale
        if not np.isfinite(inner) or inner > 1e100:  # all that is left is the ridge
            want = matrix.T @ y / ridge * scale
        else:
            want = np.linalg.solve(matrix.T @ matrix + inner * np.eye(30), matrix.T @ y) / scale
        assert np.abs(found.x - want).max() <= 1e-9 * np.abs(want).max()


@pytest.mark.parametrize("scale", EXTREME)
def test_what_can_be_undone_does_not_depend_on_the_scale(scale):
    for kernel in (SKEW, np.ones((3, 3))):
        for kind in ("circular", "plain", "transpose", "scaled"):
            usual = lc.invertibility(of_kernel(kernel, kind))
            found = lc.invertibility(of_kernel(kernel * scale, kind))
            assert (found.verdict, found.rank) == (usual.verdict, usual.rank)
            np.testing.assert_allclose(found.condition, usual.condition, rtol=1e-6)


def test_ones_that_cancel_hide_no_scale():
    kernel = np.array([-1.0, 1.0, 0.0])
    op = lc.Conv(kernel * 2.0**600, (9,), padding=1, padding_mode="circular")
    y = np.random.default_rng(19).standard_normal(9)
    want = np.linalg.pinv(lc.Conv(kernel, (9,), padding=1, padding_mode="circular").matrix()) @ y
    for method in ("fft", "cg", "lsmr"):
        found = lc.solve(op, y * 2.0**600, method=method, rtol=1e-12)
        np.testing.assert_allclose(found.x, want, atol=1e-9)

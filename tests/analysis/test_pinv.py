"""pinv, wiener, invertibility: against dense matrices and the laws that define them."""

import numpy as np
import pytest

import linconv as lc
from cases import CASES
from linconv.analysis.priors import read_prior
from linconv.errors import GeometryError, LinconvError, ShapeError


def layer(case):
    kernel, _, _ = case.arrays()
    wide = np.result_type(kernel, np.float64)
    return lc.Conv(kernel.astype(wide), case.input_shape, **case.options)


@pytest.mark.parametrize("method", ["auto", "cg"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_moore_penrose(case, method):
    op = layer(case)
    inverse = lc.pinv(op, method=method, rtol=1e-12)
    a, p = op.matrix(), inverse.matrix()
    scale = max(1.0, np.abs(p).max(initial=0))
    for left, right in ((a @ p @ a, a), (p @ a @ p, p), ((a @ p).conj().T, a @ p)):
        np.testing.assert_allclose(left, right, rtol=0, atol=1e-8 * scale)
    np.testing.assert_allclose((p @ a).conj().T, p @ a, rtol=0, atol=1e-8 * scale)
    np.testing.assert_allclose(inverse.T.matrix(), p.T, rtol=0, atol=1e-8 * scale)
    if op.dtype.kind == "c":  # of a real map it is the transpose
        np.testing.assert_allclose(inverse.H.matrix(), p.conj().T, rtol=0, atol=1e-8 * scale)


def covariance(op, prior):
    """The dense circular covariance of a prior on the inputs of a convolution."""
    return covariance_of(op.layout, op.input_shape, prior)


def covariance_of(layout, shape, prior):
    """The same from the definition of its spectrum."""
    size, channels = layout.split(shape, 1)
    lags = np.fft.ifftn(read_prior(prior, size)).real
    places = np.array(list(np.ndindex(*size)))
    steps = (places[:, None] - places) % np.array(size)
    spatial = lags[tuple(np.moveaxis(steps, -1, 0))]
    eye = np.eye(channels)
    return np.kron(spatial, eye) if layout.channels_last else np.kron(eye, spatial)


@pytest.mark.parametrize("prior", ["white", "natural"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_wiener_is_the_dense_formula(case, prior):
    op = layer(case)
    a, r = op.matrix(), covariance(op, prior)
    want = r @ a.conj().T @ np.linalg.inv(a @ r @ a.conj().T + 0.1 * np.eye(len(a)))
    y = np.random.default_rng(1).standard_normal((2, *op.output_shape))
    found = lc.wiener(op, 0.1, prior, rtol=1e-11)(y).reshape(2, -1)
    np.testing.assert_allclose(found, y.reshape(2, -1) @ want.T, rtol=0, atol=1e-7)


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
@pytest.mark.parametrize("padding_mode", ["zeros", "circular"])
def test_a_prior_is_about_the_spatial_axes_of_any_map(padding_mode, data_format):
    rng = np.random.default_rng()
    last = data_format == "channels_last"
    conv = lc.Conv(
        rng.standard_normal((3, 3, 2, 2) if last else (2, 2, 3, 3)),
        (5, 6, 2) if last else (2, 5, 6),
        padding="same",
        padding_mode=padding_mode,
        data_format=data_format,
    )
    decimate, correlate, pad = conv.factors()
    shuffle = lc.DepthToSpace(conv.input_shape, (1, 2), data_format=data_format)
    maps = (2 * conv, -conv, conv + conv, conv @ (0.5 * conv), 2 * conv.T, shuffle)
    for op in (*maps, decimate @ correlate @ pad):
        a, r = op.matrix(), covariance_of(conv.layout, op.input_shape, "natural")
        want = r @ a.conj().T @ np.linalg.inv(a @ r @ a.conj().T + 0.1 * np.eye(len(a)))
        y = rng.standard_normal(op.output_shape)
        found = lc.wiener(op, 0.1, "natural")(y).ravel()
        close = 1e-9 if op.dtype == np.float64 else 1e-5
        np.testing.assert_allclose(found, want @ y.ravel(), rtol=0, atol=close)


def test_a_prior_wants_to_know_which_axes_are_spatial():
    shape = (4, 6)
    every_other = lc.Decimate(shape, (1, 2))
    with pytest.raises(LinconvError, match=r"\(4, 6\) are spatial; got .*no convolution; mul"):
        lc.wiener(every_other, 0.1, "natural")
    np.testing.assert_allclose(
        lc.wiener(every_other, 1, "white").matrix(), every_other.matrix().T / 2, atol=1e-12
    )
    told = every_other @ lc.Conv(np.ones((1, 1)), shape)
    a, r = told.matrix(), covariance(lc.Conv(np.ones((1, 1)), shape), "natural")
    want = r @ a.T @ np.linalg.inv(a @ r @ a.T + 0.1 * np.eye(len(a)))
    np.testing.assert_allclose(lc.wiener(told, 0.1, "natural").matrix(), want, atol=1e-9)
    mixed = lc.Conv(np.ones((1, 1, 1, 1)), (6, 4, 1)) + lc.Conv(
        np.ones((6, 6, 1, 1)), (6, 4, 1), data_format="channels_first"
    )
    with pytest.raises(LinconvError, match="with convolutions of several layouts"):
        lc.wiener(mixed, 0.1, "natural")


def test_a_filter_beside_maps_that_know_no_layout():
    rng = np.random.default_rng()
    conv = lc.Conv(rng.standard_normal((3, 3, 2, 2)), (4, 6, 2), padding=1, padding_mode="circular")
    prior = lc.wiener(conv, 0.1, "natural").maps[0]
    for op in (prior @ lc.identity((4, 6, 2)), lc.Decimate((4, 6, 2), (2, 2, 1)) @ prior):
        y = rng.standard_normal(op.output_shape)
        want = np.linalg.pinv(op.matrix()) @ y.ravel()
        np.testing.assert_allclose(lc.solve(op, y).x.ravel(), want, rtol=0, atol=1e-4)


def test_a_prior_takes_few_steps_at_any_border():
    """A power spectrum of six decades is no worse for the preconditioner than a flat one."""
    kernel = np.exp(-np.add.outer(np.arange(-3, 4) ** 2, np.arange(-3, 4) ** 2) / 4) + np.eye(7) / 2
    op = lc.Conv(kernel / kernel.sum(), (96, 90), padding="same")
    y = np.random.default_rng(2).standard_normal(op.output_shape)
    for prior in ("white", "natural"):
        few = lc.wiener(op, 1e-2, prior, rtol=1e-9, max_iterations=60)(y)
        closer = lc.wiener(op, 1e-2, prior, rtol=1e-12)(y)
        np.testing.assert_allclose(few, closer, rtol=0, atol=1e-6)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_verdicts(case):
    op = layer(case)
    found, a = lc.invertibility(op), op.matrix()
    rank = np.linalg.matrix_rank(a)
    names = {
        (True, True): "exact inverse",
        (True, False): "left inverse only",
        (False, True): "right inverse only",
        (False, False): "none",
    }
    assert (found.rank, found.verdict) == (rank, names[rank == a.shape[1], rank == a.shape[0]])
    assert found.lost.shape == (a.shape[1] - rank, *op.input_shape)
    basis = found.lost.reshape(len(found.lost), a.shape[1])
    np.testing.assert_allclose(a @ basis.T, 0, atol=1e-10)
    np.testing.assert_allclose(basis @ basis.conj().T, np.eye(len(basis)), atol=1e-10)
    if rank == min(a.shape):
        condition = np.linalg.cond(a)  # rounding moves the smallest value
        assert found.condition == pytest.approx(condition, rel=1e-14 * condition + 1e-12)


def test_the_box_blur_loses_a_third_of_the_circle_at_nine():
    eight, nine = (
        lc.invertibility(lc.Conv(np.ones(3) / 3, (n,), padding="same", padding_mode="circular"))
        for n in (8, 9)
    )
    assert (eight.verdict, eight.lost_frequencies) == ("exact inverse", ())
    x = np.arange(8.0)
    blur = lc.Conv(np.ones(3) / 3, (8,), padding="same", padding_mode="circular")
    np.testing.assert_allclose(eight.inverse(blur(x)), x, atol=1e-12)
    (lost,) = nine.lost_frequencies
    assert (nine.verdict, nine.rank, lost.cycles, lost.dimensions) == ("none", 7, (3,), 2)
    assert lost.radians == (pytest.approx(2 * np.pi / 3),)
    assert "3 per 9" in str(nine)


def test_wrong_priors():
    op = lc.Conv(np.ones((3, 3)), (6, 6))
    with pytest.raises(ShapeError, match="power spectrum must have the image's shape"):
        lc.wiener(op, 0.1, np.ones((3, 3)))
    with pytest.raises(LinconvError, match="nowhere negative and somewhere positive"):
        lc.wiener(op, 0.1, -np.ones((6, 6)))
    with pytest.raises(LinconvError, match="the same at a frequency and its negative"):
        lc.wiener(op, 0.1, 1.0 + np.arange(36.0).reshape(6, 6))


@pytest.mark.parametrize(
    ("steps", "message"),
    [(-3, "max_iterations must be at least 0; got -3"), ("a", "must be a whole number; got 'a'")],
)
@pytest.mark.parametrize("method", ["auto", "cg"])
def test_wrong_numbers_of_iterations(method, steps, message):
    op = lc.Conv(np.ones((3, 3)), (6, 6))
    with pytest.raises(GeometryError, match=message):
        lc.pinv(op, method=method, max_iterations=steps)
    for prior in ("white", "natural"):
        with pytest.raises(GeometryError, match=message):
            lc.wiener(op, 0.1, prior, max_iterations=steps)

"""The best inverse kernel for a prior, against dense Frobenius minimisation."""

import numpy as np
import pytest

import linconv as lc
from linconv.analysis.priors import read_prior
from linconv.errors import GeometryError, LinconvError

# size, kernel, stride, padding, mode, dilation, channels, inverse size, noise
LAYERS = [
    ((40,), 3, 1, "same", "zeros", 1, None, 5, 0.0),
    ((37,), 4, 2, "same", "zeros", 1, None, 5, 0.1),
    ((41,), 3, 3, "valid", "zeros", 2, None, 4, 0.1),
    ((45,), 3, 2, ((2, -1),), "reflect", 1, None, 3, 0.2),
    ((44,), 3, 2, ((1, 3),), "circular", 1, None, 4, 0.3),
    ((30,), 3, 1, "full", "symmetric", 1, None, 4, 0.3),
    ((34,), 3, 2, ((-2, 3),), "replicate", 1, (2, 3), 3, 0.05),
    ((13, 12), 3, 1, "same", "zeros", 1, None, 3, 0.0),
    ((18,), 3, 2, "same", "circular", 1, None, 5, 0.1),
    ((24,), 3, 2, ((1, 0),), "circular", 1, (2, 4), 5, 0.0),
    # a blur that all but loses waves, then noise: rows unlike those before, of short rank
    ((16, 16), "binomial", 1, "same", "zeros", 1, None, 3, 0.1),
]


@pytest.mark.parametrize("prior", ["white", "natural"])
@pytest.mark.parametrize("given", LAYERS, ids=str)
def test_frobenius_optimal(given, prior):
    size, taps, stride, padding, mode, dilation, channels, k, noise = given
    rng = np.random.default_rng(len(size) + size[0])
    if taps == "binomial":
        kernel = np.outer([1, 2, 1], [1, 2, 1]) / 16
    else:
        kernel = rng.standard_normal((taps,) * len(size) + (channels or ()))
    shape = size if channels is None else (*size, channels[0])
    options = {"stride": stride, "padding_mode": mode, "dilation": dilation}
    op = lc.Conv(kernel, shape, padding=padding, **options)
    best = lc.inverse_kernel(op, k, prior=prior, noise=noise)
    assert best.exact
    a = op.matrix()
    white = np.eye(a.shape[1]).reshape(-1, *shape)
    axes = tuple(range(1, 1 + len(size)))
    spectrum = np.sqrt(read_prior(prior, size)).reshape(size + (1,) * (channels is not None))
    root = np.fft.ifftn(np.fft.fftn(white, axes=axes) * spectrum, axes=axes).real
    root = root.reshape(len(a.T), -1).T
    columns = []
    for unit in np.eye(best.kernel.size):
        g = lc.Conv(
            unit.reshape(best.kernel.shape), shape, padding=best.decoder.geometry.padding, **options
        )
        back = g.matrix().T
        columns.append(np.append((back @ a @ root).ravel(), np.sqrt(noise) * back.ravel()))
    design = np.array(columns).T
    target = np.append(root.ravel(), np.zeros(len(design) - root.size))
    want = np.linalg.lstsq(design, target, rcond=1e-10)[0]
    np.testing.assert_allclose(best.kernel.ravel(), want, rtol=0, atol=1e-7)
    error = np.sum((design @ want - target) ** 2) / len(root)
    assert best.mse == pytest.approx(error, rel=1e-7, abs=1e-10)


def test_the_curve_ends_in_the_inverse():
    blur = lc.Conv([0.25, 0.5, 0.26], (9,), padding="same", padding_mode="circular")
    curve = lc.inverse_kernel_curve(blur)
    assert (curve.sizes, curve.exact_from) == ((3, 5, 7, 9), 9)
    assert sorted(curve.mse, reverse=True) == list(curve.mse)


@pytest.mark.parametrize(
    ("longest", "sizes"),
    [(2, (3,)), (3, (3,)), (4, (3, 4)), (5, (3, 5)), (8, (3, 5, 7, 8))]
    + [(n, tuple(range(3, 32, 2)) if n > 30 else (*range(3, 30, 2), 30)) for n in (30, 31, 40)],
)
def test_the_sizes_of_the_curve_by_default(longest, sizes):
    """Odd ones below the longest axis, then that axis itself; to 31."""
    op = lc.Conv([0.25, 0.5, 0.26], (longest,), padding="same")
    assert lc.inverse_kernel_curve(op).sizes == sizes


@pytest.mark.parametrize("sizes", [5, "35", np.array(5)])
def test_sizes_that_are_no_sequence_are_refused(sizes):
    op = lc.Conv([0.25, 0.5, 0.26], (9,), padding="same")
    with pytest.raises(GeometryError, match="sizes must be a sequence of kernel sizes; got"):
        lc.inverse_kernel_curve(op, sizes)


def test_images_or_a_prior():
    op = lc.Conv([1.0, 2.0], (5,))
    with pytest.raises(LinconvError, match="needs either images or a prior; got neither"):
        lc.inverse_kernel(op, 2)
    with pytest.raises(LinconvError, match="needs either images or a prior; got both"):
        lc.inverse_kernel(op, 2, np.ones(5), prior="white")
    with pytest.raises(LinconvError, match="noise goes with a prior"):
        lc.inverse_kernel(op, 2, np.ones(5), noise=0.1)

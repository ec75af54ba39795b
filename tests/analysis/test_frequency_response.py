"""The response to plane waves, against waves that are sent through the map."""

from itertools import product

import numpy as np
import pytest

import linconv as lc
from linconv.errors import GeometryError, LinconvError, SizeError


def test_a_bare_kernel_multiplies_waves():
    rng = np.random.default_rng(0)
    op = lc.Conv(rng.standard_normal((3, 4)), (8, 10), padding=((1, 1), (2, 1)))
    response = lc.frequency_response(op, (5, 7))
    assert response.shape == (5, 7)
    y, x = np.ogrid[:8, :10]
    for j, k in product(range(5), range(7)):
        wave = np.exp(2j * np.pi * (j * y / 5 + k * x / 7))
        inner = (slice(2, -2), slice(3, -3))  # where no window reads a padded zero
        np.testing.assert_allclose(op(wave)[inner], response[j, k] * wave[inner], atol=1e-12)


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("stride", [1, 2, (3, 2)])
def test_aliases_of_a_strided_convolution(stride, groups):
    rng = np.random.default_rng(1)
    op = lc.Conv(
        rng.standard_normal((3, 2, 4 // groups, 6)), (12, 12, 4), stride=stride, groups=groups,
        padding="same", padding_mode="circular",
    )  # fmt: skip
    steps = op.geometry.stride
    grid = op.geometry.output_size
    response = lc.frequency_response(op, grid)
    assert response.shape == (*grid, 6, 4 * steps[0] * steps[1])
    split = response.reshape(*grid, 6, 4, *steps)
    y, x = np.ogrid[:12, :12]
    v, u = np.ogrid[: grid[0], : grid[1]]
    for j, k, a, b in product((0, 1), (0, 2), range(steps[0]), range(steps[1])):
        down, across = (j + a * grid[0]) / 12, (k + b * grid[1]) / 12
        wave = np.exp(2j * np.pi * (down * y + across * x))
        out = np.exp(2j * np.pi * (j * v / grid[0] + k * u / grid[1]))
        for channel in range(4):
            image = np.zeros((12, 12, 4), complex)
            image[..., channel] = wave
            gain = split[j, k, :, channel, a, b] * np.sqrt(np.prod(steps))
            np.testing.assert_allclose(op(image), out[..., None] * gain, atol=1e-11)


def test_singular_values_are_those_of_the_circular_map():
    rng = np.random.default_rng(2)
    op = lc.Conv(
        rng.standard_normal((3, 3, 2, 3)), (8, 6, 2), stride=2, padding="same",
        padding_mode="circular",
    )  # fmt: skip
    found = np.linalg.svd(lc.frequency_response(op, (4, 3)), compute_uv=False)
    np.testing.assert_allclose(np.sort(found.ravel())[::-1], lc.svdvals(op), atol=1e-12)


def test_a_transpose_has_the_adjoint_response():
    rng = np.random.default_rng(3)
    kernel = rng.standard_normal((3, 2, 2, 3)) + 1j * rng.standard_normal((3, 2, 2, 3))
    op = lc.Conv(kernel, (9, 8, 2))
    direct = lc.frequency_response(op, (4, 5))
    adjoint = lc.frequency_response(op.H, (4, 5))
    np.testing.assert_allclose(adjoint, direct.conj().swapaxes(-1, -2), atol=1e-13)
    bare = lc.Conv([1.0, 2.0, 4.0], (6,))
    np.testing.assert_allclose(
        lc.frequency_response(bare.T, 6), lc.frequency_response(bare, 6).conj(), atol=1e-14
    )


def test_bad_input_is_refused():
    op = lc.Conv(np.ones((3, 3)), (9, 9))
    with pytest.raises(LinconvError, match="takes a convolution or transposed convolution; got Pr"):
        lc.frequency_response(op.T @ op, 4)
    with pytest.raises(GeometryError, match="n of axis 1 must be at least 1; got 0; use 1 or more"):
        lc.frequency_response(op, (4, 0))
    with pytest.raises(SizeError, match="a response of shape .* use fewer frequencies"):
        lc.frequency_response(op, 20000)

"""The best inverse kernel, against the loops' design matrix solved by SciPy."""

import json
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import pytest
import scipy
from hypothesis import given
from hypothesis import strategies as st

import linconv as lc
import reference
from cases import MODES, Case, grid
from linconv.errors import DTypeError, GeometryError, LinconvError, ShapeError
from strategies import legal_cases

SIZES = {
    1: ((1,), (2,), (3,), (4,)),
    2: ((3, 3), (2, 4), (1, 2), (4, 3)),
    3: ((2, 3, 2), (3, 1, 2), (1, 2, 1)),
}


@dataclass(frozen=True)
class Dense:
    """What SciPy finds: one system per group, unknowns (taps and bias) by channels."""

    found: list[np.ndarray]
    rebuilt: np.ndarray  # channels first
    mse: float
    rank: int
    full: bool


def design(layer: reference.Layer, features: np.ndarray) -> np.ndarray:
    """The design matrix of a transposed layer's kernel, by the definition's loops.

    Features (n, channels, *size) of one group; columns are (channel, tap), rows (image, sample).
    """
    n, channels = features.shape[:2]
    size, taps = layer.input_size, layer.kernel_size
    rows = np.zeros((n, prod(size), channels, prod(taps)))
    for out, tap, read in reference.contributions(layer):
        where, which = np.ravel_multi_index(read, size), np.ravel_multi_index(tap, taps)
        rows[:, where, :, which] += features[(..., *out)]
    return rows.reshape(n * prod(size), -1)


def dense_fit(
    layer: reference.Layer, features: np.ndarray, images: np.ndarray, bias: bool, ridge: float
) -> Dense:
    """Solve by `scipy.linalg.lstsq`; arrays are channels first. The bias is not penalised."""
    found, rebuilt, rank, full = [], np.empty(images.shape), 0, True
    per_image, per_feature = images.shape[1] // layer.groups, features.shape[1] // layer.groups
    for group in range(layer.groups):
        mine = slice(group * per_image, (group + 1) * per_image)
        rows = design(layer, features[:, group * per_feature : (group + 1) * per_feature])
        targets = np.moveaxis(images[:, mine], 1, -1).reshape(len(rows), per_image)
        penalty = np.sqrt(ridge) * np.eye(rows.shape[1], rows.shape[1] + bias)
        if bias:
            rows = np.hstack([rows, np.ones((len(rows), 1))])
        left = np.vstack([rows, penalty])
        right = np.vstack([targets, np.zeros((len(penalty), per_image))])
        u, _, r, _ = scipy.linalg.lstsq(left, right, cond=1e-13)
        found.append(u)
        rank, full = rank + r, full and r == left.shape[1]
        values = (rows @ u).reshape(len(images), *images.shape[2:], per_image)
        rebuilt[:, mine] = np.moveaxis(values, -1, 1)
    return Dense(found, rebuilt, float(np.mean((rebuilt - images) ** 2)), int(rank), full)


def channels_first(case: Case, arrays: np.ndarray) -> np.ndarray:
    if case.channels is None:
        return arrays[:, None]
    return np.moveaxis(arrays, -1, 1) if case.data_format == "channels_last" else arrays


def check(case: Case, size: tuple[int, ...], bias: bool, ridge: float, count: int = 3) -> None:
    """Fit the inverse of a case's layer, and hold everything it says against SciPy's answer."""
    kernel, images, _ = case.arrays(count)
    op = lc.Conv(kernel, case.input_shape, **case.options)
    best = lc.inverse_kernel(op, size, images, bias=bias, ridge=ridge)
    g = best.decoder.geometry
    layer = case.layer._replace(kernel_size=size, pads=g.padding)
    x, y = (channels_first(case, np.float64(a)) for a in (images, op(np.float64(images))))
    want = dense_fit(layer, y, x, bias, ridge)
    rebuilt = channels_first(case, best.reconstruct(op(np.float64(images))))
    scale = max(1.0, np.abs(x).max())
    np.testing.assert_allclose(rebuilt, want.rebuilt, rtol=0, atol=1e-8 * scale)
    assert best.mse == pytest.approx(want.mse, rel=1e-8, abs=1e-8 * scale**2)
    assert np.mean((rebuilt - x) ** 2) == pytest.approx(best.mse, rel=1e-8, abs=1e-12)
    assert best.unknowns == sum(len(u) for u in want.found)
    assert best.rank == want.rank
    assert best.kernel.dtype == np.float64
    assert best.bias.shape == (x.shape[1],)
    if bias and best.condition < 1e6:
        expected = np.concatenate([u[-1] for u in want.found])
        np.testing.assert_allclose(best.bias, expected, rtol=0, atol=1e-8 * scale)
    if not bias:
        assert not best.bias.any()
    if best.condition < 1e6:  # least norm where it is not determined, in both
        taps = np.stack([u[: len(u) - bias] for u in want.found])
        expected = taps.reshape(y.shape[1], *size, -1)  # (channels, *size, image channels)
        first = np.moveaxis(expected, -1, 1)
        if case.channels is None:
            first = first[0, 0]
        elif case.data_format == "channels_last":
            first = np.moveaxis(first, (0, 1), (-1, -2))
        limit = 1e-8 * max(1.0, np.abs(first).max())
        np.testing.assert_allclose(best.kernel, first, rtol=0, atol=limit)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_equal_to_dense_least_squares_over_the_grid(ndim, stride, mode):
    """Every eleventh layer of each cell, others in the next: every pair of options meets."""
    offset = 3 * ndim + stride + MODES.index(mode)
    for number, case in enumerate(grid(ndim, mode, stride, ("float64",))):
        if number % 11 == offset % 11:
            turn = number // 11 + offset
            size = SIZES[ndim][turn % len(SIZES[ndim])]
            if mode == "reflect" and ndim == 3:
                size = (*size[:2], 1)  # no room for more reflection on the short axis
            check(case, size, bias=turn % 5 < 3, ridge=(0.0, 0.0, 0.3)[turn % 3])


def real_with_channels(case: Case) -> bool:
    return case.channels is not None and np.dtype(case.dtype).kind != "c"


@given(legal_cases(max_ndim=2).filter(real_with_channels), st.booleans())
def test_any_legal_layer(case, bias):
    """The inverse of the layer's own kernel size, in double precision for any dtype."""
    check(case, case.kernel_size, bias, ridge=0.0, count=4)


def test_border_that_crops_as_much_as_it_pads():
    """The padded axis is as long as the axis, and yet its samples are others."""
    for mode in MODES:
        for padding in (((1, -1),), ((-2, 2),)):
            case = Case(f"balanced-{mode}", (8,), (2,), 2, padding, mode, channels=(1, 2))
            check(case, (2,), bias=True, ridge=0.0)


# The course's figures


@pytest.fixture
def image(course):
    return np.array(course["image"], float)


@pytest.fixture
def op(course, image):
    return lc.Conv(np.array(course["kernel"], float), image.shape, padding="same")


def test_figures_of_the_course(course, op, image):
    best = lc.inverse_kernel(op, 3, image)
    assert round(best.mse, 5) == 1.26384 == course["inverse_filter"]["exact_optimum_mse"]
    assert round(best.bias.item(), 4) == 4.1101
    assert (best.rank, best.unknowns) == (10, 10)
    assert best.mse < course["inverse_filter"]["trained_mse"]


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("size", range(1, 8))
def test_inverses_of_the_course_of_any_size(op, image, size, bias):
    """From size 4 on there are more unknowns than samples: rebuilt exactly, by least norm."""
    layer = reference.Layer(
        *((4, 4), (size, size), (1, 1)),
        reference.resolve_padding("same", (4, 4), (size, size), (1, 1), (1, 1)),
        *(("zeros", "zeros"), (1, 1), 1, False),
    )
    best = lc.inverse_kernel(op, size, image, bias=bias)
    want = dense_fit(layer, op(image)[None, None], image[None, None], bias, 0.0)
    np.testing.assert_allclose(best.reconstruct(op(image)), want.rebuilt[0, 0], atol=1e-8)
    assert best.mse == pytest.approx(want.mse, rel=1e-8, abs=1e-16)
    assert best.unknowns == size**2 + bias
    assert best.rank == want.rank == min(16, best.unknowns)
    taps = want.found[0][: size**2, 0].reshape(size, size)
    np.testing.assert_allclose(best.kernel, taps, rtol=0, atol=1e-8 * np.abs(taps).max())
    assert (best.mse < 1e-16) == (size > 3)


def test_a_larger_kernel_and_a_bias_never_rebuild_worse(op, image):
    errors = {
        (size, bias): lc.inverse_kernel(op, size, image, bias=bias).mse
        for size in (1, 3)
        for bias in (True, False)
    }
    assert errors[3, True] < errors[1, True] < errors[1, False]
    assert errors[3, True] < errors[3, False] < errors[1, False]


# The rest of the result


def test_reconstruct_adds_the_bias_on_any_batch_axes():
    rng = np.random.default_rng(4)
    op = lc.Conv(rng.standard_normal((3, 2, 2, 3)), (5, 6, 2), padding="same", stride=2)
    images = rng.standard_normal((2, 3, 5, 6, 2))
    best = lc.inverse_kernel(op, 3, images)
    whole = best.reconstruct(op(images))
    assert whole.shape == images.shape
    np.testing.assert_allclose(whole, best.decoder(op(images)) + best.bias, atol=1e-12)
    for index in np.ndindex(2, 3):
        np.testing.assert_allclose(best.reconstruct(op(images[index])), whole[index], atol=1e-12)
    flat = lc.inverse_kernel(op, 3, images.reshape(6, 5, 6, 2))
    np.testing.assert_array_equal(flat.kernel, best.kernel)


def test_maps_of_single_precision_are_inverted_in_double():
    rng = np.random.default_rng(5)
    kernel = rng.standard_normal((3, 3)).astype(np.float32)
    image = rng.random((12, 12)).astype(np.float32)
    best = lc.inverse_kernel(lc.Conv(kernel, (12, 12)), 3, image)
    exact = lc.inverse_kernel(lc.Conv(np.float64(kernel), (12, 12)), 3, np.float64(image))
    assert best.kernel.dtype == best.bias.dtype == np.float64
    np.testing.assert_allclose(best.kernel, exact.kernel, rtol=0, atol=1e-12)


def test_rank_deficient_layers_are_told():
    """A flat image determines one number of the ten."""
    op = lc.Conv(np.ones((3, 3)), (6, 6), padding="same", padding_mode="circular")
    best = lc.inverse_kernel(op, 3, np.full((6, 6), 2.0))
    assert (best.rank, best.unknowns) == (1, 10)
    assert best.mse < 1e-24
    # least norm: a + 18 * 9 * a * 18 = 2 for the bias a, and taps of 18 a
    np.testing.assert_allclose(best.bias, 2 / (1 + 9 * 18**2), rtol=1e-12)
    np.testing.assert_allclose(best.kernel, 36 / (1 + 9 * 18**2), rtol=1e-12)


def test_ridge_shrinks_the_kernel_alone(op, image):
    """With an endless weight the kernel is nothing, and the bias is the mean."""
    norms = [np.linalg.norm(lc.inverse_kernel(op, 3, image, ridge=r).kernel) for r in (0, 1e3, 1e6)]
    assert norms[0] > norms[1] > norms[2]
    best = lc.inverse_kernel(op, 3, image, ridge=1e18)
    assert best.bias == pytest.approx([image.mean()], rel=1e-6)
    assert best.mse == pytest.approx(image.var(), rel=1e-6)


def strict_json(result: Any) -> Any:
    """Through JSON and back, NaN and infinity forbidden."""
    return json.loads(json.dumps(result.to_dict(), allow_nan=False))


def test_to_dict_is_plain_json(op, image):
    best = lc.inverse_kernel(op, 3, image)
    read = strict_json(best)
    assert set(read) == {"kernel", "bias", "mse", "rank", "unknowns", "condition", "exact"}
    np.testing.assert_array_equal(read["kernel"], best.kernel)
    assert (read["mse"], read["rank"], read["condition"]) == (best.mse, 10, best.condition)


def test_to_dict_is_plain_json_where_nothing_is_determined(op):
    best = lc.inverse_kernel(op, 3, np.zeros((4, 4)), bias=False)
    assert (best.rank, best.mse, best.condition) == (0, 0.0, np.inf)
    assert strict_json(best)["rank"] == 0


# The geometry of the inverse


@given(legal_cases(max_ndim=3, modes=("zeros", "circular", "replicate")), st.data())
def test_another_kernel_size_from_the_same_input_to_the_same_output(case, data):
    g = lc.Geometry(case.input_size, case.kernel_size, **case.geometry_options)
    size = tuple(data.draw(st.integers(1, 5)) for _ in range(case.ndim))
    try:
        other = g.with_kernel_size(size)
    except GeometryError:
        # refused only where the padding that the size asks for would crop away the whole axis
        assert any(low < 0 or high < 0 for low, high in g.padding) or max(size) < max(g.kernel_size)
        return
    assert other.kernel_size == size
    assert (other.input_size, other.output_size) == (g.input_size, g.output_size)
    kept = ("stride", "dilation", "padding_mode", "groups", "in_channels", "out_channels")
    assert all(getattr(other, name) == getattr(g, name) for name in kept)
    if g.padding == g.replace(padding="same").padding:
        assert other == g.replace(kernel_size=size, padding="same")
    else:
        pairs = zip(
            *(g.padding, other.padding, g.effective_kernel_size, other.effective_kernel_size),
            strict=True,
        )
        for (low, _), (new_low, _), reach, new_reach in pairs:
            moved = ((new_reach - 1) / 2 - new_low) - ((reach - 1) / 2 - low)
            assert abs(moved) <= 0.5
    if size == g.kernel_size:
        assert other.padding[0][0] == g.padding[0][0]


# Refused


@pytest.mark.parametrize("wrong", [(4, 5), (5, 4), (16,), (4, 4, 1), ()])
def test_images_of_another_shape(op, wrong):
    with pytest.raises(
        ShapeError, match=r"images must have shape \(\*batch, 4, 4\); got .*reshape"
    ):
        lc.inverse_kernel(op, 3, np.zeros(wrong))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_images_that_are_not_finite(op, image, value):
    """The images are named, and counted in them: not in the features made of them."""
    image[1, 2] = value
    with pytest.raises(LinconvError, match=r"images must be finite; got 1 NaN or infinite .* 16"):
        lc.inverse_kernel(op, 3, image)


def test_complex_images_and_maps(op, image):
    with pytest.raises(DTypeError, match="must be real; got complex128; "):
        lc.inverse_kernel(op, 3, image + 1j)
    with pytest.raises(DTypeError, match="must be real; got complex128; "):
        lc.inverse_kernel(lc.Conv(op.kernel * 1j, (4, 4)), 3, image)


def test_no_images(op):
    with pytest.raises(LinconvError, match=r"needs? images; got none"):
        lc.inverse_kernel(op, 3, np.zeros((0, 4, 4)))


def test_other_maps(op, image):
    with pytest.raises(LinconvError, match=r"undoes a Conv; got ConvTranspose; .* fit_decoder"):
        lc.inverse_kernel(op.T, 3, image)


@pytest.mark.parametrize(
    ("size", "message"),
    [
        (0, "kernel_size must be at least 1; got 0"),
        (2.0, "kernel_size must be a whole number; got 2.0"),
        ((3, 3, 3), r"kernel_size must be one int or one per spatial axis; got 3 values"),
    ],
)
def test_wrong_sizes(op, image, size, message):
    with pytest.raises(GeometryError, match=message):
        lc.inverse_kernel(op, size, image)


@pytest.mark.parametrize("ridge", [-1.0, np.nan, np.inf])
def test_wrong_ridges(op, image, ridge):
    with pytest.raises(LinconvError, match=f"ridge must be a finite number .*; got {ridge}"):
        lc.inverse_kernel(op, 3, image, ridge=ridge)


@pytest.mark.parametrize("mode", ["zeros", "circular"])
@pytest.mark.parametrize("given", ["white", "images"])
def test_rank_and_condition_of_features_that_are_zero_or_tiny(mode, given):
    rng = np.random.default_rng(31)
    images = {"prior": "white"} if given == "white" else {"images": rng.random((20, 9, 9, 1))}

    def best(kernel: np.ndarray) -> lc.InverseKernel:
        op = lc.Conv(kernel, (9, 9, 1), padding="same", padding_mode=mode)
        return lc.inverse_kernel(op, 3, bias=False, **images)

    kernel = rng.standard_normal((3, 3, 1, 2))
    one = best(kernel[..., :1])
    assert one.rank == 9
    kernel[..., 1] = 0
    for scale in (1.0, 1e-6, 1e-20):
        both = best(kernel * scale)
        assert both.rank == 9
        assert both.condition == pytest.approx(one.condition, rel=1e-9)
        assert both.mse == pytest.approx(one.mse, rel=1e-9)
    nothing = best(0 * kernel)
    assert (nothing.rank, nothing.condition) == (0, np.inf)

"""The fits of decoders, against dense systems made of unit kernels and solved by SciPy."""

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import pytest
import scipy
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import least_squares

import linconv as lc
from cases import FORMATS, Case
from linconv.analysis.activations import activation
from linconv.analysis.decoder import Decoder
from linconv.analysis.decoder_fit import DecoderFit
from linconv.analysis.fitting import fit_decoder
from linconv.errors import DTypeError, LinconvError, ShapeError
from strategies import legal_cases

LAST, FIRST = FORMATS


def layer(name: str, size: tuple[int, ...], kernel: Any, channels: Any, **options: Any) -> Case:
    """The convolution images -> features; channels are those of the images and the features."""
    ndim = len(size)
    kernel = (kernel,) * ndim if isinstance(kernel, int) else kernel
    return Case(name, size, kernel, channels=channels, **{"padding": "same"} | options)


LAYERS = (
    layer("line", (12,), 3, (1, 2)),
    layer("image", (6, 7), (3, 2), (2, 3), stride=(2, 1)),
    layer("image-first", (6, 6), 3, (3, 2), stride=2, data_format=FIRST),
    layer("volume", (4, 3, 5), (2, 3, 2), (1, 2), stride=(1, 1, 2), data_format=FIRST),
    layer("groups", (6, 5), 2, (4, 6), groups=2, padding="valid"),
    layer("depthwise", (7, 6), 3, (3, 3), groups=3, stride=2, data_format=FIRST),
    layer("dilation", (9, 8), 2, (1, 2), dilation=(2, 3), stride=2),
    layer("gaps", (9, 9), 2, (1, 2), stride=3, padding="valid"),
    layer("pads", (8, 7), 3, (1, 1), padding=((2, 0), (-1, 2)), stride=(3, 2)),
    layer("full", (5, 4), (2, 3), (2, 2), padding="full"),
)
EACH_LAYER = pytest.mark.parametrize("case", LAYERS, ids=lambda case: case.name)


def options(case: Case) -> dict[str, Any]:
    """Those of `fit_decoder`, with the kernel size."""
    kept = {k: v for k, v in case.options.items() if k != "padding_mode"}
    return {"kernel_size": case.kernel_size, **kept}


def draw(case: Case, count: int = 8, low: float = 0.05, high: float = 0.95):
    """Features of any sign, and images between two values that the features know little of."""
    rng = case.rng
    features = rng.standard_normal((count, *case.output_shape))
    return features, rng.uniform(low, high, (count, *case.input_shape))


def channels_first(case: Case, arrays: np.ndarray) -> np.ndarray:
    return np.moveaxis(arrays, -1, 1) if case.data_format == LAST else arrays


@dataclass(frozen=True)
class Dense:
    """One image channel's system: rows (image, sample), unknowns (channel, tap), bias last."""

    rows: np.ndarray
    targets: np.ndarray
    ridge: np.ndarray

    def residuals(self, u: np.ndarray, name: str = "linear") -> np.ndarray:
        return activation(name).apply(self.rows @ u) - self.targets

    def penalised(self, u: np.ndarray, name: str) -> np.ndarray:
        return np.concatenate([self.residuals(u, name), np.sqrt(self.ridge) * u])

    def solve(self) -> np.ndarray:
        rows = np.vstack([self.rows, np.diag(np.sqrt(self.ridge))])
        targets = np.concatenate([self.targets, np.zeros(len(self.ridge))])
        return scipy.linalg.lstsq(rows, targets, cond=1e-13)[0]


def dense(case: Case, features, images, *, bias: bool = True, ridge: float = 0.0) -> list[Dense]:
    """A system for each image channel: the decoder applied to one unit kernel after the other."""
    y, x = channels_first(case, features), channels_first(case, images)
    count, per_image = y.shape[1] // case.groups, x.shape[1] // case.groups
    plain = {k: v for k, v in case.options.items() if k not in ("groups", "data_format")}
    systems = []
    for group in range(case.groups):
        mine = y[:, group * count : (group + 1) * count]
        columns = []
        for unit in np.eye(count * prod(case.kernel_size)):
            kernel = unit.reshape(count, 1, *case.kernel_size)
            op = lc.Conv(kernel, (1, *case.input_size), data_format=FIRST, **plain)
            columns.append(op.T(mine).ravel())
        rows = np.stack([*columns, *[np.ones(len(columns[0]))] * bias], axis=1)
        weights = np.full(rows.shape[1], ridge)
        weights[len(columns) :] = 0
        systems += [
            Dense(rows, x[:, group * per_image + c].ravel(), weights) for c in range(per_image)
        ]
    return systems


def parameters(case: Case, decoder: Decoder, bias: bool) -> list[np.ndarray]:
    """The decoder's kernel and bias as the unknowns of each image channel's system."""
    kernel = decoder.kernel
    if case.data_format == LAST:
        kernel = np.moveaxis(kernel, (-1, -2), (0, 1))
    count, per_image = kernel.shape[0] // case.groups, kernel.shape[1]
    found = []
    for channel in range(per_image * case.groups):
        group, within = divmod(channel, per_image)
        taps = kernel[group * count : (group + 1) * count, within].ravel()
        found.append(np.append(taps, decoder.bias[channel : channel + 1])[: taps.size + bias])
    return found


# Linear


def assert_linear_optimum(case: Case, decoder: Decoder, systems: list[Dense], bias: bool) -> None:
    want = [system.solve() for system in systems]
    mse = np.mean([system.residuals(u) ** 2 for system, u in zip(systems, want, strict=True)])
    assert decoder.mse == pytest.approx(mse, rel=1e-8, abs=1e-14)
    for system, u, v in zip(systems, parameters(case, decoder, bias), want, strict=True):
        np.testing.assert_allclose(system.rows @ u, system.rows @ v, rtol=0, atol=1e-8)
        np.testing.assert_allclose(u, v, rtol=0, atol=1e-8 * max(1, np.abs(v).max()))


@EACH_LAYER
@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no-bias"])
@pytest.mark.parametrize("ridge", [0.0, 2.5])
def test_linear_decoder_is_the_dense_least_squares(case, bias, ridge):
    features, images = draw(case)
    decoder = fit_decoder(features, images, **options(case), bias=bias, ridge=ridge)
    systems = dense(case, features, images, bias=bias, ridge=ridge)
    assert_linear_optimum(case, decoder, systems, bias)
    augmented = [np.vstack([s.rows, np.diag(np.sqrt(s.ridge))]) for s in systems]
    assert decoder.condition == pytest.approx(max(map(np.linalg.cond, augmented)), rel=1e-8)
    rebuilt = decoder(features)
    assert np.mean((rebuilt - images) ** 2) == pytest.approx(decoder.mse, rel=1e-10)
    assert decoder.kernel.shape == case.kernel_shape
    assert decoder.bias.shape == (case.channels[0],)
    assert (
        decoder.unknowns
        == decoder.rank
        == sum(len(s.ridge) for s in systems[:: case.channels[0] // case.groups])
    )
    assert (decoder.activation, decoder.iterations, decoder.converged) == ("linear", 0, True)
    assert decoder.linear_mse == decoder.mse
    assert "global" in decoder.reason


def with_channels(case: Case) -> bool:
    return case.channels is not None and np.dtype(case.dtype).kind != "c"


@given(legal_cases(max_ndim=2).filter(with_channels), st.booleans())
def test_accumulated_decoder_of_any_legal_layer(case, bias):
    """Every padding mode, fewer images than unknowns too: then the one of least norm."""
    features, images = draw(case, 3)
    fit = DecoderFit(**options(case), padding_mode=case.padding_mode, bias=bias)
    decoder = fit.update(features, images).solve()
    systems = dense(case, features, images, bias=bias)
    assert_linear_optimum(case, decoder, systems, bias)


@EACH_LAYER
def test_a_linear_decoder_is_found_again_from_what_it_made(case):
    features, images = draw(case, 12)
    true = fit_decoder(features, images, **options(case))
    again = fit_decoder(features, true(features), **options(case))
    assert again.mse < 1e-24
    np.testing.assert_allclose(again.kernel, true.kernel, rtol=0, atol=1e-11)
    np.testing.assert_allclose(again.bias, true.bias, rtol=0, atol=1e-11)


def test_both_layouts_give_the_same_decoder():
    case = LAYERS[1]
    features, images = draw(case)
    last = fit_decoder(features, images, **options(case))
    first = fit_decoder(
        np.moveaxis(features, -1, 1),
        np.moveaxis(images, -1, 1),
        **options(case) | {"data_format": FIRST},
    )
    np.testing.assert_array_equal(np.moveaxis(first.kernel, (0, 1), (-1, -2)), last.kernel)
    np.testing.assert_array_equal(first.bias, last.bias)


def test_single_precision_and_integers_are_fitted_in_double():
    case = LAYERS[1]
    features, images = draw(case)
    features, images = np.round(100 * features), np.round(100 * images)
    exact = fit_decoder(features, images, **options(case))
    for dtype in (np.float32, np.int16, ">f8"):
        given = fit_decoder(features.astype(dtype), images.astype(dtype), **options(case))
        np.testing.assert_array_equal(given.kernel, exact.kernel)
        assert given.kernel.dtype == np.float64


def test_options_are_read_back():
    fit = DecoderFit(3, bias=False, ridge=2, data_format=FIRST)
    assert (fit.bias, fit.ridge, fit.data_format) == (False, 2.0, FIRST)
    assert (fit.geometry, fit.images) == (None, 0)


# With an activation


@EACH_LAYER
@pytest.mark.parametrize("name", ["tanh", "sigmoid"])
@pytest.mark.parametrize(("bias", "ridge"), [(True, 0.0), (False, 0.0), (True, 0.4)])
def test_activation_fit_is_the_minimum_that_scipy_finds(case, name, bias, ridge):
    features, images = draw(case, 4)
    decoder = fit_decoder(
        features, images, **options(case), activation=name, bias=bias, ridge=ridge
    )
    systems = dense(case, features, images, bias=bias, ridge=ridge)
    minima, conditions = 0.0, []
    for system, u in zip(systems, parameters(case, decoder, bias), strict=True):
        shape = activation(name)
        values = shape.apply(system.rows @ u)
        jacobian = system.rows * shape.slope(values)[:, None]
        residual = system.targets - values
        gradient = jacobian.T @ residual - system.ridge * u
        norms = np.linalg.norm(jacobian) * np.linalg.norm(residual)
        conditions.append(np.linalg.cond(np.vstack([jacobian, np.diag(np.sqrt(system.ridge))])))
        assert np.linalg.norm(gradient) <= 1.1e-6 * norms
        limits = dict.fromkeys(("xtol", "ftol", "gtol"), 1e-12)
        found = least_squares(system.penalised, np.zeros(len(u)), args=(name,), **limits)
        minima += float((system.residuals(found.x, name) ** 2).sum())
    assert decoder.converged
    assert decoder.mse == pytest.approx(minima / images.size, rel=1e-6)
    assert decoder.condition == pytest.approx(max(conditions), rel=1e-6)
    assert decoder.rank == decoder.unknowns == sum(len(s.ridge) for s in systems)
    assert np.mean((decoder(features) - images) ** 2) == pytest.approx(decoder.mse, rel=1e-9)
    assert "targets" not in decoder.reason


@pytest.mark.parametrize("name", ["tanh", "sigmoid"])
@pytest.mark.parametrize("case", LAYERS[1:6:2], ids=lambda case: case.name)
def test_never_worse_than_either_start(case, name):
    """After no step at all, too: the linear decoder, and that of images passed backwards."""
    features, images = draw(case, 4, 0.001, 0.999)
    shape, linear = activation(name), fit_decoder(features, images, **options(case))
    margin = 0.005 * (shape.high - shape.low)
    backwards = shape.inverse(np.clip(images, shape.low + margin, shape.high - margin))
    other = fit_decoder(features, backwards, **options(case))
    errors = [(shape.apply(start(features)) - images) ** 2 for start in (linear, other)]
    by_channel = [channels_first(case, e).swapaxes(0, 1) for e in errors]
    least = np.mean([min(e.mean() for e in pair) for pair in zip(*by_channel, strict=True)])
    for limit in (0, 1, 50):
        decoder = fit_decoder(
            features, images, **options(case), activation=name, max_iterations=limit
        )
        assert decoder.mse <= least * (1 + 1e-12)
        assert decoder.iterations <= limit
        assert decoder.converged == (limit == 50)
        if not decoder.converged:
            assert f"stopped after {limit} steps" in decoder.reason


@pytest.mark.parametrize("name", ["tanh", "sigmoid"])
def test_the_linear_error_is_that_of_the_clipped_decoder(name):
    """Images near the limits, so that the linear decoder goes beyond them."""
    case, shape = LAYERS[1], activation(name)
    features, images = draw(case, 4)
    images = np.where(images < 0.8, shape.low + 0.001, shape.high - 0.001)
    rebuilt = fit_decoder(features, images, **options(case))(features)
    assert rebuilt.min() < shape.low - 0.1
    error = np.mean((np.clip(rebuilt, shape.low, shape.high) - images) ** 2)
    decoder = fit_decoder(features, images, **options(case), activation=name)
    assert decoder.linear_mse == pytest.approx(error, rel=1e-12)


def test_converged_means_every_channel():
    """A black channel is rebuilt at once, by a kernel of zeros; the other is not."""
    case = LAYERS[1]
    features, images = draw(case, 4)
    images[..., 0] = 0
    fit = {**options(case), "activation": "tanh", "bias": False}
    assert not fit_decoder(features, images, **fit, max_iterations=0).converged
    assert fit_decoder(features, 0 * images, **fit, max_iterations=0).converged


@pytest.mark.parametrize("name", ["tanh", "sigmoid"])
def test_a_decoder_with_activation_is_found_again_from_what_it_made(name):
    case = LAYERS[2]
    features, images = draw(case, 6)
    true = fit_decoder(features, images, **options(case), activation=name)
    again = fit_decoder(features, true(features), **options(case), activation=name)
    assert again.mse < 1e-20
    np.testing.assert_allclose(again.kernel, true.kernel, rtol=0, atol=1e-7)
    np.testing.assert_allclose(again.bias, true.bias, rtol=0, atol=1e-7)


@pytest.mark.parametrize(("name", "limits"), [("tanh", "-1 and 1"), ("sigmoid", "0 and 1")])
def test_targets_at_or_beyond_the_limits_are_said(name, limits):
    case = LAYERS[0]
    features, images = draw(case, 10)
    images[0, :3] = [[1.0], [-1.0], [1.5]]
    decoder = fit_decoder(features, images, **options(case), activation=name)
    message = f"3 of 120 targets lie at or beyond the limits of {name}, {limits}, and can only"
    assert message in decoder.reason
    assert np.isfinite(decoder.kernel).all()
    linear = fit_decoder(features, images, **options(case))
    start = activation(name).apply(linear(features))
    assert decoder.mse < np.mean((start - images) ** 2)


# Refused


@pytest.fixture
def pair():
    """Features (6, 4, 4, 2) of images (6, 8, 8, 1), as a stride of 2 makes them."""
    rng = np.random.default_rng(0)
    return rng.random((6, 4, 4, 2)), rng.random((6, 8, 8, 1))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"stride": 1},
            r"gives features of size \(8, 8\) for images of size \(8, 8\); got \(4, 4\)",
        ),
        ({"padding": "valid"}, r"gives features of size \(3, 3\) .*got \(4, 4\); check stride"),
        (
            {"groups": 2},
            "groups must divide in_channels; got groups=2, in_channels=1; use one of 1",
        ),
        ({"groups": 0}, "groups must be at least 1; got 0"),
        ({"stride": 0}, "stride must be at least 1; got 0"),
        ({"kernel_size": (3, 3, 3)}, "kernel_size must be one int or one per spatial axis; got 3"),
        ({"padding": "sane"}, "padding must be .*got 'sane'; did you mean 'same'"),
        ({"ridge": -1}, "ridge must be a finite number of at least 0; got -1; use 0.0"),
        ({"ridge": np.nan}, "ridge must be a finite number of at least 0; got nan; use 0.0"),
        ({"activation": "tahn"}, "activation must be .*got 'tahn'; did you mean 'tanh'"),
        ({"data_format": "channel_last"}, "data_format must be .*got 'channel_last'; did you mean"),
        ({"activation": "tanh", "max_iterations": -1}, "max_iterations must be at least 0; got -1"),
        ({"activation": "tanh", "tolerance": np.nan}, "tolerance must be .*got nan"),
    ],
    ids=lambda value: "-".join(map(str, value.values())) if isinstance(value, dict) else "",
)
def test_options_that_fit_nothing(pair, changes, message):
    with pytest.raises(LinconvError, match=message):
        fit_decoder(*pair, **{"kernel_size": 3, "stride": 2} | changes)


@pytest.mark.parametrize(
    ("features", "images"),
    [((5, 4, 4, 2), (6, 8, 8, 1)), ((6, 4, 4), (6, 8, 8, 1)), ((6, 4), (6, 8)), ((), ())],
    ids=str,
)
def test_arrays_that_do_not_belong_together(features, images):
    message = r"features and images must have shapes \(n, \*size, channels\) with the same n"
    with pytest.raises(ShapeError, match=message) as error:
        fit_decoder(np.zeros(features), np.zeros(images), 3, stride=2)
    assert f"got {features} and {images}" in str(error.value)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite(pair, value):
    features, images = pair
    with pytest.raises(LinconvError, match="images must be finite; got 1 NaN or .* of 384; remove"):
        fit_decoder(features, np.where(images == images.max(), value, images), 3, stride=2)
    with pytest.raises(LinconvError, match="features must be finite; got 192 NaN or .* of 192"):
        fit_decoder(np.full_like(features, value), images, 3, stride=2)


def test_numbers_that_are_not_real(pair):
    features, images = pair
    with pytest.raises(DTypeError, match="features must be real; got complex128; "):
        fit_decoder(features + 0j, images, 3, stride=2)
    with pytest.raises(DTypeError, match="images must hold real .*got dtype object"):
        fit_decoder(features, images.astype(object), 3, stride=2)


def test_no_images():
    none = np.zeros((0, 8, 8, 1))
    with pytest.raises(LinconvError, match="needs? images; got none"):
        fit_decoder(none, none, 3)

"""solve: shapes, dtypes, scales, starts, interrupts, and every message."""

import json

import numpy as np
import pytest

import linconv as lc
from linconv.errors import DTypeError, GeometryError, LinconvError, ShapeError

ANY = ("auto", "dense", "cg", "lsmr")


def oblique(size: int = 9) -> np.ndarray:
    """A blur that is no outer product."""
    t = np.arange(size) - size // 2
    u, v = np.meshgrid(t, t)
    kernel = np.exp(-(u**2 + v**2 + 1.2 * u * v) / size)
    return kernel / kernel.sum()


def random_outputs(op: lc.LinearMap, *batch: int) -> np.ndarray:
    return np.random.default_rng(op.shape).standard_normal((*batch, *op.output_shape))


# What goes in and comes out


def test_zero_outputs_and_empty_batches():
    op = lc.Conv(oblique(3), (7, 8), padding="same", stride=2)
    for method in ANY:
        found = lc.solve(op, np.zeros(op.output_shape), method=method)
        assert found.converged
        assert not found.x.any()
        assert lc.solve(op, np.zeros((0, 2, *op.output_shape)), method=method).x.shape == (
            0,
            2,
            7,
            8,
        )


def test_the_dtype_is_that_of_the_map_applied():
    for dtype in ("float32", "float64", "complex64", "complex128"):
        op = lc.Conv(oblique(3).astype(dtype), (6, 6), padding="same")
        for given in ("float16", "float32", "float64", "int32"):
            y = np.ones((6, 6), given)
            assert lc.solve(op, y).x.dtype == op(y).dtype


@pytest.mark.parametrize("method", ["cg", "lsmr"])
def test_scales_far_from_one(method):
    op = lc.Conv(oblique(3), (6, 6), padding="same")
    y = random_outputs(op)
    want = lc.solve(op, y, method="dense").x
    for scale in (1e-200, 1e200):
        found = lc.solve(op, scale * y, method=method, rtol=1e-12)
        np.testing.assert_allclose(found.x / scale, want, rtol=1e-6)


@pytest.mark.parametrize("method", ["cg", "lsmr"])
def test_a_start_near_the_solution_saves_steps_and_a_singular_map_stays_near_it(method):
    op = lc.Conv(oblique(5), (24, 24), padding="same", stride=2)
    y, rng = random_outputs(op, 2), np.random.default_rng(14)
    cold = lc.solve(op, y, method=method, ridge=1e-3)
    warm = lc.solve(op, y, method=method, ridge=1e-3, x0=cold.x)
    assert warm.iterations < cold.iterations / 2
    np.testing.assert_allclose(warm.x, cold.x, atol=1e-6)
    start = rng.standard_normal(op.input_shape)  # one for the whole batch
    found = lc.solve(op, y, method=method, x0=start, rtol=1e-11).x
    least = lc.solve(op, y - op(start), method="dense").x
    np.testing.assert_allclose(found, start + least, atol=1e-6)


def test_an_interrupt_passes_through():
    def callback(iteration: int, residual: float) -> None:
        if iteration == 3:
            raise KeyboardInterrupt

    op = lc.Conv(oblique(), (40, 40), padding="same")
    for method in ("cg", "lsmr"):
        with pytest.raises(KeyboardInterrupt):
            lc.solve(op, np.ones((40, 40)), method=method, rtol=0.0, callback=callback)


def test_large_batches_go_in_pieces(monkeypatch):
    op = lc.Conv(oblique(3), (6, 7), padding="same")
    y = random_outputs(op, 5)
    whole = lc.solve(op, y, method="cg", rtol=1e-12)
    monkeypatch.setattr("linconv.analysis.solve.BATCH_BYTES", 2 * 16 * 42)
    pieces = lc.solve(op, y, method="cg", rtol=1e-12)
    np.testing.assert_allclose(pieces.x, whole.x, atol=1e-9)


def test_to_dict_is_plain_json():
    op = lc.Conv(oblique(3), (6, 6), padding="same")
    for method in ("auto", "cg"):
        read = json.loads(json.dumps(lc.solve(op, np.ones((2, 6, 6)), method=method).to_dict()))
        assert read["converged"] is True
        assert len(read["residual"]) == 2
        assert "x" not in read


# Starts


@pytest.mark.parametrize("method", ["cg", "lsmr"])
@pytest.mark.parametrize("ridge", [0.0, 1e-2])
def test_outputs_that_ask_for_zero_from_any_start(method, ridge):
    rng = np.random.default_rng(15)
    op = lc.Conv(rng.standard_normal((3, 3)), (6, 6))
    y = np.stack([np.zeros((4, 4)), rng.standard_normal((4, 4))])
    start = rng.standard_normal((6, 6))
    found = lc.solve(op, y, method=method, ridge=ridge, x0=start, rtol=1e-10)
    assert found.converged, found.reason
    matrix = op.matrix()
    system = np.concatenate([matrix, np.sqrt(ridge) * np.eye(36)])
    for x, output in zip(found.x, y, strict=True):
        wanted = np.concatenate([output.ravel(), np.zeros(36)]) - system @ start.ravel()
        nearest = start.ravel() + np.linalg.lstsq(system, wanted, rcond=None)[0]
        np.testing.assert_allclose(x.ravel(), nearest, atol=1e-7)
    again = lc.solve(op, y, method=method, ridge=ridge, x0=found.x, rtol=1e-9)
    assert again.converged, again.reason
    assert ridge or again.iterations == 0
    np.testing.assert_allclose(again.x, found.x, atol=1e-9)


@pytest.mark.parametrize("method", ["cg", "lsmr"])
@pytest.mark.parametrize("ridge", [0.0, 1e-2])
def test_a_complex_start_of_a_real_map(method, ridge):
    rng = np.random.default_rng(16)
    op = lc.Conv(rng.standard_normal((3, 3)).astype(np.float32), (14, 14), padding="same", stride=2)
    y = op(rng.standard_normal((14, 14)).astype(np.float32))
    start = rng.standard_normal((14, 14)) + 1j * rng.standard_normal((14, 14))
    found = lc.solve(op, y, method=method, ridge=ridge, x0=start, rtol=1e-10)
    assert found.converged, found.reason
    assert found.x.dtype == np.complex64
    matrix = op.matrix().astype(np.float64)
    system = np.concatenate([matrix, np.sqrt(ridge) * np.eye(196)])
    left = np.concatenate([y.ravel(), np.zeros(196)]) - system @ start.ravel()
    nearest = start.ravel() + np.linalg.lstsq(system, left, rcond=None)[0]
    np.testing.assert_allclose(found.x.ravel(), nearest, atol=1e-4)


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("method", ["auto", "cg"])
def test_a_solution_beyond_its_dtype_has_not_converged(dtype, method):
    largest = float(np.finfo(dtype).max)
    op = lc.Conv(dtype([[1 / 128]]), (3, 3))
    y = np.full((2, 3, 3), largest / 256, dtype)
    y[1] = largest / 32
    found = lc.solve(op, y, method=method)
    assert not found.converged
    assert f"the solution exceeds {dtype.__name__}: give y in double" in found.reason
    np.testing.assert_allclose(found.x[0], largest / 2, rtol=1e-2)
    assert np.isinf(found.x[1]).all()
    wide = lc.solve(op, y.astype(np.float64), method=method)
    assert wide.converged
    np.testing.assert_allclose(wide.x[1], largest * 4, rtol=1e-2)


@pytest.mark.parametrize("method", ["cg", "lsmr"])
def test_the_callback_sees_the_history(method):
    op = lc.Conv(oblique(3), (6, 7), padding="same")
    y, seen = random_outputs(op, 2), []
    found = lc.solve(op, y, method=method, callback=lambda *entry: seen.append(entry))
    history = found.history[1:] if method == "cg" else found.history  # that of "cg" has its start
    first = len(history)
    assert seen[:first] == list(enumerate(history, 1))
    if method == "cg":
        assert len(seen) == first
    else:  # the second output counts anew
        seen_of_second: list = []
        lc.solve(op, y[1], method=method, callback=lambda *entry: seen_of_second.append(entry))
        assert seen[first:] == seen_of_second


# Messages


@pytest.fixture
def op():
    return lc.Conv(oblique(3), (6, 6), padding="same")


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"method": "cgg"}, GeometryError, "method must be one of .* did you mean 'cg'"),
        ({"ridge": -1.0}, GeometryError, "ridge must be a finite number of at least 0; got -1.0"),
        ({"ridge": np.nan}, GeometryError, "ridge must be a finite number of at least 0; got nan"),
        ({"rtol": np.inf}, GeometryError, "rtol must be a finite number of at least 0; got inf"),
        ({"max_iterations": -1}, GeometryError, "max_iterations must be at least 0; got -1"),
        ({"max_iterations": 1.5}, GeometryError, "max_iterations must be a whole number; got 1.5"),
        ({"x0": np.ones(6)}, ShapeError, r"x0 must have shape \(\*batch, 6, 6\); got \(6,\)"),
        ({"x0": np.ones((2, 6, 6))}, ShapeError, r"x0 must have shape \(6, 6\), or .*one start"),
        ({"x0": np.full((6, 6), np.nan)}, LinconvError, "x0 must be finite; got 36 NaN"),
    ],
)
def test_wrong_options(op, options, kind, message):
    with pytest.raises(kind, match=message):
        lc.solve(op, np.ones((6, 6)), **options)


def test_wrong_maps_and_outputs(op):
    with pytest.raises(DTypeError, match="what is solved must be a map of linconv; got ndarray"):
        lc.solve(np.eye(3), np.ones(3))
    with pytest.raises(ShapeError, match=r"y must have shape \(\*batch, 6, 6\); got \(5, 6\)"):
        lc.solve(op, np.ones((5, 6)))
    for value in (np.nan, np.inf):
        y = np.ones((6, 6))
        y[2, 3] = value
        with pytest.raises(LinconvError, match="y must be finite; got 1 NaN or infinite values of"):
            lc.solve(op, y)
        broken = lc.Conv(np.where(oblique(3) == oblique(3).max(), value, 1), (6, 6))
        with pytest.raises(LinconvError, match="the map must have finite entries; its transp"):
            lc.solve(broken, np.ones((4, 4)))


def test_kernels_of_other_libraries_are_refused():
    torch = pytest.importorskip("torch", reason="kernels are its tensors")
    conv = lc.Conv(torch.ones(3, 3), (5, 5))
    wraps = lc.Conv(torch.ones(3, 3), (5, 5), padding="same", padding_mode="circular")
    of_kernel = lc.Conv(np.ones((3, 3)), (5, 5)).as_function_of_kernel(torch.ones(5, 5))
    for op in (conv, wraps, 2 * conv.T, of_kernel):
        for function in (
            lambda op: lc.solve(op, np.ones(op.output_shape)),
            lc.pinv,
            lambda op: lc.wiener(op, 0.1),
            lc.invertibility,
        ):
            with pytest.raises(DTypeError, match="NumPy kernels; got a kernel of torch; conv"):
                function(op)

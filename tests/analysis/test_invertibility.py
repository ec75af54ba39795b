"""invertibility of maps too large to decompose: bounds and estimates against dense values."""

import json

import numpy as np
import pytest

import linconv as lc
from linconv.analysis import invertibility


@pytest.fixture
def large(monkeypatch):
    """Take every map for one that can be neither decomposed nor factorised."""
    monkeypatch.setattr(invertibility, "DENSE_WORK", 0.0)
    monkeypatch.setattr(invertibility, "LU_WORK", 0.0)


def kernel_of(kind: str, dtype: str) -> np.ndarray:
    """A kernel that is no outer product: nearly a unit, an oblique blur, or two taps."""
    rng = np.random.default_rng(3)
    taps = np.arange(5) - 2
    u, v = np.meshgrid(taps, taps)
    kernel = {
        "sharp": 0.02 * rng.standard_normal((5, 5)) + (u == 0) * (v == 0),
        "blur": np.exp(-(u**2 + v**2 + 1.2 * u * v) / 3),
        "singular": (u == -1) * (v == 0) + 1.0 * (u == 1) * (v == 1),
    }[kind]
    return kernel * (1 + 0.5j) if dtype == "complex128" else kernel


@pytest.mark.parametrize("dtype", ["float64", "complex128"])
@pytest.mark.parametrize("padding", ["same", "valid", "full"])
@pytest.mark.parametrize("kind", ["sharp", "blur", "singular"])
@pytest.mark.usefixtures("large")
def test_verdicts_of_large_maps_are_never_wrong(kind, padding, dtype):
    op = lc.Conv(kernel_of(kind, dtype), (16, 17), padding=padding)
    found, values = lc.invertibility(op), np.linalg.svd(op.matrix(), compute_uv=False)
    rank = np.linalg.matrix_rank(op.matrix())
    true = {
        (True, True): "exact inverse",
        (True, False): "left inverse only",
        (False, True): "right inverse only",
        (False, False): "none",
    }[rank == op.shape[1], rank == op.shape[0]]
    assert found.method == "lobpcg"
    assert found.verdict in (true, "undecided")
    assert found.rank in (rank, None)
    condition = values[0] / values[-1] if values[-1] else np.inf
    if kind == "sharp":
        assert (found.verdict, found.condition_kind) == (true, "estimate")
        assert found.condition == pytest.approx(condition, rel=1e-2)
        y = op(np.ones(op.input_shape))
        assert np.abs(op(found.inverse(y)) - y).max() < 1e-8
    if found.verdict == "undecided":
        assert (found.condition_kind, found.rank, found.inverse) == ("at least", None, None)
        assert (found.deficit, found.unreached, found.lost) == (None, None, None)
        assert found.condition <= condition * (1 + 1e-9)
        assert found.condition > 10
    sided = {-1: "no left inverse, by its shape", 1: "no right inverse, by its shape", 0: "rank"}
    assert (found.rank is not None) or sided[np.sign(op.shape[0] - op.shape[1])] in str(found)
    assert json.loads(json.dumps(found.to_dict()))["residual"] == found.residual


@pytest.mark.usefixtures("large")
def test_nothing_is_kept_of_a_large_map_that_is_zero():
    found = lc.invertibility(0.0 * lc.Conv(kernel_of("blur", "float64"), (16, 17)))
    assert (found.verdict, found.rank, found.condition) == ("none", None, np.inf)


def test_a_blur_of_a_large_image_gets_an_answer():
    """By no more than a bound: 65,536 unknowns, of a kernel that is no outer product."""
    op = lc.Conv(kernel_of("blur", "float64") / 15, (256, 256), padding="same")
    found = lc.invertibility(op)
    assert (found.verdict, found.condition_kind, found.method) == (
        "undecided",
        "at least",
        "lobpcg",
    )
    assert found.condition > 100
    assert found.residual > 0


def test_the_condition_of_a_large_blur_is_an_estimate(monkeypatch):
    """Whose smallest values crowd at zero, so that Lanczos gives up; small, against dense."""
    monkeypatch.setattr("linconv.analysis.spectrum.quick", lambda op: False)
    monkeypatch.setattr("linconv.analysis.iterative._GRAM_LIMIT", 0)
    monkeypatch.setattr("linconv.analysis.iterative._SMALL", 2)
    op = lc.Conv(kernel_of("blur", "float64"), (32, 30), padding="same")
    found, smallest = lc.condition(op), lc.svdvals(op, 1, "smallest")
    values = np.linalg.svd(op.matrix(), compute_uv=False)
    assert (found.kind, smallest.kind) == ("estimate", "estimate")
    assert "LOBPCG" in smallest.method
    assert values[-1] * (1 - 1e-9) <= smallest[0] < 0.05 * values[0]
    assert found.interval[0] <= values[0] / values[-1] <= found.interval[1]


def test_sparse_factors_tell_the_condition(monkeypatch):
    monkeypatch.setattr(invertibility, "DENSE_WORK", 0.0)
    op = lc.Conv(kernel_of("sharp", "complex128"), (16, 17), padding="same")
    found = lc.invertibility(op)
    assert (found.verdict, found.method) == ("exact inverse", "sparse")
    values = np.linalg.svd(op.matrix(), compute_uv=False)
    assert found.condition == pytest.approx(values[0] / values[-1], rel=1e-4)
    assert found.residual is not None
    smallest = values[0] / found.condition  # a singular value is as near to it as it says
    assert np.abs(values - smallest).min() <= found.residual + 1e-5 * smallest
    assert found.residual < 0.01 * smallest
    singular = lc.invertibility(lc.Conv(kernel_of("singular", "float64"), (16, 17), padding="same"))
    assert (singular.verdict, singular.method) in {("none", "lobpcg"), ("undecided", "lobpcg")}


@pytest.mark.parametrize(
    ("taps", "n", "stride"),
    [
        ([1.0, 1, 1], 302, 1),
        ([0.25, 0.5, 0.26], 301, 1),
        ([1, 3 - 1j, 0.5], 303, 1),
        ([1.0, 3, 1], 305, 2),
    ],
)
def test_one_long_axis_is_decomposed_by_its_band(taps, n, stride, monkeypatch):
    """As `rank` and `svdvals` find it, where neither verdict nor condition was known before."""
    op = lc.Conv(np.array(taps), (n,), padding=1, stride=stride)
    dense = np.linalg.svd(op.matrix(), compute_uv=False)
    monkeypatch.setattr("linconv.analysis.separable._DENSE", 100)
    found = lc.invertibility(op)
    rank = int((dense > max(op.shape) * 2.0**-52 * dense[0]).sum())
    assert (found.method, found.condition_kind, found.residual) == ("banded", "exact", None)
    assert found.rank == rank == int(lc.rank(op))
    if rank < min(op.shape):
        assert (found.verdict, found.condition, found.inverse) == ("none", np.inf, None)
    else:
        assert found.verdict == ("exact inverse" if stride == 1 else "right inverse only")
        nearby = abs(found.condition - dense[0] / dense[-1])
        assert nearby <= 1e-12 * found.condition * dense[0] / dense[-1]
        assert np.abs(op(found.inverse(op(np.ones(n)))) - op(np.ones(n))).max() < 1e-8
    assert lc.invertibility(op.T).rank == rank


def test_one_axis_without_a_band_is_not_taken_for_one(monkeypatch):
    """Channels first: the places of one window are a whole axis apart."""
    monkeypatch.setattr("linconv.analysis.separable._DENSE", 100)
    kernel = np.random.default_rng(5).standard_normal((3, 3, 5))
    op = lc.Conv(kernel, (3, 60), padding="same", data_format="channels_first")
    assert lc.invertibility(op).method == "dense"


@pytest.mark.parametrize("scale", [1.0, 1e-60])
def test_sparse_factors_find_the_condition_to_many_digits(scale, monkeypatch):
    """Of a box its powers come near the largest value but slowly: the sines are known."""
    monkeypatch.setattr(invertibility, "DENSE_WORK", 0.0)
    monkeypatch.setattr(invertibility, "BAND_WORK", 0.0)
    found = lc.invertibility(lc.Conv(scale * np.ones(3), (900,), padding="same"))
    waves = np.abs(1 + 2 * np.cos(np.pi * np.arange(1, 901) / 901))
    assert (found.method, found.condition_kind) == ("sparse", "estimate")
    assert found.condition == pytest.approx(waves.max() / waves.min(), rel=1e-5)
    assert 0 <= found.residual < 1e-9 * scale * waves.min()
    assert found.to_dict()["residual"] == found.residual
    assert "(estimate, by sparse with a residual of" in str(found)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("complex_kernel", [False, True])
@pytest.mark.parametrize(("size", "kernel_size"), [((12, 6), (3, 1)), ((6, 12), (1, 3))])
def test_of_real_maps_no_lost_frequency_is_listed_beside_its_negative(
    size, kernel_size, complex_kernel, stride
):
    kernel = np.ones(kernel_size) * (1j if complex_kernel else 1)
    padding = [n // 2 for n in kernel_size]
    op = lc.Conv(kernel, size, stride=stride, padding=padding, padding_mode="circular")
    found = lc.invertibility(op)
    cycles = {tuple(np.mod(f.cycles, size)) for f in found.lost_frequencies}
    beside = {c for c in cycles if tuple(np.mod(np.negative(c), size)) in cycles - {c}}
    assert len(cycles) == len(found.lost_frequencies)
    assert sum(f.dimensions for f in found.lost_frequencies) == found.deficit > 0
    assert bool(beside) == complex_kernel

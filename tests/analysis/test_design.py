"""The blocks of the design matrix, against the loops: which rows, which columns, which samples."""

import tracemalloc
from collections import Counter
from math import prod

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import linconv as lc
import reference
from cases import MODES, Case
from linconv.analysis.design import blocks, fold_kernel, shared_columns, unknowns
from linconv.errors import SizeError
from strategies import legal_cases


def geometry(case: Case) -> lc.Geometry:
    return lc.Geometry(case.input_size, case.kernel_size, **case.geometry_options)


def drawn(case: Case, g: lc.Geometry, count: int = 2) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features, images and a kernel, all channels first."""
    rng = case.rng
    return (
        rng.standard_normal((count, g.out_channels, *g.output_size)),
        rng.standard_normal((count, g.in_channels, *g.input_size)),
        rng.standard_normal((g.out_channels, g.in_channels // g.groups, *g.kernel_size)),
    )


def fold_units(g: lc.Geometry, kernel: np.ndarray) -> list[np.ndarray]:
    """Each group's unknowns (channel of the group, tap) by image channels, with no library code."""
    per_group = g.out_channels // g.groups
    folded = []
    for group in range(g.groups):
        mine = kernel[group * per_group : (group + 1) * per_group]
        folded.append(np.moveaxis(mine, 1, -1).reshape(per_group * prod(g.kernel_size), -1))
    return folded


def check(case: Case) -> None:
    """Rows times a kernel's unknowns are the loops' transpose, at the samples `targets` names."""
    g = geometry(case)
    features, images, kernel = drawn(case, g)
    layer = case.layer._replace(channels_last=False)
    rebuilt = np.stack([reference.convolve_transpose(layer, y, kernel) for y in features])
    solutions = fold_units(g, kernel)
    np.testing.assert_array_equal(fold_kernel(solutions, g), kernel)
    seen: Counter[float] = Counter()
    for block in blocks(g):
        rows, values = block.rows(features), block.targets(rebuilt)
        assert rows.shape == (len(features) * block.samples, len(block.columns))
        assert rows.dtype == np.float64
        product = rows @ solutions[block.group][block.columns]
        np.testing.assert_allclose(product, values, rtol=0, atol=1e-12)
        seen.update(block.targets(images).ravel().tolist())
    assert seen == Counter(images.ravel().tolist())  # every sample of every image, once


@given(legal_cases())
def test_rows_are_the_transposed_layer_of_any_legal_case(case):
    check(case)


@pytest.mark.parametrize("mode", MODES)
def test_borders_that_keep_the_size_of_the_axis(mode):
    """As much is cropped as is padded: the padded axis is as long, but not the same."""
    check(Case(f"balanced-{mode}", (8,), (2,), 2, ((1, -1),), mode, channels=(2, 3)))
    check(Case(f"other-{mode}", (6, 7), (2, 3), 2, ((-1, 1), (2, 0)), mode, channels=(2, 2)))


def test_phases_that_no_tap_reaches():
    """Kernel 2 under stride 3: a third of the samples is fitted by the bias alone."""
    g = lc.Geometry((9,), (2,), stride=3, out_channels=2)
    parts = list(blocks(g))
    assert [len(part.columns) for part in parts] == [2, 2, 0]
    assert [part.samples for part in parts] == [3, 3, 3]
    features = np.random.default_rng(0).standard_normal((4, 2, 3))
    assert parts[2].rows(features).shape == (12, 0)
    np.testing.assert_array_equal(parts[2].rows(features, True), np.ones((12, 1)))
    assert shared_columns(parts[2], unknowns(g) + 1, True).tolist() == [4]
    assert shared_columns(parts[2], unknowns(g), False).tolist() == []


def test_the_bias_has_the_last_column_of_every_block():
    g = lc.Geometry((6, 6), (3, 3), stride=2, padding="same", in_channels=2, out_channels=4)
    features = np.random.default_rng(1).standard_normal((2, 4, 3, 3))
    assert unknowns(g) == 36
    for block in blocks(g):
        plain, biased = block.rows(features), block.rows(features, True)
        np.testing.assert_array_equal(biased[:, :-1], plain)
        with_targets = block.rows(features, True, 3)
        assert with_targets.shape == (len(plain), plain.shape[1] + 4)
        np.testing.assert_array_equal(with_targets[:, :-3], biased)
        np.testing.assert_array_equal(biased[:, -1], 1)
        which = shared_columns(block, 37, True)
        assert which[-1] == 36
        np.testing.assert_array_equal(which[:-1], block.columns)


@given(legal_cases(), st.integers(1, 5))
def test_rows_come_in_pieces_of_bounded_size(case, most):
    """Cut to `most` lines or fewer: the same rows and targets, one after the other."""
    g = geometry(case)
    features, images, _ = drawn(case, g)
    for block in blocks(g):
        line_bytes = 8 * (block.samples // (block.outputs[0] if block.phases else 1))
        line_bytes *= len(block.columns) + 2
        rows, targets = [], []
        for part, lines in block.cuts(len(features), most * line_bytes):
            rows.append(block.rows(features[part], lines=lines))
            targets.append(block.targets(images[part], lines))
            assert 8 * len(rows[-1]) * (len(block.columns) + 2) <= most * line_bytes
        np.testing.assert_array_equal(np.concatenate(rows), block.rows(features))
        np.testing.assert_array_equal(np.concatenate(targets), block.targets(images))


def test_memory_does_not_grow_with_the_size_of_an_image():
    """The whole design matrix would take 61 MB."""
    rng = np.random.default_rng(2)
    features, images = rng.random((1, 400, 400, 1)), rng.random((1, 400, 400, 1))
    tracemalloc.start()
    lc.DecoderFit(7).update(features, images)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 30e6


def test_an_image_too_large_to_fold_is_refused_with_a_remedy():
    images = np.zeros((1, 600, 600, 1))
    fit = lc.DecoderFit(21, padding_mode="circular")
    with pytest.raises(SizeError, match="padding_mode .*fitted as a whole.*fit smaller images"):
        fit.update(images, images)


def test_a_block_is_as_small_as_its_phase():
    """Stride 2 leaves each phase its own taps: never the zero-dilated features with all of them."""
    g = lc.Geometry((16, 16), (3, 3), stride=2, padding="same", out_channels=5)
    parts = list(blocks(g))
    assert sorted(len(part.columns) for part in parts) == [5, 10, 10, 20]
    assert {part.samples for part in parts} == {64}
    grouped = lc.Geometry((16, 16), (3, 3), in_channels=4, out_channels=6, groups=2)
    assert [(part.group, len(part.columns)) for part in blocks(grouped)] == [(0, 27), (1, 27)]

"""Geometry: every published row of convolution arithmetic, and every rule by counting samples."""

import copy
import dataclasses
import pickle
from itertools import product

import numpy as np
import pytest
from hypothesis import given

import linconv as lc
import reference
from cases import CASES, MODES, NAMES, Case
from linconv import Geometry
from linconv.errors import GeometryError
from strategies import illegal_options, legal_cases

BY_CASE = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


def geometry(case: Case) -> Geometry:
    return Geometry(case.input_size, case.kernel_size, **case.geometry_options)


# Published figures


def test_every_row_of_the_guide_to_convolution_arithmetic(published):
    for row in published["convolution_arithmetic"]["rows"]:
        i, k, p, s, d, output, leftover, transposed_padding, dilated, transposed_output = row
        for ndim in (1, 2, 3):
            g = Geometry((i,) * ndim, k, padding=p, stride=s, dilation=d)
            t = g.transposed()
            assert g.output_size == (output,) * ndim, row
            assert g.leftover == (leftover,) * ndim, row
            assert g.dilated_size == t.input_size == (dilated,) * ndim, row
            assert t.padding == ((transposed_padding, transposed_padding + leftover),) * ndim, row
            assert t.output_size == (transposed_output,) * ndim, row
            assert t.stride == (1,) * ndim, row


def test_same_padding_is_not_symmetric_padding(published):
    example = published["same_padding"]["example"]
    g = Geometry((example["i"],), example["k"], stride=example["s"], padding="same")
    assert list(g.padding[0]) == example["same_pads"]
    h = Geometry((example["i"],), example["k"], stride=example["s"], padding=example["k"] // 2)
    assert list(h.padding[0]) == example["symmetric_pads"]


def test_output_sizes_of_the_reported_issues():
    # Keras issue 9883: 23 and 24 both give 12, and the transpose gives 24
    assert Geometry(23, 3, stride=2, padding="same").output_size == (12,)
    assert Geometry(24, 3, stride=2, padding="same").output_size == (12,)
    assert Geometry.for_transpose(12, 3, stride=2, padding="same").input_size == (24,)
    # Keras pull request 10246
    sizes = {
        ("same", None): 10,
        ("valid", None): 11,
        ("same", 0): 9,
        ("same", 1): 10,
    }
    for (padding, extra), size in sizes.items():
        g = Geometry.for_transpose(5, 3, stride=2, padding=padding, output_padding=extra)
        assert g.input_size == (size,), (padding, extra)
    # ONNX issue 4299: without auto_pad, and SAME_UPPER as pads at the end
    assert Geometry.for_transpose(3, 3, stride=2).input_size == (7,)
    assert Geometry.for_transpose(3, 3, stride=2, padding=((0, 1),)).input_size == (6,)


def test_overlap_is_even_only_where_the_stride_divides_the_kernel(published):
    for row in published["overlap"]["rows"]:
        s, k = row["stride"], row["kernel"]
        g = Geometry.for_transpose((20, 20), k, stride=s)
        counts = np.outer(*g.overlap())[k:-k, k:-k]
        line = counts[0] / counts[0].min()
        assert line.max() == row["ratio_1d"], row
        assert counts.max() / counts.min() == row["ratio_2d"], row
        assert (line.max() == 1) == (k % s == 0), row


# Sizes and sources, by counting


@BY_CASE
def test_sizes_of_the_cases(case):
    check_against_reference(case)


@given(legal_cases())
def test_sizes_of_any_legal_geometry(case):
    check_against_reference(case)


def check_against_reference(case: Case) -> None:
    g, layer = geometry(case), case.layer
    assert g.padding == layer.pads
    assert g.padding_mode == layer.modes
    assert g.stride == layer.stride
    assert g.dilation == layer.dilation
    assert g.ndim == case.ndim
    assert g.output_size == reference.output_size(layer)
    for axis in range(case.ndim):
        low, high = layer.pads[axis]
        size, steps = case.input_size[axis], layer.stride[axis]
        last_read = (g.output_size[axis] - 1) * steps + (
            case.kernel_size[axis] - 1
        ) * layer.dilation[axis]
        assert g.padded_size[axis] == len(range(-low, size + high))
        assert g.effective_kernel_size[axis] == len(
            range((case.kernel_size[axis] - 1) * layer.dilation[axis] + 1)
        )
        assert g.leftover[axis] == len(range(last_read + 1, size + low + high))
        assert 0 <= g.leftover[axis] < steps
        sources = np.full((g.output_size[axis], case.kernel_size[axis]), -2)
        for o, t in np.ndindex(sources.shape):
            read = reference.source(
                o * steps + t * layer.dilation[axis] - low, size, layer.modes[axis]
            )
            sources[o, t] = -1 if read is None else read
        np.testing.assert_array_equal(g.sources(axis), sources)
        counts = [int((sources == sample).sum()) for sample in range(size)]
        np.testing.assert_array_equal(g.overlap()[axis], counts)


def test_padding_names_on_every_small_axis():
    for n, k, s, d, name in product(range(1, 10), range(1, 5), (1, 2, 3, 4), (1, 2, 3), NAMES):
        if name == "valid" and (k - 1) * d + 1 > n:
            continue
        g = Geometry((n,), (k,), stride=s, dilation=d, padding=name)
        assert g.padding == reference.resolve_padding(name, (n,), (k,), (s,), (d,)), g
        if name.startswith("same"):
            assert g.output_size == (-(-n // s),), g
            (low, high) = g.padding[0]
            assert abs(low - high) <= 1, g
            assert (low <= high) if name == "same" else (low >= high), g


@pytest.mark.parametrize(
    ("padding", "pairs"),
    [
        (2, ((2, 2), (2, 2))),
        (-1, ((-1, -1), (-1, -1))),
        ((1, 2), ((1, 1), (2, 2))),
        ([1, 2], ((1, 1), (2, 2))),
        (((1, 2), (3, 4)), ((1, 2), (3, 4))),
        ([[1, 2], [3, 4]], ((1, 2), (3, 4))),
        (((1, 2), 3), ((1, 2), (3, 3))),
        (np.int64(2), ((2, 2), (2, 2))),
        (np.array([1, 2]), ((1, 1), (2, 2))),
        (np.array([[1, -2], [3, 4]]), ((1, -2), (3, 4))),
    ],
)
def test_explicit_padding_resolves_to_pairs_of_plain_ints(padding, pairs):
    g = Geometry((9, 9), 2, padding=padding)
    assert g.padding == pairs
    assert {type(side) for pair in g.padding for side in pair} == {int}


def test_options_take_one_value_or_one_per_axis():
    one = Geometry((9, 9), 3, stride=2, dilation=2, padding=1, padding_mode="reflect")
    each = Geometry(
        [9, 9],
        np.array([3, 3]),
        stride=(2, 2),
        dilation=[2, 2],
        padding=(1, 1),
        padding_mode=["reflect", "reflect"],
    )
    assert one == each
    assert hash(one) == hash(each)
    assert Geometry(9, 3) == Geometry((9,), (3,))
    for name in ("input_size", "kernel_size", "stride", "dilation"):
        assert {type(v) for v in getattr(each, name)} == {int}


# Input sizes, by trying them all


def test_input_sizes_are_all_that_give_the_output_size():
    paddings = [*NAMES, 0, 1, ((2, 0),), ((-1, 2),), -1]
    for k, s, d, padding in product((1, 2, 3), (1, 2, 3), (1, 2), paddings):
        found: dict[int, list[int]] = {}
        for n in range(1, 40):
            try:
                size = Geometry((n,), (k,), stride=s, dilation=d, padding=padding).output_size[0]
            except GeometryError:
                continue
            found.setdefault(size, []).append(n)
        for wanted in range(1, 8):
            (sizes,) = Geometry.input_sizes(wanted, k, stride=s, dilation=d, padding=padding)
            assert list(sizes) == found.get(wanted, []), (wanted, k, s, d, padding)


def test_input_sizes_of_several_axes():
    ranges = Geometry.input_sizes((12, 5), (3, 2), stride=(2, 3), padding="same")
    assert [list(r) for r in ranges] == [[23, 24], [13, 14, 15]]


# The transposed layer


def test_transposed_sizes_follow_keras(published):
    rules = published["transposed_output_sizes"]
    for n, kernel, s, d in product(range(1, 6), range(1, 6), (1, 2, 3), (1, 2)):
        k = (kernel - 1) * d + 1
        for name in ("same", "valid"):
            for op in (None, *range(max(s, d))):
                how = "without" if op is None else "with"
                rule = rules[f"keras_{name}_{how}_op"].replace("k mod 2", "k % 2")
                size = eval(rule, {"n": n, "s": s, "k": k, "op": op, "max": max})
                if size < 1:
                    with pytest.raises(GeometryError, match=f"at least 1 sample; got {size} "):
                        Geometry.for_transpose(
                            n, kernel, stride=s, dilation=d, padding=name, output_padding=op
                        )
                    continue
                g = Geometry.for_transpose(
                    n, kernel, stride=s, dilation=d, padding=name, output_padding=op
                )
                expected = reference.transposed_same_or_valid(name, n, kernel, s, d, op)
                assert (g.input_size[0], g.padding[0][0]) == expected, (g, name, op)
                assert g.input_size == (size,), (g, name, op)
                assert g.output_size == (n,), (g, name, op)


def test_transposed_sizes_follow_pytorch():
    for n, kernel, s, d in product(range(1, 6), range(1, 6), (1, 2, 3), (1, 2, 4)):
        k = (kernel - 1) * d + 1
        for low, high, op in product((-1, 0, 1), (0, 2), range(max(s, d))):
            size = (n - 1) * s - low - high + k + op
            if size < 1:
                continue
            g = Geometry.for_transpose(
                n, kernel, stride=s, dilation=d, padding=((low, high),), output_padding=op
            )
            assert g.input_size == (size,), g
            assert g.output_size == (n,), g
            assert g.padding[0][0] == low, g
            if op < s:  # unread samples at the end, as the guide's `a`; the padding stays as given
                assert (g.padding, g.leftover) == (((low, high),), (op,)), g
            assert 0 <= g.leftover[0] < s, g


def test_explicit_padding_has_no_output_padding_by_default():
    g = Geometry.for_transpose(5, 3, stride=2, padding=1)
    assert g == Geometry.for_transpose(5, 3, stride=2, padding=1, output_padding=0)
    assert g.input_size == (9,)


def test_same_lower_keeps_the_extra_sample_at_the_start():
    upper = Geometry.for_transpose(3, 4, stride=3, padding="same")
    lower = Geometry.for_transpose(3, 4, stride=3, padding="same_lower")
    assert upper.input_size == lower.input_size == (9,)
    assert upper.padding == ((0, 1),)
    assert lower.padding == ((1, 0),)


def test_a_convolution_of_the_output_of_a_transposed_layer_gives_back_its_size():
    for name in ("same", "same_lower", "valid", "full", "causal"):
        for n, k, s, d in product(range(2, 6), (1, 2, 3, 4), (1, 2, 3), (1, 2)):
            try:
                g = Geometry.for_transpose(n, k, stride=s, dilation=d, padding=name)
            except GeometryError as error:
                assert "at least 1 sample" in str(error)  # noqa: PT017
                continue
            assert g.output_size == (n,), g


def test_channels_of_the_transposed_layer_are_those_of_the_convolution_swapped():
    g = Geometry.for_transpose(5, 3, in_channels=4, out_channels=6, groups=2)
    assert (g.in_channels, g.out_channels, g.groups) == (6, 4, 2)
    t = g.transposed()
    assert (t.in_channels, t.out_channels, t.groups) == (4, 6, 2)


@given(legal_cases(modes=("zeros",)))
def test_transposed_geometry_reads_the_dilated_output(case):
    """The flipped taps of the ordinary convolution meet the samples that the scatter sends."""
    g = geometry(case)
    t = g.transposed()
    assert t.output_size == g.input_size
    for axis in range(g.ndim):
        sent = set()
        for o, tap in np.ndindex(g.sources(axis).shape):
            if g.sources(axis)[o, tap] >= 0:
                sent.add((int(g.sources(axis)[o, tap]), o, tap))
        met = set()
        for m, tap in np.ndindex(t.sources(axis).shape):
            dilated = int(t.sources(axis)[m, tap])
            if dilated >= 0 and dilated % g.stride[axis] == 0:
                met.add((m, dilated // g.stride[axis], g.kernel_size[axis] - 1 - tap))
        assert met == sent, (g, axis)


@given(legal_cases())
def test_splitting_off_the_border_keeps_every_source(case):
    g = geometry(case)
    border, rest = g.split_border()
    assert border.output_size == rest.input_size
    assert set(rest.padding_mode) == {"zeros"}
    assert rest.output_size == g.output_size
    assert (rest.in_channels, rest.out_channels, rest.groups) == (
        g.in_channels,
        g.out_channels,
        g.groups,
    )
    for axis in range(g.ndim):
        inner = rest.sources(axis)
        through = np.where(inner < 0, -1, border.sources(axis)[inner, 0])
        np.testing.assert_array_equal(through, g.sources(axis))


# The object


@given(legal_cases())
def test_dictionary_and_repr_give_the_geometry_back(case):
    g = geometry(case)
    assert Geometry.from_dict(g.to_dict()) == g
    assert eval(repr(g), {"Geometry": Geometry}) == g
    assert pickle.loads(pickle.dumps(g)) == g
    assert copy.deepcopy(g) == g


def test_dictionary_holds_plain_values_only():
    def flat(value):
        if isinstance(value, list):
            for entry in value:
                yield from flat(entry)
        else:
            yield value

    values = Geometry((np.int64(5), 6), 3, stride=np.int32(2), padding="same").to_dict().values()
    assert {type(v) for value in values for v in flat(value)} == {int, str}


def test_from_dict_refuses_entries_it_does_not_know():
    entries = Geometry(5, 3).to_dict() | {"strides": 2}
    with pytest.raises(GeometryError, match=r"has the entries .*got .*'strides'.*; use these"):
        Geometry.from_dict(entries)


def test_repr_shows_what_is_not_default():
    assert repr(Geometry(5, 3)) == "Geometry(input_size=(5,), kernel_size=(3,))"
    assert repr(Geometry((5, 6), 3, stride=2, padding="same", groups=1)) == (
        "Geometry(input_size=(5, 6), kernel_size=(3, 3), stride=(2, 2), padding=((1, 1), (0, 1)))"
    )


def test_geometry_is_frozen():
    g = Geometry(5, 3)
    with pytest.raises(dataclasses.FrozenInstanceError):
        g.stride = (2,)


def test_replace_validates_anew():
    g = Geometry((8, 8), 3, padding="same", padding_mode="reflect")
    assert g.replace(stride=2).stride == (2, 2)
    assert g.stride == (1, 1)
    with pytest.raises(GeometryError, match="kernel must not be larger"):
        g.replace(padding=0, input_size=(2, 2))


def test_public_names_lead_here():
    assert lc.Geometry is Geometry


@pytest.mark.parametrize("mode", MODES)
def test_modes_on_an_axis_one_can_read(mode):
    expected = {
        "zeros": [-1, -1, 0, 1, 2, -1, -1],
        "circular": [1, 2, 0, 1, 2, 0, 1],
        "reflect": [2, 1, 0, 1, 2, 1, 0],
        "replicate": [0, 0, 0, 1, 2, 2, 2],
        "symmetric": [1, 0, 0, 1, 2, 2, 1],
    }
    g = Geometry((3,), 1, padding=2, padding_mode=mode)
    assert g.sources(0)[:, 0].tolist() == expected[mode]


@given(illegal_options())
def test_any_broken_geometry_is_refused_with_its_value(broken):
    arguments, options, words = broken
    with pytest.raises(GeometryError, match=words) as caught:
        Geometry(*arguments, **options)
    assert ";" in str(caught.value)  # what was required; what was given; what to do

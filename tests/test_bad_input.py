"""Each kind of bad input gets an error of linconv's before any work, with value and remedy."""

import numpy as np
import pytest

import linconv as lc
from linconv.errors import (
    DTypeError,
    GeometryError,
    InputError,
    LinconvError,
    MissingPackageError,
    OutputError,
    ShapeError,
    SizeError,
)

IMAGE, KERNEL = (6, 5), np.ones((3, 2))
COLOUR, FILTERS = (6, 5, 4), np.ones((3, 2, 4, 8))


def conv(shape=IMAGE, kernel=KERNEL, **options):
    return lc.Conv(kernel, shape, **options)


def up(shape=IMAGE, kernel=KERNEL, **options):
    return lc.ConvTranspose(kernel, shape, **options)


# What is asked for; the error; its words: the value that was given, and what to do instead.
LAYERS = {
    # numbers that are none, or out of range
    "zero stride": (lambda: conv(stride=0), GeometryError, "stride .* got 0; use 1 or more"),
    "negative stride": (
        lambda: conv(stride=(1, -2)),
        GeometryError,
        "stride of axis 1 .* got -2; use 1 or more",
    ),
    "fractional stride": (lambda: conv(stride=1.5), GeometryError, "stride .* got 1.5; use an int"),
    "boolean stride": (lambda: conv(stride=True), GeometryError, "stride .* got True; use an int"),
    "stride of text": (lambda: conv(stride="2"), GeometryError, "stride .* got '2'; use an int"),
    "no stride": (lambda: conv(stride=None), GeometryError, "stride .* got None; use an int"),
    "zero dilation": (lambda: conv(dilation=0), GeometryError, "dilation .* got 0; use 1 or more"),
    "negative dilation": (
        lambda: conv(dilation=(-1, 1)),
        GeometryError,
        "dilation of axis 0 .* got -1; use 1 or more",
    ),
    "zero size": (
        lambda: conv((0, 5)),
        GeometryError,
        "input_shape of axis 0 .* got 0; use 1 or more",
    ),
    "negative size": (
        lambda: conv((6, -5)),
        GeometryError,
        "input_shape of axis 1 .* got -5; use 1 or more",
    ),
    "no axes": (
        lambda: conv((), np.ones(())),
        LinconvError,
        r"at least one axis.*got (shape )?\(\)",
    ),
    "fractional padding": (
        lambda: conv(padding=0.5),
        GeometryError,
        "padding must be a whole number; got 0.5; use an int",
    ),
    "padding of three ends": (
        lambda: conv(padding=((1, 2, 3), 0)),
        GeometryError,
        r"an int or a \(low, high\) pair; got \(1, 2, 3\) at axis 0; use two ints",
    ),
    # what does not fit together
    "kernel larger than the input": (
        lambda: conv((2, 5)),
        GeometryError,
        "not be larger than the padded input.* size 3 .* padded size 2 .* axis 0; .* 1 more",
    ),
    "kernel larger than the input by dilation": (
        lambda: conv(dilation=3),
        GeometryError,
        r"effective kernel size 7 \(kernel 3, dilation 3\) on padded size 6 .* at axis 0; use",
    ),
    "kernel larger than the cropped input": (
        lambda: conv(padding=((-2, -2), (0, 0))),
        GeometryError,
        r"size 3 .* padded size 2 \(input 6, padding \(-2, -2\)\) at axis 0; use",
    ),
    "everything cropped": (
        lambda: conv(padding=-3),
        GeometryError,
        r"padded size 0 \(input 6, padding \(-3, -3\)\) at axis 0; use",
    ),
    "groups that do not divide the input": (
        lambda: conv(COLOUR, FILTERS, groups=3),
        GeometryError,
        "groups must divide in_channels; got groups=3, in_channels=4; use one of 1, 2, 4",
    ),
    "groups that do not divide the output": (
        lambda: conv((6, 5, 4), np.ones((3, 2, 1, 6)), groups=4),
        GeometryError,
        "groups must divide out_channels; got groups=4, out_channels=6; use one of 1, 2",
    ),
    "groups of bare arrays": (
        lambda: conv(groups=2),
        GeometryError,
        "groups must divide in_channels; got groups=2, in_channels=1; use one of 1",
    ),
    "no groups": (lambda: conv(groups=0), GeometryError, "groups .* got 0; use 1 or more"),
    "channels of another kernel": (
        lambda: conv((6, 5, 3), FILTERS),
        ShapeError,
        r"in_channels / groups = 3 / 1 .*got 4 .*\(3, 2, 4, 8\).*\(6, 5, 3\); use a kernel",
    ),
    "channels that groups would fit": (
        lambda: conv((6, 5, 8), FILTERS),
        ShapeError,
        "in_channels / groups = 8 / 1 .*got 4 .*use groups=2, or check data_format",
    ),
    "channels on the wrong side": (
        lambda: conv((4, 6, 5), FILTERS),
        ShapeError,
        r"got 4 in a channels_last kernel .*\(4, 6, 5\); .*check data_format",
    ),
    "channels of another transposed kernel": (
        lambda: up((6, 5, 4), np.ones((3, 2, 4, 8))),
        ShapeError,
        r"\(\*size, out/groups, in\) in channels_last.*4 channels.*got 8 .*check data_format",
    ),
    "channels of another transposed kernel, channels first": (
        lambda: up((4, 6, 5), np.ones((8, 4, 3, 2)), data_format="channels_first"),
        ShapeError,
        r"\(in, out/groups, \*size\) in channels_first.*4 channels.*got 8 .*check data_format",
    ),
    # axes
    "a batch axis": (
        lambda: conv((1, 6, 5, 4), np.ones((3, 2))),
        ShapeError,
        r"without the batch axis; got input_shape \(1, 6, 5, 4\) .*\(3, 2\); use 2 or 1 axes",
    ),
    "channels without spatial axes": (
        lambda: conv((4,), np.ones((4, 4))),
        ShapeError,
        r"as many axes as the kernel .*got input_shape \(4,\) .*\(4, 4\); use 2",
    ),
    "strides of three axes": (
        lambda: conv(stride=(1, 1, 1)),
        GeometryError,
        r"stride must be one int or one per .* axis; got 3 values \(1, 1, 1\) for 2 axes; use 2",
    ),
    "strides of no axis": (
        lambda: conv(stride=()),
        GeometryError,
        r"stride .*got 0 values \(\) for 2 axes; use 2",
    ),
    "padding of one axis": (
        lambda: conv(padding=((1, 2),)),
        GeometryError,
        r"one \(low, high\) pair per axis; got 1 entries .* for 2 axes; .* write it 2 times",
    ),
    "modes of three axes": (
        lambda: conv(padding_mode=("zeros",) * 3),
        GeometryError,
        "one name or one per spatial axis; got 3 names .* for 2 axes; use 2",
    ),
    # names
    "padding in capitals": (
        lambda: conv(padding="SAME"),
        GeometryError,
        r"padding .*got 'SAME'; did you mean 'same'\? use one of 'valid', 'same', 'same_lower'",
    ),
    "misspelt padding": (
        lambda: conv(padding="vaild"),
        GeometryError,
        r"padding .*got 'vaild'; did you mean 'valid'\? use one of",
    ),
    "unknown padding": (
        lambda: conv(padding="xyz"),
        GeometryError,
        "padding .*ints or .*pairs; got 'xyz'; use one of 'valid'",
    ),
    "misspelt padding of a transposed layer": (
        lambda: up(padding="casual"),
        GeometryError,
        r"padding .*got 'casual'; did you mean 'causal'\? use one of",
    ),
    "misspelt mode": (
        lambda: conv(padding_mode="reflection"),
        GeometryError,
        r"padding_mode .*got 'reflection'; did you mean 'reflect'\? use one of 'zeros'",
    ),
    "mode that is none": (
        lambda: conv(padding_mode=3),
        GeometryError,
        "padding_mode .*got 3; use one",
    ),
    "misspelt data format": (
        lambda: conv(COLOUR, FILTERS, data_format="channel_last"),
        GeometryError,
        r"data_format .*got 'channel_last'; did you mean 'channels_last'\? use one of",
    ),
    # borders
    "reflect padding as large as the axis": (
        lambda: conv(padding=((0, 0), (0, 5)), padding_mode="reflect"),
        GeometryError,
        r"reflect padding must be at most 4 on an axis of size 5; got \(0, 5\) at axis 1; use less",
    ),
    "symmetric padding larger than the axis": (
        lambda: conv(padding=((7, 0), (0, 0)), padding_mode="symmetric"),
        GeometryError,
        r"symmetric padding must be at most 6 .*size 6; got \(7, 0\) at axis 0; use less",
    ),
    # the transposed layer's own
    "output padding as large as the stride": (
        lambda: up(stride=2, output_padding=2),
        GeometryError,
        "output_padding .*got 2 at axis 0 with stride 2, dilation 1; use 0 to 1",
    ),
    "output padding of stride one": (
        lambda: up(output_padding=(0, 1)),
        GeometryError,
        "output_padding .*got 1 at axis 1 with stride 1, dilation 1; use 0",
    ),
    "negative output padding": (
        lambda: up(stride=2, output_padding=-1),
        GeometryError,
        "output_padding must be at least 0 .*got -1 at axis 0.*; use 0 to 1",
    ),
    "output padding of three axes": (
        lambda: up(stride=2, output_padding=(0, 0, 0)),
        GeometryError,
        r"output_padding .*got 3 values \(0, 0, 0\) for 2 axes; use 2",
    ),
    "transposed layer without output": (
        lambda: up((1, 1), padding=2),
        GeometryError,
        r"at least 1 sample; got -1 at axis 0 \(input 1, padding \(2, 2\), .* kernel 3\); use",
    ),
    # kernels that hold no numbers
    "kernel of objects": (
        lambda: conv(kernel=np.array([[1, None]], object)),
        DTypeError,
        r"the kernel must hold real or complex numbers.*got dtype object; convert it with \.astype",
    ),
    "kernel of text": (
        lambda: conv(kernel=[["1", "2"]]),
        DTypeError,
        r"the kernel .*got dtype <U1; convert it with \.astype",
    ),
    "empty kernel": (
        lambda: conv(kernel=np.ones((3, 0))),
        ShapeError,
        r"no empty one; got shape \(3, 0\); give at least one sample per axis",
    ),
    "ragged kernel": (
        lambda: conv(kernel=[[1, 2], [3]]),
        DTypeError,
        "the kernel must be a rectangular array.*make all rows equally long",
    ),
    "no kernel": (lambda: conv(kernel=None), DTypeError, "the kernel .*got dtype object; convert"),
    # numbers hidden in arrays of no axes are numbers
    "zero stride in an array": (
        lambda: conv(stride=np.array(0)),
        GeometryError,
        "stride .* got 0; use 1 or more",
    ),
}


@pytest.mark.parametrize(("make", "error", "words"), LAYERS.values(), ids=LAYERS)
def test_layer_is_refused(make, error, words):
    with pytest.raises(error, match=words) as caught:
        make()
    assert isinstance(caught.value, LinconvError)
    assert ";" in str(caught.value)


ARRAYS = {
    "transposed image": (np.ones((5, 6)), ShapeError, r"\(\*batch, 6, 5\); got \(5, 6\); reshape"),
    "flattened image": (np.ones(30), ShapeError, r"\(\*batch, 6, 5\); got \(30,\); reshape"),
    "channels too many": (
        np.ones((6, 5, 3)),
        ShapeError,
        r"\(\*batch, 6, 5\); got \(6, 5, 3\); reshape",
    ),
    "number": (1.0, ShapeError, r"\(\*batch, 6, 5\); got \(\); reshape"),
    "empty": (np.ones((6, 0)), ShapeError, r"\(\*batch, 6, 5\); got \(6, 0\); reshape"),
    "objects": (np.full((6, 5), None), DTypeError, r"the array .*got dtype object; .*astype"),
    "text": (np.full((6, 5), "a"), DTypeError, r"the array .*got dtype <U1; .*astype"),
    "dates": (np.zeros((6, 5), "M8[s]"), DTypeError, r"got dtype datetime64\[s\]; .*astype"),
    "ragged": ([[1, 2], [3]], DTypeError, "rectangular array of numbers; got list.*equally long"),
    "nothing": (None, DTypeError, r"the array .*got dtype object; .*astype"),
}


@pytest.mark.parametrize(("array", "error", "words"), ARRAYS.values(), ids=ARRAYS)
def test_array_is_refused(array, error, words):
    op = lc.Conv(KERNEL, IMAGE)
    with pytest.raises(error, match=words):
        op(array)
    with pytest.raises(error, match="x must" if error is DTypeError else r"x must have shape"):
        op.as_function_of_kernel(array)


def test_array_is_refused_by_the_transpose():
    op = lc.Conv(KERNEL, IMAGE)
    with pytest.raises(ShapeError, match=r"\(\*batch, 4, 4\); got \(6, 5\); reshape"):
        op.T(np.ones(IMAGE))
    with pytest.raises(ShapeError, match=r"x must have shape \(\*batch, 4, 4\); got \(6, 5\)"):
        op.T.as_function_of_kernel(np.ones(IMAGE))


def test_what_takes_numpy_arrays_alone_refuses_tensors_by_name():
    torch = pytest.importorskip("torch", reason="a tensor is needed to be refused")
    op = lc.Conv(KERNEL, IMAGE)
    words = r"x must be a NumPy array or nested lists; got a torch array; convert it"
    with pytest.raises(DTypeError, match=words):
        lc.compare(op, torch.ones(IMAGE))
    forms = lc.forms(op)
    with pytest.raises(DTypeError, match="Im2col takes NumPy arrays; got a torch array; convert"):
        forms["im2col"](torch.ones(IMAGE))
    with pytest.raises(DTypeError, match=r"the path 'windows' takes NumPy arrays; got a torch"):
        forms["windows"](torch.ones(IMAGE))
    doubled = lc.Resize((4, 4), (8, 8))
    for made in (doubled, 2 * doubled, doubled.T, lc.Conv(KERNEL, (8, 8)) @ doubled):
        with pytest.raises(DTypeError, match="Resize takes NumPy arrays; got a torch array"):
            made(torch.ones(made.input_shape))


@pytest.mark.parametrize("name", ["float8_e4m3fn", "float8_e5m2"])
def test_tensors_of_other_dtypes_are_refused_by_name(name):
    torch = pytest.importorskip("torch", reason="a tensor is needed to be refused")
    array = torch.empty(IMAGE, dtype=getattr(torch, name))
    with pytest.raises(DTypeError, match=f"the array must hold .* got torch dtype {name}; convert"):
        lc.Conv(KERNEL, IMAGE)(array)
    with pytest.raises(DTypeError, match="the array must be dense; got a sparse_coo tensor"):
        lc.Conv(KERNEL, IMAGE)(torch.ones(IMAGE).to_sparse())


def test_refusal_comes_before_any_work():
    """A layer over an absurd image is described and refused without its arrays being made."""
    op = lc.Conv(KERNEL, (10**6, 10**6))
    assert op.output_shape == (10**6 - 2, 10**6 - 1)
    with pytest.raises(SizeError, match="GiB; it needs .* GiB; "):
        op.matrix()
    with pytest.raises(SizeError, match="a sparse matrix .* GiB; it needs .* GiB; "):
        op.sparse()
    with pytest.raises(ShapeError, match=r"got \(2, 2\)"):
        op(np.ones((2, 2)))


def test_every_error_is_a_value_error():
    kinds = (
        DTypeError,
        GeometryError,
        InputError,
        MissingPackageError,
        OutputError,
        ShapeError,
        SizeError,
    )
    for kind in kinds:
        assert issubclass(kind, LinconvError)
    assert issubclass(LinconvError, ValueError)
    assert issubclass(MissingPackageError, ImportError)


def test_nothing_is_changed_by_a_refusal():
    op = lc.Conv(KERNEL, IMAGE)
    before = op(np.ones(IMAGE))
    with pytest.raises(ShapeError, match="reshape"):
        op(np.ones((2, 2)))
    np.testing.assert_array_equal(op(np.ones(IMAGE)), before)

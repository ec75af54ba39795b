"""Hypothesis strategies: any legal layer, and any legal geometry with one thing broken."""

from typing import Any

from hypothesis import strategies as st

from cases import DTYPES, FORMATS, MODES, NAMES, Case


@st.composite
def legal_cases(draw_from: st.DrawFn, max_ndim: int = 3, modes: tuple[str, ...] = MODES) -> Case:
    """Any legal layer of modest size: every option free, mixed over the axes."""
    ndim = draw_from(st.integers(1, max_ndim))
    most = {1: 12, 2: 6, 3: 4}.get(ndim, 3)

    def axes(element: st.SearchStrategy[Any]) -> st.SearchStrategy[tuple[Any, ...]]:
        return st.tuples(*[element] * ndim)

    kernel_size = draw_from(axes(st.integers(1, 4 if ndim == 1 else 3 if ndim == 2 else 2)))
    dilation = draw_from(axes(st.integers(1, 3)))
    stride = draw_from(axes(st.integers(1, 4)))
    padding_mode = draw_from(axes(st.sampled_from(modes)))
    extent = [(k - 1) * d + 1 for k, d in zip(kernel_size, dilation, strict=True)]
    named = draw_from(st.one_of(st.none(), st.sampled_from(NAMES)))
    if named is None:
        padding: Any = draw_from(axes(st.tuples(st.integers(-2, 3), st.integers(-2, 3))))
        # reflection reaches one sample short of the axis; a window must fit; a crop leaves samples
        least = [
            max(e - low - high, low + 1, high + 1, -low + 1, -high + 1, 1 - low - high)
            for e, (low, high) in zip(extent, padding, strict=True)
        ]
    else:
        padding, least = named, extent
    input_size = tuple(draw_from(st.integers(n, max(n, most))) for n in least)
    groups = draw_from(st.integers(1, 3))
    channels = draw_from(
        st.one_of(st.none(), st.tuples(st.just(groups), st.just(groups)))
        if groups == 1
        else st.tuples(st.sampled_from([groups, 2 * groups]), st.sampled_from([groups, 2 * groups]))
    )
    if groups == 1 and channels is not None:
        channels = draw_from(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    return Case(
        f"drawn-{draw_from(st.integers(0, 2**16))}",
        input_size,
        kernel_size,
        stride,
        padding,
        padding_mode,
        dilation,
        groups,
        channels,
        draw_from(st.sampled_from(FORMATS)),
        draw_from(st.sampled_from(DTYPES)),
    )


@st.composite
def illegal_options(draw_from: st.DrawFn) -> tuple[tuple[Any, ...], dict[str, Any], str]:
    """A legal geometry with one thing broken: positional arguments, options, words of the error."""
    case = draw_from(legal_cases(max_ndim=2))
    axis = draw_from(st.integers(0, case.ndim - 1))
    options = case.geometry_options | {"padding": "valid", "padding_mode": "zeros"}

    def broken(values: tuple[int, ...], value: int) -> tuple[int, ...]:
        return (*values[:axis], value, *values[axis + 1 :])

    size = tuple(n + 12 for n in case.input_size)
    kernel = case.kernel_size
    number = draw_from(st.integers(-5, 0))
    extent = (kernel[axis] - 1) * case.dilation[axis] + 1
    kind = draw_from(
        st.sampled_from(
            [
                "stride",
                "dilation",
                "size",
                "kernel",
                "groups",
                "fit",
                "axes",
                "reflect",
                "symmetric",
            ]
        )
    )
    if kind in ("stride", "dilation"):
        options[kind] = broken(options[kind], number)
        return (size, kernel), options, f"{kind}.*{number}"
    if kind == "size":
        return (broken(size, number), kernel), options, f"input_size.*{number}"
    if kind == "kernel":
        return (size, broken(kernel, number)), options, f"kernel_size.*{number}"
    if kind == "groups":
        options |= {"groups": 4, "in_channels": 4, "out_channels": 4 + draw_from(st.integers(1, 3))}
        return (size, kernel), options, f"groups.*{options['out_channels']}"
    if kind == "fit":
        excess = draw_from(st.integers(1, 3))
        crop = size[axis] - extent + excess
        options["padding"] = tuple((-crop, 0) if a == axis else (0, 0) for a in range(case.ndim))
        return (size, kernel), options, rf"{extent}"
    if kind == "axes":
        options["stride"] = (1,) * (case.ndim + 1)
        return (size, kernel), options, f"stride.*{case.ndim}"
    excess = draw_from(st.integers(0 if kind == "reflect" else 1, 3))
    options["padding"] = tuple((0, n + excess if a == axis else 0) for a, n in enumerate(size))
    options["padding_mode"] = kind
    return (size, kernel), options, f"{kind}.*{size[axis] + excess}"

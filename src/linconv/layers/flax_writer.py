"""flax_writer: a layer written for Flax NNX, channels last."""

from __future__ import annotations

import re
from functools import partial, reduce
from typing import Any

import numpy as np

from linconv.convolution import Conv, ConvTranspose
from linconv.engines.arrays import Array
from linconv.errors import LinconvError
from linconv.factors import Decimate, Pad
from linconv.identity import Identity
from linconv.layers.flax import activation_names
from linconv.layers.flax_modules import fixed_map_class, import_nnx
from linconv.layers.layer import Layer
from linconv.layers.pooling import Pool, valid_counts
from linconv.layers.steps import one_hot, scaling, steps, transposed_crop
from linconv.layout import Layout, exchanged_kernel
from linconv.linear_map import LinearMap, Transpose
from linconv.padding import Pairs
from linconv.resampling import Diagonal, Resize
from linconv.selection import Select
from linconv.shuffling import Shuffle

__all__ = ["write"]

_OTHERS = (Decimate, Diagonal, Select, Transpose)


def write(layer: Layer) -> Any:
    """Write a layer as an nnx.Conv, an nnx.ConvTranspose or an nnx.Sequential.

    Parameters
    ----------
    layer : Layer
        In any data format; what is written is channels last.

    Returns
    -------
    flax.nnx.Module
        A transposed convolution stores the kernel of the one that it transposes
        (``transpose_kernel=True``), or, where it has groups, which ``nnx.ConvTranspose`` has not,
        is an ``nnx.Conv`` with input_dilation. Borders that padding cannot tell, resizing and the
        like are a `FixedMap` of linconv. float64 becomes float32 unless JAX has it enabled.

    Raises
    ------
    LinconvError
        If the operator has a part, or the layer an activation, that cannot be written.
    """
    nnx = import_nnx()
    made = steps(layer, "Flax", _OTHERS)
    modules: list[Any] = []
    for position, step in enumerate(made.steps):
        bias = layer.bias if position == made.biased else None
        if isinstance(step, Shuffle):
            step = one_hot(step, made.dtype)
        modules += _written(step, made.layout, bias)
    if not modules:
        size, channels = made.layout.split(layer.input_shape, 1)
        modules = [fixed_map_class()(Identity((*size, channels)))]
    if layer.activation is not None:
        modules.append(_activation(layer.activation))
    return modules[0] if len(modules) == 1 else nnx.Sequential(*modules)


def _written(step: Any, layout: Layout, bias: Array | None) -> list[Any]:
    if isinstance(step, Conv):
        return _conv(step, bias)
    if isinstance(step, ConvTranspose):
        return _conv_transpose(step, bias)
    if isinstance(step, Pool):
        return _pool(step)
    return [fixed_map_class()(_channels_last(step, layout))]


def _conv(op: Conv, bias: Array | None) -> list[Any]:
    g = op.geometry
    reach = g.effective_kernel_size
    border, rest = g.split_border()
    padding: Any = _padding_name(g.input_size, reach, g.stride, rest.padding)
    before: list[Any] = []
    if any(map(any, border.padding)):
        names = {"circular": "CIRCULAR", "reflect": "REFLECT"}
        usual = tuple(((k - 1) // 2, k // 2) for k in reach)
        mode = g.padding_mode[0]
        if mode in names and len(set(g.padding_mode)) == 1 and g.padding == usual:
            padding = names[mode]
        else:
            shape = (*g.input_size, g.in_channels)
            pad = Pad(shape, (*border.padding, (0, 0)), (*border.padding_mode, "zeros"))
            before = [fixed_map_class()(pad)]
            padding = _padding_name(rest.input_size, reach, g.stride, rest.padding)
    options = {"strides": g.stride, "feature_group_count": g.groups, "padding": padding}
    return [*before, _filled("Conv", op, _kernel_last(op), bias, options)]


def _padding_name(
    size: tuple[int, ...], reach: tuple[int, ...], stride: tuple[int, ...], pairs: Pairs
) -> str | Pairs:
    """Return Flax' name of zero padding, the pairs themselves if there is none."""
    if not any(map(any, pairs)):
        return "VALID"
    totals = [
        max(0, (-(-n // s) - 1) * s + k - n) for n, k, s in zip(size, reach, stride, strict=True)
    ]
    same = tuple((total // 2, total - total // 2) for total in totals)
    if pairs == same:
        return "SAME"
    return "CAUSAL" if pairs == ((reach[0] - 1, 0),) else pairs


def _conv_transpose(op: ConvTranspose, bias: Array | None) -> list[Any]:
    g = op.geometry
    border, rest = g.split_border()
    bordered = any(map(any, border.padding))
    crop, _ = transposed_crop(rest)
    pairs = tuple(
        (k - 1 - low, k - 1 - high)
        for k, (low, high) in zip(g.effective_kernel_size, crop, strict=True)
    )
    late = bias if bordered else None
    now = None if bordered else bias
    if g.groups == 1:
        same = _same_transposed(g.effective_kernel_size, g.stride)
        options: dict[str, Any] = {
            "strides": g.stride,
            "padding": "SAME" if pairs == same else pairs,
            "transpose_kernel": True,
        }
        made = [_filled("ConvTranspose", op, _kernel_last(op), now, options)]
    else:  # Flax has no groups there
        kernel = exchanged_kernel(op.layout.kernels_first(op.kernel), g.groups)
        kernel = np.moveaxis(kernel, (1, 0), (-2, -1))
        options = {"input_dilation": g.stride, "feature_group_count": g.groups, "padding": pairs}
        made = [_filled("Conv", op, kernel, now, options)]
    if bordered:
        shape = (*g.input_size, g.in_channels)
        pad = Pad(shape, (*border.padding, (0, 0)), (*border.padding_mode, "zeros"))
        made.append(fixed_map_class()(pad.T))
        if late is not None:
            last = Layout(g.ndim, "channels_last", bare=False)
            made += _conv(scaling(last, shape, 1.0, op.dtype), late)
    return made


def _same_transposed(reach: tuple[int, ...], stride: tuple[int, ...]) -> Pairs:
    """Return the padding of the dilated input that Flax calls "SAME"."""
    sizes = list(zip(reach, stride, strict=True))
    before = [k - 1 if s > k - 1 else (k + s - 1) // 2 for k, s in sizes]
    return tuple((a, k + s - 2 - a) for a, (k, s) in zip(before, sizes, strict=True))


def _kernel_last(op: Conv | ConvTranspose) -> Array:
    """Return a kernel (*size, in/groups, out), transposed (*size, out/groups, in)."""
    kernel = op.layout.kernels_first(op.kernel)
    return np.ascontiguousarray(np.moveaxis(kernel, (1, 0), (-2, -1)))


def _filled(
    kind: str, op: Conv | ConvTranspose, kernel: Array, bias: Array | None, options: dict[str, Any]
) -> Any:
    """Return a layer with its parameters set; no random numbers are drawn for them."""
    import jax

    nnx = import_nnx()
    g = op.geometry
    channels = (g.in_channels, g.out_channels)
    inputs, outputs = channels if isinstance(op, Conv) else channels[::-1]
    dtype = jax.dtypes.canonicalize_dtype(kernel.dtype)
    return getattr(nnx, kind)(
        inputs,
        outputs,
        g.kernel_size,
        kernel_dilation=g.dilation,
        use_bias=bias is not None,
        param_dtype=dtype,
        kernel_init=lambda key, shape, dtype: jax.numpy.asarray(kernel, dtype),
        bias_init=lambda key, shape, dtype: jax.numpy.asarray(bias, dtype),
        rngs=nnx.Rngs(0),
        **options,
    )


def _pool(pool: Pool) -> list[Any]:
    """Return an average pooling as a depthwise convolution, weighed where counts differ."""
    g = pool.geometry
    last = Layout(g.ndim, "channels_last", bare=False)
    counts: list[Array] = [np.full(n, k) for n, k in zip(g.output_size, g.kernel_size, strict=True)]
    if not pool.counted:
        counts = [np.maximum(count, 1) for count in valid_counts(g)]
    even = all(np.ptp(count) == 0 for count in counts)
    value = 1 / np.prod([float(count.flat[0]) for count in counts]) if even else 1.0
    kernel = np.full((*g.kernel_size, 1, g.out_channels), value, np.float32)
    made = _conv(Conv.of(kernel, last, g), None)
    if not even:
        shape = (*g.output_size, g.out_channels)
        table = reduce(np.multiply.outer, counts)[..., None]
        made.append(fixed_map_class()(Diagonal(shape, 1.0 / table)))
    return made


def _channels_last(op: LinearMap, layout: Layout) -> LinearMap:
    """Return a map along axes as one of (*size, channels)."""

    def last(values: Any, channel: Any) -> tuple[Any, ...]:
        along, own = layout.split(tuple(values), channel)
        return (*along, own)

    if isinstance(op, Transpose):
        return _channels_last(op.of, layout).T
    shape = last(op.input_shape, 1)
    if isinstance(op, Pad):
        g = op.geometry
        return Pad(shape, last(g.padding, (0, 0)), last(g.padding_mode, "zeros"))
    if isinstance(op, Decimate):
        return Decimate(shape, last(op.geometry.stride, 1))
    if isinstance(op, Select):
        return Select(shape, last(op.sources, None))
    if isinstance(op, Diagonal):
        return Diagonal(shape, np.moveaxis(layout.arrays_first(op.weights), 0, -1))
    if isinstance(op, Resize):
        wanted, scale = last(op.output_shape, 1), last(op.scale, None)
        return Resize(shape, wanted, op.method, coordinates=op.coordinates, scale=scale)
    raise LinconvError(
        f"a layer of Flax must be made of convolutions, pads, pools, resizing, shuffles and "
        f"selections; got {op!r} in the operator; write the other parts by themselves"
    )


def _activation(name: str) -> Any:
    import jax

    known = {ours: function for function, ours in reversed(activation_names().items())}
    known["gelu"] = partial(jax.nn.gelu, approximate=False)
    if name in known:
        return known[name]
    if leaky := re.fullmatch(r"leaky_relu\(([-+.\deE]+)\)", name):
        return partial(jax.nn.leaky_relu, negative_slope=float(leaky[1]))
    raise LinconvError(
        f"the activation must be one of {', '.join(sorted(known))} or leaky_relu(slope) to be "
        f"written for Flax; got {name!r}; write Layer(layer.operator, layer.bias, "
        f"channel_axis=...) and add the activation yourself"
    )

"""Flax NNX layers, read: Conv and ConvTranspose with every padding, and a Sequential of them.

``nnx.Conv`` pads as linconv does; ``"CIRCULAR"`` and ``"REFLECT"`` pad ``(k - 1) // 2`` before and
``k // 2`` after, k the effective kernel size, whatever the stride.

``nnx.ConvTranspose`` is ``jax.lax.conv_transpose``: a convolution of the dilated input by the
kernel *as it is stored*. It is the transpose of a convolution by the flipped kernel with its
channels exchanged; ``transpose_kernel=True`` flips and exchanges once more, so that the stored
kernel is that of the transposed convolution. Explicit padding is that of the *dilated input*:
(a, b) cuts ``k - 1 - a`` and ``k - 1 - b`` off the full output, where PyTorch and ONNX cut
``padding`` itself.
``"SAME"`` gives ``n * s`` samples and pads ``a = k - 1`` if ``s >= k``, otherwise
``ceil((k + s - 2) / 2)``, so that an odd sample is cut at the end, as Keras does; ``"VALID"`` gives
``(n - 1) * s + max(k, s)``. ``"CIRCULAR"`` wraps the full output around ``n * s`` samples, with
``max(k - s, 0) / 2`` of them before the first, rounded up for ``transpose_kernel=True`` and down
otherwise.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from linconv.arguments import per_axis
from linconv.convolution import Conv
from linconv.engines.arrays import Array
from linconv.errors import GeometryError, LinconvError, ShapeError
from linconv.factors import Decimate
from linconv.identity import Identity
from linconv.layers.chain import chained
from linconv.layers.flax_modules import fixed_map_class, import_nnx
from linconv.layers.layer import Layer
from linconv.layers.shapes import known_shape, sample_shape
from linconv.layers.transposing import cut_transpose
from linconv.layout import Layout, exchanged_kernel
from linconv.linear_map import LinearMap, Product
from linconv.padding import Pairs, explicit_pairs

__all__ = ["activation_names", "read"]

_LAX = {"SAME": "same", "SAME_LOWER": "same_lower", "VALID": "valid"}
_MODES = {"CIRCULAR": "circular", "REFLECT": "reflect"}


def read(layer: Any, input_shape: tuple[int, ...] | None = None) -> Layer:
    """Return the layer of an nnx.Conv, nnx.ConvTranspose, or an nnx.Sequential of these.

    Parameters
    ----------
    layer : flax.nnx.Module
        Its parameters are read and copied, and nothing is changed. A Sequential may also hold
        functions of ``jax.nn`` as activations.
    input_shape : tuple of int
        (*size, channels) of one sample, no batch axis.

    Raises
    ------
    ShapeError
        If `input_shape` is missing or does not fit.
    GeometryError
        If Flax itself could not apply the layer.
    LinconvError
        If the layer is of another kind, or its parameters have no values.
    """
    nnx = import_nnx()
    if isinstance(layer, nnx.Sequential):
        return _read_sequential(layer, input_shape)
    if isinstance(layer, fixed_map_class()):
        return _read_fixed(layer.linear_map, input_shape)
    for kind, reader in ((nnx.Conv, _read_conv), (nnx.ConvTranspose, _read_transpose)):
        if isinstance(layer, kind) and type(layer).__call__ is kind.__call__:
            return reader(layer, input_shape)
    given = type(layer).__name__
    linen = ".linen." in type(layer).__module__
    advice = "a Linen layer holds no parameters" if linen else "read the layers that it is made of"
    raise LinconvError(
        f"a Flax layer must be an nnx.Conv, an nnx.ConvTranspose or an nnx.Sequential of them, "
        f"with their own __call__; got {given}; {advice}"
    )


def _read_fixed(operator: LinearMap, input_shape: tuple[int, ...] | None) -> Layer:
    if input_shape not in (None, operator.input_shape):
        raise ShapeError(
            f"input_shape of a FixedMap must be that of its map, {operator.input_shape}; got "
            f"{input_shape}; leave it out, or write the layer for that shape"
        )
    axis = len(operator.output_shape) - 1
    return Layer(operator, channel_axis=axis, kind="FixedMap", source="flax")


def _read_sequential(layer: Any, input_shape: tuple[int, ...] | None) -> Layer:
    shape = known_shape("an nnx.Sequential", input_shape, (32, 32, 3))
    layers: list[Layer] = []
    for each in layer.layers:
        name = _activation(each)
        if name is None:
            layers.append(read(each, shape))
        else:
            layers.append(
                Layer(Identity(shape), None, name, len(shape) - 1, kind=name, source="flax")
            )
        shape = layers[-1].output_shape
    return chained(layers, kind="Sequential", source="flax")


def activation_names() -> dict[Any, str]:
    """Return the activations of ``jax.nn`` and what linconv calls them."""
    import jax

    same: tuple[str, ...] = ("celu", "elu", "hard_sigmoid", "hard_silu", "log_sigmoid", "mish")
    same += ("relu", "relu6", "selu", "sigmoid", "silu", "softplus")
    names: dict[Any, str] = {getattr(jax.nn, name): name for name in same}
    names |= {jax.nn.soft_sign: "softsign", jax.nn.gelu: "gelu(approximate=tanh)"}
    names |= {jax.nn.leaky_relu: "leaky_relu(0.01)"}
    return names | dict.fromkeys((jax.numpy.tanh, jax.nn.tanh, jax.lax.tanh), "tanh")


def _activation(function: Any) -> str | None:
    """Return the name of an activation, None where `function` is none that is known."""
    import jax

    if isinstance(function, partial) and not function.args:
        options = function.keywords
        if function.func is jax.nn.gelu and options == {"approximate": False}:
            return "gelu"
        if function.func is jax.nn.leaky_relu and set(options) == {"negative_slope"}:
            return f"leaky_relu({options['negative_slope']:g})"
    try:
        return activation_names().get(function)
    except TypeError:  # a module that cannot be hashed
        return None


def _read_conv(layer: Any, input_shape: tuple[int, ...] | None) -> Layer:
    import jax

    if layer.conv_general_dilated is not jax.lax.conv_general_dilated:
        raise LinconvError(
            f"an nnx.Conv must use jax.lax.conv_general_dilated; got "
            f"{layer.conv_general_dilated!r}, which may compute anything; use JAX' own"
        )
    kernel, bias = _parameters(layer)
    groups = layer.feature_group_count
    shape, options = _options(layer, input_shape, "Conv")
    ndim = len(shape) - 1
    grown = per_axis("input_dilation", _one(layer.input_dilation), ndim, minimum=1)
    reach = _reach(layer, options["dilation"])
    mode, padding = _conv_padding(layer, reach)
    if max(grown) == 1:
        conv = Conv(kernel, shape, padding=padding, padding_mode=mode, groups=groups, **options)
        operator: LinearMap = conv
        pairs = conv.geometry.padding
    elif isinstance(layer.padding, str):
        raise GeometryError(
            f"an nnx.Conv with input_dilation must have explicit padding; got {layer.padding!r}, "
            f"which Flax does not compute; use (low, high) pairs or nnx.ConvTranspose"
        )
    else:
        pairs = explicit_pairs(padding, ndim)
        operator = _dilated(kernel, shape, grown, pairs, reach, groups, options)
    return Layer(
        operator,
        bias,
        channel_axis=ndim,
        kind="Conv",
        source="flax",
        convention=f"padding={layer.padding!r}: {_words(pairs)}",
    )


def _conv_padding(layer: Any, reach: tuple[int, ...]) -> tuple[str, Any]:
    """Return the padding mode and the padding of an nnx.Conv."""
    name = layer.padding
    if not isinstance(name, str):
        return "zeros", explicit_pairs(name, len(reach))
    if name in _MODES:
        return _MODES[name], tuple(((k - 1) // 2, k // 2) for k in reach)
    if name == "CAUSAL" and len(reach) == 1:
        return "zeros", "causal"
    if name.upper() not in _LAX:
        raise _unknown_padding("nnx.Conv", name, (*_LAX, *_MODES, "CAUSAL (one axis)"))
    return "zeros", _LAX[name.upper()]


def _dilated(
    kernel: Array,
    shape: tuple[int, ...],
    grown: tuple[int, ...],
    pairs: Pairs,
    reach: tuple[int, ...],
    groups: int,
    options: dict[str, Any],
) -> LinearMap:
    """Return a convolution of the dilated input: transposed where nothing is skipped."""
    if max(options["stride"]) == 1:
        layout = Layout(len(grown), "channels_last", bare=False)
        exchanged = exchanged_kernel(layout.kernels_first(kernel), groups)
        cuts = tuple((k - 1 - a, k - 1 - b) for k, (a, b) in zip(reach, pairs, strict=True))
        return cut_transpose(
            layout.kernels_back(exchanged),
            shape,
            cuts,
            stride=grown,
            dilation=options["dilation"],
            groups=groups,
        )
    wide = (*((n - 1) * d + 1 for n, d in zip(shape, grown, strict=False)), shape[-1])
    conv = Conv(kernel, wide, padding=pairs, groups=groups, **options)
    return Product(conv, Decimate(wide, (*grown, 1)).T)


def _read_transpose(layer: Any, input_shape: tuple[int, ...] | None) -> Layer:
    kernel, bias = _parameters(layer)
    shape, options = _options(layer, input_shape, "ConvTranspose")
    steps, reach = options["stride"], _reach(layer, options["dilation"])
    if not layer.transpose_kernel:
        kernel = np.flip(kernel, tuple(range(len(steps)))).swapaxes(-1, -2)
    if layer.padding == "CIRCULAR":
        up = int(bool(layer.transpose_kernel))
        spare = [max(k - s, 0) for k, s in zip(reach, steps, strict=True)]
        low = [(e + up) // 2 for e in spare]
        cuts = tuple((a, k - s - a) for a, k, s in zip(low, reach, steps, strict=True))
        options["padding_mode"] = "circular"
    else:
        pads = _transposed_padding(layer, reach, steps, shape)
        cuts = tuple((k - 1 - a, k - 1 - b) for k, (a, b) in zip(reach, pads, strict=True))
    return Layer(
        cut_transpose(kernel, shape, cuts, **options),
        bias,
        channel_axis=len(steps),
        kind="ConvTranspose",
        source="flax",
        convention=f"padding={layer.padding!r}, transpose_kernel={bool(layer.transpose_kernel)}: "
        f"{_words(cuts, 'cut')}",
    )


def _transposed_padding(
    layer: Any, reach: tuple[int, ...], steps: tuple[int, ...], shape: tuple[int, ...]
) -> Pairs:
    """Return the padding of the dilated input, as `jax.lax.conv_transpose` computes it."""
    name = layer.padding
    if not isinstance(name, str):
        return explicit_pairs(name, len(reach))
    if name == "VALID":
        return tuple((k - 1, max(k, s) - 1) for k, s in zip(reach, steps, strict=True))
    if name == "SAME":
        sizes = list(zip(reach, steps, strict=True))
        before = [k - 1 if s > k - 1 else (k + s - 1) // 2 for k, s in sizes]
        return tuple((a, k + s - 2 - a) for a, (k, s) in zip(before, sizes, strict=True))
    if name.upper() in _LAX and max(steps) == 1:  # then it is an ordinary convolution for JAX
        conv = Conv(np.ones(reach, np.float32), shape[:-1], padding=_LAX[name.upper()])
        return conv.geometry.padding
    raise _unknown_padding("nnx.ConvTranspose", name, ("SAME", "VALID", "CIRCULAR"))


def _unknown_padding(kind: str, name: str, known: tuple[str, ...]) -> GeometryError:
    return GeometryError(
        f"padding of an {kind} must be one of {', '.join(known)}, an int, ints or (low, high) "
        f"pairs; got {name!r}, which Flax does not compute either; use one of these"
    )


def _parameters(layer: Any) -> tuple[Array, Array | None]:
    """Return kernel and bias as the layer computes with them: masked, in its dtype."""
    from flax.nnx.nn import dtypes

    kind = f"nnx.{type(layer).__name__}"
    if layer.promote_dtype is not dtypes.promote_dtype:
        raise LinconvError(
            f"an {kind} must use Flax' own promote_dtype; got {layer.promote_dtype!r}, which may "
            f"compute anything; use the default"
        )
    kernel = _values(layer.kernel, f"kernel of an {kind}")
    if layer.mask is not None:
        mask = np.asarray(layer.mask)
        if mask.shape != kernel.shape:
            raise ShapeError(
                f"the mask of an {kind} must have the shape of its kernel, {kernel.shape}; got "
                f"{mask.shape}; make it for this kernel"
            )
        kernel = kernel * mask
    bias = None
    if layer.use_bias and layer.bias is not None:
        bias = _values(layer.bias, f"bias of an {kind}")
    arrays = [
        array if layer.dtype is None else array.astype(layer.dtype)
        for array in (kernel, bias)
        if array is not None
    ]
    wide = [a.astype(np.float32) if a.dtype.itemsize < 4 else a for a in arrays]
    return wide[0], wide[1] if bias is not None else None


def _values(variable: Any, what: str) -> Array:
    try:
        return np.asarray(variable[...])
    except Exception as error:  # abstract or traced, each with an error of its own
        cause = str(error).partition("\n")[0]
        raise LinconvError(
            f"the {what} must have values; got none ({cause}); make the layer outside of "
            f"jax.eval_shape and jax.jit"
        ) from error


def _options(
    layer: Any, input_shape: tuple[int, ...] | None, kind: str
) -> tuple[tuple[int, ...], dict[str, Any]]:
    """Return the checked input shape and the options that both kinds of layer share."""
    ndim = len(layer.kernel_size)
    shape = sample_shape(
        f"an nnx.{kind}", input_shape, ndim, channels=layer.in_features, channels_last=True
    )
    return shape, {
        "stride": per_axis("strides", _one(layer.strides), ndim, minimum=1),
        "dilation": per_axis("kernel_dilation", _one(layer.kernel_dilation), ndim, minimum=1),
    }


def _one(value: Any) -> Any:
    return 1 if value is None else value


def _reach(layer: Any, dilation: tuple[int, ...]) -> tuple[int, ...]:
    """Return the effective kernel size."""
    return tuple((k - 1) * d + 1 for k, d in zip(layer.kernel_size, dilation, strict=True))


def _words(pairs: Pairs, verb: str = "") -> str:
    words = [f"{low} before, {high} after" for low, high in pairs]
    end = f" {verb}" if verb else ""
    if len(set(words)) == 1:
        return f"{words[0]}{end} on each axis"
    return "; ".join(f"{each}{end} on axis {axis}" for axis, each in enumerate(words))

"""Code as layers of its own: Keras, Flax NNX and ONNX."""

from __future__ import annotations

from linconv.layers.code_task import Task, array_pads, one_group, split, xla_pads
from linconv.layers.suggesting import NUMPY_MODES
from linconv.padding import Pairs

__all__ = ["flax", "keras", "onnx"]


def flax(task: Task) -> str:
    """Return the code for Flax NNX."""
    g = task.plain.geometry
    out, per_group, *size = task.plain.conv.kernel.shape
    channels = (out, per_group) if task.plain.transposed else (per_group * g.groups, out)
    zeros = set(g.padding_mode) == {"zeros"}
    kind, pads = "Conv", g.padding if zeros else ((0, 0),) * g.ndim
    options = task.options(stride="strides", dilation="kernel_dilation")
    if task.plain.transposed:
        one_group(task)
        kind, pads = "ConvTranspose", xla_pads(task)
        options += ", transpose_kernel=True"
    else:
        options += task.options(groups="feature_group_count")
    lines = [
        "import jax",
        "import jax.numpy as jnp",
        "from flax import nnx",
        "",
        f"conv = nnx.{kind}({channels[0]}, {channels[1]}, {tuple(size)}, padding={pads}{options}, "
        f"use_bias={task.has_bias}, rngs=nnx.Rngs(0))",
        f"conv.kernel[...] = jnp.asarray({task.kernel(first=False)}, conv.kernel.dtype)",
    ]
    lines += ["conv.bias[...] = jnp.asarray(bias, conv.bias.dtype)"] if task.has_bias else []
    lines += ["", "def layer(x):  # (batch, *size, channels)"]
    lines += [] if zeros or task.plain.transposed else array_pads(task, "jnp")
    value = "conv(x)"
    if task.layer.activation is not None:
        value = f"jax.nn.{task.layer.activation}({value})"
    return "\n".join([*lines, f"    return {value}"]).replace("jax.nn.softsign", "jax.nn.soft_sign")


def keras(task: Task) -> str:
    """Return the code for Keras."""
    n, g = task.ndim, task.plain.geometry
    if max(g.stride) > 1 and max(g.dilation) > 1:
        raise task.refuse(
            f"stride {g.stride} beside dilation {g.dilation}", "keep one of them at 1"
        )
    out, per_group, *size = task.plain.conv.kernel.shape
    options = task.options(stride="strides", dilation="dilation_rate")
    tail = f', use_bias={task.has_bias}, data_format="channels_last"'
    layers: list[str] = []
    if task.plain.transposed:
        one_group(task)
        crops = tuple(
            (low, high + max(0, s - k))  # Keras' result is at least one stride long
            for (low, high), s, k in zip(
                task.crops(), g.stride, g.effective_kernel_size, strict=True
            )
        )
        layers = [f'Conv{n}DTranspose({per_group}, {tuple(size)}, padding="valid"{options}{tail})']
        layers += keras_moves(n, tuple((-a, -b) for a, b in crops))
        channels, windows = out, g.output_size
    else:
        layers = []
        same = g.replace(padding="same").padding == g.padding
        zeros = set(g.padding_mode) == {"zeros"}
        for mode, pairs in [] if same and zeros else task.pads():
            if mode != "zeros":
                raise task.refuse(
                    f"its layers pad with zeros, not {mode}", "pad with keras.ops.pad"
                )
            layers += keras_moves(n, pairs)
        name = "same" if same and zeros and any(map(any, g.padding)) else "valid"
        options += task.options(groups="groups")
        layers += [f'Conv{n}D({out}, {tuple(size)}, padding="{name}"{options}{tail})']
        channels, windows = g.in_channels, g.input_size
    if task.layer.activation is not None:
        layers += [f'Activation("{task.layer.activation}")']
    weights = f"[{task.kernel(first=False)}{', bias' if task.has_bias else ''}]"
    lines = ["import keras", "", "layer = keras.Sequential(["]
    lines += [f"    keras.layers.Input({(*windows, channels)}),"]
    lines += [f"    keras.layers.{text}," for text in layers]
    return "\n".join([*lines, "])", f"layer.set_weights({weights})"])


def keras_moves(n: int, pairs: Pairs) -> list[str]:
    """Return the layers that crop and pad by signed pads."""
    crops, grow = split(pairs)
    moves = []
    for kind, amounts in (("Cropping", crops), ("ZeroPadding", grow)):
        if any(map(any, amounts)):
            shown = amounts[0] if n == 1 else amounts
            tail = "" if (kind, n) == ("Cropping", 1) else ', data_format="channels_last"'
            moves.append(f"{kind}{n}D({shown}{tail})")
    return moves


def onnx(task: Task) -> str:
    """Return the code for ONNX."""
    g = task.plain.geometry
    nodes, arrays, x = [], [f'"kernel": {task.kernel(first=True)}'], "x"
    attributes = f"strides={list(g.stride)}, dilations={list(g.dilation)}, group={g.groups}"
    if task.plain.transposed:
        kind, crops = "ConvTranspose", task.crops()
        extra = [max(0, -high) for _, high in crops]
        pads = [low for low, _ in crops] + [max(0, high) for _, high in crops]
        fits = all(e < max(s, d) for e, s, d in zip(extra, g.stride, g.dilation, strict=True))
        if min(pads) < 0 or not fits:
            raise task.refuse(f"ConvTranspose cannot cut its result by {crops}", "pad its result")
        attributes += f", output_padding={extra}" if any(extra) else ""
    else:
        kind = "Conv"
        zeros = set(g.padding_mode) == {"zeros"} and all(s >= 0 for p in g.padding for s in p)
        pads = [low for low, _ in g.padding] + [high for _, high in g.padding] if zeros else []
        for number, (mode, pairs) in enumerate([] if zeros else task.pads()):
            if mode == "symmetric":
                raise task.refuse("its Pad node has no mode symmetric", "pad the input first")
            name, before = f"pads_{number}", ((0, 0), (0, 0), *pairs)
            amounts = [low for low, _ in before] + [high for _, high in before]
            arrays.append(f'"{name}": np.array({amounts}, np.int64)')
            nodes.append(
                f'helper.make_node("Pad", ["{x}", "{name}"], ["padded_{number}"], '
                f'mode="{NUMPY_MODES[mode]}")'
            )
            x = f"padded_{number}"
    attributes += f", pads={pads}" if any(pads) else ""
    inputs = f'["{x}", "kernel"{", " + chr(34) + "bias" + chr(34) if task.has_bias else ""}]'
    active = task.layer.activation
    nodes.append(
        f'helper.make_node("{kind}", {inputs}, ["{"z" if active else "y"}"], {attributes})'
    )
    if active:
        nodes.append(f'helper.make_node("{active.capitalize()}", ["z"], ["y"])')
    arrays += ['"bias": bias'] if task.has_bias else []
    size = g.output_size if task.plain.transposed else g.input_size
    channels = g.out_channels if task.plain.transposed else g.in_channels
    shape = ", ".join(map(str, (channels, *size)))
    return "\n".join(
        [
            "import numpy as np",
            "from onnx import helper, numpy_helper",
            "",
            "dtype = helper.np_dtype_to_tensor_dtype(kernel.dtype)",
            f"arrays = {{{', '.join(arrays)}}}",
            "nodes = [",
            *(f"    {node}," for node in nodes),
            "]",
            "graph = helper.make_graph(",
            '    nodes, "layer",',
            f'    [helper.make_tensor_value_info("x", dtype, ["N", {shape}])],',
            '    [helper.make_tensor_value_info("y", dtype, None)],',
            "    [numpy_helper.from_array(array, name) for name, array in arrays.items()],",
            ")",
            'layer = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], '
            "ir_version=9)",
        ]
    )

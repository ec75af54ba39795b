"""Code as a function: PyTorch, JAX and TensorFlow."""

from __future__ import annotations

from linconv.layers.code_task import (
    LETTERS,
    Task,
    array_pads,
    one_group,
    slices,
    split,
    xla_pads,
)
from linconv.layers.suggesting import TORCH_MODES, torch_pad

__all__ = ["jax", "tensorflow", "torch"]


def torch(task: Task) -> str:
    """Return the code for PyTorch."""
    n, g = task.ndim, task.plain.geometry
    bias = ", torch.as_tensor(bias)" if task.has_bias else ""
    names = "(in, out/groups, *size)" if task.plain.transposed else "(out, in/groups, *size)"
    lines = [
        "import torch",
        "import torch.nn.functional as F",
        "",
        f"weight = torch.as_tensor({task.kernel(first=True, own=True)})  # {names}",
        "",
        "def layer(x):  # (batch, channels, *size)",
    ]
    options = task.options(stride="stride", dilation="dilation", groups="groups")
    if task.plain.transposed:
        crops = task.crops()
        lines += [f"    x = F.conv_transpose{n}d(x, weight{options})"]
        if any(map(any, crops)):
            back = tuple((-low, -high) for low, high in crops)
            lines += [f"    x = F.pad(x, {torch_pad(back)})  # negative: crops"]
        value = "x"
        if task.has_bias:
            value = f"(x + torch.as_tensor(bias).reshape({(-1, *(1,) * n)}))"
        return (
            "\n".join([*lines, *task.result(value, "F" if value else "")])
            .replace("F.tanh", "torch.tanh")
            .replace("F.sigmoid", "torch.sigmoid")
        )
    symmetric = set(g.padding_mode) == {"zeros"} and all(a == b >= 0 for a, b in g.padding)
    if symmetric and any(map(any, g.padding)):
        options += f", padding={tuple(low for low, _ in g.padding)}"
    for mode, pairs in [] if symmetric else task.pads():
        if mode not in TORCH_MODES:
            raise task.refuse(f"torch pads with {', '.join(TORCH_MODES)}, not {mode}", "pad first")
        shown = "" if mode == "zeros" else f', mode="{TORCH_MODES[mode]}"'
        lines.append(f"    x = F.pad(x, {torch_pad(pairs)}{shown})")
    text = "\n".join([*lines, *task.result(f"F.conv{n}d(x, weight{bias}{options})", "F")])
    return text.replace("F.tanh", "torch.tanh").replace("F.sigmoid", "torch.sigmoid")


def jax(task: Task) -> str:
    """Return the code for JAX."""
    g, letters = task.plain.geometry, LETTERS[task.ndim]
    order = (f"N{letters}C", f"{letters}IO", f"N{letters}C")
    lines = ["import jax", "import jax.numpy as jnp", ""]
    lines += [f"weight = jnp.asarray({task.kernel(first=False)})", ""]
    lines += ["def layer(x):  # (batch, *size, channels)"]
    zeros = set(g.padding_mode) == {"zeros"}
    if task.plain.transposed:
        one_group(task)
        call = (
            f"jax.lax.conv_transpose(x, weight, {g.stride}, {xla_pads(task)}"
            f"{task.options(dilation='rhs_dilation')}, dimension_numbers={order}, "
            f"transpose_kernel=True)"
        )
    else:
        lines += [] if zeros else array_pads(task, "jnp")
        pads = g.padding if zeros else ((0, 0),) * g.ndim
        options = task.options(dilation="rhs_dilation", groups="feature_group_count")
        call = (
            f"jax.lax.conv_general_dilated(x, weight, {g.stride}, {pads}{options}, "
            f"dimension_numbers={order})"
        )
    return "\n".join([*lines, *task.result(call, "jax.nn")]).replace(
        "jax.nn.softsign", "jax.nn.soft_sign"
    )


def tensorflow(task: Task) -> str:
    """Return the code for TensorFlow."""
    g = task.plain.geometry
    lines = ["import tensorflow as tf", "", f"weight = tf.constant({task.kernel(first=False)})", ""]
    lines += ["def layer(x):  # (batch, *size, channels)"]
    if max(g.stride) > 1 and max(g.dilation) > 1:
        raise task.refuse(
            f"stride {g.stride} beside dilation {g.dilation}", "keep one of them at 1"
        )
    if task.plain.transposed:
        one_group(task)
        if max(g.dilation) > 1:
            raise task.refuse(f"a transposed convolution of dilation {g.dilation}", "use 1")
        full = [
            (o - 1) * s + k
            for o, s, k in zip(g.output_size, g.stride, g.effective_kernel_size, strict=True)
        ]
        shape = f"[tf.shape(x)[0], {', '.join(map(str, full))}, {g.in_channels}]"
        call = f'tf.nn.conv_transpose(x, weight, {shape}, {list(g.stride)}, padding="VALID")'
        lines += [f"    x = {call}"]
        crops, grow = split(tuple((-a, -b) for a, b in task.crops()))
        if any(map(any, crops)):
            lines += [f"    x = x[{slices(crops, first=False)}]"]
        if any(map(any, grow)):
            lines += [f"    x = tf.pad(x, {((0, 0), *grow, (0, 0))})"]
        return "\n".join([*lines, *task.result("x", "tf.nn")])
    odd = set(g.padding_mode) - {"zeros", "reflect", "symmetric"}
    if odd:
        raise task.refuse(f"tf.pad has no mode {odd.pop()}", "use zeros, reflect or symmetric")
    same = set(g.padding_mode) == {"zeros"} and g.replace(padding="same").padding == g.padding
    lines += [] if same else array_pads(task, "tf")
    name = "SAME" if same and any(map(any, g.padding)) else "VALID"
    options = task.options(stride="strides", dilation="dilations")
    call = f'tf.nn.convolution(x, weight{options}, padding="{name}")'
    return "\n".join([*lines, *task.result(call, "tf.nn")])

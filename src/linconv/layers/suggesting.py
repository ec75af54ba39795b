"""Suggestions: in the words of each framework, what makes one layer equal to the other."""

from __future__ import annotations

from typing import Any

import numpy as np

from linconv.layers.plain import Plain
from linconv.padding import PADDINGS, Pairs

__all__ = ["NUMPY_MODES", "TORCH_MODES", "convention", "kernel_words", "padding_words", "torch_pad"]

TORCH_MODES = {"zeros": "constant", "circular": "circular", "reflect": "reflect"}
TORCH_MODES |= {"replicate": "replicate"}
NUMPY_MODES = {"zeros": "constant", "circular": "wrap", "reflect": "reflect"}
NUMPY_MODES |= {"replicate": "edge", "symmetric": "symmetric"}


def convention(given: Plain, framework: str) -> str:
    """Return the name of the padding that comes to a layer's pads, or the pads."""
    g = given.geometry
    if given.transposed:
        return f"cropping {g.padding}"
    amounts = {low for pair in g.padding for low in pair}
    if amounts == {0}:
        return "no padding"
    names = ("same",) if framework in ("torch", "keras", "flax") else PADDINGS
    for name in names:
        if g.replace(padding=name).padding == g.padding:
            return f"padding {name!r}, which is {g.padding} here"
    if len(amounts) == 1:
        return f"padding {amounts.pop()}, on both sides of every axis"
    return f"padding {g.padding}"


def torch_pad(pairs: Pairs) -> tuple[int, ...]:
    """Return pads as `torch.nn.functional.pad` takes them: the last axis first."""
    return tuple(side for pair in reversed(pairs) for side in pair)


def padding_words(framework: str, target: Plain) -> str:
    """Return what gives a layer of a framework the padding of `target`."""
    g = target.geometry
    pairs, modes = g.padding, g.padding_mode
    mode = modes[0] if len(set(modes)) == 1 else None
    if target.transposed:
        return _crop_words(framework, target)
    if framework == "torch":
        return _torch_words(pairs, mode)
    if framework == "keras":
        if mode == "zeros":
            for name in ("valid", "same"):
                if g.replace(padding=name).padding == pairs:
                    return f'give b padding="{name}"'
        if mode == "zeros" and all(side >= 0 for pair in pairs for side in pair):
            shown: Any = pairs[0] if g.ndim == 1 else pairs
            return (
                f"put keras.layers.ZeroPadding{g.ndim}D({shown}) before b, and give b "
                f'padding="valid"'
            )
    elif framework == "flax":
        named = {"zeros": pairs, "circular": "CIRCULAR", "reflect": "REFLECT"}
        same = g.replace(padding="same").padding == pairs
        if mode == "zeros" or (mode in named and same):
            return f"give b padding={named[mode]!r}"
    elif framework == "onnx":
        pads = [low for low, _ in pairs] + [high for _, high in pairs]
        if mode == "zeros" and min(pads) >= 0:
            return f"give b's Conv node pads={pads}, without auto_pad"
        names = {"zeros": "constant", "circular": "wrap", "reflect": "reflect"}
        names |= {"replicate": "edge"}
        if mode in names:
            before = [0, 0, *pads[: g.ndim], 0, 0, *pads[g.ndim :]]
            return f'put a Pad node with mode="{names[mode]}", pads={before} before b, and no pads'
    elif framework == "linconv":
        return f"give b padding={pairs}, padding_mode={repr(mode) if mode else modes}"
    named_mode = NUMPY_MODES.get(mode or "", "the mode of each axis")
    return f'pad b\'s input with {pairs} (numpy.pad, mode "{named_mode}"), and let b pad nothing'


def _torch_words(pairs: Pairs, mode: str | None) -> str:
    if mode in TORCH_MODES and all(low == high >= 0 for low, high in pairs):
        amounts = tuple(low for low, _ in pairs)
        return f'give b padding={amounts}, padding_mode="{mode}"'
    if mode in TORCH_MODES:
        return (
            f"pad b's input with torch.nn.functional.pad(x, {torch_pad(pairs)}, "
            f'mode="{TORCH_MODES[mode]}") and give b padding=0'
        )
    return f"pad b's input with {pairs} ({mode or 'a mode per axis'}), and give b padding=0"


def _crop_words(framework: str, target: Plain) -> str:
    g = target.geometry
    lows = [low for low, _ in g.padding]
    full = [
        (n - 1) * s + k
        for n, s, k in zip(g.output_size, g.stride, g.effective_kernel_size, strict=True)
    ]
    ends = [size - n - low for size, n, low in zip(full, g.input_size, lows, strict=True)]
    if set(g.padding_mode) != {"zeros"}:
        return f"fold the border of b's result back by {g.padding}, modes {g.padding_mode}"
    crops = tuple(zip(lows, ends, strict=True))
    extra = [low - end for low, end in crops]
    allowed = [max(s, d) for s, d in zip(g.stride, g.dilation, strict=True)]
    simple = min(lows) >= 0 and all(0 <= e < most for e, most in zip(extra, allowed, strict=True))
    if framework in ("torch", "linconv") and simple:
        return f"give b padding={tuple(lows)}, output_padding={tuple(extra)}"
    if framework == "onnx" and min(lows) >= 0 and min(ends) >= 0:
        return f"give b's ConvTranspose node pads={lows + ends}, without auto_pad"
    if framework == "keras":
        if g.input_size == tuple(n * s for n, s in zip(g.output_size, g.stride, strict=True)):
            wanted = [(f - n) for f, n in zip(full, g.input_size, strict=True)]
            if lows == [w - w // 2 if w > 0 else 0 for w in wanted]:
                return 'give b padding="same"'
        if min(lows) >= 0 and min(ends) >= 0:
            cut: Any = crops[0] if g.ndim == 1 else crops
            return f'give b padding="valid", then keras.layers.Cropping{g.ndim}D({cut})'
    if framework == "flax":
        pads = tuple(
            (k - 1 - low, k - 1 - end)
            for k, (low, end) in zip(g.effective_kernel_size, crops, strict=True)
        )
        return f"give b padding={pads}"
    return (
        f"compute b without padding, and crop its full result by {crops} "
        f"(negative: that many zeros more)"
    )


def kernel_words(framework: str, data_format: str | None, details: dict[str, Any]) -> list[str]:
    """Return what undoes the changes of a kernel that `details` tell."""
    last = framework in ("keras", "flax") or (
        framework == "linconv" and data_format == "channels_last"
    )
    first_axis = 0 if last or data_format == "bare" else 2
    words = []
    if "exchanged" in details:
        words.append("exchange the input and output channels of b's kernel")
    if "kernel_output_order" in details:
        words.append(
            f"reorder the output channels of b's kernel by numpy.argsort("
            f"{list(details['kernel_output_order'])})"
        )
    if "flipped" in details:
        axes = tuple(first_axis + axis for axis in details["flipped"])
        words.append(f"flip b's kernel: numpy.flip(kernel, axis={axes})")
    if "axes" in details:
        back = tuple(int(axis) for axis in np.argsort(details["axes"]))
        words.append(f"transpose the spatial axes of b's kernel by {back}")
    return words

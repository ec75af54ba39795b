"""Weights without their layers: what can be told from a name and a shape, and what cannot."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

__all__ = ["KernelOnly", "Weight", "kernels"]


@dataclass(frozen=True)
class Weight:
    """An array of which the shape and the number type are known."""

    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True)
class KernelOnly:
    """A convolution's kernel without its layer: stride, padding and the rest are unknown.

    Attributes
    ----------
    name : str
        Of the layer, without ``.weight`` or the like.
    shape : tuple of int
        Of the kernel, as stored.
    kernel_size : tuple of int, or None
        None where the layout cannot be told.
    kind : str
        ``"convolution"``, ``"transposed convolution"`` or, where the bias does not decide,
        ``"convolution or transposed"``.
    parameters : int
        Of the kernel and its bias.
    """

    name: str
    shape: tuple[int, ...]
    kernel_size: tuple[int, ...] | None
    kind: str
    parameters: int


_SUFFIXES = (".weight", ".kernel", "/kernel", "/weight")
_BIASES = (".bias", "/bias")


def kernels(weights: Mapping[str, Weight]) -> tuple[list[KernelOnly], list[str]]:
    """Return the convolutions' kernels among weights, and the names of all other weights.

    An array of 3 to 5 axes named like a kernel counts as one; fewer axes are dense layers, norms
    and biases. The layer's bias has one entry per output channel: it tells PyTorch's kernels
    (out, in/groups, *size) from its transposed ones (in, out/groups, *size) and from channels-last
    ones (*size, in/groups, out), if just one of these fits.
    """
    found, others = [], []
    taken = set()
    for name, weight in weights.items():
        stem = next((name.removesuffix(s) for s in _SUFFIXES if name.endswith(s)), None)
        if stem is None or not 3 <= len(weight.shape) <= 5 or 0 in weight.shape:
            continue
        biases = [stem + suffix for suffix in _BIASES if stem + suffix in weights]
        bias = weights[biases[0]] if biases else None
        taken |= {name, *biases}
        kind, size = _told(weight.shape, None if bias is None else bias.shape)
        count = prod(weight.shape) + (0 if bias is None else prod(bias.shape))
        found.append(KernelOnly(stem, weight.shape, size, kind, count))
    others = [name for name in weights if name not in taken]
    return found, others


def _told(
    shape: tuple[int, ...], bias: tuple[int, ...] | None
) -> tuple[str, tuple[int, ...] | None]:
    """Tell kind and kernel size from the shapes of kernel and bias, as far as they decide."""
    either = "convolution or transposed"
    fits = {
        "convolution": bias is None or bias == shape[:1],
        "transposed convolution": bias is None or bias == shape[1:2],
        "channels last": bias is None or bias == shape[-1:],
    }
    told = [name for name, fit in fits.items() if fit]
    if told == ["channels last"]:
        return "convolution", shape[:-2]
    if told in (["convolution"], ["transposed convolution"]):
        return told[0], shape[2:]
    if told == ["convolution", "transposed convolution"]:
        return either, shape[2:]
    return either, None

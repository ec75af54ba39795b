"""PyTorch's tensors: what `linconv.engines.kinds` and `linconv.engines.ops` need of them.

The functions are those of `linconv.engines.jax_arrays`, and mean the same.
"""

from __future__ import annotations

from typing import Any

from linconv.engines.arrays import Array
from linconv.errors import DTypeError

__all__ = [
    "cast",
    "check",
    "conjugate",
    "dtype_name",
    "fold",
    "from_numpy",
    "matched",
    "own",
    "pad",
    "take",
    "to_numpy",
]


def dtype_name(array: Any) -> str:
    """Return the dtype's name, as NumPy has it."""
    return str(array.dtype).removeprefix("torch.")


def check(name: str, array: Any) -> None:
    """Refuse a tensor that has no plain memory."""
    layout = str(array.layout).removeprefix("torch.")
    if layout != "strided":
        raise DTypeError(f"{name} must be dense; got a {layout} tensor; use .to_dense()")


def cast(array: Any, dtype: str) -> Any:
    """Return the tensor in a dtype; itself if it has that."""
    import torch

    return array.to(getattr(torch, dtype))


def from_numpy(value: Array, like: Any) -> Any:
    """Return a NumPy array as a tensor on the device and in the dtype of another."""
    import torch

    return torch.from_numpy(value.copy()).to(device=like.device, dtype=like.dtype)


def matched(value: Any, like: Any) -> Any:
    """Return a tensor in the dtype of another, whose device it must be on."""
    if value.device != like.device:
        raise DTypeError(
            f"kernel and array must be on one device; got a tensor on {value.device} and one on "
            f"{like.device}; move one with .to({str(value.device)!r}), or make the map again"
        )
    return value.to(like.dtype)


def to_numpy(array: Any, dtype: str) -> Array:
    """Return the values in a dtype; they share the tensor's memory where that is possible."""
    plain = array.detach().cpu().resolve_conj().resolve_neg()
    found: Array = cast(plain, dtype).numpy()
    return found


def conjugate(array: Any) -> Any:
    """Return the complex conjugate, as numbers in memory."""
    return array.conj().resolve_conj()


def own(array: Any) -> Any:
    """Return an array that shares no memory which a caller could write to."""
    return array.clone()


def pad(array: Any, widths: list[tuple[int, int]]) -> Any:
    """Pad every axis with zeros, by no negative width."""
    import torch

    flat = [width for pair in reversed(widths) for width in pair]
    return torch.nn.functional.pad(array, flat)


def take(array: Any, sources: Array, axis: int) -> Any:
    """Return the samples of an axis that `sources` names, in that order."""
    import torch

    return torch.index_select(array, axis, torch.from_numpy(sources).to(array.device))


def fold(array: Any, sources: Array, size: int, axis: int) -> Any:
    """Add each sample of an axis to the one that `sources` names, of `size`."""
    import torch

    shape = (*array.shape[:axis], size, *array.shape[axis + 1 :])
    index = torch.from_numpy(sources).to(array.device)
    zeros = torch.zeros(shape, dtype=array.dtype, device=array.device)
    return zeros.index_add(axis, index, array)

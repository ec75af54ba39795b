"""Shapes: the input shape of a layer that is read, asked for or checked."""

from __future__ import annotations

from linconv.errors import ShapeError

__all__ = ["known_shape", "sample_shape"]


def sample_shape(
    kind: str,
    input_shape: tuple[int, ...] | None,
    ndim: int,
    *,
    channels: int | None = None,
    channels_last: bool = False,
) -> tuple[int, ...]:
    """Return the shape of one input sample of a layer with `ndim` spatial axes, checked.

    Parameters
    ----------
    kind : str
        What the framework calls the layer.
    input_shape : tuple of int or None
        As given by the user, or as the layer knows it; None where nobody knows.
    ndim : int
        Spatial axes.
    channels : int, optional
        Input channels, if the layer knows them.
    channels_last : bool
        Where the channels stand.

    Raises
    ------
    ShapeError
        If it is not known, or does not fit: the message shows one that would.
    """
    size, count = (32,) * ndim, 3 if channels is None else channels
    usual = (*size, count) if channels_last else (count, *size)
    order = "(*size, channels)" if channels_last else "(channels, *size)"
    known_shape(kind, input_shape, usual)
    assert input_shape is not None
    if len(input_shape) != ndim + 1:
        batch = " (it has no batch axis)" if len(input_shape) == ndim + 2 else ""
        raise ShapeError(
            f"input_shape of {kind} must have {ndim + 1} axes, {order}{batch}; got {input_shape}; "
            f"write it as in input_shape={usual}"
        )
    found = input_shape[-1 if channels_last else 0]
    if channels is not None and found != channels:
        raise ShapeError(
            f"input_shape of {kind} must have the {channels} channels that the layer reads, "
            f"{order}; got {found} channels in {input_shape}; write it as in input_shape={usual}"
        )
    return input_shape


def known_shape(
    kind: str, input_shape: tuple[int, ...] | None, usual: tuple[int, ...]
) -> tuple[int, ...]:
    """Return an input shape that is known, or ask for it, showing a `usual` one."""
    if input_shape is None:
        raise ShapeError(
            f"input_shape must be given, for {kind} does not know the size of its input; got "
            f"None; give one sample's shape without batch axis, as in input_shape={usual}"
        )
    return input_shape

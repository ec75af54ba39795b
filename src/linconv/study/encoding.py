"""encode: the features of images, by our encoders or by whatever stands in for them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from linconv.arguments import integer
from linconv.engines.arrays import as_array, working_dtype
from linconv.errors import LinconvError, ShapeError
from linconv.study.encoders import Encoder, check_images

__all__ = ["encode"]

Array = NDArray[Any]

STAND_IN_BATCH = 256
"""Images at a time that a model of another library is given."""


def encode(encoder: Any, images: Any, batch: int | None = None) -> Array:
    """Return the features that any frozen encoder makes of images.

    Parameters
    ----------
    encoder : Encoder, Keras model or layer, PyTorch module, or callable
        A PyTorch module is given (n, channels, height, width) in the dtype and on the device of
        its first parameter, in evaluation mode, and must return that order of axes. A Keras model
        and a callable are given the images as they are, channels last.
    images : array, shape (n, height, width, channels)
        float32 and float64 are passed on as they are, float16 as float32, integers as float64.
    batch : int, optional
        Images at a time: 256 by default, for an `Encoder` as many as suit it. Memory stays within
        one batch and the features.

    Returns
    -------
    ndarray, (n, feature height, feature width, feature channels)

    Raises
    ------
    ShapeError
        If the images or the features have other axes, or the features another number of images.
    DTypeError
        If either are no numbers.
    LinconvError
        If the encoder cannot be called.
    """
    if isinstance(encoder, Encoder):
        return encoder(images, batch)
    if not callable(encoder):
        raise LinconvError(
            "the encoder must be an Encoder, a Keras model, a PyTorch module or a callable; "
            f"got {type(encoder).__name__}; use e.g. model_b()"
        )
    array = check_images(images)
    dtype = working_dtype("the images", array.dtype)
    size = STAND_IN_BATCH if batch is None else integer("batch", batch, 1)
    parts: list[Array] = []
    with _stand_in(encoder) as call:
        for start in range(0, len(array), size):
            block = array[start : start + size].astype(dtype, copy=False)
            part = as_array("the features", np.asarray(call(block)))
            sample = parts[0].shape[1:] if parts else part.shape[1:]
            if part.ndim != 4 or len(part) != len(block) or part.shape[1:] != sample:
                raise ShapeError(
                    f"the encoder must return features of shape ({len(block)}, height, width, "
                    f"channels) for {len(block)} images; got {part.shape}; wrap it in a function "
                    "that does"
                )
            parts.append(part)
    return np.concatenate(parts)


@contextmanager
def _stand_in(encoder: Any) -> Iterator[Callable[[Array], Any]]:
    """Give the encoder as a function of NumPy batches, channels last.

    A framework that is not imported yet cannot have made the encoder.
    """
    keras, torch = (sys.modules.get(name) for name in ("keras", "torch"))
    if keras is not None and isinstance(encoder, keras.Model):
        yield encoder.predict_on_batch  # compiled once, unlike a call
    elif keras is not None and isinstance(encoder, keras.Layer):
        yield lambda x: keras.ops.convert_to_numpy(encoder(x, training=False))
    elif torch is not None and isinstance(encoder, torch.nn.Module):
        like = next(encoder.parameters(), None)
        modes = [(module, module.training) for module in encoder.modules()]
        encoder.eval()
        try:
            with torch.no_grad():
                yield lambda x: _channels_last(encoder(_channels_first(torch, x, like)))
        finally:
            for module, training in modes:
                module.training = training
    else:
        yield encoder


def _channels_first(torch: Any, images: Array, like: Any) -> Any:
    given = torch.from_numpy(np.moveaxis(images, -1, 1).copy())
    return given if like is None else given.to(like)


def _channels_last(features: Any) -> Array:
    array: Array = features.cpu().numpy()
    return np.moveaxis(array, 1, -1) if array.ndim == 4 else array

"""Models from files: which format a file is, and the reader of that format."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from linconv.errors import InputError
from linconv.files import StrPath, regular_file
from linconv.layers.keras_file import load_keras
from linconv.layers.model import Model
from linconv.layers.onnx_file import load_onnx
from linconv.layers.pt2_file import load_pt2
from linconv.layers.safetensors_file import load_safetensors
from linconv.layers.torch_file import load_state_dict

__all__ = ["FORMATS", "load_model"]

FORMATS: dict[str, tuple[str, Callable[[Path], Any]]] = {
    ".keras": ("keras", load_keras),
    ".onnx": ("onnx", load_onnx),
    ".pt2": ("torch", load_pt2),
    ".pt": ("weights", load_state_dict),
    ".pth": ("weights", load_state_dict),
    ".safetensors": ("weights", load_safetensors),
}
"""By suffix: what a file holds, and its reader."""

_ADVICE = {
    ".h5": "load it with Keras where you trust it, and save it as .keras",
    ".hdf5": "load it with Keras where you trust it, and save it as .keras",
    ".pkl": "a pickle can run code, so it is never loaded; save the model's state dict as .pt",
    ".pickle": "a pickle can run code, so it is never loaded; save the model's state dict as .pt",
    ".ckpt": "if it is a state dict of PyTorch, give it the suffix .pt",
    ".bin": "if it is a state dict of PyTorch, give it the suffix .pt",
}


def load_model(path: StrPath) -> Model:
    """Read a model file without trusting it: nothing in it is executed or unpickled.

    Parameters
    ----------
    path : path
        ``.keras``; ``.onnx``; ``.pt2``, a program saved by `torch.export.save`; ``.pt`` or
        ``.pth``, a state dict of PyTorch; ``.safetensors``. At most 2 GiB.

    Returns
    -------
    Model
        For `inspect`, or with the framework's own model as its `content`. State dicts and
        safetensors hold weights without the layers they belong to.

    Raises
    ------
    InputError
        If the file is not there, of another format, damaged or larger than it may be; if it is
        pickled, holds code (Lambda layers, classes that are not the framework's own), names files
        outside its folder, or declares more data than it has. All of it is found before memory is
        taken for what is declared.
    MissingPackageError
        If the framework is absent; ``.pt2`` files need none.

    Notes
    -----
    Memory: at most the file's size, besides what the framework itself takes; the weights of
    state dicts and safetensors are not read.

    Examples
    --------
    >>> load_model("no such model.onnx")
    Traceback (most recent call last):
    linconv.errors.InputError: no such model.onnx does not exist; check the path
    """
    file = regular_file(path)
    suffix = file.suffix.lower()
    if suffix not in FORMATS:
        advice = _ADVICE.get(suffix, "give the file the suffix of its format, or save it as one")
        raise InputError(
            f"a model file must be one of {', '.join(FORMATS)}; got {file.name!r}; {advice}"
        )
    source, load = FORMATS[suffix]
    return Model(source, load(file), str(file))

"""Keras models (`.keras`): archive, configuration and weights checked before Keras sees them."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from linconv.errors import InputError
from linconv.files import missing, reading
from linconv.keras_import import import_keras
from linconv.layers.model_zip import MAX_MODEL_BYTES, member, member_json, opened_zip

__all__ = ["load_keras"]

_KIND = "a Keras model"
_MEMBERS = {"config.json", "metadata.json", "model.weights.h5"}
_ADVICE = "rebuild the model from Keras' own layers and save it again"

# What Keras' own modules are called in configurations, and classes there that hold code.
_MODULES = ("keras.src.models", "keras.src.layers", "keras.src.ops", "keras.src.dtype_policies")
_PACKAGES = {
    "activations",
    "constraints",
    "dtype_policies",
    "initializers",
    "layers",
    "models",
    "ops",
    "optimizers",
    "quantizers",
    "regularizers",
}
_CODE = {"Lambda", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer", "__lambda__"}
# Values that Keras writes as such entries; none of them names a class to be imported.
_VALUES = {
    "__ellipsis__",
    "__keras_tensor__",
    "__none__",
    "__numpy__",
    "__slice__",
    "__tensor__",
    "__tuple__",
}
_MAX_DEPTH = 100


def load_keras(file: Path) -> Any:
    """Read a model saved by `keras.Model.save`, in safe mode and without its training.

    Raises
    ------
    InputError
        If it is none or damaged; if it holds code or classes that are not Keras' own; if its
        configuration declares more weights than the file holds.
    MissingPackageError
        If Keras, h5py or a backend is absent.
    """
    with opened_zip(file, _KIND) as archive:
        names = set(archive.namelist())
        if extra := sorted(names - _MEMBERS):
            raise InputError(
                f"{file} has the member {extra[0]!r}, and a Keras model of convolutions has only "
                f"{', '.join(sorted(_MEMBERS))}; {_ADVICE}"
            )
        config = dict(member_json(archive, "config.json", file, _KIND))
        config["compile_config"] = None  # the training is not read
        _check_classes(config, file)
        weights = member(archive, "model.weights.h5", file, _KIND, MAX_MODEL_BYTES)
    stored = _stored_bytes(weights, file)
    keras = import_keras("reading .keras files", "keras")
    model = _without_values(keras, config, file)
    declared = sum(_variable_bytes(variable) for variable in model.variables)
    if declared > stored:
        raise InputError(
            f"{file} declares layers with {declared} bytes of weights, and holds {stored}; it may "
            f"be damaged or made to take memory, so save the model again"
        )
    with reading(file, _KIND):
        model.load_weights(file)
        for variable in model.variables:
            if variable._value is None:  # a state that is not stored
                variable._deferred_initialize()
    return model


def _check_classes(config: Any, file: Path) -> None:
    """Refuse every class that is not Keras' own, by name, wherever it stands."""
    for entry in _entries(config, file, 0):
        name, module = entry["class_name"], entry.get("module")
        registered = entry.get("registered_name")
        if name in _VALUES:
            continue
        if name in _CODE:
            raise InputError(
                f"{file} has a {name} layer, which holds code; it is never loaded: {_ADVICE}"
            )
        # Functions, too, are written as entries: Keras' own functions are written by name.
        a_class = isinstance(name, str) and name.isidentifier() and not name.islower()
        if not (a_class and _own(module)) or registered not in (None, name):
            raise InputError(
                f"{file} has {name!r} of {module!r} (registered as {registered!r}), which is none "
                f"of Keras' own classes; it is not loaded: {_ADVICE}"
            )


def _own(module: Any) -> bool:
    if not isinstance(module, str):
        return False
    package = module.removeprefix("keras.") if module.startswith("keras.") else None
    inside = any(module == m or module.startswith(f"{m}.") for m in _MODULES)
    return module == "keras" or package in _PACKAGES or inside


def _entries(value: Any, file: Path, depth: int) -> Iterator[Mapping[str, Any]]:
    """Yield every mapping that names a class, at any depth."""
    if depth > _MAX_DEPTH:
        raise InputError(f"the configuration in {file} is nested too deeply; save the model again")
    if isinstance(value, dict):
        if "class_name" in value:
            yield value
        for inner in value.values():
            yield from _entries(inner, file, depth + 1)
    elif isinstance(value, list):
        for inner in value:
            yield from _entries(inner, file, depth + 1)


def _stored_bytes(content: bytes, file: Path) -> int:
    """Return the bytes of all weights of an HDF5 file, none of which lies elsewhere."""
    try:
        import h5py
    except ImportError as error:
        raise missing("h5py", "reading .keras files", "keras") from error
    where = f"'model.weights.h5' in {file}"
    with reading(where, "HDF5"), h5py.File(io.BytesIO(content), "r") as hdf5:
        total = 0
        for name, data in _datasets(h5py, hdf5, "", where, 0):
            if data.is_virtual or data.external:
                raise InputError(
                    f"{name!r} of {where} is kept in other files, which are not read; save the "
                    f"model again"
                )
            if data.dtype.kind not in "buifcV":
                raise InputError(f"{name!r} of {where} holds no numbers (dtype {data.dtype})")
            size = math.prod(data.shape or ()) * data.dtype.itemsize
            if size > data.id.get_storage_size():
                raise InputError(
                    f"{name!r} of {where} declares {size} bytes of shape {data.shape}, and "
                    f"{data.id.get_storage_size()} are stored; it may be damaged or made to take "
                    f"memory, so save the model again"
                )
            total += size
        if total > len(content):
            raise InputError(
                f"{where} declares {total} bytes of weights in {len(content)} bytes; it may be "
                f"damaged or made to take memory, so save the model again"
            )
    return total


def _datasets(h5py: Any, group: Any, path: str, where: str, depth: int) -> Iterator[Any]:
    if depth > _MAX_DEPTH:
        raise InputError(f"the groups of {where} are nested too deeply; save the model again")
    for name in group:
        inner = f"{path}/{name}"
        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            raise InputError(
                f"{inner!r} of {where} is a link to another place, which is not followed; save the "
                f"model again"
            )
        item = group[name]
        if isinstance(item, h5py.Group):
            yield from _datasets(h5py, item, inner, where, depth + 1)
        elif isinstance(item, h5py.Dataset):
            yield inner, item


def _without_values(keras: Any, config: Mapping[str, Any], file: Path) -> Any:
    """Return the model of a configuration whose weights have shapes, and no values yet.

    In a stateless scope a variable is not given values before the scope ends; this one ends
    without doing so. The file gives them, instead of initializers whose work would be thrown away.
    """
    from keras.src.backend.common import global_state

    key = "uninitialized_variables"
    before = list(global_state.get_global_attribute(key, []) or [])
    try:
        with (
            reading(f"'config.json' in {file}", _KIND),
            keras.StatelessScope(initialize_variables=False),
        ):
            model = keras.saving.deserialize_keras_object(dict(config), safe_mode=True)
    finally:
        global_state.set_global_attribute(key, before)
    if not isinstance(model, keras.Model):
        raise InputError(
            f"{file} must hold a Keras model; it holds a {type(model).__name__}; save a "
            f"functional or a Sequential model"
        )
    return model


def _variable_bytes(variable: Any) -> int:
    digits = "".join(c for c in variable.dtype.partition("_")[0] if c.isdigit())
    bits = int(digits or 8)
    return math.prod(int(n) for n in variable.shape) * bits // 8

"""linconv: every convolution layer as the linear operator it is."""

from importlib import import_module as _import
from typing import TYPE_CHECKING as _TYPE_CHECKING
from typing import Any as _Any

from linconv import testing
from linconv.config import show_config
from linconv.convolution import Conv, ConvTranspose
from linconv.errors import LinconvError
from linconv.factors import Correlate, Decimate, Pad
from linconv.forms import Comparison, compare, forms
from linconv.geometry import Geometry
from linconv.identity import identity
from linconv.linear_map import LinearMap
from linconv.resampling import Diagonal, Resize
from linconv.shuffling import DepthToSpace, SpaceToDepth
from linconv.study import study
from linconv.version import __version__ as __version__

if _TYPE_CHECKING:
    from linconv.analysis.artifact_map import ArtifactMap, artifact_map
    from linconv.analysis.artifacts import (
        Checkerboard,
        Overlap,
        checkerboard,
        overlap,
        phase_gains,
        remove_checkerboard,
    )
    from linconv.analysis.decoder import Decoder
    from linconv.analysis.decoder_fit import DecoderFit
    from linconv.analysis.fitting import fit_decoder
    from linconv.analysis.inverse import InverseKernel, inverse_kernel
    from linconv.layers.agreement import Agreement, agreement
    from linconv.layers.code import code
    from linconv.layers.inspecting import inspect
    from linconv.layers.layer import Layer
    from linconv.layers.models import load_model
    from linconv.layers.reading import from_layer
    from linconv.layers.writing import to_layer

_LATER = {
    "analysis.artifact_map": "ArtifactMap artifact_map",
    "analysis.artifacts": "Checkerboard Overlap checkerboard overlap phase_gains "
    "remove_checkerboard",
    "analysis.decoder": "Decoder",
    "analysis.decoder_fit": "DecoderFit",
    "analysis.fitting": "fit_decoder",
    "analysis.inverse": "InverseKernel inverse_kernel",
    "layers.agreement": "Agreement agreement",
    "layers.code": "code",
    "layers.inspecting": "inspect",
    "layers.layer": "Layer",
    "layers.models": "load_model",
    "layers.reading": "from_layer",
    "layers.writing": "to_layer",
}
"""By file: what is imported when it is first asked for."""

__all__ = [
    "Agreement",
    "ArtifactMap",
    "Checkerboard",
    "Comparison",
    "Conv",
    "ConvTranspose",
    "Correlate",
    "Decimate",
    "Decoder",
    "DecoderFit",
    "DepthToSpace",
    "Diagonal",
    "Geometry",
    "InverseKernel",
    "Layer",
    "LinconvError",
    "LinearMap",
    "Overlap",
    "Pad",
    "Resize",
    "SpaceToDepth",
    "agreement",
    "artifact_map",
    "checkerboard",
    "code",
    "compare",
    "fit_decoder",
    "forms",
    "from_layer",
    "identity",
    "inspect",
    "inverse_kernel",
    "load_model",
    "overlap",
    "phase_gains",
    "remove_checkerboard",
    "show_config",
    "study",
    "testing",
    "to_layer",
]


def __getattr__(name: str) -> _Any:
    for module, names in _LATER.items():
        if name in names.split():
            value = globals()[name] = getattr(_import(f"linconv.{module}"), name)
            return value
    raise AttributeError(f"module 'linconv' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__

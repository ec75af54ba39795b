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
    from linconv.analysis.frequency_response import frequency_response
    from linconv.analysis.inverse import InverseKernel, inverse_kernel
    from linconv.analysis.inverse_curve import InverseCurve, inverse_kernel_curve
    from linconv.analysis.invertibility import Invertibility, LostFrequency, invertibility
    from linconv.analysis.norm_bounds import norm_bounds
    from linconv.analysis.pinv import pinv
    from linconv.analysis.priors import power_spectrum
    from linconv.analysis.solve import Solution, solve
    from linconv.analysis.spectral_values import SpectralValue, SpectralValues
    from linconv.analysis.spectrum import condition, norm, rank, svdvals
    from linconv.analysis.subspaces import null_space, range_space
    from linconv.analysis.wiener import wiener
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
    "analysis.frequency_response": "frequency_response",
    "analysis.inverse": "InverseKernel inverse_kernel",
    "analysis.inverse_curve": "InverseCurve inverse_kernel_curve",
    "analysis.invertibility": "Invertibility LostFrequency invertibility",
    "analysis.norm_bounds": "norm_bounds",
    "analysis.pinv": "pinv",
    "analysis.priors": "power_spectrum",
    "analysis.solve": "Solution solve",
    "analysis.spectral_values": "SpectralValue SpectralValues",
    "analysis.spectrum": "condition norm rank svdvals",
    "analysis.subspaces": "null_space range_space",
    "analysis.wiener": "wiener",
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
    "InverseCurve",
    "InverseKernel",
    "Invertibility",
    "Layer",
    "LinconvError",
    "LinearMap",
    "LostFrequency",
    "Overlap",
    "Pad",
    "Resize",
    "Solution",
    "SpaceToDepth",
    "SpectralValue",
    "SpectralValues",
    "agreement",
    "artifact_map",
    "checkerboard",
    "code",
    "compare",
    "condition",
    "fit_decoder",
    "forms",
    "frequency_response",
    "from_layer",
    "identity",
    "inspect",
    "inverse_kernel",
    "inverse_kernel_curve",
    "invertibility",
    "load_model",
    "norm",
    "norm_bounds",
    "null_space",
    "overlap",
    "phase_gains",
    "pinv",
    "power_spectrum",
    "range_space",
    "rank",
    "remove_checkerboard",
    "show_config",
    "solve",
    "study",
    "svdvals",
    "testing",
    "to_layer",
    "wiener",
]


def __getattr__(name: str) -> _Any:
    for module, names in _LATER.items():
        if name in names.split():
            value = globals()[name] = getattr(_import(f"linconv.{module}"), name)
            return value
    raise AttributeError(f"module 'linconv' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__

"""linconv: every convolution layer as the linear operator it is."""

from linconv import testing
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
from linconv.config import show_config
from linconv.convolution import Conv, ConvTranspose
from linconv.errors import LinconvError
from linconv.factors import Correlate, Decimate, Pad
from linconv.forms import Comparison, compare, forms
from linconv.geometry import Geometry
from linconv.identity import identity
from linconv.linear_map import LinearMap
from linconv.study import study
from linconv.version import __version__ as __version__

__all__ = [
    "ArtifactMap",
    "Checkerboard",
    "Comparison",
    "Conv",
    "ConvTranspose",
    "Correlate",
    "Decimate",
    "Decoder",
    "DecoderFit",
    "Geometry",
    "InverseKernel",
    "LinconvError",
    "LinearMap",
    "Overlap",
    "Pad",
    "artifact_map",
    "checkerboard",
    "compare",
    "fit_decoder",
    "forms",
    "identity",
    "inverse_kernel",
    "overlap",
    "phase_gains",
    "remove_checkerboard",
    "show_config",
    "study",
    "testing",
]

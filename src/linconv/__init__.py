"""linconv: every convolution layer as the linear operator it is."""

from linconv import testing
from linconv.analysis.inverse import InverseKernel, inverse_kernel
from linconv.convolution import Conv, ConvTranspose
from linconv.errors import LinconvError
from linconv.factors import Correlate, Decimate, Pad
from linconv.forms import Comparison, compare, forms
from linconv.geometry import Geometry
from linconv.linear_map import LinearMap, identity
from linconv.study import study

__all__ = [
    "Comparison",
    "Conv",
    "ConvTranspose",
    "Correlate",
    "Decimate",
    "Geometry",
    "InverseKernel",
    "LinconvError",
    "LinearMap",
    "Pad",
    "compare",
    "forms",
    "identity",
    "inverse_kernel",
    "study",
    "testing",
]

__version__ = "0.1.0"

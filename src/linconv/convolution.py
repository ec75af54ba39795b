"""Conv and ConvTranspose: a convolution layer and its transpose as linear maps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from linconv.arguments import PerAxis, integer
from linconv.arguments import shape as read_shape
from linconv.engines.arrays import read_only
from linconv.engines.choice import Choice
from linconv.engines.kinds import as_numpy, conjugate, kept_array, worn
from linconv.errors import ShapeError
from linconv.factors import Correlate, Decimate, Pad, read_kernel
from linconv.geometry import Geometry
from linconv.identity import Identity
from linconv.kernel_map import KernelMap, fixed_input
from linconv.layout import Layout, exchanged_kernel
from linconv.linear_map import LinearMap, Product
from linconv.matrix import convolution_csr
from linconv.padding import Padding

__all__ = ["Conv", "ConvTranspose", "EquivalentConv"]


class Conv(LinearMap):
    """A convolution layer (cross-correlation, as in every deep-learning framework) as a map.

    Parameters
    ----------
    kernel : array, shape (*size), (*size, in/groups, out) or (out, in/groups, *size)
        Without channels; channels last, as Keras and JAX store it; channels first, as PyTorch
        and ONNX store it. It is copied; a PyTorch tensor or a JAX array is kept as it is, and
        gradients flow to it.
    input_shape : sequence of int
        One sample, no batch axis: (*size), (*size, channels) or (channels, *size).
    stride, padding, padding_mode, dilation, groups
        As explained in `Geometry`.
    data_format : {"channels_last", "channels_first"}
        Ignored where there are no channel axes.

    Attributes
    ----------
    kernel : array
        Read-only, in the dtype that is computed in; or the tensor or JAX array given.
    geometry : Geometry
        All sizes, padding resolved to pairs.

    Raises
    ------
    GeometryError, ShapeError, DTypeError
        If options, shapes or kernel describe no convolution; each message has the remedy.

    Notes
    -----
    Exact up to rounding. Applying costs one multiplication and addition per output sample,
    kernel sample and input channel of its group (fewer where long kernels go by transforms), and,
    where padding is not zeros or NumPy computes, a padded copy of the input; the matrix is
    never formed.

    Examples
    --------
    >>> op = Conv([[1.0, 2.0], [3.0, 4.0]], (3, 3))
    >>> op([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    array([[5., 3.],
           [2., 5.]])
    >>> op.matrix().shape
    (4, 9)
    """

    kernel: Any
    geometry: Geometry
    layout: Layout
    _pad: Pad
    _core: Correlate
    _bordered: bool

    def __init__(
        self,
        kernel: Any,
        input_shape: PerAxis,
        *,
        stride: PerAxis = 1,
        padding: Padding = "valid",
        padding_mode: str | Sequence[str] = "zeros",
        dilation: PerAxis = 1,
        groups: int = 1,
        data_format: str = "channels_last",
    ) -> None:
        array, layout, sizes = read_kernel(kernel, input_shape, data_format, groups)
        geometry = Geometry(
            stride=stride, padding=padding, padding_mode=padding_mode, dilation=dilation, **sizes
        )
        self._fill(array, layout, geometry)

    @classmethod
    def of(cls, kernel: Any, layout: Layout, geometry: Geometry) -> Conv:
        """Return the convolution of a kernel and a geometry that are known to fit."""
        made = cls.__new__(cls)
        made._fill(kernel, layout, geometry)
        return made

    def _fill(self, kernel: Any, layout: Layout, geometry: Geometry) -> None:
        kernel = read_only(kernel)
        core = Correlate.of(kernel, layout, geometry.split_border()[1])
        border, _ = geometry.split_border()
        pads = layout.join(border.padding, (0, 0))
        modes = layout.join(border.padding_mode, "zeros")
        input_shape = layout.join(geometry.input_size, geometry.in_channels)
        self._set(
            input_shape,
            layout.join(geometry.output_size, geometry.out_channels),
            core.dtype,
            kernel=kernel,
            geometry=geometry,
            layout=layout,
            _pad=Pad(input_shape, pads, modes),
            _core=core,
            _bordered=any(map(any, border.padding)),
        )

    @property
    def data_format(self) -> str:
        """``"channels_last"`` or ``"channels_first"``."""
        return self.layout.data_format

    def _apply(self, x: Any) -> Any:
        return self._core._apply(self._pad._apply(x) if self._bordered else x)

    def _apply_transpose(self, y: Any) -> Any:
        x = self._core._apply_transpose(y)
        return self._pad._apply_transpose(x) if self._bordered else x

    def _sparse(self, max_bytes: int) -> Any:
        return convolution_csr(self.geometry, self.layout, as_numpy(self.kernel), max_bytes)

    @property
    def T(self) -> ConvTranspose:
        """The transpose: the transposed convolution with the same kernel."""
        return ConvTranspose.of(self)

    def conj(self) -> Conv:
        """Return the convolution with the conjugate kernel."""
        if self.dtype.kind != "c":
            return self
        return Conv.of(conjugate(self.kernel), self.layout, self.geometry)

    def factors(self) -> tuple[Decimate, Correlate, Pad]:
        """Return S, C and P: ``S @ C @ P`` pads, correlates at stride 1 and decimates."""
        g, layout = self.geometry, self.layout
        pads = layout.join(g.padding, (0, 0))
        pad = Pad(self.input_shape, pads, layout.join(g.padding_mode, "zeros"))
        dense = g.replace(input_size=g.padded_size, stride=1, padding="valid", padding_mode="zeros")
        correlate = Correlate.of(self.kernel, layout, dense)
        return Decimate(correlate.output_shape, layout.join(g.stride, 1)), correlate, pad

    def explain(self) -> Choice:
        """Return how the engines compute this map, and why: printed, a table of estimated costs.

        Returns
        -------
        Choice
            The path taken, the reason, and the estimated cycles of every path. The estimate is
            made from the geometry alone; nothing is timed.

        Examples
        --------
        >>> import numpy as np
        >>> Conv(np.ones((63, 63)), (512, 512), padding="same").explain().path in ("spectra", "fft")
        True
        """
        return self._core.explain(transposed=False)

    def as_function_of_kernel(self, x: Any) -> KernelMap:
        """Return the linear map from a kernel to this convolution's output for a fixed `x`.

        Parameters
        ----------
        x : array, shape (*batch, *input_shape)

        Returns
        -------
        KernelMap
            From kernels, shape `kernel.shape`, to outputs, shape (*batch, *output_shape).
            Its transpose is the gradient with respect to the kernel.
        """
        fixed = fixed_input("x", x, self.input_shape, self.dtype)
        return KernelMap(self.geometry, self.layout, fixed, transposed=False)

    def __repr__(self) -> str:
        return f"Conv({self._shapes()}, {self.dtype}, {self.geometry!r})"


class ConvTranspose(LinearMap):
    """A transposed convolution: exactly the transpose of the convolution with the same kernel.

    Parameters
    ----------
    kernel : array, shape (*size), (*size, out/groups, in) or (in, out/groups, *size)
        As the framework's transposed layer stores it (Keras, PyTorch): unchanged, the kernel of
        the convolution that it transposes.
    input_shape : sequence of int
        One sample of *its* input, no batch axis.
    stride, padding
        Of the convolution that it transposes; see `Geometry`. Stride dilates the input, and
        padding crops the output.
    output_padding : int or sequence of int, optional
        See `Geometry.for_transpose`.
    padding_mode, dilation, groups, data_format
        Of the convolution that it transposes; see `Geometry` and `Conv`.

    Attributes
    ----------
    kernel : array
        Read-only.
    geometry : Geometry
        That of the convolution which it transposes: its input is this map's output.

    Raises
    ------
    GeometryError, ShapeError, DTypeError
        As `Conv`.

    Notes
    -----
    It is no inverse of a convolution. Cost as that of the convolution it transposes.

    Examples
    --------
    >>> up = ConvTranspose([[1.0, 2.0], [3.0, 4.0]], (1, 2), stride=2)
    >>> up([[1.0, 10.0]])
    array([[ 1.,  2., 10., 20.],
           [ 3.,  4., 30., 40.]])
    """

    _conv: Conv

    def __init__(
        self,
        kernel: Any,
        input_shape: PerAxis,
        *,
        stride: PerAxis = 1,
        padding: Padding = "valid",
        output_padding: PerAxis | None = None,
        padding_mode: str | Sequence[str] = "zeros",
        dilation: PerAxis = 1,
        groups: int = 1,
        data_format: str = "channels_last",
    ) -> None:
        array = kept_array("the kernel", kernel)
        layout = Layout.read(tuple(array.shape), input_shape, data_format)
        size, in_channels = layout.split(read_shape("input_shape", input_shape), 1)
        kernel_size, per_group, stored = layout.split_kernel(tuple(array.shape))
        if stored != in_channels:
            order = "(*size, out/groups, in)" if layout.channels_last else "(in, out/groups, *size)"
            raise ShapeError(
                f"the kernel of a transposed convolution, {order} in {data_format}, must have the "
                f"input's {in_channels} channels as its input channels; got {stored} in a kernel "
                f"of shape {tuple(array.shape)}; check data_format, or exchange its channels"
            )
        geometry = Geometry.for_transpose(
            size,
            kernel_size,
            stride=stride,
            padding=padding,
            output_padding=output_padding,
            padding_mode=padding_mode,
            dilation=dilation,
            in_channels=in_channels,
            out_channels=per_group * integer("groups", groups, minimum=1),
            groups=groups,
        )
        self._fill(Conv.of(array, layout, geometry))

    @classmethod
    def of(cls, conv: Conv) -> ConvTranspose:
        """Return the transpose of a convolution."""
        made = cls.__new__(cls)
        made._fill(conv)
        return made

    def _fill(self, conv: Conv) -> None:
        self._set(conv.output_shape, conv.input_shape, conv.dtype, _conv=conv)

    @property
    def kernel(self) -> Any:
        """The kernel, as stored: that of the convolution which this map transposes."""
        return self._conv.kernel

    @property
    def geometry(self) -> Geometry:
        """The geometry of the convolution which this map transposes."""
        return self._conv.geometry

    @property
    def layout(self) -> Layout:
        """Where the channels stand."""
        return self._conv.layout

    @property
    def data_format(self) -> str:
        """``"channels_last"`` or ``"channels_first"``."""
        return self._conv.data_format

    def _apply(self, x: Any) -> Any:
        return self._conv._apply_transpose(x)

    def _apply_transpose(self, y: Any) -> Any:
        return self._conv._apply(y)

    def _sparse(self, max_bytes: int) -> Any:
        return self._conv._sparse(max_bytes).T.tocsr()

    @property
    def T(self) -> Conv:
        """The convolution that this map transposes."""
        return self._conv

    def conj(self) -> ConvTranspose:
        """Return the transposed convolution with the conjugate kernel."""
        return self._conv.conj().T

    def factors(self) -> tuple[LinearMap, LinearMap, LinearMap]:
        """Return Pᵀ, Cᵀ and Sᵀ: dilate, spread over the kernel, crop or fold back the border."""
        decimate, correlate, pad = self._conv.factors()
        return pad.T, correlate.T, decimate.T

    def as_conv(self) -> EquivalentConv:
        """Return the same map as an ordinary stride-1 convolution of the dilated, padded input."""
        return EquivalentConv(self._conv)

    def explain(self) -> Choice:
        """Return how the engines compute this map, and why; see `Conv.explain`."""
        return self._conv._core.explain(transposed=True)

    def as_function_of_kernel(self, x: Any) -> KernelMap:
        """Return the linear map from a kernel to this map's output for a fixed `x`; see `Conv`."""
        fixed = fixed_input("x", x, self.input_shape, self.dtype)
        return KernelMap(self.geometry, self.layout, fixed, transposed=True)

    def __repr__(self) -> str:
        return f"ConvTranspose({self._shapes()}, {self.dtype}, of {self.geometry!r})"


class EquivalentConv(Product):
    """A transposed convolution as an ordinary one: dilate, pad, convolve with the flipped kernel.

    Attributes
    ----------
    dilate : LinearMap
        Puts ``stride - 1`` zeros between the samples of the input.
    pad : Pad
        Pads the dilated input with zeros (or crops it).
    conv : Conv
        Stride 1, no padding, the kernel flipped along every spatial axis, its input and output
        channels exchanged.
    fold : LinearMap
        Folds the border back where the padding was not zeros; otherwise the identity.
    """

    dilate: LinearMap
    pad: Pad
    conv: Conv
    fold: LinearMap

    def __init__(self, conv: Conv) -> None:
        layout, flat = conv.layout, conv.geometry.transposed()
        dilated = layout.join(flat.input_size, flat.in_channels)
        decimate = Decimate(dilated, layout.join(conv.geometry.stride, 1))
        pad = Pad(dilated, layout.join(flat.padding, (0, 0)))
        valid = flat.replace(input_size=flat.padded_size, padding="valid")
        kernel = exchanged_kernel(layout.kernels_first(worn(conv.kernel)), conv.geometry.groups)
        flipped = Conv.of(layout.kernels_back(kernel), layout, valid)
        border = conv._pad
        fold = border.T if conv._bordered else Identity(conv.input_shape)
        super().__init__(fold, flipped, pad, decimate.T)
        for name, part in zip(
            ("dilate", "pad", "conv", "fold"), (decimate.T, pad, flipped, fold), strict=True
        ):
            object.__setattr__(self, name, part)

    def prepared(self, x: Any) -> Any:
        """Return the dilated, padded input that the ordinary convolution reads."""
        return self.pad(self.dilate(x))

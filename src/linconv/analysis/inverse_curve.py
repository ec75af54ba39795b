"""The error of the best inverse kernel against its size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from linconv.analysis.inverse import InverseKernel, inverse_kernel
from linconv.arguments import several
from linconv.convolution import Conv
from linconv.errors import GeometryError

__all__ = ["InverseCurve", "inverse_kernel_curve"]

LARGEST = 31
EXACT = 1e-12


@dataclass(frozen=True)
class InverseCurve:
    """Best inverse kernels of growing sizes.

    Attributes
    ----------
    sizes : tuple
        Kernel sizes, in the order given.
    inverses : tuple of InverseKernel
        One per size.
    """

    sizes: tuple[Any, ...]
    inverses: tuple[InverseKernel, ...]

    @property
    def mse(self) -> tuple[float, ...]:
        """Mean squared error of each size."""
        return tuple(best.mse for best in self.inverses)

    @property
    def exact_from(self) -> Any:
        """The first size whose error is rounding, at most 1e-12 in square; None if there is none.

        It is an error relative to images of variance 1, as those of a prior are.
        """
        found = (s for s, m in zip(self.sizes, self.mse, strict=True) if m <= EXACT)
        return next(found, None)

    def to_dict(self) -> dict[str, Any]:
        """Return sizes, errors and whether each is exact, without the kernels."""
        return {
            "sizes": [list(s) if isinstance(s, tuple) else s for s in self.sizes],
            "mse": list(self.mse),
            "exact": [best.exact for best in self.inverses],
            "exact_from": self.exact_from,
        }


def inverse_kernel_curve(
    op: Conv, sizes: Sequence[Any] | None = None, **options: Any
) -> InverseCurve:
    """Return the best inverse kernels of several sizes, and how their error falls.

    Parameters
    ----------
    op : Conv
        The convolution to be undone.
    sizes : sequence, optional
        Kernel sizes, each an int or one int per axis. By default 3, 5, 7, ..., as far as they are
        smaller than the image's longest axis, and that axis itself, or to 31 where it is longer:
        with a circular border a kernel as large as the image is the inverse itself, if there is
        one.
    **options
        Of `inverse_kernel`: `images` or `prior`, `noise`, `ridge`, `bias`. White images if
        neither images nor a prior is given.

    Returns
    -------
    InverseCurve

    Raises
    ------
    GeometryError
        If there is no size, or `sizes` is no sequence.
    LinconvError
        As `inverse_kernel`.

    Notes
    -----
    Odd sizes of a convolution padded "same" are nested, so that the error never rises.
    Cost: that of each size by itself.

    Examples
    --------
    >>> blur = Conv([0.25, 0.5, 0.25], (9,), padding="same", padding_mode="circular")
    >>> curve = inverse_kernel_curve(blur)
    >>> curve.sizes, [round(e, 3) for e in curve.mse], curve.exact_from
    ((3, 5, 7, 9), [0.2, 0.143, 0.111, 0.0], 9)
    """
    if sizes is None:
        longest = max(op.geometry.input_size) if hasattr(op, "geometry") else LARGEST
        sizes = list(range(3, min(longest + longest % 2, LARGEST) + 1, 2)) or [3]
        if longest < LARGEST and longest > sizes[-1]:
            sizes.append(longest)
    if not several(sizes):
        raise GeometryError(
            f"sizes must be a sequence of kernel sizes; got {sizes!r}; use e.g. (3, 5), or "
            f"inverse_kernel for one size"
        )
    chosen = tuple(tuple(s) if several(s) else s for s in sizes)
    if not chosen:
        raise GeometryError("sizes must hold at least one kernel size; got none; use e.g. (3, 5)")
    if options.get("images") is None and options.get("prior") is None:
        options["prior"] = "white"
    return InverseCurve(chosen, tuple(inverse_kernel(op, size, **options) for size in chosen))

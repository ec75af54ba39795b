"""pinv: the pseudo-inverse of a map, as a map; with a ridge, the regularised inverse."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import scipy
from numpy.typing import NDArray

from linconv.analysis.balance import Balanced, balanced
from linconv.analysis.direct import Direct
from linconv.analysis.methods import METHODS, direct_solver
from linconv.analysis.solve import check_map, read_map, solve
from linconv.arguments import choice, finite_number, integer
from linconv.errors import LinconvError
from linconv.linear_map import LinearMap
from linconv.matrix import check_bytes
from linconv.numpy_map import NumPyMap

__all__ = ["RegularisedInverse", "pinv"]

Array = NDArray[Any]


class RegularisedInverse(NumPyMap):
    """The map ``(opᴴ op + ridge)^-1 opᴴ``: from outputs to the minimiser that `solve` finds.

    Without a ridge it is the Moore-Penrose pseudo-inverse. Made by `pinv` and `wiener`.

    Attributes
    ----------
    of : LinearMap
    ridge : float
    exact : bool
        Whether it is applied in closed form, to rounding; otherwise every application is an
        iteration to the relative residual `rtol` of the normal equations.
    method : str
    """

    of: LinearMap
    ridge: float
    rtol: float
    max_iterations: int | None
    asked: str

    def __init__(
        self,
        of: LinearMap,
        ridge: float,
        *,
        method: str = "auto",
        rtol: float = 1e-10,
        max_iterations: int | None = None,
    ) -> None:
        if max_iterations is not None:
            max_iterations = integer("max_iterations", max_iterations, minimum=0)
        self._set(
            of.output_shape,
            of.input_shape,
            of.dtype,
            of=of,
            ridge=ridge,
            rtol=rtol,
            max_iterations=max_iterations,
            asked=method,
        )

    @cached_property
    def _direct(self) -> Direct | None:
        if self.asked in ("cg", "lsmr"):
            return None
        return direct_solver(self._even.op, self._even.ridge, self.asked)

    @cached_property
    def _even(self) -> Balanced:
        return balanced(self.of, self.ridge)

    @property
    def exact(self) -> bool:
        """Whether it is applied in closed form."""
        return self._direct is not None

    @property
    def method(self) -> str:
        """The method of `solve` that applies it."""
        direct = self._direct
        return direct.method if direct is not None else "cg" if self.asked == "auto" else self.asked

    def _apply(self, x: Array) -> Array:
        wide = x.astype(np.result_type(x, np.float64), copy=False)
        direct = self._direct
        if direct is not None:
            found = direct.solve(wide)
            if self._even.unit != 1:
                found = found * self._even.unit
            return found.astype(x.dtype, copy=False)
        iterated = solve(
            self.of,
            wide,
            method=self.method,
            ridge=self.ridge,
            rtol=self.rtol,
            max_iterations=self.max_iterations,
        )
        if not iterated.converged:
            raise LinconvError(
                f"the inverse could not be applied to the tolerance: {iterated.reason}; see "
                f"max_iterations and rtol"
            )
        return iterated.x.astype(x.dtype, copy=False)

    def _apply_transpose(self, y: Array) -> Array:
        return self._transposed._apply(y)

    @cached_property
    def _transposed(self) -> RegularisedInverse:
        twin = self._alike(self.of.T)
        twin.__dict__["_transposed"] = self
        return twin

    def _alike(self, of: LinearMap) -> RegularisedInverse:
        return RegularisedInverse(
            of,
            self.ridge,
            method=self.asked,
            rtol=self.rtol,
            max_iterations=self.max_iterations,
        )

    @property
    def T(self) -> LinearMap:
        """The same inverse of the transpose."""
        return self._transposed

    def conj(self) -> LinearMap:
        """Return the same inverse of the conjugate."""
        return self if self.dtype.kind != "c" else self._alike(self.of.conj())

    def _sparse(self, max_bytes: int) -> Any:
        double = np.result_type(self.dtype, np.float64)
        needed = self.shape[0] * self.shape[1] * double.itemsize
        check_bytes("an inverse's matrix", self.shape, needed, max_bytes, "apply the map")
        eye = np.eye(self.shape[1], dtype=double).reshape(-1, *self.input_shape)
        return scipy.sparse.csr_array(self._apply(eye).reshape(self.shape[1], -1).T)


def pinv(
    op: LinearMap,
    *,
    method: str = "auto",
    rtol: float = 1e-10,
    max_iterations: int | None = None,
) -> RegularisedInverse:
    """Return the Moore-Penrose pseudo-inverse of a map, as a map.

    Applied to y it gives, of all x with the least ``||op(x) - y||``, the one of least norm: the
    inverse where there is one.

    Parameters
    ----------
    op : LinearMap
        Any map.
    method : str
        As in `solve`. The direct ones are prepared once, and then applied.
    rtol, max_iterations : float, int
        Of the iteration that every application is where no direct method fits; see `solve`.

    Returns
    -------
    LinearMap
        From outputs of `op` to its inputs, with transposes and matrix. `exact` tells whether it
        is in closed form, `method` how it is applied.

    Raises
    ------
    DTypeError, GeometryError, LinconvError
        If `op` is no map or not finite, options are not legal, or the method named cannot solve
        it. Applying it raises `LinconvError` where an iteration does not reach `rtol`.

    Notes
    -----
    Singular values count as zero up to ``max(shape) * 2.2e-16`` of the largest, as in NumPy and
    for `rank`, whatever the method.

    Examples
    --------
    >>> from linconv import Conv
    >>> op = Conv([1.0, 2.0, 1.0], (6,), stride=2)
    >>> inverse = pinv(op)
    >>> bool(np.allclose((op @ inverse @ op).matrix(), op.matrix()))
    True
    """
    read_map(op)
    choice("method", method, METHODS)
    finite_number("rtol", rtol, "e.g. 1e-10")
    check_map(op)
    made = RegularisedInverse(op, 0.0, method=method, rtol=rtol, max_iterations=max_iterations)
    _ = made.exact  # so that what can be refused is refused now
    return made

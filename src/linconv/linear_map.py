"""LinearMap: shapes, application, transposes, the algebra of maps, and the face SciPy knows."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import FrozenInstanceError
from itertools import pairwise
from math import prod
from typing import Any, NoReturn

import numpy as np

from linconv.arguments import plain_number
from linconv.engines.arrays import Array, cast_back, computed_in, working_dtype
from linconv.engines.kinds import any_array, as_computed, as_given, bare, conjugate
from linconv.errors import DTypeError, ShapeError
from linconv.matrix import DENSE_LIMIT, SPARSE_LIMIT, check_bytes

__all__ = ["LinearMap", "Product", "Scaled", "Sum"]


class LinearMap(ABC):
    """A linear map between arrays of fixed shapes, applied without forming its matrix.

    Vectors are arrays flattened in C order. A map is immutable, and applying it changes nothing.

    Attributes
    ----------
    input_shape, output_shape : tuple of int
        Shapes of one sample, without batch axes.
    dtype : numpy.dtype
        float32, float64, complex64 or complex128: the narrowest dtype that the map computes in.
        An array applied is promoted with it as in NumPy; float16 and bfloat16 arrays are
        computed in at least float32 and cast back, integers and bools computed in float64.
    """

    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    dtype: np.dtype[Any]

    __array_ufunc__ = None  # so that NumPy scalars leave `a * op` to the map

    def _set(
        self, input_shape: tuple[int, ...], output_shape: tuple[int, ...], dtype: Any, **more: Any
    ) -> None:
        """Fill in the fields, once, at construction."""
        more |= {"input_shape": input_shape, "output_shape": output_shape, "dtype": np.dtype(dtype)}
        for name, value in more.items():
            object.__setattr__(self, name, value)

    def __setattr__(self, name: str, value: Any) -> NoReturn:
        raise FrozenInstanceError(f"maps are immutable; cannot set {name!r}; make a new map")

    def __delattr__(self, name: str) -> NoReturn:
        raise FrozenInstanceError(f"maps are immutable; cannot delete {name!r}")

    @abstractmethod
    def _apply(self, x: Any) -> Any:
        """Apply to a batch, shape (n, *input_shape), already in the dtype to compute in."""

    @abstractmethod
    def _apply_transpose(self, y: Any) -> Any:
        """Apply the transpose to a batch, shape (n, *output_shape)."""

    @abstractmethod
    def _sparse(self, max_bytes: int) -> Any:
        """Assemble the CSR array: of `dtype`, or of a wider one where that would round it."""

    def sparse(self, *, max_bytes: int = SPARSE_LIMIT) -> Any:
        """Return the matrix as a SciPy CSR array, rows and columns in C order.

        Raises
        ------
        SizeError
            If its entries would take more than `max_bytes` (8 GiB), before any are made.
        """
        return self._sparse(max_bytes).astype(self.dtype, copy=False)

    def matrix(self, *, max_bytes: int = DENSE_LIMIT) -> Array:
        """Return the dense matrix, shape `shape`, rows and columns in C order.

        Raises
        ------
        SizeError
            If it would take more than `max_bytes` (1 GiB), before any memory is taken.
        """
        remedy = "use .sparse(), or raise the limit with max_bytes"
        needed = self.shape[0] * self.shape[1] * self.dtype.itemsize
        check_bytes("a dense matrix", self.shape, needed, max_bytes, remedy)
        return np.asarray(self.sparse().toarray())

    def __call__(self, x: Any) -> Any:
        """Apply the map to an array of shape (*batch, *input_shape), any number of batch axes.

        Returns
        -------
        array, shape (*batch, *output_shape)
            A new array; its dtype follows the rule told at `LinearMap.dtype`. A PyTorch tensor
            gives a tensor on its device, a JAX array a JAX array, both differentiable; an array
            of another library of the array API (CuPy) one of its own.

        Raises
        ------
        ShapeError
            If the last axes of `x` are not `input_shape`.
        DTypeError
            If `x` holds no numbers, or is of a kind that the map cannot be applied to.
        """
        return bare(self._on(any_array("the array", x)))

    def _on(self, array: Any) -> Any:
        """Apply to an array that can be computed with, whose shape is to be checked."""
        batch = array.shape[: max(0, array.ndim - len(self.input_shape))]
        if array.shape[len(batch) :] != self.input_shape:
            raise ShapeError(
                f"the array must have shape (*batch, {', '.join(map(str, self.input_shape))}); "
                f"got {tuple(array.shape)}; reshape it, or make the map for that input_shape"
            )
        if type(array) is not np.ndarray:
            self._check_kind(array)
            working = as_computed(self.dtype.name, array).reshape(prod(batch), *self.input_shape)
            return as_given(self._apply(working).reshape(*batch, *self.output_shape), array)
        working = computed_in(self.dtype, array).reshape(prod(batch), *self.input_shape)
        empty = np.zeros((0, *self.output_shape), working.dtype)
        result = self._apply(working) if working.size else empty
        if np.may_share_memory(result, array):
            result = result.copy()
        return cast_back(result.reshape(*batch, *self.output_shape), array.dtype)

    def _check_kind(self, array: Any) -> None:
        """Raise `DTypeError` for a kind of array, not NumPy's, that the map does not take."""
        for part in self._made_of():
            part._check_kind(array)

    def _made_of(self) -> tuple[LinearMap, ...]:
        """Return the maps that this one applies."""
        return ()

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the matrix: output samples, input samples."""
        return prod(self.output_shape), prod(self.input_shape)

    @property
    def T(self) -> LinearMap:
        """The transpose, without conjugation."""
        return Transpose(self)

    @property
    def H(self) -> LinearMap:
        """The adjoint: the conjugate transpose."""
        return self.conj().T

    def conj(self) -> LinearMap:
        """Return the map whose matrix is the complex conjugate."""
        return Conjugate(self) if self.dtype.kind == "c" else self

    def matvec(self, v: Any) -> Any:
        """Return the matrix times a vector of shape (columns,) or (columns, 1)."""
        vector = any_array("the vector", v)
        if vector.shape not in ((self.shape[1],), (self.shape[1], 1)):
            raise ShapeError(
                f"the vector must have {self.shape[1]} entries, shape ({self.shape[1]},); "
                f"got shape {tuple(vector.shape)}; flatten one input of shape {self.input_shape}"
            )
        result = self._on(vector.reshape(self.input_shape))
        return bare(result.reshape(-1, *vector.shape[1:]))

    def rmatvec(self, u: Any) -> Any:
        """Return the adjoint matrix times a vector of shape (rows,) or (rows, 1)."""
        return self.H.matvec(u)

    def matmat(self, columns: Any) -> Any:
        """Return the matrix times a matrix of shape (columns, k)."""
        array = any_array("the matrix", columns)
        if array.ndim != 2 or len(array) != self.shape[1]:
            raise ShapeError(
                f"the matrix must have shape ({self.shape[1]}, k); got {tuple(array.shape)}; "
                f"give one input of shape {self.input_shape} per column, flattened"
            )
        result = self._on(array.T.reshape(-1, *self.input_shape))
        return bare(result.reshape(-1, self.shape[0]).T)

    def rmatmat(self, columns: Any) -> Any:
        """Return the adjoint matrix times a matrix of shape (rows, k)."""
        return self.H.matmat(columns)

    def __matmul__(self, other: Any) -> Any:
        if isinstance(other, LinearMap):
            return Product(self, other)
        if hasattr(other, "tocsr") or hasattr(other, "matvec"):
            raise DTypeError(
                f"the right factor must be a map of linconv or an array; got "
                f"{type(other).__name__}; use op.sparse() @ A or aslinearoperator(op) @ A"
            )
        array = any_array("the right factor", other)
        return self.matmat(array) if array.ndim == 2 else self.matvec(array)

    def __add__(self, other: Any) -> LinearMap:
        return Sum(self, other) if isinstance(other, LinearMap) else NotImplemented

    def __sub__(self, other: Any) -> LinearMap:
        return Sum(self, -1 * other) if isinstance(other, LinearMap) else NotImplemented

    def __mul__(self, factor: Any) -> LinearMap:
        return Scaled(factor, self) if np.ndim(factor) == 0 else NotImplemented

    __rmul__ = __mul__

    def __truediv__(self, divisor: Any) -> LinearMap:
        return self * (1 / plain_number(divisor)) if np.ndim(divisor) == 0 else NotImplemented

    def __neg__(self) -> LinearMap:
        return Scaled(-1, self)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._shapes()}, {self.dtype})"

    def _shapes(self) -> str:
        return f"{self.input_shape} -> {self.output_shape}"


class Transpose(LinearMap):
    """The transpose of a map that has no more special one."""

    of: LinearMap

    def __init__(self, of: LinearMap) -> None:
        self._set(of.output_shape, of.input_shape, of.dtype, of=of)

    def _made_of(self) -> tuple[LinearMap, ...]:
        return (self.of,)

    def _apply(self, x: Any) -> Any:
        return self.of._apply_transpose(x)

    def _apply_transpose(self, y: Any) -> Any:
        return self.of._apply(y)

    def _sparse(self, max_bytes: int) -> Any:
        return self.of._sparse(max_bytes).T.tocsr()

    @property
    def T(self) -> LinearMap:
        """The map that this one transposes."""
        return self.of

    def conj(self) -> LinearMap:
        """Return the transpose of the conjugate."""
        return self.of.conj().T


class Conjugate(LinearMap):
    """The complex conjugate of a map."""

    of: LinearMap

    def __init__(self, of: LinearMap) -> None:
        self._set(of.input_shape, of.output_shape, of.dtype, of=of)

    def _made_of(self) -> tuple[LinearMap, ...]:
        return (self.of,)

    def _apply(self, x: Any) -> Any:
        return conjugate(self.of._apply(conjugate(x)))

    def _apply_transpose(self, y: Any) -> Any:
        return conjugate(self.of._apply_transpose(conjugate(y)))

    def _sparse(self, max_bytes: int) -> Any:
        return self.of._sparse(max_bytes).conj()

    def conj(self) -> LinearMap:
        """Return the map that this one conjugates."""
        return self.of


class Product(LinearMap):
    """The product of maps, the last applied first."""

    maps: tuple[LinearMap, ...]

    def __init__(self, *maps: LinearMap) -> None:
        for left, right in pairwise(maps):
            if left.input_shape != right.output_shape:
                raise ShapeError(
                    f"in A @ B the input_shape of A must be the output_shape of B; got "
                    f"{left.input_shape} and {right.output_shape}; make them fit"
                )
        dtype = np.result_type(*(m.dtype for m in maps))
        self._set(maps[-1].input_shape, maps[0].output_shape, dtype, maps=maps)

    def _made_of(self) -> tuple[LinearMap, ...]:
        return self.maps

    def _apply(self, x: Any) -> Any:
        for factor in reversed(self.maps):
            x = factor._apply(x)
        return x

    def _apply_transpose(self, y: Any) -> Any:
        for factor in self.maps:
            y = factor._apply_transpose(y)
        return y

    def _sparse(self, max_bytes: int) -> Any:
        product = _widened(self.maps[0], max_bytes)
        for factor in self.maps[1:]:
            product = product @ _widened(factor, max_bytes)
        product.sort_indices()
        return product

    @property
    def T(self) -> LinearMap:
        """The transposed factors in reverse order."""
        return Product(*(m.T for m in reversed(self.maps)))

    def conj(self) -> LinearMap:
        """Return the product of the conjugates."""
        return Product(*(m.conj() for m in self.maps))


class Sum(LinearMap):
    """The sum of two maps of the same shapes."""

    terms: tuple[LinearMap, LinearMap]

    def __init__(self, a: LinearMap, b: LinearMap) -> None:
        for name in ("input_shape", "output_shape"):
            if getattr(a, name) != getattr(b, name):
                raise ShapeError(
                    f"in A + B both maps must have the same {name}; got {getattr(a, name)} and "
                    f"{getattr(b, name)}; make them fit"
                )
        dtype = np.result_type(a.dtype, b.dtype)
        self._set(a.input_shape, a.output_shape, dtype, terms=(a, b))

    def _made_of(self) -> tuple[LinearMap, ...]:
        return self.terms

    def _apply(self, x: Any) -> Any:
        return self.terms[0]._apply(x) + self.terms[1]._apply(x)

    def _apply_transpose(self, y: Any) -> Any:
        return self.terms[0]._apply_transpose(y) + self.terms[1]._apply_transpose(y)

    def _sparse(self, max_bytes: int) -> Any:
        return _widened(self.terms[0], max_bytes) + _widened(self.terms[1], max_bytes)

    @property
    def T(self) -> LinearMap:
        """The sum of the transposes."""
        return Sum(self.terms[0].T, self.terms[1].T)

    def conj(self) -> LinearMap:
        """Return the sum of the conjugates."""
        return Sum(self.terms[0].conj(), self.terms[1].conj())


class Scaled(LinearMap):
    """A number times a map; a Python number widens no dtype, except that complex stays complex."""

    factor: complex
    of: LinearMap

    def __init__(self, factor: Any, of: LinearMap) -> None:
        factor = plain_number(factor)
        dtype = working_dtype("the factor", np.result_type(of.dtype, factor))
        self._set(of.input_shape, of.output_shape, dtype, factor=factor, of=of)

    def _made_of(self) -> tuple[LinearMap, ...]:
        return (self.of,)

    def _apply(self, x: Any) -> Any:
        return self._times(self.of._apply(x))

    def _apply_transpose(self, y: Any) -> Any:
        return self._times(self.of._apply_transpose(y))

    def _times(self, result: Any) -> Any:
        if isinstance(result, np.ndarray) or not isinstance(self.factor, np.generic):
            return self.factor * result
        return self.factor.item() * result  # NumPy's own numbers would make a NumPy array of it

    def _sparse(self, max_bytes: int) -> Any:
        return _widened(self.of, max_bytes) * self.factor

    @property
    def T(self) -> LinearMap:
        """The number times the transpose."""
        return Scaled(self.factor, self.of.T)

    def conj(self) -> LinearMap:
        """Return the conjugate number times the conjugate map."""
        return Scaled(np.conj(self.factor), self.of.conj())


def _widened(op: LinearMap, max_bytes: int) -> Any:
    """Return a map's CSR array in double precision, not rounded to the map's own dtype before."""
    return op._sparse(max_bytes).astype(np.result_type(op.dtype, np.float64), copy=False)

"""The PyTorch engine: the compiled kernels on the processor where they are faster, else its own.

Three maps belong to one convolution: from input and kernel to the output, from output and kernel
back to the input (its transpose), and from input and output to the kernel (its gradient). They are
the gradients of one form that is linear in all three,

    t(x, k, y) = <correlate(x, k), y>

so that each one's derivatives are the other two: one function, `trilinear`, of two of the three,
can be differentiated any number of times, forwards and backwards.
"""

from __future__ import annotations

from functools import lru_cache
from math import prod
from typing import Any

import numpy as np

from linconv.engines import torch_lowering
from linconv.engines.by_path import operation
from linconv.engines.choice import choose, engine_in_use
from linconv.engines.kernel_gradient import kernel_gradient
from linconv.geometry import Geometry
from linconv.layout import Layout

__all__ = ["correlate", "correlate_transpose", "pays"]

INPUT, KERNEL, OUTPUT = range(3)
"""The places of the form `t`, in the order of its arguments."""
FEW = 64
"""Pairs of input and output channels in a group up to which PyTorch's float32 is outrun."""
LEAST = {INPUT: 2**16, OUTPUT: 2**16, KERNEL: 2**20}
"""Products of a call from which it costs more than the way to the compiled kernels."""


def correlate(x: Any, kernel: Any, geometry: Geometry, channels_last: bool) -> Any:
    """Correlate `x` with `kernel`; see `linconv.engines.correlate` for the contract."""
    if _native(OUTPUT, x, kernel, geometry, channels_last):
        return _trilinear(OUTPUT, x, kernel, geometry, channels_last)
    return torch_lowering.correlate(x, kernel, geometry, channels_last)


def correlate_transpose(y: Any, kernel: Any, geometry: Geometry, channels_last: bool) -> Any:
    """Transpose of `correlate`, by the same kernels."""
    if _native(INPUT, y, kernel, geometry, channels_last):
        return _trilinear(INPUT, kernel, y, geometry, channels_last)
    return torch_lowering.correlate_transpose(y, kernel, geometry, channels_last)


def _native(wanted: int, array: Any, kernel: Any, g: Geometry, channels_last: bool) -> bool:
    """Return whether the compiled kernels compute: real tensors in memory, and it pays.

    Not where something else than numbers is asked for (a graph, a trace, shapes, mixed precision):
    then PyTorch must see its own operations.
    """
    import torch

    plain = (torch.Tensor, torch.nn.Parameter)
    return (
        type(array) in plain
        and type(kernel) in plain
        and array.device.type == kernel.device.type == "cpu"
        and array.dtype in (torch.float32, torch.float64)
        and not torch.compiler.is_compiling()
        and not torch.jit.is_tracing()
        and not torch.is_autocast_enabled("cpu")
        and not torch._C._len_torch_dispatch_stack()
        and pays(wanted, g, channels_last, len(array), array.dtype == torch.float64)
    )


@lru_cache(maxsize=1024)
def pays(wanted: int, g: Geometry, channels_last: bool, batch: int, double: bool) -> bool:
    """Return whether the compiled kernels outrun PyTorch's, as `benchmarks/arrays.py` has it.

    In float64 they are. In float32 PyTorch's are as good or better with many channels and with
    wide depthwise layers of small kernels, unless transforms save most of the products. Of the
    kernel's gradient only few channels are faster.
    """
    if engine_in_use()[0] != "native":
        return False
    dtype = np.dtype(np.float64 if double else np.float32)
    path = choose(g, channels_last, transposed=wanted == INPUT, dtype=dtype).path
    taps, pairs = prod(g.kernel_size), g.in_channels * g.out_channels // g.groups**2
    if path == "windows" or batch * prod(g.output_size) * taps * pairs * g.groups < LEAST[wanted]:
        return False
    if wanted == KERNEL:
        return pairs <= (FEW if double else 1)
    if double or path in ("spectra", "fft"):
        return True
    return pairs <= FEW and (g.groups < 8 or taps >= 25 or g.ndim == 1)


def _numbers(wanted: int, a: Any, b: Any, g: Geometry, channels_last: bool) -> Any:
    """Compute one of the three from the other two, of plain tensors, by what pays."""
    import torch

    double, batch = a.dtype == torch.float64, len(a if wanted != INPUT else b)
    if not pays(wanted, g, channels_last, batch, double):
        return _operations(wanted, a, b, g, channels_last)
    first, second = a.numpy(force=True), b.numpy(force=True)
    if wanted != KERNEL:
        array, kernel = (first, second) if wanted == OUTPUT else (second, first)
        compute = operation(None, g, channels_last, wanted == INPUT, array.dtype)
        return torch.from_numpy(compute(array, kernel))
    layout = Layout.channels(g.ndim, channels_last)
    x, y = layout.arrays_first(first)[None], layout.arrays_first(second)[None]
    gradient = layout.kernels_back(kernel_gradient(x, y, g, _by_numpy)[0])
    return torch.from_numpy(np.ascontiguousarray(gradient))


def _by_numpy(x: Any, kernel: Any, g: Geometry, channels_last: bool) -> Any:
    return operation(None, g, channels_last, False, x.dtype)(x, kernel)


def _operations(wanted: int, a: Any, b: Any, g: Geometry, channels_last: bool) -> Any:
    """Compute one of the three from the other two by PyTorch's operations, differentiable."""
    if wanted == OUTPUT:
        return torch_lowering.correlate(a, b, g, channels_last)
    if wanted == INPUT:
        return torch_lowering.correlate_transpose(b, a, g, channels_last)
    layout = Layout.channels(g.ndim, channels_last)
    x, y = layout.arrays_first(a), layout.arrays_first(b)
    return layout.kernels_back(torch_lowering.kernel_gradient(x, y, g))


def _trilinear(wanted: int, a: Any, b: Any, g: Geometry, channels_last: bool) -> Any:
    """Return one of input, kernel and output from the other two, in that order, differentiable."""
    if _stands_for_others(a) or _stands_for_others(b):
        return _operations(wanted, a, b, g, channels_last)
    import torch

    eager, transformed = _functions()
    function = transformed if torch._C._are_functorch_transforms_active() else eager
    return function.apply(wanted, a, b, g, channels_last)


def _stands_for_others(tensor: Any) -> bool:
    """Return whether a transform that knows PyTorch's operations alone made this tensor.

    These are `torch.func.functionalize` and `torch.autograd.grad(is_grads_batched=True)`.
    """
    import torch

    known = torch._C._functorch
    return bool(known.is_legacy_batchedtensor(tensor) or known.is_functionaltensor(tensor))


@lru_cache(maxsize=1)
def _functions() -> tuple[Any, Any]:
    """Return the function for automatic differentiation, made when it is first used, in two forms.

    The second can be transformed by `torch.func`; PyTorch takes longer to call it.
    """
    import torch

    class Trilinear(torch.autograd.Function):  # type: ignore[misc]
        """Of the place wanted, the tensors in the other two places, geometry and layout."""

        @staticmethod
        def backward(ctx: Any, gradient: Any) -> Any:
            given = dict(zip(_others(ctx.wanted), ctx.saved_tensors, strict=True))
            given[ctx.wanted] = gradient
            found = []
            for place, needed in zip(_others(ctx.wanted), ctx.needs_input_grad[1:3], strict=True):
                first, second = (given[other] for other in _others(place))
                of = _trilinear(place, first, second, ctx.g, ctx.channels_last) if needed else None
                found.append(of)
            return None, *found, None, None

        @staticmethod
        def jvp(ctx: Any, _: None, da: Any, db: Any, *__: None) -> Any:
            a, b = ctx.saved_tensors
            pairs = [(da, b)] * (da is not None) + [(a, db)] * (db is not None)
            terms = [_trilinear(ctx.wanted, *p, ctx.g, ctx.channels_last) for p in pairs]
            return terms[0] if len(terms) == 1 else terms[0] + terms[1]

        @staticmethod
        def vmap(
            info: Any, in_dims: Any, wanted: int, a: Any, b: Any, g: Geometry, channels_last: bool
        ) -> tuple[Any, int]:
            places = _others(wanted)
            kernel = places.index(KERNEL) if KERNEL in places else None
            if kernel is not None and in_dims[1 + kernel] is None:
                # One kernel for all: one larger batch.
                many = (b, a)[kernel].movedim(in_dims[2 - kernel], 0)
                flat = many.flatten(0, 1)
                a, b = (a, flat) if kernel == 0 else (flat, b)
                result = _trilinear(wanted, a, b, g, channels_last)
                return result.unflatten(0, many.shape[:2]), 0
            first, second = (
                [array] * info.batch_size if axis is None else array.unbind(axis)
                for array, axis in zip((a, b), in_dims[1:3], strict=True)
            )
            each = zip(first, second, strict=True)
            return torch.stack([_trilinear(wanted, *p, g, channels_last) for p in each]), 0

    class Eager(Trilinear):
        @staticmethod
        def forward(ctx: Any, *inputs: Any) -> Any:
            _keep(ctx, inputs)
            return _numbers(*inputs)

    class Transformed(Trilinear):
        @staticmethod
        def forward(wanted: int, a: Any, b: Any, g: Geometry, channels_last: bool) -> Any:
            return _numbers(wanted, a, b, g, channels_last)

        @staticmethod
        def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
            _keep(ctx, inputs)

    return Eager, Transformed


def _keep(ctx: Any, inputs: Any) -> None:
    """Keep what the derivatives need."""
    ctx.wanted, a, b, ctx.g, ctx.channels_last = inputs
    ctx.save_for_backward(a, b)
    ctx.save_for_forward(a, b)


def _others(place: int) -> tuple[int, ...]:
    return tuple(other for other in (INPUT, KERNEL, OUTPUT) if other != place)

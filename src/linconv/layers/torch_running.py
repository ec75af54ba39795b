"""How a PyTorch module is run: a copy in float64 on the CPU, its adjoint by autograd."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from linconv.engines.arrays import Array
from linconv.errors import LinconvError
from linconv.layers.runner import Runner

__all__ = ["torch_runner"]


def torch_runner(module: Any, input_shape: tuple[int, ...]) -> Runner:
    """Return how a module is run; the module itself is left as it is."""
    import torch

    name = f"torch {type(module).__name__}"
    lazy = getattr(module, "has_uninitialized_params", None)
    if lazy is not None and lazy():
        raise LinconvError(
            f"a layer must have its weights to be run; got a lazy {name} without them; run it on "
            f"one input first"
        )
    try:
        double = copy.deepcopy(module).to("cpu").eval()
    except Exception as error:
        raise LinconvError(
            f"{name} must be copied to be run, so that nothing of it is changed; copying raised "
            f"{type(error).__name__}: {error}; give a module that copy.deepcopy can copy"
        ) from error
    double.requires_grad_(False)
    parameters = [*double.parameters(), *double.buffers()]
    is_complex = any(p.is_complex() for p in parameters)
    for values in parameters:
        if values.is_complex():
            values.data = values.data.to(torch.complex128)
        elif values.is_floating_point():
            values.data = values.data.to(torch.float64)
    dtype = np.dtype(np.complex128 if is_complex else np.float64)
    linear, activation = _split(double)

    def forward(x: Array) -> Array:
        return _run(double, x)

    def affine(x: Array) -> Array:
        return _run(linear, x)

    def _run(of: Any, x: Array) -> Array:
        with torch.no_grad():
            result = of(torch.from_numpy(np.ascontiguousarray(x, dtype)))
        array: Array = result.numpy()
        return array

    def pullback(y: Array) -> Array:
        with torch.enable_grad():
            start = torch.zeros(
                (len(y), *input_shape), dtype=torch.complex128 if is_complex else torch.float64
            ).requires_grad_()
            result = linear(start)
            cotangent = torch.from_numpy(np.ascontiguousarray(y.conj(), dtype))
            (gradient,) = torch.autograd.grad(result, start, cotangent)
        array: Array = gradient.numpy().conj()  # torch gives the conjugate transpose
        return array

    return Runner(
        name,
        "torch",
        input_shape,
        dtype,
        forward,
        affine,
        pullback,
        "by torch.autograd",
        activation,
    )


def _split(module: Any) -> tuple[Any, str | None]:
    """Return what precedes the activations at the end of a Sequential, and their names."""
    import torch

    if not isinstance(module, torch.nn.Sequential):
        return module, None
    children = list(module)
    names: list[str] = []
    while children and type(children[-1]).__module__ == "torch.nn.modules.activation":
        names.insert(0, type(children.pop()).__name__.lower())
    return torch.nn.Sequential(*children), " ".join(names) or None

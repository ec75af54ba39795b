"""How a Flax NNX module is run: a copy in float64, its adjoint by jax.vjp."""

from __future__ import annotations

from typing import Any

import numpy as np

from linconv.layers.jax_running import compiled, double_precision
from linconv.layers.runner import Runner

__all__ = ["flax_runner"]


def flax_runner(module: Any, input_shape: tuple[int, ...]) -> Runner:
    """Return how a module is run; the module itself is left as it is."""
    import jax
    from flax import nnx

    def wide(value: Any) -> Any:
        return np.asarray(value, np.float64) if value.dtype.kind in "fV" else value

    with double_precision():
        definition, state = nnx.split(module)
        double = nnx.merge(definition, jax.tree.map(wide, state))
        for _, part in nnx.iter_modules(double):
            for name in ("dtype", "param_dtype"):
                # None stays None: it means the dtype of the arrays
                if getattr(part, name, None) is not None:
                    setattr(part, name, np.float64)
    linear, activation = _split(double)

    affine, pullback = compiled(linear, input_shape, np.float64)
    forward = affine if activation is None else compiled(double, input_shape, np.float64)[0]
    return Runner(
        f"flax {type(module).__name__}",
        "flax",
        input_shape,
        np.dtype(np.float64),
        forward,
        affine,
        pullback,
        "by jax.vjp",
        activation,
    )


def _split(module: Any) -> tuple[Any, str | None]:
    """Return what precedes the functions at the end of a Sequential, and their names."""
    from flax import nnx

    if not isinstance(module, nnx.Sequential):
        return module, None
    parts = list(module.layers)
    names: list[str] = []
    while parts and not isinstance(parts[-1], nnx.Module):
        names.insert(0, getattr(parts.pop(), "__name__", "function"))
    return (nnx.Sequential(*parts), " ".join(names)) if names else (module, None)

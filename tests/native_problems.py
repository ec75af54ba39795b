"""What the tests of the native engine share: problems, both directions, the check of all paths."""

import numpy as np
import pytest

from cases import draw
from linconv.engines import native_engine, numpy_engine
from linconv.geometry import Geometry

NEEDED = pytest.mark.skipif(
    not native_engine.available(), reason=f"not there: {native_engine.NOT_LOADED}"
)
PATHS = pytest.mark.parametrize("path", native_engine.PATHS)
# Relative to the largest value of the result.
TOLERANCE = {"float32": 2e-6, "float64": 1e-13}


def arrays(g: Geometry, last: bool, dtype: str, batch: int = 1, seed: int = 0):
    """Random kernel, input and output of a geometry."""
    rng = np.random.default_rng(seed)
    inputs = g.in_channels // g.groups
    kernel = (*g.kernel_size, inputs, g.out_channels)
    x, y = (batch, *g.input_size, g.in_channels), (batch, *g.output_size, g.out_channels)
    if not last:
        kernel = (g.out_channels, inputs, *g.kernel_size)
        x, y = (batch, g.in_channels, *g.input_size), (batch, g.out_channels, *g.output_size)
    return tuple(draw(rng, shape, dtype) for shape in (kernel, x, y))


def both(path: str, kernel, x, y, g: Geometry, last: bool):
    return (
        native_engine.correlate(x, kernel, g, last, path),
        native_engine.correlate_transpose(y, kernel, g, last, path),
    )


def check(g: Geometry, last: bool, dtype: str, batch: int = 1, paths=native_engine.PATHS) -> None:
    """All paths equal NumPy's in double precision, to the bounds that docs/engines.md gives."""
    kernel, x, y = arrays(g, last, dtype, batch)
    double = [a.astype(np.float64) for a in (kernel, x, y)]
    expected = (
        numpy_engine.correlate(double[1], double[0], g, last),
        numpy_engine.correlate_transpose(double[2], double[0], g, last),
    )
    for path in paths:
        if not native_engine.fits(path, g, last):
            continue
        for actual, wanted in zip(both(path, kernel, x, y, g, last), expected, strict=True):
            assert actual.dtype == np.dtype(dtype)
            error = np.abs(actual - wanted).max(initial=0.0)
            bound = TOLERANCE[dtype] * max(1.0, np.abs(wanted).max(initial=0.0))
            assert error <= bound, (path, g, last)

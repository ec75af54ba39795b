"""Output phases of a transposed convolution, against the taps that reach each of its samples."""

import numpy as np
from hypothesis import given

from linconv.geometry import Geometry
from strategies import legal_cases


@given(legal_cases(modes=("zeros",)))
def test_phases_share_out_the_taps(case):
    """Each output sample belongs to one phase, which holds just the taps that reach it."""
    g = Geometry(case.input_size, case.kernel_size, **case.geometry_options)
    for axis in range(g.ndim):
        reached: dict[int, set[tuple[int, int]]] = {m: set() for m in range(g.input_size[axis])}
        for o, tap in np.ndindex(g.sources(axis).shape):
            if g.sources(axis)[o, tap] >= 0:
                reached[int(g.sources(axis)[o, tap])].add((o, tap))
        seen = []
        for phase in g.phases(axis):
            outputs = range(g.input_size[axis])[phase.outputs]
            taps = list(range(g.kernel_size[axis])[phase.taps])[::-1]
            for j, m in enumerate(outputs):
                seen.append(m)
                windows = [j + i * phase.dilation - phase.padding[0] for i in range(len(taps))]
                met = {
                    (o, tap)
                    for o, tap in zip(windows, taps, strict=True)
                    if 0 <= o < g.output_size[axis]
                }
                assert met == reached[m], (g, axis, phase, m)
            if taps:
                reach = (len(taps) - 1) * phase.dilation + 1
                assert len(outputs) == g.output_size[axis] + sum(phase.padding) - reach + 1
        assert sorted(seen) == list(range(g.input_size[axis]))

"""What `native/bindings.cpp` offers."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

class Plan:
    def __init__(
        self,
        axes: Sequence[Sequence[int]],
        phases: Sequence[Sequence[Sequence[int]]],
        groups: int,
        in_channels: int,
        out_channels: int,
        channels_last: bool,
        transposed: bool,
        /,
    ) -> None: ...
    def run(
        self,
        path: int,
        x: NDArray[np.floating[Any]],
        kernel: NDArray[np.floating[Any]],
        y: NDArray[np.floating[Any]],
        /,
    ) -> None: ...

def empty(shape: Sequence[int], wide: bool, /) -> NDArray[np.floating[Any]]: ...
def target() -> str: ...
def best_target() -> str: ...
def use_target(target: int, /) -> str: ...
def threads() -> int: ...

"""How tensors are computed: by the compiled kernels wherever they can, or by PyTorch alone."""

from collections.abc import Iterator
from typing import Any

import pytest

from linconv.engines import torch_engine


def each_way(torch: Any) -> Any:
    """Return a fixture that runs a test both ways, however small its tensors are."""
    torch.set_num_threads(1)  # on arrays this small, threads only wait for each other

    @pytest.fixture(params=["kernels", "operations"])
    def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
        chosen: str = request.param
        least = 0 if chosen == "kernels" else 2**62
        monkeypatch.setattr(torch_engine, "LEAST", dict.fromkeys(torch_engine.LEAST, least))
        torch_engine.pays.cache_clear()
        yield chosen
        torch_engine.pays.cache_clear()

    return way

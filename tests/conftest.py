"""Settings of the suite, the published figures as fixtures."""

import json
import os
from pathlib import Path
from typing import Any

import hypothesis
import pytest

# Keras reads its backend when it is imported, and JAX its platform.
os.environ.setdefault("KERAS_BACKEND", "jax")
os.environ.setdefault("JAX_PLATFORMS", "cpu")
# What XLA compiles here runs once or twice: to make it fast takes longer than to run it.
os.environ.setdefault(
    "XLA_FLAGS",
    "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true",
)
# Workers share the cores: more threads than cores would wait for each other.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

# The same examples in every run: a red run can be repeated, and no run is slower by chance.
hypothesis.settings.register_profile(
    "linconv",
    derandomize=True,
    deadline=None,
    database=None,
    max_examples=60,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("linconv")

DATA = Path(__file__).parent / "data"


def _load(name: str) -> dict[str, Any]:
    return json.loads((DATA / name).read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def course() -> dict[str, Any]:
    """The figures of the course's experiment."""
    return _load("course_experiment.json")


@pytest.fixture(scope="session")
def published() -> dict[str, Any]:
    """Figures published elsewhere, each with its source."""
    return _load("published_figures.json")

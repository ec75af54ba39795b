"""What the tests of the study share."""

from __future__ import annotations

import pytest


@pytest.fixture
def folder(tmp_path):
    """Return an empty folder with spaces in its name."""
    path = tmp_path / "my own files"
    path.mkdir()
    return path

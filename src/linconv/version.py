"""The version, said once for those who import and once in `pyproject.toml`."""

__version__ = "0.1.0"

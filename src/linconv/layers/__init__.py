"""Layers of real frameworks: read, written, compared, inspected."""

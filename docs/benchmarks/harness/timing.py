"""Interleaved timing, as the package does it."""

from e3hyena.testing.timing import interleave

__all__ = ["interleave"]

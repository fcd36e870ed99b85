"""Measurements behind the documentation; not installed."""

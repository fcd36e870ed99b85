"""Measurements of speed and memory, each a function of a config."""

"""Coordinates about the middle of their molecule."""

import numpy as np


def centred(pos: np.ndarray, counts: np.ndarray | None = None) -> np.ndarray:
    """Subtract the mean of every molecule, in float64: first of all, before any cast.

    A float32 keeps seven digits: of a molecule 1,000,000 Angstrom from the origin it keeps .06
    Angstrom, of a centred one 1e-7. Networks do not feel the shift.
    """
    pos = np.asarray(pos, np.float64)
    counts = np.array([len(pos)]) if counts is None else np.asarray(counts)
    graph = np.repeat(np.arange(len(counts)), counts)
    total = np.zeros((len(counts), 3))
    np.add.at(total, graph, pos)
    return pos - (total / np.maximum(counts, 1)[:, None])[graph]

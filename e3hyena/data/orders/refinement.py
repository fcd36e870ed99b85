"""A total order of atoms from invariants: refine, place one of what is tied, refine again."""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Colour = NDArray[np.int64]


def distances(pos: Array) -> Array:
    """All pair distances, ``(N, N)``; bit for bit the same however the atoms are listed."""
    x, y, z = (pos[:, None] - pos[None]).transpose(2, 0, 1)
    return np.sqrt(x * x + y * y + z * z)


def rank(keys: list[Array], distance: Array, tolerance: float) -> Colour:
    """Place of every atom, ``(N,)``.

    Where distances tie too, the atom with the smallest weighted sum of its sorted distances goes
    first (compared exactly; then the listing decides), and distances *to it* decide what was tied
    before. So near-ties that belong together, such as the two sides of an almost symmetric
    molecule, are broken together: whichever atom goes first, the results are related by the (almost
    exact) symmetry.
    """
    colour = np.zeros(len(distance), dtype=np.int64)
    for key in keys:
        colour = _split(colour, key, tolerance)
    colour = refine(colour, distance, tolerance)
    while len(colour) and colour.max() + 1 < len(colour):
        tied = np.flatnonzero(colour == np.flatnonzero(np.bincount(colour) > 1)[0])
        rows = _signature(colour, distance)[tied]
        first = tied[np.argmin((rows / np.arange(1, rows.shape[1] + 1)).sum(axis=1))]
        later = colour >= colour[first]
        later[first] = False
        colour = refine(colour + later, distance, tolerance)
    return colour


def refine(colour: Colour, distance: Array, tolerance: float) -> Colour:
    """Split classes by the sorted distances to every class until nothing changes, ``(N,)``."""
    count = 0
    while len(colour) and count < colour.max() + 1 < len(colour):
        count = colour.max() + 1
        for column in _signature(colour, distance).T:
            colour = _split(colour, column, tolerance)
            if colour.max() + 1 == len(colour):
                break
    return colour


def _signature(colour: Colour, distance: Array) -> Array:
    """Row i: the distances of atom i to all atoms, sorted within every class, ``(N, N)``."""
    by_class = np.argsort(colour, kind="stable")
    rows = distance[:, by_class]
    inside = np.lexsort((rows, np.broadcast_to(colour[by_class], rows.shape)), axis=1)
    return np.take_along_axis(rows, inside, axis=1)


def _split(colour: Colour, key: Array, tolerance: float) -> Colour:
    """Split every class where its sorted keys leave a gap above the tolerance."""
    order = np.lexsort((key, colour))
    colour_step = np.diff(colour[order], prepend=colour[order[:1]]) > 0
    key_step = np.diff(key[order], prepend=key[order[:1]]) > tolerance
    result = np.empty_like(colour)
    result[order] = np.cumsum(colour_step | key_step)
    return result

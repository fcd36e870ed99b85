"""Cumulenes with donors and acceptors at one end: the charge that arrives at the other one."""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np

from benchmarks.data.chains import DISPLACEMENT, HCC, charges_of, straight

# Atomic numbers, and places along and across the bond to the chain (Angstrom); all are planar.
GROUPS = {
    "H": [(1, 1.09, 0.0)],
    "F": [(9, 1.33, 0.0)],
    "Cl": [(17, 1.72, 0.0)],
    "CN": [(6, 1.43, 0.0), (7, 2.59, 0.0)],
    "OH": [(8, 1.36, 0.0), (1, 1.65, 0.92)],
    "NH2": [(7, 1.37, 0.0), (1, 1.87, 0.87), (1, 1.87, -0.87)],
    "BH2": [(5, 1.54, 0.0), (1, 2.14, 1.03), (1, 2.14, -1.03)],
    "NO2": [(7, 1.46, 0.0), (8, 2.02, 1.08), (8, 2.02, -1.08)],
}
ENDS = list(itertools.combinations_with_replacement(GROUPS, 2))
LENGTHS = (10, 12, 14)  # carbons


class Ended(NamedTuple):
    """A chain whose last three atoms are the far CH2; charges (e) of these three.

    Chains of a group differ in their near end alone.
    """

    z: np.ndarray
    pos: np.ndarray
    charges: np.ndarray
    group: int


def build(num_carbons: int, near: tuple[str, str]) -> tuple[np.ndarray, np.ndarray]:
    """The planar chain along z whose first carbon holds two groups instead of hydrogens."""
    z, pos = straight(num_carbons)
    angle = np.deg2rad(HCC)
    numbers, places = [], []
    for name, side in zip(near, (1, -1), strict=True):
        along = np.array([side * np.sin(angle), 0, np.cos(angle)])
        across = side * np.array([-np.cos(angle), 0, side * np.sin(angle)])
        numbers += [number for number, _, _ in GROUPS[name]]
        places += [x * along + y * across for _, x, y in GROUPS[name]]
    # The far CH2 at the very end: its carbon, then its hydrogens.
    return np.concatenate([numbers, z[2:]]), np.concatenate([places, pos[2:]])


def draw(test: bool, size: int, seed: int) -> list[Ended]:
    """Chains with labels; every third pair of groups at the near end is for the test alone.

    Atoms are displaced as in `chains`. In the test eight chains share the displacements of the
    chain, so that whatever a local network predicts for the far end is equal among them.
    """
    ends = [pair for i, pair in enumerate(ENDS) if (i % 3 == 1) == test]
    found = []
    for i in range(size):
        group = i // 8 if test else i
        random = np.random.default_rng([seed, test, group])
        num_carbons = int(random.choice(LENGTHS))
        shift = DISPLACEMENT * random.standard_normal((num_carbons + 2, 3))
        random = np.random.default_rng([seed, test, group, i])
        z, pos = build(num_carbons, ends[random.integers(len(ends))])
        pos[-len(shift) :] += shift
        found.append(Ended(z, pos, charges_of(z, pos)[-3:], group))
    return found

"""Cumulenes H2C=(C)n-2=CH2: their energy depends on how one end is turned against the other."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from e3hyena._extras import require
from e3hyena.training.files import atomic_path

SPLITS = {"train": 1000, "val": 100, "test": 200}
GROUP = 8  # structures of a group: they differ in their torsion alone
CC, CH, HCC = 1.28, 1.09, 121.5  # Angstrom, degrees
DISPLACEMENT = 0.02  # Angstrom, standard deviation of every coordinate
TEMPERATURE = 300.0  # K, of the electrons
BOHR, HARTREE = 0.529177210544, 27.211386245981  # Angstrom, eV (CODATA 2022)
KELVIN = 3.166811563e-6  # Hartree


class Chains(NamedTuple):
    """Chains of equal length, atoms listed from end to end.

    Attributes
    ----------
    z : ndarray of shape (num_atoms,)
        Atomic numbers, the same in all.
    pos : ndarray of shape (num_chains, num_atoms, 3)
        Angstrom.
    torsion : ndarray of shape (num_chains,)
        Angle between the planes of the two ends, degrees, before atoms are displaced.
    group : ndarray of shape (num_chains,)
        Chains with equal numbers differ in their torsion alone.
    energy : ndarray of shape (num_chains,)
        eV, relative to the straight, planar chain of as many carbons.
    force : ndarray of shape (num_chains, num_atoms, 3)
        eV per Angstrom.
    """

    z: np.ndarray
    pos: np.ndarray
    torsion: np.ndarray
    group: np.ndarray
    energy: np.ndarray
    force: np.ndarray


def straight(num_carbons: int) -> tuple[np.ndarray, np.ndarray]:
    """Atomic numbers and positions of the planar chain along z: H, H, carbons, H, H.

    Examples
    --------
    >>> z, pos = straight(3)
    >>> z.tolist(), pos[2:5, 2].tolist()
    ([1, 1, 6, 6, 6, 1, 1], [0.0, 1.28, 2.56])
    """
    if num_carbons < 3:
        raise ValueError(f"num_carbons={num_carbons}; a cumulene has at least 3")
    carbons = np.zeros((num_carbons, 3))
    carbons[:, 2] = CC * np.arange(num_carbons)
    angle = np.deg2rad(HCC)
    left = CH * np.array([[np.sin(angle), 0, np.cos(angle)], [-np.sin(angle), 0, np.cos(angle)]])
    right = left * [1, 1, -1] + carbons[-1]
    return np.array([1, 1, *[6] * num_carbons, 1, 1]), np.concatenate([left, carbons, right])


def turn(pos: np.ndarray, torsion: float) -> np.ndarray:
    """The second half of a chain, with what is displaced in it, turned about z by degrees."""
    angle = np.deg2rad(torsion)
    rotation = np.array(
        [[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]]
    )
    first = (len(pos) + 1) // 2
    return np.concatenate([pos[:first], pos[first:] @ rotation.T])


def draw(split: str, num_carbons: int, size: int, seed: int = 0) -> Chains:
    """Chains without labels; fewer of them are the first of more.

    Every coordinate is displaced by a normal of `DISPLACEMENT`, then the second half is turned by
    0 to 90 degrees. In ``test`` `GROUP` chains share their displacements, and sideways only the
    ends are displaced: the two hydrogens, their carbon and the next one. All between lies on the
    axis, so that no neighbourhood that misses one of the ends changes with the torsion, but for a
    rotation: whatever a local network predicts is equal within a group.
    """
    z, planar = straight(num_carbons)
    pos, torsion, group = [], [], []
    of_group = GROUP if split == "test" else 1
    for i in range(-(-size // of_group)):
        random = np.random.default_rng([seed, list(SPLITS).index(split), num_carbons, i])
        shift = DISPLACEMENT * random.standard_normal(planar.shape)
        if split == "test":
            shift[4:-4, :2] = 0
        for angle in random.uniform(0, 90, of_group):
            pos.append(turn(planar + shift, angle))
            torsion.append(angle)
            group.append(i)
    drawn = (np.stack(pos)[:size], np.array(torsion)[:size], np.array(group)[:size])
    return Chains(z, *drawn, energy=np.zeros(size), force=np.zeros((size, *planar.shape)))


def _point(z: np.ndarray, pos: np.ndarray, charge: int = 0) -> Any:
    """A single point by GFN2-xTB, electrons at `TEMPERATURE`."""
    interface = require("tblite.interface", "label")
    calculator = interface.Calculator("GFN2-xTB", z, pos / BOHR, charge=charge)
    calculator.set("verbosity", 0)
    calculator.set("temperature", KELVIN * TEMPERATURE)
    calculator.set("max-iter", 1000)
    if charge:
        calculator.set("mixer-damping", 0.2)  # ions far apart converge slowly
    return calculator.singlepoint()


def label(z: np.ndarray, pos: np.ndarray) -> tuple[float, np.ndarray]:
    """Energy (eV) and forces (eV/Angstrom)."""
    result = _point(z, pos)
    return HARTREE * result.get("energy"), -HARTREE / BOHR * result.get("gradient")


def energy_of(z: np.ndarray, pos: np.ndarray, charge: int) -> float:
    """Energy of an ion (eV)."""
    return float(HARTREE * _point(z, pos, charge).get("energy"))


def charges_of(z: np.ndarray, pos: np.ndarray) -> np.ndarray:
    """Mulliken charges (e)."""
    charges: np.ndarray = _point(z, pos).get("charges")
    return charges


def load(
    folder: str | os.PathLike[str],
    split: str,
    num_carbons: int = 17,
    size: int | None = None,
    seed: int = 0,
) -> Chains:
    """Chains with labels, from the cache in `folder` or computed and put there.

    Parameters
    ----------
    folder : path
        Made if it is not there. A file for every choice of what follows.
    split : {"train", "val", "test"}
    num_carbons : int
    size : int, optional
        Number of chains; by default that in `SPLITS`.
    seed : int

    Raises
    ------
    ValueError
        If the split is unknown, or the chain too short.
    """
    if split not in SPLITS:
        raise ValueError(f"split={split!r} is unknown; use one of {', '.join(SPLITS)}")
    size = SPLITS[split] if size is None else size
    path = Path(folder) / f"chains-{num_carbons}-{split}-{size}-{seed}.npz"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        chains = draw(split, num_carbons, size, seed)
        planar = label(*straight(num_carbons))[0]
        energy, force = zip(*(label(chains.z, pos) for pos in chains.pos), strict=True)
        chains = chains._replace(energy=np.array(energy) - planar, force=np.stack(force))
        with atomic_path(path) as temporary:
            np.savez_compressed(temporary, **chains._asdict())
    with np.load(path) as file:
        return Chains(**file)


def within_groups(values: np.ndarray, group: np.ndarray) -> np.ndarray:
    """What is left of values when the mean of their group is taken off.

    Examples
    --------
    >>> within_groups(np.array([1.0, 3.0, 7.0]), np.array([0, 0, 1])).tolist()
    [-1.0, 1.0, 0.0]
    """
    _, index = np.unique(group, return_inverse=True)
    return values - (np.bincount(index, values) / np.bincount(index))[index]


def floor(chains: Chains) -> float:
    """Root mean square error within groups of every prediction that is equal within them (eV)."""
    return float(np.sqrt(np.mean(within_groups(chains.energy, chains.group) ** 2)))

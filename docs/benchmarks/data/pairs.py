"""Pairs of molecules and ions, 3 to 15 A apart, with their interaction by GFN2-xTB."""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np

from benchmarks.data.chains import energy_of
from e3hyena._extras import require

MONOMERS = {  # SMILES and charge
    "methylammonium": ("C[NH3+]", 1),
    "tetramethylammonium": ("C[N+](C)(C)C", 1),
    "nitrate": ("O=[N+]([O-])[O-]", -1),
    "formamide": ("NC=O", 0),
}
DISTANCES = 3.0, 15.0  # Angstrom, of the closest atoms


class Pair(NamedTuple):
    """Two monomers: atomic numbers, positions (A), distance of the closest atoms, energy (eV).

    The energy is that of the pair less those of the monomers, whose geometries are rigid.
    """

    z: np.ndarray
    pos: np.ndarray
    distance: float
    energy: float


@functools.cache
def monomer(name: str) -> tuple[np.ndarray, np.ndarray, int, float]:
    """Atomic numbers, positions about their mean, charge and energy, by RDKit and MMFF94."""
    chem, forms = require("rdkit.Chem", "chem"), require("rdkit.Chem.AllChem", "chem")
    smiles, charge = MONOMERS[name]
    molecule = chem.AddHs(chem.MolFromSmiles(smiles))
    forms.EmbedMolecule(molecule, randomSeed=0)
    forms.MMFFOptimizeMolecule(molecule)
    z = np.array([atom.GetAtomicNum() for atom in molecule.GetAtoms()])
    pos = molecule.GetConformer().GetPositions()
    return z, pos - pos.mean(axis=0), charge, energy_of(z, pos, charge)


def apart(first: np.ndarray, second: np.ndarray, direction: np.ndarray, distance: float) -> float:
    """How far the second is moved so that its closest atom is at that distance of the first."""
    low, high = 0.0, 50.0
    for _ in range(50):
        middle = (low + high) / 2
        between = first[:, None] - second - middle * direction
        closer = np.linalg.norm(between, axis=-1).min() < distance
        low, high = (middle, high) if closer else (low, middle)
    return high


def draw(size: int, seed: int) -> list[Pair]:
    """Pairs of any two monomers, in any orientation; fewer of them are the first of more."""
    rotation = require("scipy.spatial.transform", "chem").Rotation
    pairs = []
    for i in range(size):
        random = np.random.default_rng([seed, i])
        (z, first, charge, energy), (other, second, more, rest) = (
            monomer(name) for name in random.choice(list(MONOMERS), 2)
        )
        first, second = (
            pos @ rotation.random(random_state=random.integers(2**31)).as_matrix()
            for pos in (first, second)
        )
        distance = random.uniform(*DISTANCES)
        direction = np.array([0.0, 0.0, 1.0])
        second = second + apart(first, second, direction, distance) * direction
        z, pos = np.concatenate([z, other]), np.concatenate([first, second])
        total = energy_of(z, pos, charge + more)
        pairs.append(Pair(z, pos, distance, total - energy - rest))
    return pairs

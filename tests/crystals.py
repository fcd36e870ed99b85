"""Cells of silicon, salt and ice that several tests share."""

from typing import Any

import numpy as np
import pytest

ase = pytest.importorskip("ase")
build = pytest.importorskip("ase.build")

CRYSTALS = ["silicon", "salt", "ice"]


def crystal(name: str) -> Any:
    """Two, eight and twenty-four atoms, off their places and in a sheared cell."""
    if name == "silicon":
        atoms = build.bulk("Si", "diamond", a=5.43)
    elif name == "salt":
        atoms = build.bulk("NaCl", "rocksalt", a=5.64, cubic=True)
    else:  # eight molecules of water; in ice their oxygens are the atoms of wurtzite
        oxygen = build.bulk("ZnO", "wurtzite", a=4.52, c=7.36).repeat((2, 1, 1))
        atoms = ase.Atoms(cell=oxygen.cell, pbc=True)
        for number, place in enumerate(oxygen.positions):
            water = build.molecule("H2O")
            water.rotate(70 * number, (1, number, 2), center=water.positions[0])
            water.translate(place - water.positions[0])
            atoms += water
    atoms.rattle(0.05, seed=1)
    shear = np.array([[1.02, 0.03, 0.0], [0.0, 0.99, -0.02], [0.01, 0.0, 1.0]])
    atoms.set_cell(atoms.cell.array @ shear, scale_atoms=True)
    return atoms

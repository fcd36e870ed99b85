"""Frames of ASE's trajectories."""

from e3hyena._extras import require
from e3hyena.data.readers.base import Structure, reading
from e3hyena.data.readers.notes import notes_of


def read_trajectory(file: str) -> list[Structure]:
    """Read every frame of a .traj file."""
    structures = []
    with reading(repr(file), ".traj"):
        trajectory = require("ase.io.trajectory", "chem").Trajectory(file)
    with trajectory:
        for number in range(len(trajectory)):
            with reading(f"{file!r}, molecule {number}", ".traj"):
                atoms = trajectory[number]
                name = str(atoms.info.get("name", ""))
                structures.append(Structure(file, number, atoms, name, notes_of(atoms)))
    return structures

"""Molecules from files of many formats."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch_geometric.data import Batch, Data

from e3hyena._extras import require
from e3hyena.data import biomolecules
from e3hyena.data.readers.base import Structure, read_content
from e3hyena.data.readers.csv_table import read_csv
from e3hyena.data.readers.notes import notes_of
from e3hyena.data.readers.sdf import read_sdf
from e3hyena.data.readers.smiles import read_smi
from e3hyena.data.readers.trajectory import read_trajectory
from e3hyena.data.readers.xyz import read_xyz

__all__ = ["Structure", "as_structures", "read_structures"]

READERS: dict[str, Callable[[str, Any], list[Structure]]] = {
    ".xyz": read_xyz,
    ".extxyz": read_xyz,
    ".sdf": read_sdf,
    ".mol": read_sdf,
    ".smi": read_smi,
    ".csv": read_csv,
    **dict.fromkeys(biomolecules.SUFFIXES, biomolecules.read_biomolecules),
}
SUFFIXES = (*READERS, ".traj")
LARGEST = 1e7  # Angstrom across a molecule


def read_structures(file: str | os.PathLike[str]) -> list[Structure]:
    """Read every molecule of a file; one that cannot be used is a ValueError that names it.

    ============================== ============================================================
    .xyz, .extxyz                  frames; ``key=value`` on the comment line is read as ASE
                                   does, other words are the name
    .sdf, .mol                     records, V2000 or V3000, in three dimensions
    .smi                           one SMILES per line and its name; geometries by
                                   `e3hyena.data.readers.smiles.from_smiles`
    .csv                           one SMILES per line in the column ``smiles``, see `read_csv`
    .pdb, .ent, .cif, .mmcif,      entries, the first model of each, see `read_biomolecule`
    .mmtf
    .traj                          frames, as ASE writes them
    ============================== ============================================================
    """
    path = Path(file)
    if not path.is_file():
        hint = "" if path.suffix else "; a SMILES goes into a file with the ending .smi"
        raise FileNotFoundError(f"there is no file {str(file)!r}{hint}")
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise ValueError(f"{str(file)!r}: the format must be one of {', '.join(SUFFIXES)}")
    require("ase.io", "chem")
    empty = not path.stat().st_size
    if suffix == ".traj":
        structures = [] if empty else read_trajectory(str(file))
    else:
        content = read_content(path)
        structures = READERS[suffix](str(file), content) if content.strip() else []
    if not structures:
        raise ValueError(f"{str(file)!r} is empty: it must hold at least one molecule")
    for structure in structures:
        _check(structure)
    return structures


def as_structures(molecules: Any) -> list[Structure]:
    """Molecules of files and of memory."""
    if isinstance(molecules, Structure) or not isinstance(molecules, Sequence | Batch | Data):
        molecules = [molecules]
    elif isinstance(molecules, str | Data | Batch):
        molecules = molecules.to_data_list() if isinstance(molecules, Batch) else [molecules]
    structures: list[Structure] = []
    for number, molecule in enumerate(molecules):
        if isinstance(molecule, str | os.PathLike):
            structures.extend(read_structures(molecule))
        elif isinstance(molecule, Batch):
            structures.extend(as_structures(molecule))
        else:
            structures.append(_in_memory(molecule, number))
            _check(structures[-1])
    return structures


def _in_memory(molecule: Any, number: int) -> Structure:
    ase = require("ase", "chem")
    if isinstance(molecule, Structure):
        return molecule
    if isinstance(molecule, ase.Atoms):
        name = str(molecule.info.get("name", ""))
        return Structure("", number, molecule, name, notes_of(molecule))
    if not isinstance(molecule, Data):
        raise TypeError(
            f"molecule {number} is a {type(molecule).__name__}; give the path of a file, atoms of "
            "ASE, or a Data or Batch of PyG"
        )
    if "z" not in molecule or "pos" not in molecule:
        raise ValueError(f"molecule {number} has no z and pos, but {list(molecule.keys())}")
    numbers, pos = molecule.z.detach().cpu().numpy(), molecule.pos.detach().cpu().double().numpy()
    if numbers.ndim != 1 or numbers.dtype.kind not in "iu" or pos.shape != (len(numbers), 3):
        raise ValueError(
            f"molecule {number}: z is {numbers.dtype} of shape {numbers.shape} and pos of shape "
            f"{pos.shape}; wanted integers (num_atoms,) and (num_atoms, 3)"
        )
    atoms = ase.Atoms(numbers, pos, **_lattice(molecule, number))
    own = ("z", "pos", "name", "cell", "pbc")
    known = {key: molecule[key] for key in molecule.keys() if key not in own}
    name = molecule.name if isinstance(molecule.get("name"), str) else ""
    nodes = {key: value for key, value in known.items() if molecule.is_node_attr(key)}
    return Structure("", number, atoms, name, notes_of(atoms, known), (), nodes)


def _lattice(molecule: Data, number: int) -> dict[str, np.ndarray]:
    """Cell and periodic directions of a `Data`, for ASE; nothing of a molecule."""
    if molecule.get("cell") is None:
        return {}
    cell = molecule.cell.detach().cpu().double().numpy()
    pbc = np.ones(3, bool) if molecule.get("pbc") is None else molecule.pbc.cpu().numpy()
    if cell.shape not in ((3, 3), (1, 3, 3)) or pbc.shape not in ((3,), (1, 3)):
        raise ValueError(
            f"molecule {number}: cell has shape {cell.shape} and pbc {pbc.shape}; wanted (1, 3, 3) "
            "and (1, 3), or without the one"
        )
    return {"cell": cell.reshape(3, 3), "pbc": pbc.reshape(3)}


def _check(structure: Structure) -> None:
    where, atoms = structure.where, structure.atoms
    known = len(require("ase.data", "chem").chemical_symbols)
    if len(atoms) == 0:
        raise ValueError(f"{where}: it has no atoms; remove it")
    wrong = np.flatnonzero((atoms.numbers < 1) | (atoms.numbers >= known))
    if len(wrong):
        raise ValueError(
            f"{where}: atom {wrong[0]} has the atomic number {atoms.numbers[wrong[0]]}, which is "
            "no element"
        )
    if not np.isfinite(atoms.positions).all():
        atom = int(np.flatnonzero(~np.isfinite(atoms.positions).all(axis=1))[0])
        raise ValueError(f"{where}: the position of atom {atom} is not finite; correct the file")
    if not np.ptp(atoms.positions / LARGEST, axis=0).max() <= 1:
        raise ValueError(f"{where}: its atoms are more than {LARGEST:.0e} angstrom apart")
    vectors = atoms.cell.array[atoms.pbc]
    if not np.isfinite(vectors).all() or np.linalg.matrix_rank(vectors) < len(vectors):
        raise ValueError(
            f"{where}: it is periodic along lattice vectors {vectors.tolist()}, which are no cell; "
            "correct them, or set pbc to F"
        )

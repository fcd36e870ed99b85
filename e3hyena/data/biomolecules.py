"""Proteins, nucleic acids and their company from PDB, mmCIF and MMTF files, through gemmi."""

import os
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch_geometric.data import Data

from e3hyena._extras import require
from e3hyena.data.readers.base import Structure, read_content, reading
from e3hyena.data.readers.mmtf import read_entry

SUFFIXES = (".pdb", ".ent", ".cif", ".mmcif", ".mmtf")
SHARED = "\0"  # gemmi's mark of an atom that all alternatives share
# Columns of an atom in a PDB file that hold a number, and whether there must be one.
NUMBERS = {
    "x": (slice(30, 38), True),
    "y": (slice(38, 46), True),
    "z": (slice(46, 54), True),
    "occupancy": (slice(54, 60), False),
}


def read_biomolecule(
    file: str | os.PathLike[str],
    *,
    model: int | None = None,
    hetero: bool = True,
    water: bool = True,
    hydrogens: bool = True,
) -> Data:
    r"""Read one structure of a PDB, mmCIF or MMTF file.

    ==================== ======= ==================================================================
    field                type    what
    ==================== ======= ==================================================================
    ``z``                int64   atomic numbers, (N,)
    ``pos``              float32 positions about their mean, Angstrom, (N, 3)
    ``residue``          int64   number of the residue, from 0 in the order of the file, (N,)
    ``residue_number``   int64   its number in the file (the author's), (N,)
    ``insertion_code``   str     N letters, ``""`` mostly
    ``residue_name``     str     N names such as ``"ALA"``
    ``atom_name``        str     N names such as ``"CA"``
    ``chain``            str     N names of chains (the author's)
    ``hetero``           bool    the file calls it a hetero atom, (N,)
    ``serial``           int64   serial number of the atom in the file, (N,)
    ``origin``           float64 what was subtracted from the positions, (1, 3)
    ``name``             str     identifier of the entry, or the name of the file
    ==================== ======= ==================================================================

    `model` says which of several, from 1; without it the first is read, with a warning. `hetero`
    (ligands, ions, modified residues), `water` and `hydrogens` are kept where they are True.

    Atoms keep the order of the file; `ResidueOrder` sorts by chain, ``residue`` and ``serial``.

    Alternate locations: of a residue the alternative with the highest mean occupancy is kept (the
    first of equals), also where the alternatives are different residues; an atom that only another
    alternative has is taken from there. Residues 52 and 52A are two. Nothing is built: atoms and
    residues that the experiment did not see are not there, hydrogens neither, and symmetry mates
    and assemblies are not made. A crystal's cell is ignored.
    """
    path = Path(file)
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {str(file)!r}")
    if path.suffix.lower() not in SUFFIXES:
        raise ValueError(f"{str(file)!r}: the format must be one of {', '.join(SUFFIXES)}")
    options = {"model": model, "hetero": hetero, "water": water, "hydrogens": hydrogens}
    structures = read_biomolecules(str(file), read_content(path), options)
    if not structures or not len(structures[0].atoms):
        raise ValueError(f"{str(file)!r}: no atoms are left with {options}")
    graph = structures[0].graph()
    graph.origin = torch.from_numpy(structures[0].atoms.positions.mean(axis=0, keepdims=True))
    return graph


def read_biomolecules(
    file: str, content: Any, options: dict[str, Any] | None = None
) -> list[Structure]:
    """Read one model of every entry; `options` are those of `read_biomolecule`."""
    suffix = Path(file).suffix.lower()
    structures: list[Structure] = []
    found = _ENTRIES.get(suffix, _cif_entries)(content)
    while True:
        with reading(f"{file!r}, molecule {len(structures)}", suffix):
            entry = next(found, None)
            if entry is None:
                return structures
            structures.append(_structure(file, len(structures), entry, **(options or {})))


def _pdb_entries(text: str) -> Iterator[Any]:
    """Entries that END separates; gemmi reads the first one only."""
    gemmi = require("gemmi", "structures")
    entries: list[list[str]] = [[]]
    for line in text.split("\n"):
        entries[-1].append(line)
        if line[:6].strip().upper() == "END":
            entries.append([])
    first, any_atoms = 0, False
    for lines in entries:
        # gemmi takes words in the place of numbers for zero.
        atoms = [i for i, line in enumerate(lines) if line[:4].upper() in ("ATOM", "HETA")]
        for i in atoms:
            _check_numbers(lines[i], first + i + 1)
        if atoms:
            any_atoms = True
            entry = gemmi.read_pdb_string("\n".join(lines))
            entry.name = ""
            read = sum(model.count_atom_sites() for model in entry)
            if read != len(atoms):
                raise ValueError(f"it has {len(atoms)} lines of atoms, but gemmi reads {read}")
            yield entry
        first += len(lines)
    if not any_atoms:
        raise ValueError("there is no line ATOM or HETATM")


def _check_numbers(line: str, number: int) -> None:
    for name, (columns, needed) in NUMBERS.items():
        word = line[columns].strip()
        try:
            if (word or needed) and not np.isfinite(float(word)):
                raise ValueError
        except ValueError:
            raise ValueError(f"line {number}: {name} is {word!r}, not a finite number") from None


def _cif_entries(text: str) -> Iterator[Any]:
    """Blocks with atoms."""
    gemmi = require("gemmi", "structures")
    blocks = [
        (block, len(table))
        for block in gemmi.cif.read_string(text)
        if (table := block.find("_atom_site.", ["Cartn_x"])) and len(table)
    ]
    if not blocks:
        raise ValueError("there is no table _atom_site with Cartn_x, as mmCIF has it")
    for block, rows in blocks:
        entry = gemmi.make_structure_from_block(block)
        read = sum(model.count_atom_sites() for model in entry)
        if read != rows:
            raise ValueError(f"it has {rows} rows of atoms, but gemmi reads {read}")
        yield entry


def _mmtf_entry(content: bytes) -> Iterator[Any]:
    try:
        entry = read_entry(content)
    except KeyError as error:
        raise ValueError(f"it has no {error}") from None
    yield entry


_ENTRIES: dict[str, Callable[[Any], Iterator[Any]]] = {
    ".pdb": _pdb_entries,
    ".ent": _pdb_entries,
    ".mmtf": _mmtf_entry,
}


def _structure(
    file: str,
    number: int,
    entry: Any,
    model: int | None = None,
    hetero: bool = True,
    water: bool = True,
    hydrogens: bool = True,
) -> Structure:
    if model is None and len(entry) > 1:
        warnings.warn(
            f"{file!r}, molecule {number}: the first of {len(entry)} models is read; "
            "read_biomolecule(file, model=2) reads the second",
            stacklevel=2,
        )
    place = 1 if model is None else model
    if not 1 <= place <= len(entry):
        raise ValueError(f"model={model}, but there are {len(entry)}, counted from 1")
    rows = []
    lacking, charge, residues = 0, 0, 0
    for chain, residue, atoms in _residues(entry[place - 1]):
        kept = [atom for atom in atoms if hydrogens or not atom.element.is_hydrogen]
        if not (water if residue.is_water() else hetero or residue.het_flag != "H"):
            continue
        known = require("gemmi", "structures").find_tabulated_residue(residue.name)
        bare = known.hydrogen_count and not any(atom.element.is_hydrogen for atom in kept)
        lacking += bool(bare)
        for atom in kept:
            if not atom.element.atomic_number:
                raise ValueError(
                    f"atom {atom.serial} ({atom.name} of {residue.name} {residue.seqid}) has no "
                    "element"
                )
            rows.append((chain, residue, atom, residues))
            charge += atom.charge
        residues += 1
    notes = [f"charge {charge:+d}"] if charge else []
    if lacking:
        notes.append(f"{lacking} of {residues} residues without hydrogens")
    identifier = entry.info["_entry.id"] if "_entry.id" in entry.info else entry.name
    name = identifier or Path(file).stem
    return Structure(file, number, _atoms(rows, name), name, tuple(notes), (), _nodes(rows))


def _residues(model: Any) -> Iterator[tuple[str, Any, list[Any]]]:
    """Residues in the order of the file, with the atoms of one alternative each."""
    for chain in model:
        residues = [(residue, list(residue)) for residue in chain]
        alike: dict[Any, list[Any]] = defaultdict(list)  # residues with the same number
        for residue, atoms in residues:
            alike[residue.seqid.num, residue.seqid.icode].extend(atoms)
        best = {key: _most_occupied(atoms) for key, atoms in alike.items()}
        for residue, atoms in residues:
            key = residue.seqid.num, residue.seqid.icode
            label = best[key]
            labels = {atom.altloc for atom in atoms}
            alone = len(alike[key]) == len(atoms)
            if alone or label in labels or SHARED in labels or label is None:
                yield chain.name, residue, _one_of_each(atoms, label)


def _most_occupied(atoms: list[Any]) -> str | None:
    """The alternative with the highest mean occupancy, the first of equals, or None."""
    occupancies: dict[str, list[float]] = defaultdict(list)
    for atom in atoms:
        if atom.altloc != SHARED:
            occupancies[atom.altloc].append(atom.occ)
    return max(occupancies, key=lambda label: np.mean(occupancies[label]), default=None)


def _one_of_each(atoms: list[Any], label: str | None) -> list[Any]:
    """Shared atoms, and of those with alternatives that of `label`, else the most occupied."""
    best: dict[str, Any] = {}
    for atom in atoms:
        if atom.altloc != SHARED:
            rank = (atom.altloc == label, atom.occ)
            if atom.name not in best or rank > best[atom.name][0]:
                best[atom.name] = (rank, atom)
    return [atom for atom in atoms if atom.altloc == SHARED or best[atom.name][1] is atom]


def _nodes(rows: list[tuple[str, Any, Any, int]]) -> dict[str, Any]:
    numbers = {
        "residue": [index for *_, index in rows],
        "residue_number": [residue.seqid.num for _, residue, _, _ in rows],
        "serial": [atom.serial for _, _, atom, _ in rows],
    }
    return {
        **{
            key: torch.tensor(value, dtype=torch.long, device="cpu")
            for key, value in numbers.items()
        },
        "insertion_code": [residue.seqid.icode.strip() for _, residue, _, _ in rows],
        "residue_name": [residue.name for _, residue, _, _ in rows],
        "atom_name": [atom.name for _, _, atom, _ in rows],
        "chain": [chain for chain, *_ in rows],
        "hetero": torch.from_numpy(np.array([r.het_flag == "H" for _, r, _, _ in rows], bool)),
    }


def _atoms(rows: list[tuple[str, Any, Any, int]], name: str) -> Any:
    """The same for ASE, under its names; a column of a file has no blanks."""
    atoms = require("ase", "chem").Atoms(
        [atom.element.atomic_number for _, _, atom, _ in rows],
        np.array([atom.pos.tolist() for _, _, atom, _ in rows]).reshape(-1, 3),
        info={"name": name},
    )
    columns = {
        "atomtypes": [atom.name for _, _, atom, _ in rows],
        "residuenames": [residue.name for _, residue, _, _ in rows],
        "residuenumbers": [str(residue.seqid) for _, residue, _, _ in rows],
        "chains": [chain for chain, *_ in rows],
    }
    for key, words in columns.items():
        if words:
            atoms.set_array(key, np.array(["".join(word.split()) or "." for word in words]))
    return atoms

"""Records of .sdf and .mol files, through RDKit."""

import re
from typing import Any

from e3hyena._extras import require
from e3hyena.data.readers.base import Structure, number_or_text, reading, short
from e3hyena.data.readers.notes import notes_of

SEPARATOR = "$$$$"
END = "M  END"
# Number, symbol, three coordinates and the number of the atom map.
V3000_ATOM = re.compile(r"M  V30 \d+ (\S+)(?: \S+){3} \d+(?: |$)")


def read_sdf(file: str, text: str) -> list[Structure]:
    """Read every record, V2000 or V3000."""
    records: list[list[str]] = [[]]
    for line in text.split("\n"):
        if line.strip() == SEPARATOR:
            records.append([])
        else:
            records[-1].append(line)
    if not any(line.strip() for line in records[-1]):
        records.pop()
    structures = []
    for number, lines in enumerate(records):
        title = lines[0].strip() if lines else ""
        where = f"{file!r}, molecule {number}" + (f" ({short(title, 60)})" if title else "")
        with reading(where, ".sdf"):
            structures.append(_record(file, number, lines))
    return structures


def _record(file: str, number: int, lines: list[str]) -> Structure:
    if len(lines) < 4 or not lines[3][:3].strip().isdigit():
        raise ValueError("a record must begin with a V3000 or V2000 header of four lines")
    if lines[1][20:22].upper() == "2D":
        raise ValueError("it is a drawing (2D): give coordinates in three dimensions")
    ends = sum(line.rstrip() == END for line in lines)
    announced = -1
    if "V3000" not in lines[3]:
        announced = int(lines[3][:3])
        rows = lines[4 : 4 + announced]
        found = next((i for i, row in enumerate(rows) if len(row.split()) < 4), len(rows))
        if found < announced:
            raise ValueError(f"a record announces {announced} atoms but has {found}")
        rows = [_capitalised(row, 31, 34) for row in rows]
        lines = [*lines[:4], *rows, *lines[4 + announced :]]
    else:
        spans = ((line, V3000_ATOM.match(line)) for line in lines)
        lines = [_capitalised(line, *found.span(1)) if found else line for line, found in spans]
    if ends == 0:
        raise ValueError(f"there is no line {END!r}: it is cut off")
    if ends > 1:
        raise ValueError(f"there are {ends} lines {END!r}: two records lack {SEPARATOR} in between")
    chem = require("rdkit.Chem", "chem")
    with require("rdkit.rdBase", "chem").BlockLogs():
        supplier = chem.SDMolSupplier()
        supplier.SetData("\n".join([*lines, SEPARATOR, ""]), sanitize=False, removeHs=False)
        molecule = supplier[0] if len(supplier) == 1 else None
    if molecule is None or announced not in (-1, molecule.GetNumAtoms()):
        raise ValueError("RDKit finds numbers or words in it that the format does not have")
    return structure_of(file, number, molecule, lines[0].strip())


def _capitalised(row: str, start: int, end: int) -> str:
    """An atom of a record, its element in these columns written as everywhere else: Cl for CL."""
    symbol = row[start:end].strip().capitalize()
    known = require("ase.data", "chem").atomic_numbers
    if symbol not in known and symbol not in ("D", "T"):
        raise KeyError(symbol)
    return f"{row[:start]}{symbol:{end - start}}{row[end:]}"


def structure_of(file: str, number: int, molecule: Any, name: str) -> Structure:
    """The molecule of RDKit as atoms of ASE, with its data fields in ``info``."""
    chem, ase = require("rdkit.Chem", "chem"), require("ase", "chem")
    if not molecule.GetNumAtoms():
        return Structure(file, number, ase.Atoms(), name)
    with require("rdkit.rdBase", "chem").BlockLogs():
        molecule.UpdatePropertyCache(strict=False)
    numbers = [atom.GetAtomicNum() for atom in molecule.GetAtoms()]
    fields = {key: molecule.GetProp(key) for key in molecule.GetPropNames()}
    info = {
        key: number_or_text(value)
        for key, value in fields.items()
        if key.isidentifier() and key not in ("Lattice", "Properties", "pbc")
    }
    if name:
        info["name"] = name
    atoms = ase.Atoms(numbers, molecule.GetConformer().GetPositions(), info=info)
    notes = list(notes_of(atoms))
    charge = chem.GetFormalCharge(molecule)
    if charge and not any("charge" in note for note in notes):
        notes.append(f"charge {charge:+d}")
    unpaired = sum(atom.GetNumRadicalElectrons() for atom in molecule.GetAtoms())
    if unpaired:
        notes.append(f"{unpaired} unpaired electrons")
    if molecule.GetNumBonds():  # else there is no valence to look at
        implicit = sum(atom.GetNumImplicitHs() for atom in molecule.GetAtoms())
        notes = [note for note in notes if "hydrogens" not in note]
        if implicit:
            notes.append(f"{implicit} hydrogens are missing")
    return Structure(file, number, atoms, name, tuple(notes))

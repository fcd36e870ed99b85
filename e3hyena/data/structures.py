"""Molecules from .xyz, .extxyz and .sdf files, through ASE."""

import io
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from e3hyena._extras import require

__all__ = ["Structure", "read_structures"]

SUFFIXES = (".xyz", ".extxyz", ".sdf")


class Structure(NamedTuple):
    """One molecule of a file.

    Attributes
    ----------
    file : str
        The file as it was named.
    frame : int
        Number of the molecule in its file, from 0.
    atoms : ase.Atoms
        Positions in angstrom.
    """

    file: str
    frame: int
    atoms: Any


def read_structures(file: str | Path) -> list[Structure]:
    """Read every molecule of a file and check that it can be used.

    Parameters
    ----------
    file : str or Path
        .xyz or .extxyz with any number of frames, or .sdf (V2000) with any number of records.

    Returns
    -------
    structures : list of Structure

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the format is unknown, the file is empty or damaged, or a molecule has no atoms,
        positions that are not finite, or periodic boundaries.
    ImportError
        If the extra ``chem`` is not installed.
    """
    path = Path(file)
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {str(file)!r}")
    if path.suffix.lower() not in SUFFIXES:
        raise ValueError(f"{str(file)!r}: the format must be one of {', '.join(SUFFIXES)}")
    require("ase.io", "chem")
    try:
        text = path.read_text(encoding="utf-8")
        frames = _read_sdf(text) if path.suffix.lower() == ".sdf" else _read_xyz(text)
    except Exception as error:  # ASE's readers raise whatever the damage provokes
        cause = f"unknown element {error}" if isinstance(error, KeyError) else str(error)
        raise ValueError(
            f"{str(file)!r} cannot be read as {path.suffix} ({cause}): is it complete, and of that "
            "format?"
        ) from error
    if not frames:
        raise ValueError(f"{str(file)!r} is empty: it must hold at least one molecule")
    structures = [Structure(str(file), frame, atoms) for frame, atoms in enumerate(frames)]
    for structure in structures:
        _check(structure)
    return structures


def _read_xyz(text: str) -> list[Any]:
    # Frame by frame: ASE's reader stops without a word at a blank line between two frames.
    read = require("ase.io", "chem").read
    lines = text.splitlines(keepends=True)
    frames, start = [], 0
    while start < len(lines):
        if not lines[start].strip():
            start += 1
            continue
        try:
            end = start + 2 + int(lines[start])
        except ValueError as error:
            raise ValueError(f"line {start + 1} must be a number of atoms") from error
        if end > len(lines):
            raise ValueError(f"it ends within the molecule that begins at line {start + 1}")
        frames.append(read(io.StringIO("".join(lines[start:end])), format="extxyz"))
        start = end
    return frames


def _read_sdf(text: str) -> list[Any]:
    # Record by record: ASE reads the first one only, and fewer atoms than announced.
    read_sdf = require("ase.io.sdf", "chem").read_sdf
    frames = []
    for record in text.split("$$$$\n"):
        if not record.strip():
            continue
        lines = record.splitlines()
        if len(lines) < 4 or "V3000" in lines[3]:
            raise ValueError("each record must have a V2000 header of four lines")
        if lines[1][20:22].upper() == "2D":
            raise ValueError("a record is a drawing (2D): give coordinates in three dimensions")
        atoms = read_sdf(io.StringIO(record))
        if len(atoms) != int(lines[3][:3]):
            raise ValueError(f"a record announces {int(lines[3][:3])} atoms but has {len(atoms)}")
        frames.append(atoms)
    return frames


def _check(structure: Structure) -> None:
    where = f"{structure.file!r}, molecule {structure.frame}"
    atoms = structure.atoms
    if len(atoms) == 0:
        raise ValueError(f"{where}: it has no atoms; remove it")
    if not np.isfinite(atoms.positions).all():
        atom = int(np.flatnonzero(~np.isfinite(atoms.positions).all(axis=1))[0])
        raise ValueError(f"{where}: the position of atom {atom} is not finite; correct the file")
    if atoms.pbc.any():
        raise ValueError(f"{where}: it is periodic, but the model is for molecules; set pbc to F")

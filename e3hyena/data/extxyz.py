"""Energies and forces of the user's own, from extended-xyz files."""

import os
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from e3hyena.data.catalogue import Entry
from e3hyena.data.frames import FrameDataset, Frames, collate
from e3hyena.data.readers.base import short
from e3hyena.data.splits import check_split, file_of, random_part
from e3hyena.data.structures import Structure, read_structures
from e3hyena.data.targets import energies_with_forces, with_stress
from e3hyena.data.units import energy_factor, length_factor

SPLIT_SEED = 0


class ExtXYZ(FrameDataset):
    """Molecules or periodic cells with energies and forces, as ASE writes them.

    Every molecule has ``z`` (N,), ``pos`` (N, 3) in Angstrom about the mean of its atoms,
    ``energy`` (1,), ``force`` (N, 3) in ``energy_unit`` per Angstrom, and ``name``. Where any of
    them is periodic, all have ``cell`` (1, 3, 3), rows in Angstrom, and ``pbc`` (1, 3); where any
    has a label, ``stress`` (1, 3, 3) in ``energy_unit`` per cubic Angstrom, negative under pressure
    as in ASE, NaN where there is none. Everything is in memory, nothing is written. No network is
    told charges and spins: molecules that differ in them bring a warning.

    Parameters
    ----------
    path : str or path
        A file that `read_structures` reads, or a folder with the files ``train.extxyz``,
        ``val.extxyz`` and ``test.extxyz`` (or ``.xyz``).
    split : {"train", "val", "test"}, optional
        Of a file, a part drawn at random once and for all: 80, 10 and 10 percent; all of it by
        default. Of a folder, the file of that name (needed).
    transform : callable, optional
        Called on every `Data` that is taken out.
    energy_key, force_key : str
        Names in the file: of the energy on the comment line, and of the column of forces.
    stress_key : str
        Name on the comment line of 9 numbers, or 6 in the order of Voigt; without it, a ``virial``
        of as many, minus volume times stress, is read.
    file_energy_unit : {"eV", "kcal/mol", "kJ/mol", "Hartree", "Rydberg"}
        Unit in the file; eV is what ASE writes.
    file_length_unit : {"Angstrom", "Bohr", "nm"}
        Unit in the file, also in the denominator of its forces.
    energy_unit : {"eV", "kcal/mol", "kJ/mol", "Hartree", "Rydberg"}
        Unit wanted.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is damaged, a periodic cell has no volume, a molecule
        has no energy or forces of that name, or a unit or split is unknown.
    ImportError
        If the extra ``chem`` is not installed.

    Examples
    --------
    >>> import tempfile, ase.build, ase.io
    >>> from ase.calculators.emt import EMT
    >>> water = ase.build.molecule("H2O")
    >>> water.calc = EMT()
    >>> _ = water.get_forces()
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     ase.io.write(f"{folder}/water.extxyz", water)
    ...     dataset = ExtXYZ(f"{folder}/water.extxyz", energy_unit="kcal/mol")
    >>> len(dataset), f"{float(dataset[0].energy):.2f}", dataset[0].force.shape
    (1, '60.41', torch.Size([3, 3]))
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        split: str | None = None,
        transform: Callable | None = None,
        *,
        energy_key: str = "energy",
        force_key: str = "forces",
        stress_key: str = "stress",
        file_energy_unit: str = "eV",
        file_length_unit: str = "Angstrom",
        energy_unit: str = "eV",
    ) -> None:
        check_split(split)
        super().__init__(None, transform)
        self.energy_unit = energy_unit
        energy = energy_factor(file_energy_unit, energy_unit)
        length = length_factor(file_length_unit, "Angstrom")
        structures = read_structures(file_of(Path(path), split, (".extxyz", ".xyz")))
        labels = [_labels(structure, energy_key, force_key) for structure in structures]
        _warn_of_notes(structures)
        frames = Frames(
            counts=np.array([len(structure.atoms) for structure in structures]),
            z=np.concatenate([structure.atoms.numbers for structure in structures]),
            pos=np.concatenate([structure.atoms.positions for structure in structures]) * length,
            energy=np.array([label[0] for label in labels]) * energy,
            force=np.concatenate([label[1] for label in labels]) * (energy / length),
            name=[structure.name for structure in structures],
            cell=np.stack([structure.atoms.cell.array for structure in structures]) * length,
            pbc=np.stack([structure.atoms.pbc for structure in structures]),
            stress=np.stack([_stress(structure, stress_key) for structure in structures])
            * (energy / length**3),
        )
        self._data, self.slices = collate(frames)
        if split is not None and Path(path).is_file():
            self._select(random_part(len(structures), split, SPLIT_SEED))


def _warn_of_notes(structures: list[Structure]) -> None:
    """Equal charges are learned with the rest, different ones cannot be."""
    if len({structure.notes for structure in structures}) > 1:
        first = next(structure for structure in structures if structure.notes)
        warnings.warn(
            f"{first.where}: {', '.join(first.notes)}; other molecules differ, and no network is "
            "told: keep molecules of one charge and spin",
            stacklevel=3,
        )


def _labels(structure: Structure, energy_key: str, force_key: str) -> tuple[float, Any]:
    """Energy and forces of a molecule, wherever ASE put them."""
    atoms = structure.atoms
    results = {} if atoms.calc is None else atoms.calc.results
    energy = results.get(energy_key, atoms.info.get(energy_key))
    force = results.get(force_key, atoms.arrays.get(force_key))
    known = {**results, **atoms.info, **atoms.arrays}
    known = {key: value for key, value in known.items() if key not in ("numbers", "positions")}
    if not _is_real(energy, ()):
        raise ValueError(
            f"{structure.where}: no finite number energy_key={energy_key!r} on the comment line"
            + _found(energy, known, structure.hints)
        )
    if not _is_real(force, (len(atoms), 3)):
        raise ValueError(
            f"{structure.where}: no finite column force_key={force_key!r} of three numbers per atom"
            + _found(force, known, structure.hints)
        )
    return float(energy), force


def _stress(structure: Structure, key: str) -> Any:
    """Of a cell that is periodic in three directions, (3, 3); NaN where the file has none."""
    atoms = structure.atoms
    known = {**atoms.info, **({} if atoms.calc is None else atoms.calc.results)}
    key = key if key in known else "virial"
    shapes = (6,), (9,), (3, 3)
    if not atoms.pbc.all() or not any(_is_real(known.get(key), shape) for shape in shapes):
        return np.full((3, 3), np.nan)
    found = np.asarray(known[key], dtype=np.float64).reshape(-1)
    found = found / -atoms.get_volume() if key == "virial" else found
    return found[[0, 5, 4, 5, 1, 3, 4, 3, 2] if len(found) == 6 else slice(None)].reshape(3, 3)


def _is_real(value: Any, shape: tuple[int, ...]) -> bool:
    """Finite numbers of this shape: no words, no truth values."""
    value = np.asarray(value)
    return value.dtype.kind in "iuf" and value.shape == shape and bool(np.isfinite(value).all())


def _found(value: Any, known: Mapping[str, Any], hints: tuple[str, ...]) -> str:
    """What there is instead of a label, for its error."""
    value = np.asarray(value)
    what = ""
    if value.dtype != object:  # None
        what = f", but {value.dtype} of shape {value.shape}"
        what = f", but {value.item()!r}" if value.size == 1 else what
    names = short(", ".join([*sorted(known), *hints]) or "nothing", 500)
    return f"{short(what)}; it has {names}"


ENTRY = Entry(
    ExtXYZ,
    lambda options: with_stress(energies_with_forces(options, "eV")),
    size="files of your own",
    holds="energies and forces, stress of cells",
    download="",
    origin="files of the user",
    licence="the user's",
    root="file",
    cells=True,
)

"""The targets of QM9: names, units, order, and how they follow from the published columns.

Order, units, conversion factors and atomic reference energies are those of
`torch_geometric.datasets.QM9`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from e3nn import o3
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.datasets.qm9 import HAR2EV, atomrefs

from e3hyena.registry import CATALOGUE


@dataclass(frozen=True)
class Target:
    """One quantity that a model may learn.

    Attributes
    ----------
    name : str
        Short name, the key in `TARGETS`.
    unit : str
        Unit of the stored numbers.
    irreps : str
        Irreps of the quantity, one copy per molecule, or per atom.
    index : int or None
        Column of ``y``; None for a quantity with a field of its own, called like the target.
    description : str
        What it is, and the level of theory.
    has_forces : bool
        The quantity is an energy whose negative gradient is learned too (the field ``force``).
    has_stress : bool
        So is its derivative by a strain of the cell (the field ``stress``).
    summed : bool
        The quantity is a sum over atoms: it grows with the molecule, or is a dipole.
    per_atom : bool
        Every atom has one.
    parts : tuple of Target
        Several quantities that are learned together; made by `combine`.
    """

    name: str
    unit: str
    irreps: str
    index: int | None
    description: str
    has_forces: bool = False
    summed: bool = False
    per_atom: bool = False
    parts: "tuple[Target, ...]" = ()
    has_stress: bool = False

    @property
    def each(self) -> "tuple[Target, ...]":
        """The quantities: `parts`, or the target itself."""
        return self.parts or (self,)

    @property
    def dim(self) -> int:
        """Numbers per molecule or atom."""
        return o3.Irreps(self.irreps).dim

    def to_dict(self) -> dict[str, Any]:
        """Plain values as JSON has them, for files."""
        return {**asdict(self), "parts": [part.to_dict() for part in self.parts]}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Target":
        """The inverse of `to_dict`; also of what JSON made of it."""
        parts = tuple(cls.from_dict(part) for part in values.get("parts", ()))
        return cls(**{**values, "parts": parts})

    @property
    def quantity(self) -> str:
        """What the number itself is called: the task ``forces`` predicts an ``energy``."""
        return "energy" if self.has_forces else self.name

    def of(self, data: Data) -> Tensor:
        """The target of every molecule, (num_graphs, dim), or atom, (num_nodes, dim), in `unit`.

        Examples
        --------
        >>> from e3hyena.data import TARGETS, QM9Extract
        >>> molecule = QM9Extract()[0]
        >>> TARGETS["mu"].of(molecule).shape, TARGETS["dipole"].of(molecule).shape
        (torch.Size([1, 1]), torch.Size([1, 3]))
        """
        if self.index is not None:
            return data.y[:, self.index : self.index + 1]
        if self.quantity not in data:
            homes = [e.name for e in CATALOGUE.values() if self.name in e.targets({})]
            has = f"; {' and '.join(homes)} {'has' if len(homes) == 1 else 'have'} it"
            raise ValueError(
                f"target {self.quantity!r} ({self.description}) is not among the fields "
                f"{list(data.keys())} of this dataset{has if homes else ''}"
            )
        value = data[self.quantity]
        return value if value.dim() > 1 else value.unsqueeze(-1)


def combine(targets: Sequence[Target]) -> Target:
    """Several targets as one, learned together; one stays what it is."""
    if len(targets) == 1:
        return targets[0]
    for target in targets:
        if target.has_forces:
            raise ValueError(f"task {target.name!r} is learned alone, not beside other targets")
    return Target(
        name=", ".join(target.name for target in targets),
        unit=", ".join(target.unit for target in targets),
        irreps=" + ".join(target.irreps for target in targets),
        index=None,
        description="; ".join(target.description for target in targets),
        parts=tuple(targets),
    )


_B3LYP = "B3LYP/6-31G(2df,p)"
_Y = [
    ("mu", "D", f"norm of the dipole moment, {_B3LYP}"),
    ("alpha", "a0^3", f"isotropic polarizability, {_B3LYP}"),
    ("homo", "eV", f"energy of the highest occupied orbital, {_B3LYP}"),
    ("lumo", "eV", f"energy of the lowest unoccupied orbital, {_B3LYP}"),
    ("gap", "eV", f"lumo - homo, {_B3LYP}"),
    ("r2", "a0^2", f"electronic spatial extent, {_B3LYP}"),
    ("zpve", "eV", f"zero-point vibrational energy, {_B3LYP}"),
    ("U0", "eV", f"internal energy at 0 K, {_B3LYP}"),
    ("U", "eV", f"internal energy at 298.15 K, {_B3LYP}"),
    ("H", "eV", f"enthalpy at 298.15 K, {_B3LYP}"),
    ("G", "eV", f"free energy at 298.15 K, {_B3LYP}"),
    ("cv", "cal/(mol K)", f"heat capacity at 298.15 K, {_B3LYP}"),
    ("U0_atom", "eV", f"atomization energy at 0 K, {_B3LYP}"),
    ("U_atom", "eV", f"atomization energy at 298.15 K, {_B3LYP}"),
    ("H_atom", "eV", f"atomization enthalpy at 298.15 K, {_B3LYP}"),
    ("G_atom", "eV", f"atomization free energy at 298.15 K, {_B3LYP}"),
    ("A", "GHz", f"rotational constant, {_B3LYP}"),
    ("B", "GHz", f"rotational constant, {_B3LYP}"),
    ("C", "GHz", f"rotational constant, {_B3LYP}"),
]

_SUMMED = frozenset("alpha zpve U0 U H G cv U0_atom U_atom H_atom G_atom".split())

TARGETS: dict[str, Target] = {
    name: Target(name, unit, "0e", index, description, summed=name in _SUMMED)
    for index, (name, unit, description) in enumerate(_Y)
}
TARGETS["dipole"] = Target(
    "dipole", "D", "1o", None, "dipole vector in the frame of pos, GFN2-xTB (not QM9)", summed=True
)

FORCES = Target(
    "forces",
    "eV",
    "0e",
    None,
    "total energy and, as its negative gradient, forces",
    has_forces=True,
    summed=True,
)


def energies_with_forces(options: Mapping[str, Any], unit: str) -> dict[str, Target]:
    """Targets of a data set of energies with forces, whose `unit` the option may change.

    Examples
    --------
    >>> energies_with_forces({"energy_unit": "kcal/mol"}, "eV")["forces"].unit
    'kcal/mol'
    """
    return {FORCES.name: replace(FORCES, unit=options.get("energy_unit", unit))}


def with_stress(targets: Mapping[str, Target]) -> dict[str, Target]:
    """The same of a data set that may have labels of stress as well."""
    what = f"{FORCES.description}, and, as its derivative by a strain, stress of a periodic cell"
    stress = replace(targets[FORCES.name], name="stress", description=what, has_stress=True)
    return {**targets, stress.name: stress}


ELEMENTS = {"H": 1, "C": 6, "N": 7, "O": 8, "F": 9}

# The published columns that targets 0-11 and 16-18 come from, in this order, with the number of
# decimals printed (None: not fixed).
COLUMNS: dict[str, int | None] = {
    "Dipole_debye": 4,
    "Polarizability_bohr3": 2,
    "HOMO_au": 4,
    "LUMO_au": 4,
    "HOMO_LUMO_gap_au": 4,
    "R2_bohr2": 4,
    "ZPVE_au": 6,
    "InternalEnergy_0K_au": 6,
    "InternalEnergy_298K_au": 6,
    "Enthalphy_298K_au": 6,
    "GibbsFreeEnergy_298K_au": 6,
    "Heatcapacity_Cv_cal_mol_K": 3,
    "RotA_GHz": None,
    "RotB_GHz": None,
    "RotC_GHz": None,
}

_HARTREE = np.array([c.endswith("_au") for c in COLUMNS])


def raw_to_targets(raw: np.ndarray, z: np.ndarray, counts: np.ndarray) -> Tensor:
    """The 19 targets from the published columns.

    Energies are converted from Hartree to eV; the atomization energy of target 12 + k is target
    7 + k minus the reference energies of the atoms. All of it in float64, rounded once at the end.
    """
    values = np.where(_HARTREE, HAR2EV * raw, raw)
    references = np.zeros((4, max(ELEMENTS.values()) + 1))
    references[:, list(ELEMENTS.values())] = [atomrefs[target] for target in range(7, 11)]
    starts = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)[:-1]])
    of_atoms = np.add.reduceat(references[:, z], starts, axis=1).T
    y = np.hstack([values[:, :12], values[:, 7:11] - of_atoms, values[:, 12:]])
    return torch.from_numpy(y.astype(np.float32))

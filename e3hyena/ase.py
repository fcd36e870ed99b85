"""A calculator for ASE: trained networks in optimisers and molecular dynamics."""

import copy
import os
from typing import Any, NamedTuple

import torch
from torch import Tensor

from e3hyena._extras import require
from e3hyena.data.centring import centred
from e3hyena.data.structures import as_structures
from e3hyena.data.units import energy_factor
from e3hyena.models import energy_and_forces, energy_forces_stress
from e3hyena.ops.neighbours import neighbours
from e3hyena.training.accepted import check_structure, warn_of_notes
from e3hyena.training.checkpoint import ModelInfo
from e3hyena.training.device import device_of
from e3hyena.training.ensemble import Ensemble
from e3hyena.training.prediction import load

calculator: Any = require("ase.calculators.calculator", "chem")

__all__ = ["HyenaCalculator"]

# Energies that a geometry can be relaxed on, and their number in eV; a gap or a heat is none.
ENERGIES = ("forces", "stress", "U0", "U0_atom")
# What a network in memory predicts, by its irreps.
IRREPS = {"1x0e": "forces", "1x1o": "dipole"}

_Model = tuple[torch.nn.Module, ModelInfo | None]


class HyenaCalculator(calculator.Calculator):
    """Energy, forces, stress and dipole, predicted by networks that `e3hyena train` left.

    A network trained on the task ``forces`` (or on the energies ``U0`` or ``U0_atom`` of QM9) gives
    ``energy``, ``free_energy`` (the same) and ``forces``, its exact negative gradient, and of a
    periodic cell ``stress``, its derivative by a strain; one trained on ``dipole`` gives
    ``dipole``. The networks of the package, ``HyenaCalculator("pretrained")``, give ``dipole`` and
    ``charges``. Units are ASE's: eV, eV/Angstrom, eV/Angstrom^3, e Angstrom.

    Parameters
    ----------
    *checkpoints : str, path, (model, info), or nn.Module
        A ``model.pt``, or the output folder that holds it, or what `load_model` returned; one for
        the energy, one for the dipole, or both. Of a network alone, with ``irreps_out`` ``0e`` or
        ``1o`` and one result per molecule, the output is taken as it is: eV, or e Angstrom; it is
        copied, and any element is allowed.
    accelerator : {"auto", "cpu", "gpu"}
        Where to compute.
    dtype : torch.dtype
        float64 (default) keeps the energy of long trajectories free of rounding; float32 is faster
        for large molecules.
    skin : float
        By how much farther than the cutoff neighbours are listed (Angstrom): the list is used again
        until an atom has moved by half of it, or cell or elements change. The result is the same.
        Zero lists them in every step; 0.5 pays in dynamics of large structures.
    **options
        As in `ase.calculators.calculator.Calculator`.

    Raises
    ------
    ValueError
        If a checkpoint predicts something else, or two the same; in a calculation, if the structure
        has an element that the network was not trained on, or is periodic and the network cannot
        serve cells. Charges and spins, which no network is told, and missing hydrogens bring a
        warning.
    ImportError
        If the extra ``chem`` is not installed.

    Examples
    --------
    >>> from ase.build import molecule  # doctest: +SKIP
    >>> ethanol = molecule("CH3CH2OH")  # doctest: +SKIP
    >>> ethanol.calc = HyenaCalculator("runs/ethanol")  # doctest: +SKIP
    >>> ethanol.get_potential_energy(), ethanol.get_forces()  # doctest: +SKIP
    """

    def __init__(
        self,
        *checkpoints: str
        | os.PathLike[str]
        | tuple[torch.nn.Module, ModelInfo]
        | torch.nn.Module
        | Ensemble,
        accelerator: str = "cpu",
        dtype: torch.dtype = torch.float64,
        skin: float = 0.0,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.skin, self._listed = skin, _Listed()
        self.device, self.dtype = device_of(accelerator), dtype
        self.models: dict[str, _Model] = {}
        self.ensemble: Ensemble | None = None
        for checkpoint in checkpoints:
            loaded = _load(checkpoint)
            if isinstance(loaded, Ensemble):
                self.ensemble = copy.deepcopy(loaded).to(self.device, dtype).eval()
                continue
            model, info = loaded
            name = info.task.name if info else IRREPS.get(str(getattr(model, "irreps_out", "")), "")
            what = "energy" if name in ENERGIES else name
            if what not in ("energy", "dipole") or what in self.models:
                given = "a network in memory" if info is None else repr(str(checkpoint))
                raise ValueError(
                    f"{given} predicts {name or 'neither'}; give one network for the energy "
                    f"({', '.join(ENERGIES)}; irreps_out='0e'), one for the dipole ('1o'), or both"
                )
            # A copy: `to` would change the caller's network, too.
            self.models[what] = copy.deepcopy(model).to(self.device, dtype).eval(), info
        self._warned: set[tuple[str, ...]] = {()}
        if not self.models and self.ensemble is None:
            raise ValueError("no checkpoint given: name the model.pt that `e3hyena train` wrote")
        self.implemented_properties = []
        if "energy" in self.models:
            self.implemented_properties += ["energy", "free_energy", "forces", "stress"]
        if "dipole" in self.models:
            self.implemented_properties += ["dipole"]
        if self.ensemble is not None:
            self.implemented_properties += ["dipole", "charges"]

    def calculate(
        self,
        atoms: Any = None,
        properties: Any = ("energy",),
        system_changes: Any = calculator.all_changes,
    ) -> None:
        """Compute what the networks predict; ASE calls this."""
        super().calculate(atoms, properties, system_changes)
        (structure,) = as_structures(self.atoms)
        infos = [info for _, info in self.models.values()]
        if self.ensemble is not None:
            infos.append(self.ensemble.info)
            if outside := self.ensemble.outside(structure):
                structure = structure._replace(notes=(outside,))
        for info in infos:
            if info is not None:
                check_structure(structure, info)
        if structure.notes not in self._warned:
            self._warned.add(structure.notes)
            warn_of_notes([structure])
        z = torch.tensor(self.atoms.numbers, dtype=torch.long, device=self.device)
        pos = torch.tensor(centred(self.atoms.positions), dtype=self.dtype, device=self.device)
        lattice: dict[str, Any] = {}
        if self.atoms.pbc.any():
            lattice["cell"] = torch.tensor(
                self.atoms.cell.array, dtype=self.dtype, device=self.device
            )
            lattice["pbc"] = torch.tensor(self.atoms.pbc, device=self.device)
        cutoffs = [getattr(model, "cutoff", None) or 0.0 for model, _ in self.models.values()]
        if self.skin > 0 and max(cutoffs) > 0:
            self._listed = self._listed.updated(self.atoms, max(cutoffs), self.skin, pos, lattice)
            lattice["edge_index"] = self._listed.edge_index
            if "cell" in lattice:
                lattice["shifts"] = self._listed.shifts
        if "energy" in self.models:
            model, info = self.models["energy"]
            if self.atoms.pbc.any() and self.atoms.cell.rank == 3:
                energy, forces, stress = energy_forces_stress(model, z, pos, **lattice)
            else:
                energy, forces = energy_and_forces(model, z, pos, **lattice)
                stress = None
            total, scale = _in_units(energy, z, info)
            factor = energy_factor(info.task.unit, "eV") if info else 1.0
            if stress is not None:
                voigt = require("ase.stress", "chem").full_3x3_to_voigt_6_stress(
                    stress[0].cpu().double().numpy()
                )
                self.results["stress"] = voigt * float(scale) * factor
            forces = forces.cpu().double() * scale * factor
            self.results |= {
                "energy": float(total) * factor,
                "free_energy": float(total) * factor,
                "forces": forces.numpy(),
            }
        if self.ensemble is not None:
            with torch.no_grad():
                found = self.ensemble(z, pos)
            debye = require("ase.units", "chem").Debye
            self.results["dipole"] = found["dipole"][0].cpu().numpy() * debye
            self.results["charges"] = found["charges"][:, 0].cpu().numpy()
        if "dipole" in self.models:
            model, info = self.models["dipole"]
            with torch.no_grad():
                dipole, _ = _in_units(model(z, pos, **lattice), z, info)
            debye = require("ase.units", "chem").Debye if info else 1.0
            self.results["dipole"] = dipole[0].numpy() * debye


class _Listed(NamedTuple):
    """Neighbours within cutoff and skin, and of which atoms they are."""

    atoms: Any = None
    edge_index: Tensor | None = None
    shifts: Tensor | None = None

    def updated(
        self, atoms: Any, cutoff: float, skin: float, pos: Tensor, lattice: dict[str, Tensor]
    ) -> "_Listed":
        """The same list where it still holds all neighbours, or a new one."""
        old = self.atoms
        if (
            old is not None
            and len(old) == len(atoms)
            and (old.numbers == atoms.numbers).all()
            and (old.cell.array == atoms.cell.array).all()
            and (old.pbc == atoms.pbc).all()
            and ((old.positions - atoms.positions) ** 2).sum(axis=1).max(initial=0) < skin**2 / 4
        ):
            return self
        return _Listed(atoms.copy(), *neighbours(pos, cutoff + skin, **lattice))


def _load(checkpoint: Any) -> _Model | Ensemble:
    return (checkpoint, None) if isinstance(checkpoint, torch.nn.Module) else load(checkpoint)


def _in_units(output: Tensor, z: Tensor, info: ModelInfo | None) -> tuple[Tensor, Tensor | float]:
    """Property (1, dim) in its unit, and what an output of one is worth."""
    if output.shape[0] != 1:
        raise ValueError(
            f"the network gives {tuple(output.shape)} for one molecule; take pool='sum' or 'mean'"
        )
    output, z = output.cpu().double(), z.cpu()
    if info is None:
        return output, 1.0
    return info.scaling.to_property(output, z, torch.zeros_like(z)), info.scaling.scale

"""A calculator for ASE: trained networks in optimisers and molecular dynamics."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from e3hyena._extras import require
from e3hyena.data.units import energy_factor
from e3hyena.models import energy_and_forces
from e3hyena.training.checkpoint import ModelInfo, load_model
from e3hyena.training.device import device_of

calculator: Any = require("ase.calculators.calculator", "chem")

__all__ = ["HyenaCalculator"]

# Energies that a geometry can be relaxed on, and their number in eV; a gap or a heat is none.
ENERGIES = ("forces", "U0", "U0_atom")


class HyenaCalculator(calculator.Calculator):
    """Energy, forces and dipole of molecules, predicted by networks that `e3hyena train` left.

    A network trained on the task ``forces`` (or on the energies ``U0`` or ``U0_atom`` of QM9) gives
    ``energy``, ``free_energy`` (the same) and ``forces``, its exact negative gradient; one trained
    on ``dipole`` gives ``dipole``. Units are ASE's: eV, eV/Angstrom, e Angstrom.

    Parameters
    ----------
    *checkpoints : str or path
        A ``model.pt``, or the output folder that holds it; one for the energy, one for the dipole,
        or both.
    accelerator : {"auto", "cpu", "gpu"}
        Where to compute.
    dtype : torch.dtype
        float64 (default) keeps the energy of long trajectories free of rounding; float32 is faster
        for large molecules.
    **options
        As in `ase.calculators.calculator.Calculator`.

    Raises
    ------
    ValueError
        If a checkpoint predicts something else, or two the same; in a calculation, if the molecule
        is periodic or has an element that the network was not trained on.
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
        *checkpoints: str | Path,
        accelerator: str = "cpu",
        dtype: torch.dtype = torch.float64,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.device, self.dtype = device_of(accelerator), dtype
        self.models: dict[str, tuple[torch.nn.Module, ModelInfo]] = {}
        for checkpoint in checkpoints:
            model, info = load_model(checkpoint)
            what = "energy" if info.task.name in ENERGIES else info.task.name
            if what not in ("energy", "dipole") or what in self.models:
                raise ValueError(
                    f"{str(checkpoint)!r} predicts {info.task.name}; give one network for the "
                    f"energy ({', '.join(ENERGIES)}), one for the dipole, or both"
                )
            self.models[what] = model.to(self.device, dtype), info
        if not self.models:
            raise ValueError("no checkpoint given: name the model.pt that `e3hyena train` wrote")
        self.implemented_properties = []
        if "energy" in self.models:
            self.implemented_properties += ["energy", "free_energy", "forces"]
        if "dipole" in self.models:
            self.implemented_properties += ["dipole"]

    def calculate(
        self,
        atoms: Any = None,
        properties: Any = ("energy",),
        system_changes: Any = calculator.all_changes,
    ) -> None:
        """Compute what the networks predict; ASE calls this."""
        super().calculate(atoms, properties, system_changes)
        if self.atoms.pbc.any():
            raise ValueError("the molecule is periodic, but the networks are for molecules: pbc=F")
        z = torch.tensor(self.atoms.numbers, dtype=torch.long, device=self.device)
        pos = torch.tensor(self.atoms.positions, dtype=self.dtype, device=self.device)
        for _, info in self.models.values():
            unknown = sorted(set(z.tolist()) - set(info.elements))
            if unknown:
                raise ValueError(
                    f"elements {unknown} (atomic numbers) were not in the training set of the "
                    f"network for {info.task.quantity}; it knows {info.elements}"
                )
        batch = torch.zeros_like(z).cpu()
        if "energy" in self.models:
            model, info = self.models["energy"]
            energy, forces = energy_and_forces(model, z, pos)
            factor = energy_factor(info.task.unit, "eV")
            total = float(info.scaling.to_property(energy.cpu(), z.cpu(), batch)) * factor
            forces = forces.cpu().double() * info.scaling.scale * factor
            self.results |= {"energy": total, "free_energy": total, "forces": forces.numpy()}
        if "dipole" in self.models:
            model, info = self.models["dipole"]
            with torch.no_grad():
                output = model(z, pos).cpu()
            dipole = info.scaling.to_property(output, z.cpu(), batch)[0]
            self.results["dipole"] = dipole.numpy() * require("ase.units", "chem").Debye

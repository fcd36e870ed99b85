"""torch-sim: many molecules or cells in one batch, relaxed and in dynamics."""

import torch
import torch_sim as ts
from ase.build import molecule
from network import ethanol, net
from torch_sim.models.interface import ModelInterface

from e3hyena.models import energy_and_forces, energy_forces_stress


class Hyena(ModelInterface):
    def __init__(self, net, stress=False):
        super().__init__()
        self.net = net
        self._device, self._dtype = torch.device("cpu"), torch.float64
        self._compute_forces, self._compute_stress = True, stress

    def forward(self, state, **_):
        atoms = state.atomic_numbers, state.positions, state.system_idx
        if not self.compute_stress:
            energy, forces = energy_and_forces(self.net, *atoms)
            return {"energy": energy[:, 0], "forces": forces}
        energy, forces, stress = energy_forces_stress(
            self.net, *atoms, state.row_vector_cell, pbc=torch.as_tensor(state.pbc)
        )
        return {"energy": energy[:, 0], "forces": forces, "stress": stress}


model = Hyena(net)
state = ts.initialize_state([ethanol, molecule("H2O")], model.device, model.dtype)
print(f"energy {float(model(state)['energy'][0]):.9f} eV")
end = ts.integrate(state, model, integrator=ts.nve, n_steps=5, temperature=300, timestep=0.0005)
print("energies after five steps", end.energy.tolist())

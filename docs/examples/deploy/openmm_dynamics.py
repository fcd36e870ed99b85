"""OpenMM: the network as a Python force, beside any other force of the system."""

import openmm
import torch
from network import ethanol, net, z
from openmm import unit

from e3hyena.models import energy_and_forces

EV = unit.AVOGADRO_CONSTANT_NA * unit.elementary_charge * unit.volt


def compute(state):
    pos = torch.from_numpy(state.getPositions(asNumpy=True).value_in_unit(unit.angstrom))
    energy, forces = energy_and_forces(net, z, pos)
    return energy.item() * EV, forces.numpy() * EV / unit.angstrom


system = openmm.System()
for mass in ethanol.get_masses():
    system.addParticle(mass)
system.addForce(openmm.PythonForce(compute))
context = openmm.Context(system, openmm.VerletIntegrator(0.5 * unit.femtosecond))
context.setPositions(ethanol.positions * unit.angstrom)
energy = context.getState(getEnergy=True).getPotentialEnergy()
print(f"energy {energy / EV:.9f} eV")
context.setVelocitiesToTemperature(300 * unit.kelvin, 1)
context.getIntegrator().step(10)

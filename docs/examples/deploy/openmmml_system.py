"""openmmml: the calculator of ASE as the potential of a topology, or of a part of it."""

import openmm
from network import ethanol, net
from openmm import app, unit
from openmmml import MLPotential

from e3hyena.ase import HyenaCalculator

topology = app.Topology()
residue = topology.addResidue("EOH", topology.addChain())
for number in ethanol.numbers:
    topology.addAtom("", app.Element.getByAtomicNumber(int(number)), residue)
system = MLPotential("ase").createSystem(topology, calculator=HyenaCalculator(net))
context = openmm.Context(system, openmm.VerletIntegrator(0.5 * unit.femtosecond))
context.setPositions(ethanol.positions * unit.angstrom)
energy = context.getState(getEnergy=True).getPotentialEnergy()
EV = unit.AVOGADRO_CONSTANT_NA * unit.elementary_charge * unit.volt
print(f"energy {energy / EV:.9f} eV")
context.getIntegrator().step(10)

"""ASE: the calculator; in dynamics, neighbours are listed again when an atom has moved far."""

from ase import units
from ase.md.verlet import VelocityVerlet
from network import ethanol, net

from e3hyena.ase import HyenaCalculator

ethanol.calc = HyenaCalculator(net, skin=0.5)
print(f"energy {ethanol.get_potential_energy():.9f} eV")
VelocityVerlet(ethanol, 0.5 * units.fs).run(10)

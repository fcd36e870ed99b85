"""metatomic: one file for the engines that read it, here ASE, without e3hyena."""

import subprocess
import sys

from network import ethanol, net

from e3hyena.metatomic import export_metatomic

export_metatomic(net).save("potential.pt")
ethanol.write("ethanol.xyz")

ELSEWHERE = """
import sys
from ase.io import read
from metatomic_ase import MetatomicCalculator
atoms = read("ethanol.xyz")
atoms.calc = MetatomicCalculator("potential.pt", do_gradients_with_energy=False)
print(f"energy {atoms.get_potential_energy():.9f} eV")
assert "e3hyena" not in sys.modules
"""
subprocess.run([sys.executable, "-I", "-c", ELSEWHERE], check=True)

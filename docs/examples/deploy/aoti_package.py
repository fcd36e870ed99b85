"""AOTInductor: one file that a process with torch alone runs, in Python or C++."""

import subprocess
import sys

import torch
from network import net, pos, z

from e3hyena.models import export_potential, save_package
from e3hyena.ops.neighbours import neighbours

save_package(export_potential(net), "potential.pt2")
edge_index, _ = neighbours(pos, net.cutoff)
torch.save([z, pos, torch.zeros_like(z), edge_index], "ethanol.pt")

ELSEWHERE = """
import sys
import torch
potential = torch._inductor.aoti_load_package("potential.pt2")
energy, forces = potential(*torch.load("ethanol.pt"))  # z, pos, batch, edge_index
assert "e3hyena" not in sys.modules
print(f"energy {float(energy):.9f} eV")
"""
subprocess.run([sys.executable, "-I", "-c", ELSEWHERE], check=True)

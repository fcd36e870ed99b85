"""The network and the molecule of all routes: random weights, for who has trained none yet."""

import torch
from ase.build import molecule

from e3hyena import HyenaNet

torch.manual_seed(0)
net = HyenaNet("0e", irreps_hidden="4x0e + 4x1o", num_layers=1, cutoff=3.0).double().eval()
ethanol = molecule("CH3CH2OH")
z, pos = torch.tensor(ethanol.numbers).long(), torch.tensor(ethanol.positions)

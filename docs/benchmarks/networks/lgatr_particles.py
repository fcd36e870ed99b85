"""LGATr-slim for particles with velocities."""

from typing import Any

import torch
from torch import Tensor, nn
from torch_geometric.utils import scatter

from benchmarks.networks.lgatr_slim import SpatialLGATrSlim
from e3hyena.irreps import IrrepsLike
from e3hyena.ops.segments import Segments


class LGATrParticles(nn.Module):
    r"""`SpatialLGATrSlim` that predicts displacements.

    Its vectors are the position :math:`r` relative to the mean of the system and the velocity
    :math:`v`, its scalars the charge, :math:`\sqrt{1+|r|^2}` and :math:`\sqrt{1+|v|^2}`.
    Equivariant under E(3) and permutations.

    Parameters
    ----------
    irreps_hidden : o3.Irreps or str
        Channels of the blocks.
    num_blocks : int
    """

    def __init__(self, irreps_hidden: IrrepsLike, num_blocks: int) -> None:
        super().__init__()
        self.net = SpatialLGATrSlim("3x0e + 2x1o", irreps_hidden, "1o", num_blocks)

    def forward(
        self, pos: Tensor, vel: Tensor, charge: Tensor, _: Any, segments: Segments
    ) -> Tensor:
        """Particles one system after the other -> later positions ``(T, 3)``."""
        index, number = segments.index, segments.num_graphs
        r = pos - scatter(pos, index, dim=0, dim_size=number, reduce="mean")[index]
        sizes = [(1 + x.square().sum(dim=-1, keepdim=True)).sqrt() for x in (r, vel)]
        return pos + self.net(torch.cat([charge, *sizes, r, vel], dim=-1), segments)

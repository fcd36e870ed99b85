"""E(n)-equivariant graph network with velocities, for particles that all see one another."""

from typing import Any

import torch
from torch import Tensor, nn
from torch_geometric.nn import MessagePassing
from torch_geometric.utils import degree


class EGNN(nn.Module):
    """EGNN of Satorras et al. (2021) as its authors use it for charged particles.

    Nodes start from their speed, edges carry the product of the charges and the squared distance
    at the start. Equivariant under E(3) and permutations.

    Parameters
    ----------
    width : int
        Of all hidden layers.
    num_layers : int
    """

    def __init__(self, width: int = 64, num_layers: int = 4) -> None:
        super().__init__()
        self.embedding = nn.Linear(1, width)
        self.layers = nn.ModuleList(EGNNLayer(width) for _ in range(num_layers))

    def forward(
        self, pos: Tensor, vel: Tensor, charge: Tensor, edge_index: Tensor, *_: Any
    ) -> Tensor:
        """Positions, velocities ``(T, 3)``, charges ``(T, 1)`` -> later positions ``(T, 3)``."""
        source, target = edge_index
        squared = (pos[target] - pos[source]).square().sum(dim=-1, keepdim=True)
        edges = torch.cat([charge[target] * charge[source], squared], dim=-1)
        h, x = self.embedding(vel.square().sum(dim=-1, keepdim=True).sqrt()), pos
        for layer in self.layers:
            h, x = layer(h, x, vel, edge_index, edges)
        return x


class EGNNLayer(MessagePassing):
    r"""One round of messages.

    .. math:: m_{ij} = \phi_e(h_i, h_j, |x_i - x_j|^2, a_{ij}),\qquad
              x_i \leftarrow x_i + \operatorname{mean}_j (x_i - x_j)\,\phi_x(m_{ij})
              + \phi_v(h_i)\,v_i,\qquad
              h_i \leftarrow h_i + \phi_h\Big(h_i, \sum_j m_{ij}\Big)
    """

    def __init__(self, width: int) -> None:
        super().__init__(aggr="sum")
        self.message_mlp = nn.Sequential(_mlp(2 * width + 3, width, width), nn.SiLU())
        size = nn.Linear(width, 1, bias=False)
        nn.init.xavier_uniform_(size.weight, gain=0.001)
        self.shift_mlp = nn.Sequential(nn.Linear(width, width), nn.SiLU(), size)
        self.velocity_mlp = _mlp(width, width, 1)
        self.node_mlp = _mlp(2 * width, width, width)

    def forward(
        self, h: Tensor, x: Tensor, vel: Tensor, edge_index: Tensor, edges: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Features ``(T, width)`` and positions ``(T, 3)`` -> the same."""
        received = self.propagate(edge_index, h=h, x=x, edges=edges)
        messages, shifts = received.split([h.shape[1], 3], dim=-1)
        number = degree(edge_index[1], len(h), dtype=x.dtype).clamp(min=1)
        x = x + shifts / number[:, None] + self.velocity_mlp(h) * vel
        return h + self.node_mlp(torch.cat([h, messages], dim=-1)), x

    def message(self, h_i: Tensor, h_j: Tensor, x_i: Tensor, x_j: Tensor, edges: Tensor) -> Tensor:
        """Message and shift of every edge, ``(E, width + 3)``."""
        apart = x_i - x_j
        squared = apart.square().sum(dim=-1, keepdim=True)
        message = self.message_mlp(torch.cat([h_i, h_j, squared, edges], dim=-1))
        return torch.cat([message, apart * self.shift_mlp(message)], dim=-1)


def _mlp(width_in: int, width: int, width_out: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width_in, width), nn.SiLU(), nn.Linear(width, width_out))

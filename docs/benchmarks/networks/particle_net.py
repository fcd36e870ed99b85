"""The network of the comparison on charged particles, the same around every mixer."""

from typing import Any

import torch
from torch import Tensor, nn
from torch_geometric.utils import scatter

from e3hyena.irreps import IrrepsLike, TokenLayout, parse_irreps
from e3hyena.models.hyena_layer import HyenaLayer
from e3hyena.nn.embedding import AtomEmbedding
from e3hyena.nn.linear import Linear
from e3hyena.ops.segments import Segments


class ParticleNet(nn.Module):
    r"""Layers of `HyenaNet`, each of which moves the particles that the next one sees.

    .. math:: x_{l+1} = \mathrm{layer}_l(x_l, p_l),\qquad
              p_{l+1} = p_l + t_l v + s_l\, W_l x_{l+1}

    from features of charge, velocity v and position, the last two relative to their means in the
    system: whoever moves along sees the same (a Galilean boost moves the result along).

    Parameters
    ----------
    irreps_hidden : o3.Irreps or str
        Irreps of the particles between the layers.
    num_layers : int
    mixer, cutoff, mixer_options
        See `HyenaNet`.
    """

    def __init__(
        self,
        irreps_hidden: IrrepsLike,
        num_layers: int,
        *,
        mixer: str | None,
        cutoff: float | None,
        mixer_options: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        irreps = parse_irreps(irreps_hidden)
        vector = TokenLayout(parse_irreps("1o"))
        self.embedding = AtomEmbedding(irreps)
        self.embed_velocity = Linear(TokenLayout(parse_irreps("0e + 1o")), TokenLayout(irreps))
        self.layers = nn.ModuleList(
            HyenaLayer(irreps, cutoff=cutoff, mixer=mixer, mixer_options=mixer_options)
            for _ in range(num_layers)
        )
        self.moves = nn.ModuleList(Linear(TokenLayout(irreps), vector) for _ in range(num_layers))
        self.scales = nn.Parameter(torch.full((num_layers,), 0.1))
        self.times = nn.Parameter(torch.full((num_layers,), 1 / num_layers))

    def forward(
        self,
        pos: Tensor,
        vel: Tensor,
        charge: Tensor,
        edge_index: Tensor | None,
        segments: Segments,
    ) -> Tensor:
        """Particles one system after the other -> later positions ``(T, 3)``."""
        kind = charge.squeeze(-1).round().long() + 2  # a positive number for every charge
        drift = _mean(vel, segments)
        vel = vel - drift
        x = self.embedding(kind, pos - _mean(pos, segments))
        x = x + self.embed_velocity(torch.cat([vel.square().sum(-1, keepdim=True), vel], dim=-1))
        layers = zip(self.layers, self.moves, self.scales, self.times, strict=True)
        for layer, move, scale, time in layers:
            x = layer(x, pos, edge_index, segments)
            pos = pos + time * vel + scale * move(x)
        return pos + drift


def _mean(x: Tensor, segments: Segments) -> Tensor:
    """Mean over the particles of a system, for each of them."""
    index, number = segments.index, segments.num_graphs
    return scatter(x, index, dim=0, dim_size=number, reduce="mean")[index]

"""Potential and field at every atom, the same inputs and outputs around every network."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.networks.egnn import EGNNLayer
from e3hyena import HyenaNet

KINDS = 4  # of scalars, and of vectors, per atom
UNIT = 8.0  # atoms that share a charge


class FarNet(nn.Module):
    r"""Charges and places in, potential and field out.

    With Q the sum of :math:`|q|` and R the radius of gyration, atoms have the scalars
    :math:`q, \rho, e, eq` and the vectors :math:`\vec\rho, q\vec\rho, e\vec\rho, eq\vec\rho`
    with :math:`\vec\rho` the position about the centroid over R and :math:`e = e^{-\rho^2/2}`;
    what the network gives is a potential in Q/R and a field in Q/R².

    Parameters
    ----------
    mixer : str or None
        See `HyenaNet`; ``"egnn"`` for an EGNN on the same edges.
    width, num_layers, cutoff, mixer_options
        Channels; see `HyenaNet`.

    Examples
    --------
    >>> net = FarNet("coordinate", 8, 2, 6.0)
    >>> pos, q = torch.randn(5, 3), torch.ones(5)
    >>> edges = torch.tensor([[0, 1], [1, 0]])
    >>> net(torch.full((5,), 6), pos, q, edges).shape
    torch.Size([5, 4])
    """

    def __init__(
        self,
        mixer: str | None,
        width: int,
        num_layers: int,
        cutoff: float,
        mixer_options: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.net: nn.Module
        if mixer == "egnn":
            self.net = ChargedEGNN(4 * width, num_layers, cutoff)
        else:
            self.net = HyenaNet(
                "0e + 1o",
                irreps_hidden=f"{width}x0e + {width}x1o",
                num_layers=num_layers,
                mixer=mixer,
                cutoff=cutoff,
                pool=None,
                irreps_features=f"{KINDS}x0e + {KINDS}x1o",
                ordered=True,
                mixer_options=mixer_options,
            )

    def forward(self, z: Tensor, pos: Tensor, charge: Tensor, edge_index: Tensor) -> Tensor:
        """Atoms of one protein -> ``(T, 4)``, e/A and e/A^2."""
        centred = pos - pos.mean(dim=0)
        radius = centred.square().sum(dim=1).mean().sqrt()
        place = centred / radius
        rho = place.norm(dim=1)
        e = torch.exp(-rho.square() / 2)
        q = charge * UNIT
        scalars = torch.stack([q, rho, e, e * q], dim=1)
        factors = torch.stack([torch.ones_like(e), q, e, e * q], dim=1)
        vectors = (factors[:, :, None] * place[:, None]).flatten(1)
        features = torch.cat([scalars, vectors], dim=1)
        y = self.net(z, pos, edge_index=edge_index, features=features)
        scale = charge.abs().sum() / radius
        return y * torch.stack([scale, *(3 * [scale / radius])])


class ChargedEGNN(nn.Module):
    """EGNN with positions about the centroid in the place of velocities."""

    def __init__(self, width: int, num_layers: int, cutoff: float) -> None:
        super().__init__()
        self.cutoff = cutoff
        self.element = nn.Embedding(119, width)
        self.features = nn.Linear(KINDS, width)
        self.layers = nn.ModuleList(EGNNLayer(width) for _ in range(num_layers))
        self.readout = nn.Sequential(nn.SiLU(), nn.Linear(width, 1))

    def forward(self, z: Tensor, pos: Tensor, *, edge_index: Tensor, features: Tensor) -> Tensor:
        """As `HyenaNet` without pool."""
        source, target = edge_index
        charge, place = features[:, :1], features[:, KINDS : KINDS + 3]
        start = pos / self.cutoff
        squared = (start[target] - start[source]).square().sum(dim=1, keepdim=True)
        edges = torch.cat([charge[target] * charge[source], squared], dim=1)
        h, x = self.element(z) + self.features(features[:, :KINDS]), start
        for layer in self.layers:
            h, x = layer(h, x, place, edge_index, edges)
        return torch.cat([self.readout(h), x - start], dim=1)

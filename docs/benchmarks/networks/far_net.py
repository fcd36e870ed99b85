"""Potential and field at every atom, the same inputs and outputs around every network."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.networks.egnn import EGNNLayer
from e3hyena import HyenaNet
from e3hyena.nn.readout import centred
from e3hyena.ops.segments import Segments

SCALARS, VECTORS = 5, 6  # per atom
CHARGE, LENGTH = 0.125, 15.0  # of an atom whose residue is charged (e); of a protein (Angstrom)
NET = 2.5  # the charge of such an atom times the number of atoms, over the radius (e/Angstrom)
POTENTIAL, FIELD = 0.3, 0.02  # typical values (e/Angstrom, e/Angstrom^2)


class FarNet(nn.Module):
    r"""Charges and places in, potential and field out.

    With q the charge and :math:`\vec r` the position about the centroid, R the radius of gyration,
    :math:`\vec\rho = \vec r/R`, :math:`Q = Nq/R`, whose mean over a protein is the net charge over
    R, and :math:`e = e^{-\rho^2/2}`, atoms have the scalars :math:`q, Q, \rho, e, eQ` and the
    vectors :math:`\vec\rho, Q\vec\rho, e\vec\rho, eQ\vec\rho, q\vec r, \vec r`.

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
    >>> net(torch.full((5,), 6), pos, q, edges, Segments((2, 3))).shape
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
                irreps_features=f"{SCALARS}x0e + {VECTORS}x1o",
                ordered=True,
                mixer_options=mixer_options,
            )

    def forward(
        self, z: Tensor, pos: Tensor, charge: Tensor, edge_index: Tensor, segments: Segments
    ) -> Tensor:
        """Atoms of some proteins -> ``(T, 4)``, e/A and e/A^2."""
        r = centred(pos, segments)
        radius = segments.mean(r.square().sum(dim=1, keepdim=True)).sqrt()[:, 0]
        rho = r.norm(dim=1) / radius
        e = torch.exp(-rho.square() / 2)
        q = charge / CHARGE
        net = charge * segments.sizes.to(pos)[segments.index] / radius / NET
        scalars = torch.stack([q, net, rho, e, e * net], dim=1)
        near, far = 1 / radius, torch.full_like(e, 1 / LENGTH)
        factors = torch.stack([near, net * near, e * near, e * net * near, q * far, far], dim=1)
        features = torch.cat([scalars, (factors[:, :, None] * r[:, None]).flatten(1)], dim=1)
        y = self.net(z, pos, segments, edge_index=edge_index, features=features)
        return y * y.new_tensor([POTENTIAL, FIELD, FIELD, FIELD])


class ChargedEGNN(nn.Module):
    """EGNN with positions about the centroid in the place of velocities."""

    def __init__(self, width: int, num_layers: int, cutoff: float) -> None:
        super().__init__()
        self.cutoff = cutoff
        self.element = nn.Embedding(119, width)
        self.features = nn.Linear(SCALARS, width)
        self.layers = nn.ModuleList(EGNNLayer(width) for _ in range(num_layers))
        self.readout = nn.Sequential(nn.SiLU(), nn.Linear(width, 1))

    def forward(
        self, z: Tensor, pos: Tensor, segments: Segments, *, edge_index: Tensor, features: Tensor
    ) -> Tensor:
        """As `HyenaNet` without pool."""
        source, target = edge_index
        charge, place = features[:, :1], features[:, SCALARS : SCALARS + 3]
        start = pos / self.cutoff
        squared = (start[target] - start[source]).square().sum(dim=1, keepdim=True)
        edges = torch.cat([charge[target] * charge[source], squared], dim=1)
        h, x = self.element(z) + self.features(features[:, :SCALARS]), start
        for layer in self.layers:
            h, x = layer(h, x, place, edge_index, edges)
        return torch.cat([self.readout(h), x - start], dim=1)

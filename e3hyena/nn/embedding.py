"""From atoms to irreps: what an atom is, and where it sits relative to the centroid."""

from __future__ import annotations

import torch
from e3nn import o3
from torch import Tensor, nn

from e3hyena.irreps import IrrepsLike, parse_irreps
from e3hyena.nn.radial import init_silu_mlp

MAX_ATOMIC_NUMBER = 118


def solid_harmonics(vectors: Tensor, lmax: int) -> list[Tensor]:
    r"""Real solid harmonics :math:`|r|^l Y_l(r/|r|)`, polynomials, smooth at the origin.

    Parameters
    ----------
    vectors : Tensor
        Shape ``(T, 3)``.
    lmax : int
        Largest degree.

    Returns
    -------
    list of Tensor
        Degrees 0 to lmax, each ``(T, 2l+1)``, component normalised on the unit sphere.
    """
    degrees = list(range(lmax + 1))
    harmonics = o3.spherical_harmonics(degrees, vectors, normalize=False, normalization="component")
    return list(harmonics.split([2 * degree + 1 for degree in degrees], dim=-1))


class AtomEmbedding(nn.Module):
    r"""Embed atoms by element and by position relative to the graph's centroid.

    .. math:: x_{l} = w_l\big(z,\, \rho\big)\; Y_l(r) / \sqrt{1+|r|^2/r_0^2}^{\,l},\qquad
              \rho_n = e^{-(\sqrt{1+|r|^2/r_0^2} - \mu_n)^2}

    for irreps of natural parity (:math:`p=(-1)^l`); the others start at zero. Everything is a
    smooth function of r, at the centroid as well.

    Parameters
    ----------
    irreps : o3.Irreps or str
        Irreps of the result.
    irreps_features : o3.Irreps or str, optional
        Irreps of further token features, mapped in linearly by the network, not here.
    length : float
        r0, in the unit of the positions (Angstrom for molecules).
    """

    def __init__(self, irreps: IrrepsLike, *, length: float = 2.0, num_basis: int = 8) -> None:
        super().__init__()
        self.irreps = parse_irreps(irreps)
        self.length = length
        self.num_basis = num_basis
        self.lmax = self.irreps.lmax if len(self.irreps) else 0
        width = 32
        self.element = nn.Embedding(MAX_ATOMIC_NUMBER + 1, width)
        self.entries = [(mul, ir.l, ir.p == (-1) ** ir.l) for mul, ir in self.irreps]
        natural = sum(mul for mul, _, is_natural in self.entries if is_natural)
        self.mlp = nn.Sequential(
            nn.Linear(width + num_basis, 2 * width),
            nn.SiLU(),
            nn.Linear(2 * width, max(natural, 1)),
        )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the parameters anew, unit variance."""
        nn.init.normal_(self.element.weight)
        init_silu_mlp(self.mlp)

    def forward(self, z: Tensor, r: Tensor) -> Tensor:
        """Atomic numbers ``(T,)`` and centred positions ``(T, 3)`` -> ``(T, irreps.dim)``."""
        scaled = r / self.length
        distance = (1 + scaled.square().sum(-1, keepdim=True)).sqrt()
        centres = 1 + 0.75 * torch.arange(self.num_basis, device=r.device, dtype=r.dtype)
        basis = torch.exp(-((distance - centres) ** 2))
        weights = self.mlp(torch.cat([self.element(z), basis], dim=-1))
        harmonics = solid_harmonics(scaled, self.lmax)
        columns, used = [], 0
        for mul, l, is_natural in self.entries:
            if not is_natural:
                columns.append(r.new_zeros(len(r), mul * (2 * l + 1)))
                continue
            w = weights[:, used : used + mul]
            direction = harmonics[l] / distance**l
            columns.append((w[:, :, None] * direction[:, None]).flatten(1))
            used += mul
        return torch.cat(columns, dim=-1) if columns else r.new_zeros(len(r), 0)

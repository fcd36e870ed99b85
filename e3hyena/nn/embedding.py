"""From atoms to irreps: what an atom is, and, where asked for, where it sits."""

import torch
from e3nn import o3
from torch import Tensor, nn

from e3hyena.irreps import IrrepsLike, parse_irreps
from e3hyena.nn.radial import init_silu_mlp
from e3hyena.ops.harmonics import solid_harmonics, weighted_harmonics

MAX_ATOMIC_NUMBER = 118


class ElementEmbedding(nn.Module):
    r"""Embed atoms by element alone: learned scalars, and zeros for all other irreps.

    Nothing depends on positions, so what a network makes of it is as local as its layers are.
    """

    def __init__(self, irreps: IrrepsLike) -> None:
        super().__init__()
        self.irreps = parse_irreps(irreps)
        self.entries = [(mul, ir.l, str(ir) == "0e") for mul, ir in self.irreps]
        self.element = nn.Embedding(MAX_ATOMIC_NUMBER + 1, self.irreps.count("0e"))

    def reset_parameters(self) -> None:
        """Draw the parameters anew, unit variance."""
        nn.init.normal_(self.element.weight)

    def reached(self) -> set[o3.Irrep]:
        """Kinds of irreps that are not zero."""
        return {ir for mul, ir in self.irreps if mul and str(ir) == "0e"}

    def forward(self, z: Tensor) -> Tensor:
        """Atomic numbers ``(T,)`` -> ``(T, irreps.dim)``."""
        scalars = self.element(z)
        one = scalars.new_ones(scalars.shape[0], 1)
        return weighted_harmonics(scalars, [one], self.entries)


class AtomEmbedding(nn.Module):
    r"""Embed atoms by element and by position relative to the graph's centroid.

    .. math:: x_{l} = w_l\big(z,\, \rho\big)\; Y_l(r) / \sqrt{1+|r|^2/r_0^2}^{\,l},\qquad
              \rho_n = e^{-(\sqrt{1+|r|^2/r_0^2} - \mu_n)^2}

    for irreps of natural parity (:math:`p=(-1)^l`); the others start at zero. Everything is a
    smooth function of r, at the centroid as well.
    """

    def __init__(self, irreps: IrrepsLike, *, length: float = 2.0, num_basis: int = 8) -> None:
        super().__init__()
        self.irreps = parse_irreps(irreps)
        self.length = length
        self.num_basis = num_basis
        self.lmax = max((ir.l for _, ir in self.irreps), default=0)
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

    def reached(self) -> set[o3.Irrep]:
        """Kinds of irreps that are not zero."""
        return {ir for mul, ir in self.irreps if mul and ir.p == (-1) ** ir.l}

    def forward(self, z: Tensor, r: Tensor) -> Tensor:
        """Atomic numbers ``(T,)`` and centred positions ``(T, 3)`` -> ``(T, irreps.dim)``."""
        scaled = r / self.length
        distance = (1 + scaled.square().sum(-1, keepdim=True)).sqrt()
        centres = 1 + 0.75 * torch.arange(self.num_basis, device=r.device, dtype=r.dtype)
        basis = torch.exp(-((distance - centres) ** 2))
        weights = self.mlp(torch.cat([self.element(z), basis], dim=-1))
        degrees = list(range(self.lmax + 1))
        harmonics = solid_harmonics(scaled, degrees).split([2 * l + 1 for l in degrees], dim=1)
        directions = [y / distance**l for l, y in zip(degrees, harmonics, strict=True)]
        return weighted_harmonics(weights, directions, self.entries)

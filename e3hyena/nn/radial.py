"""Smooth radial functions with a finite range."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def init_silu_mlp(mlp: nn.Sequential) -> None:
    """Unit variance through linear and SiLU layers: normal weights, zero biases."""
    gain = 1.0
    for layer in mlp:
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, std=gain * layer.in_features**-0.5)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
            gain = 1.68  # <silu(x)^2>^(-1/2) for unit normal x


class RadialBasis(nn.Module):
    r"""Bessel functions times a polynomial envelope.

    .. math:: e_n(r) = \sqrt{2}\,\frac{\sin(n\pi r/r_c)}{\pi r/r_c}\,f(r/r_c),\qquad
              f(x) = 1 - 28x^6 + 48x^7 - 21x^8

    f and its first two derivatives vanish at the cutoff; ``sinc`` keeps :math:`r=0` finite.

    Parameters
    ----------
    num_basis : int
        Number of functions.
    cutoff : float
        Radius beyond which all are zero, in the unit of the positions.

    References
    ----------
    Gasteiger et al., Directional Message Passing for Molecular Graphs, 2020.

    Examples
    --------
    >>> RadialBasis(8, cutoff=3.0)(torch.tensor([0.0, 1.0, 3.5])).shape
    torch.Size([3, 8])
    """

    def __init__(self, num_basis: int, cutoff: float) -> None:
        super().__init__()
        self.num_basis, self.cutoff = num_basis, cutoff

    def forward(self, distance: Tensor) -> Tensor:
        """``(num_edges,)`` -> ``(num_edges, num_basis)``."""
        x = (distance / self.cutoff)[:, None]
        n = torch.arange(1, self.num_basis + 1, device=x.device, dtype=x.dtype)
        envelope = 1 - 28 * x**6 + 48 * x**7 - 21 * x**8
        basis = 2**0.5 * n * torch.sinc(n * x) * envelope
        return torch.where(x < 1, basis, 0)

    def extra_repr(self) -> str:
        return f"num_basis={self.num_basis}, cutoff={self.cutoff}"

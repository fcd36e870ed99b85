"""From token features to properties, with the moments that physics suggests."""

from __future__ import annotations

from torch import Tensor, nn

from e3hyena.irreps import ChannelIrreps, IrrepsLike, TokenLayout, parse_irreps
from e3hyena.nn.feed_forward import FeedForward
from e3hyena.nn.norm import TokenNorm
from e3hyena.nn.operator import default_hidden
from e3hyena.ops.harmonics import solid_harmonics, weighted_harmonics


class MomentReadout(nn.Module):
    r"""Token contributions, plus charges times solid harmonics of the centred position.

    .. math:: y_i^{(l)} = f_l(x_i) + c_l(x_i)\, |r_i|^l Y_l(\hat r_i)

    For ``1o`` this is the dipole of charges and atomic dipoles, for ``2e`` the quadrupole. ``f``
    and ``c`` are outputs of one feed-forward network.

    Parameters
    ----------
    irreps_in, irreps_out : o3.Irreps or str
        Irreps of the token features and of the property.
    """

    def __init__(self, irreps_in: IrrepsLike, irreps_out: IrrepsLike) -> None:
        super().__init__()
        self.irreps_in = parse_irreps(irreps_in, "irreps_in")
        self.irreps_out = parse_irreps(irreps_out, "irreps_out")
        self.lmax = max(self.irreps_out.ls, default=0)
        self.entries = [
            (mul, ir.l, bool(ir.l) and ir.p == (-1) ** ir.l) for mul, ir in self.irreps_out
        ]
        self.num_moments = sum(mul for mul, _, has_moment in self.entries if has_moment)
        self.norm = TokenNorm(self.irreps_in)
        both = self.irreps_out + parse_irreps(f"{self.num_moments}x0e")
        hidden = ChannelIrreps(default_hidden(self.irreps_in))
        self.mlp = FeedForward(TokenLayout(self.irreps_in), TokenLayout(both), hidden)

    def forward(self, x: Tensor, r: Tensor) -> Tensor:
        """``(T, irreps_in.dim)`` and centred ``(T, 3)`` -> ``(T, irreps_out.dim)``."""
        both = self.mlp(self.norm(x))
        direct, charges = both.split([both.shape[-1] - self.num_moments, self.num_moments], dim=-1)
        if not self.num_moments:
            return direct
        degrees = list(range(self.lmax + 1))
        harmonics = solid_harmonics(r, degrees).split([2 * l + 1 for l in degrees], dim=1)
        return direct + weighted_harmonics(charges, list(harmonics), self.entries)

"""From token features to properties, with the moments that need an origin."""

import torch
from e3nn import o3
from torch import Tensor, nn

from e3hyena.irreps import ChannelIrreps, IrrepsLike, TokenLayout, parse_irreps
from e3hyena.nn.feed_forward import FeedForward
from e3hyena.nn.norm import TokenNorm
from e3hyena.nn.operator import default_hidden
from e3hyena.nn.products import Products
from e3hyena.nn.reach import Kinds, kinds
from e3hyena.ops.harmonics import solid_harmonics, weighted_harmonics
from e3hyena.ops.segments import Segments

_GAIN = 0.05  # a sum over tens of atoms starts below one


class MomentReadout(nn.Module):
    r"""Token contributions, plus neutral charges times solid harmonics of the centred position.

    .. math:: y_i^{(l)} = f_l(x_i) + \big(c_l(x_i) - \bar c_l\big)\, |d_i|^l\, Y_l(\hat d_i),
              \qquad d_i = r_i - \bar r

    bars being means over the graph, and only for the kinds of irreps in ``moments``: summed over
    the graph, the dipole of charges beside atomic dipoles for ``1o``, the quadrupole for ``2e``.
    Since the charges add up to nothing, the dipole does not depend on the origin. ``f`` and ``c``
    are outputs of one feed-forward network, to which :class:`~e3hyena.nn.products.Products` are
    added where the property holds irreps that the features do not. The last weights start small.
    """

    def __init__(
        self, irreps_in: IrrepsLike, irreps_out: IrrepsLike, moments: IrrepsLike = ""
    ) -> None:
        super().__init__()
        self.irreps_in = parse_irreps(irreps_in, "irreps_in")
        self.irreps_out = parse_irreps(irreps_out, "irreps_out")
        charged = kinds(parse_irreps(moments, "moments"))
        if wrong := sorted(ir for ir in charged if not ir.l or ir.p != (-1) ** ir.l):
            raise ValueError(
                f"moments={moments!r} holds {wrong[0]}; positions have moments of the kinds "
                "1o (dipole), 2e (quadrupole), 3o..."
            )
        self.entries = [(mul, ir.l, ir in charged) for mul, ir in self.irreps_out]
        self._charged = charged
        self.lmax = max((l for _, l, has_moment in self.entries if has_moment), default=0)
        self.num_moments = sum(mul for mul, _, has_moment in self.entries if has_moment)
        self.norm = TokenNorm(self.irreps_in)
        both = self.irreps_out + parse_irreps(f"{self.num_moments}x0e")
        hidden = ChannelIrreps(default_hidden(self.irreps_in))
        self.mlp = FeedForward(TokenLayout(self.irreps_in), TokenLayout(both), hidden)
        self.products: Products | None = None
        given = kinds(self.irreps_in)
        if kinds(self.irreps_out) - given:
            products = Products(self.irreps_in, self.irreps_out)
            if products.reached(given) - given:
                self.products = products
        last = [self.mlp.contract]
        if self.products is not None:
            last += [self.products.contract_pairs, self.products.contract_triples]
        with torch.no_grad():
            for weight in (weight for linear in last for weight in linear.weight.values()):
                weight.mul_(_GAIN)

    def reached(self, given: Kinds) -> Kinds:
        """Kinds of irreps of the property that are not zero, for features of the given kinds."""
        found = given | (set() if self.products is None else self.products.reached(given))
        if o3.Irrep("0e") in given:
            found = found | {
                o3.Irrep(l, (-1) ** l) for _, l, has_moment in self.entries if has_moment
            }
        return found & kinds(self.irreps_out)

    def forward(self, x: Tensor, pos: Tensor, segments: Segments) -> Tensor:
        """Features ``(T, irreps_in.dim)``, positions ``(T, 3)`` -> ``(T, irreps_out.dim)``."""
        x = self.norm(x)
        both = self.mlp(x)
        direct, charges = both.split([both.shape[-1] - self.num_moments, self.num_moments], dim=-1)
        if self.products is not None:
            direct = direct + self.products(x)
        if not self.num_moments:
            return direct
        degrees = list(range(self.lmax + 1))
        harmonics = solid_harmonics(centred(pos, segments), degrees)
        charges = charges - segments.mean(charges)
        parts = list(harmonics.split([2 * l + 1 for l in degrees], dim=1))
        return direct + weighted_harmonics(charges, parts, self.entries)


def centred(pos: Tensor, segments: Segments) -> Tensor:
    """Positions relative to the centroid of their graph, ``(T, 3)``.

    Taken twice, so that a molecule far from the origin loses no more digits than its coordinates
    have lost already.
    """
    near = pos - segments.mean(pos.detach())
    return near - segments.mean(near)

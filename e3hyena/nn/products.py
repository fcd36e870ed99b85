"""Kinds of irreps that linear maps cannot reach, as products of a token's features."""

import torch
from e3nn import o3
from torch import Tensor, nn

from e3hyena.irreps import ChannelIrreps, IrrepsLike, TokenLayout, distinct_irreps, parse_irreps
from e3hyena.nn.linear import Linear
from e3hyena.nn.reach import Kinds, kinds
from e3hyena.ops.paths import Paths
from e3hyena.ops.tensor_product import tensor_product


class Products(nn.Module):
    r"""Products of two and of three linear images of a token, then a linear map.

    .. math:: y = W\,\big[\,\mathrm{CG}(x_1\otimes x_2),\;
              \mathrm{CG}(\mathrm{CG}(x_1\otimes x_2)\otimes x_3)\,\big],\qquad x_n = W_n x

    From scalars and vectors come pseudovectors and quadrupoles (two vectors), and pseudoscalars and
    octupoles (three): chirality, magnetic moments, polarisabilities.
    """

    def __init__(self, irreps_in: IrrepsLike, irreps_out: IrrepsLike) -> None:
        super().__init__()
        self.irreps_in = parse_irreps(irreps_in, "irreps_in")
        self.irreps_out = parse_irreps(irreps_out, "irreps_out")
        number = max((mul for mul, _ in distinct_irreps(self.irreps_in)), default=1)
        given = kinds(self.irreps_in)
        largest = max((ir.l for ir in kinds(self.irreps_out)), default=0) or 1  # 0o by way of 1e
        pairs = {ir for one in given for two in given for ir in one * two if ir.l <= largest}
        single, pair, last = (
            ChannelIrreps(o3.Irreps([(number, ir) for ir in each]), number)
            for each in (given, pairs | kinds(self.irreps_out), kinds(self.irreps_out))
        )
        self.expand = Linear(TokenLayout(self.irreps_in), single, groups=3)
        self.pairs = Paths(single.per_channel, single.per_channel, pair.per_channel)
        self.triples = Paths(pair.per_channel, single.per_channel, last.per_channel)
        self.pair_weight = nn.Parameter(torch.empty(self.pairs.num_paths, number))
        self.triple_weight = nn.Parameter(torch.empty(self.triples.num_paths, number))
        self.contract_pairs = Linear(pair, TokenLayout(self.irreps_out))
        self.contract_triples = Linear(last, TokenLayout(self.irreps_out))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all parameters anew, unit variance."""
        for linear in (self.expand, self.contract_pairs, self.contract_triples):
            linear.reset_parameters()
        nn.init.normal_(self.pair_weight)
        nn.init.normal_(self.triple_weight)

    def reached(self, given: Kinds) -> Kinds:
        """Kinds of irreps of the result that are not zero, for tokens of the given kinds."""
        found = self.pairs.reached(given, given)
        return (found | self.triples.reached(found, given)) & kinds(self.irreps_out)

    def forward(self, x: Tensor) -> Tensor:
        """``(T, irreps_in.dim)`` -> ``(T, irreps_out.dim)``."""
        one, two, three = self.expand(x)
        pair = tensor_product(one, two, self.pair_weight, self.pairs)
        triple = tensor_product(pair, three, self.triple_weight, self.triples)
        y: Tensor = self.contract_pairs(pair) + self.contract_triples(triple)
        return y * 2**-0.5

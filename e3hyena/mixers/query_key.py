"""The seed's mixer: the key is the filter."""

from typing import ClassVar

import torch
from e3nn import o3
from torch import Tensor, nn

from e3hyena.irreps import ChannelIrreps
from e3hyena.mixers.base import Mixer
from e3hyena.ops.paths import Paths
from e3hyena.ops.segments import Segments
from e3hyena.ops.tensor_product import ragged_long_conv
from e3hyena.ops.transforms import check_boundary


class QueryKey(Mixer):
    r"""Data-controlled long convolution of query and key.

    .. math:: u_i = N^{-1/2} \sum_j \mathrm{CG}(q_j \otimes k_{i-j})

    The result also holds the cross product of vectors (``1e`` beside ``1o``), as in the paper.
    Cost O(N log N); symmetric under E(3); depends on the order of the tokens.

    Parameters
    ----------
    hidden : ChannelIrreps
        Channels and per-channel irreps.
    boundary : {"circular", "causal", "same"}
        See :func:`e3hyena.ops.tensor_product_long_conv`.
    mean : bool
        Divide by N, as the paper does, in place of :math:`\sqrt N`. With ``circular`` a graph and
        any number of copies of it, listed one after the other, then give the same.
    """

    companion = "v"
    ordered: ClassVar[bool] = True
    cost: ClassVar[str] = "O(N log N)"
    purpose: ClassVar[str] = "chains, trajectories; the paper's operator"

    def __init__(
        self, hidden: ChannelIrreps, *, boundary: str = "circular", mean: bool = False
    ) -> None:
        super().__init__(hidden)
        self.boundary = check_boundary(boundary)
        self.power = -1.0 if mean else -0.5
        irreps = hidden.per_channel
        if "1o" in irreps and "1e" not in irreps:
            irreps = irreps + o3.Irreps("1e")
        self.context = ChannelIrreps(hidden.num_channels * irreps, hidden.num_channels)
        self.paths = Paths(hidden.per_channel, hidden.per_channel, self.context.per_channel)
        self.weight = nn.Parameter(torch.empty(self.paths.num_paths, hidden.num_channels))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the path weights anew, unit variance."""
        nn.init.normal_(self.weight)

    def reached(self, given: set[o3.Irrep]) -> set[o3.Irrep]:
        """What the product of query and key leads to."""
        return self.paths.reached(given, given)

    def forward(self, q: Tensor, k: Tensor, v: Tensor, segments: Segments) -> Tensor:
        """Convolve within every graph, each at its own length."""
        lengths = segments.lengths
        if len(set(lengths)) == 1:  # the factor costs nothing in the weights
            weight = self.weight * max(lengths[0], 1) ** self.power
            return self._convolve(q, k, weight, segments)
        factor = segments.sizes.to(q.dtype).pow(self.power)[segments.index]
        return self._convolve(q, k, self.weight, segments) * factor

    def _convolve(self, q: Tensor, k: Tensor, weight: Tensor, segments: Segments) -> Tensor:
        return ragged_long_conv(
            q, k, weight, self.paths, boundary=self.boundary, lengths=segments.lengths
        )

    def extra_repr(self) -> str:
        return f"{self.paths}, boundary={self.boundary!r}"

"""Where the neighbours of a node are, as features of the node."""

import torch
from e3nn import o3
from torch import Tensor, nn

from e3hyena.irreps import IrrepsLike, parse_irreps
from e3hyena.nn.precision import to_working
from e3hyena.ops.precision import full_precision


class EdgeMoments(nn.Module):
    r"""Moments of the neighbourhood: spherical harmonics of the edges, weighted and summed.

    .. math:: y_{i c l} = \frac{1}{\sqrt{\bar n}} \sum_{j \to i}
              \Big(\sum_b W_{b c l}\, s_{ij b}\Big)\, Y_l(r_{ij})

    with s a radial basis and Y the harmonics, both as e3nn models compute them per edge. There is
    no bias, so an edge whose basis fades out at the cutoff fades out here.

    Parameters
    ----------
    irreps_edge : o3.Irreps or str
        Irreps of the harmonics, such as ``"0e + 1o + 2e"``.
    num_edge_scalars : int
        Number of scalars per edge.
    channels : int
        Number of weighted sums per harmonic.
    avg_num_neighbors : float
        :math:`\bar n`, which keeps the variance.

    Raises
    ------
    ValueError
        If irreps do not parse or are empty, or a number is not positive; in the call, if shapes do
        not fit.

    Examples
    --------
    >>> moments = EdgeMoments("0e + 1o", num_edge_scalars=5, channels=2)
    >>> edges = torch.randn(3, 4), torch.rand(3, 5), torch.tensor([0, 0, 1])
    >>> moments(*edges, num_nodes=2).shape, moments.irreps_out
    (torch.Size([2, 8]), 2x0e+2x1o)
    """

    def __init__(
        self,
        irreps_edge: IrrepsLike,
        num_edge_scalars: int,
        *,
        channels: int = 8,
        avg_num_neighbors: float = 16.0,
    ) -> None:
        super().__init__()
        self.irreps_in = parse_irreps(irreps_edge, "irreps_edge")
        if not self.irreps_in.dim:
            raise ValueError("irreps_edge is empty; wanted harmonics, such as '0e + 1o + 2e'")
        if num_edge_scalars < 1 or channels < 1 or not avg_num_neighbors > 0:
            raise ValueError(
                f"num_edge_scalars={num_edge_scalars}, channels={channels} and "
                f"avg_num_neighbors={avg_num_neighbors} must be positive"
            )
        self.channels = channels
        self.avg_num_neighbors = avg_num_neighbors
        self.irreps_out = o3.Irreps([(channels * mul, ir) for mul, ir in self.irreps_in])
        shape = num_edge_scalars, channels * len(self.irreps_in)
        self.weight = nn.Parameter(torch.empty(shape))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the weights anew."""
        nn.init.normal_(self.weight, std=len(self.weight) ** -0.5)

    def forward(
        self, edge_attr: Tensor, edge_scalars: Tensor, target: Tensor, num_nodes: int
    ) -> Tensor:
        """Sum over the edges into every node: ``(num_nodes, irreps_out.dim)``.

        Harmonics are ``(num_edges, irreps_edge.dim)``, scalars ``(num_edges, num_edge_scalars)``,
        and ``target`` the node that an edge points to, ``(num_edges,)``.
        """
        self._check(edge_attr, edge_scalars, target)
        with full_precision(edge_attr):
            harmonics = to_working(edge_attr, self)
            weights = to_working(edge_scalars, self) @ self.weight
            sizes = [mul * ir.dim for mul, ir in self.irreps_in]
            pairs = zip(
                weights.split(self.channels, dim=1), harmonics.split(sizes, dim=1), strict=True
            )
            parts = [(weight[:, :, None] * y[:, None]).flatten(1) for weight, y in pairs]
            edges = torch.cat(parts, dim=1)
            total = edges.new_zeros(num_nodes, edges.shape[1]).index_add(0, target, edges)
            return (total * self.avg_num_neighbors**-0.5).to(edge_attr.dtype)

    def _check(self, edge_attr: Tensor, edge_scalars: Tensor, target: Tensor) -> None:
        shapes = [tuple(x.shape) for x in (edge_attr, edge_scalars, target)]
        num_edges = target.shape[0] if target.dim() else 0
        wanted = [(num_edges, self.irreps_in.dim), (num_edges, len(self.weight)), (num_edges,)]
        if shapes != wanted:
            raise ValueError(
                f"harmonics, scalars and targets of the edges have shapes {shapes}; wanted {wanted}"
            )

    def extra_repr(self) -> str:
        return (
            f"{self.irreps_in} -> {self.irreps_out}, {len(self.weight)} scalars per edge, "
            f"avg_num_neighbors={self.avg_num_neighbors:.3g} | {self.weight.numel()} parameters"
        )

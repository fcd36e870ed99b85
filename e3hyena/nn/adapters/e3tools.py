"""The transformer block of e3tools."""

from typing import Any

import torch
from torch import Tensor, nn

from e3hyena.irreps import IrrepsLike, parse_irreps
from e3hyena.nn.adapters.edge_moments import EdgeMoments
from e3hyena.nn.block import HyenaBlock
from e3hyena.nn.linear import Linear
from e3hyena.nn.precision import to_working
from e3hyena.ops.precision import full_precision


class E3toolsTransformerBlock(nn.Module):
    r"""`HyenaBlock` called like ``e3tools.nn.TransformerBlock``, plus ``batch``.

    .. math:: y = \mathrm{HyenaBlock}\big(W (x \oplus \mathrm{moments}(\mathrm{edges}))\big)

    ``batch`` has no default: edges tell attention which nodes belong together, but reach no further
    than they do, so for a batch of graphs the block must be told.

    Parameters
    ----------
    irreps_in, irreps_out, irreps_sh : o3.Irreps or str
        Irreps of the nodes before and after, and of the harmonics of the edges.
    edge_attr_dim : int
        Number of scalars per edge.
    mixer : str
        See :class:`HyenaOperator`.
    avg_num_neighbors : float
        See :class:`EdgeMoments`.
    **options
        Further arguments of :class:`HyenaBlock`.

    Examples
    --------
    >>> block = E3toolsTransformerBlock("4x0e", "4x0e + 4x1o", "0e + 1o", edge_attr_dim=5)
    >>> edge_index = torch.tensor([[0, 1], [1, 0]])
    >>> x, edge_attr, edge_sh = torch.randn(3, 4), torch.rand(2, 5), torch.randn(2, 4)
    >>> block(x, edge_index, edge_attr, edge_sh, batch=None).shape
    torch.Size([3, 16])
    """

    def __init__(
        self,
        irreps_in: IrrepsLike,
        irreps_out: IrrepsLike,
        irreps_sh: IrrepsLike,
        edge_attr_dim: int,
        *,
        mixer: str = "coordinate",
        avg_num_neighbors: float = 16.0,
        **options: Any,
    ) -> None:
        super().__init__()
        self.irreps_in = parse_irreps(irreps_in, "irreps_in")
        self.irreps_out = parse_irreps(irreps_out, "irreps_out")
        self.moments = EdgeMoments(irreps_sh, edge_attr_dim, avg_num_neighbors=avg_num_neighbors)
        self.merge = Linear(self.irreps_in + self.moments.irreps_out, self.irreps_out)
        self.block = HyenaBlock(self.irreps_out, mixer=mixer, **options)

    def forward(
        self,
        node_attr: Tensor,
        edge_index: Tensor,
        edge_attr: Tensor,
        edge_sh: Tensor,
        batch: Tensor | None,
    ) -> Tensor:
        """Update the nodes, ``(num_nodes, irreps_in.dim)`` -> ``(num_nodes, irreps_out.dim)``.

        Of the edges: ``edge_index``, ``(2, num_edges)``, scalars ``(num_edges, edge_attr_dim)`` and
        harmonics ``(num_edges, irreps_sh.dim)``. ``batch`` is the graph of every node, sorted; None
        if all are one graph.
        """
        with full_precision(node_attr):
            x = to_working(node_attr, self)
            moments = self.moments(edge_sh, edge_attr, edge_index[1], len(x)).to(x.dtype)
            x = self.merge(torch.cat([x, moments], dim=1))
            return self.block(x, batch).to(node_attr.dtype)

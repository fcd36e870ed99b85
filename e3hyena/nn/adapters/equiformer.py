"""The attention of Equiformer and of models with its call signature."""

from typing import Any

import torch
from torch import Tensor, nn

from e3hyena.irreps import IrrepsLike, parse_irreps
from e3hyena.nn.adapters.edge_moments import EdgeMoments
from e3hyena.nn.operator import HyenaOperator, default_hidden
from e3hyena.nn.precision import to_working
from e3hyena.ops.precision import full_precision


class EquiformerAttention(nn.Module):
    r"""`HyenaOperator` called like Equiformer's ``GraphAttention``.

    .. math:: y = \mathrm{operator}\big(x \oplus \mathrm{moments}(\mathrm{edges})\big)

    In a ``TransBlock`` it takes the place of ``.ga``; norms, residuals and feed-forward stay. For a
    whole block of another package that is called in this way it serves as well, having the same
    arguments. ``node_attr`` is not used, as in ``GraphAttention``.

    Parameters
    ----------
    irreps_node_input, irreps_edge_attr, irreps_node_output : o3.Irreps or str
        Irreps of the nodes, of the harmonics of the edges, and of the result.
    num_edge_scalars : int
        Number of scalars per edge: ``fc_neurons[0]`` of Equiformer.
    mixer : str
        See :class:`HyenaOperator`.
    avg_num_neighbors : float
        See :class:`EdgeMoments`.
    **options
        Further arguments of :class:`HyenaOperator`. By default the hidden irreps are all
        kinds of input and output, with equal multiplicities.

    Examples
    --------
    >>> layer = EquiformerAttention("4x0e + 4x1e", "0e + 1e", "4x0e + 4x1e", num_edge_scalars=5)
    >>> edges = {"edge_src": torch.tensor([0, 1]), "edge_dst": torch.tensor([1, 0])}
    >>> edges |= {"edge_attr": torch.randn(2, 4), "edge_scalars": torch.rand(2, 5)}
    >>> layer(torch.randn(3, 16), torch.ones(3, 1), **edges, batch=torch.tensor([0, 0, 1])).shape
    torch.Size([3, 16])
    """

    def __init__(
        self,
        irreps_node_input: IrrepsLike,
        irreps_edge_attr: IrrepsLike,
        irreps_node_output: IrrepsLike,
        *,
        num_edge_scalars: int,
        mixer: str = "coordinate",
        avg_num_neighbors: float = 16.0,
        **options: Any,
    ) -> None:
        super().__init__()
        self.irreps_in = parse_irreps(irreps_node_input, "irreps_node_input")
        self.irreps_out = parse_irreps(irreps_node_output, "irreps_node_output")
        self.moments = EdgeMoments(
            irreps_edge_attr, num_edge_scalars, avg_num_neighbors=avg_num_neighbors
        )
        options.setdefault("irreps_hidden", default_hidden(self.irreps_in, self.irreps_out))
        self.operator = HyenaOperator(
            self.irreps_in + self.moments.irreps_out, self.irreps_out, mixer=mixer, **options
        )

    def forward(
        self,
        node_input: Tensor,
        node_attr: Tensor | None,
        edge_src: Tensor,
        edge_dst: Tensor,
        edge_attr: Tensor,
        edge_scalars: Tensor,
        batch: Tensor | None,
    ) -> Tensor:
        """Exchange information within every graph; the result is ``(num_nodes, irreps_out.dim)``.

        Features are ``(num_nodes, irreps_in.dim)``; of the edges, targets ``(num_edges,)``,
        harmonics ``(num_edges, irreps_edge_attr.dim)`` and scalars ``(num_edges,
        num_edge_scalars)``, sources are not used. ``batch`` is the graph of every node, sorted;
        None if all are one graph.
        """
        with full_precision(node_input):
            x = to_working(node_input, self)
            moments = self.moments(edge_attr, edge_scalars, edge_dst, len(x)).to(x.dtype)
            return self.operator(torch.cat([x, moments], dim=1), batch).to(node_input.dtype)

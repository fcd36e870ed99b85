"""Attention in the manner of Equiformer."""

import torch
from e3nn import o3
from torch import Tensor, nn
from torch_geometric.utils import scatter, softmax


class EquiformerStyleAttention(nn.Module):
    r"""MLP attention over edges, with the arguments of Equiformer's ``GraphAttention``.

    .. math:: m_{ij} = (W_s x_j + W_t x_i) \otimes_{R(s_{ij})} Y(r_{ij}),\qquad
              y_i = W \sum_{j \to i}
              \mathrm{softmax}_j\big(a \cdot \mathrm{LeakyReLU}(W_a m_{ij})\big)\, W_v m_{ij}

    The tensor product is channel-wise ("uvu"), its weights an MLP makes from the scalars of the
    edge; one set of attention weights per head. Our own short version: no drop-out, no non-linear
    messages.

    Parameters
    ----------
    irreps_node_input, irreps_edge_attr, irreps_node_output : str
        Irreps of the nodes, of the harmonics, and of the result.
    num_edge_scalars : int
        Number of scalars per edge.
    num_heads : int
        Divides every multiplicity of ``irreps_node_output``.

    Examples
    --------
    >>> layer = EquiformerStyleAttention("4x0e + 4x1o", "0e + 1o", "4x0e", num_edge_scalars=5)
    >>> src, dst = torch.tensor([[0, 1], [1, 0]])
    >>> edges = src, dst, torch.randn(2, 4), torch.rand(2, 5)
    >>> layer(torch.randn(3, 16), None, *edges, batch=None).shape
    torch.Size([3, 4])
    """

    def __init__(
        self,
        irreps_node_input: str,
        irreps_edge_attr: str,
        irreps_node_output: str,
        *,
        num_edge_scalars: int,
        num_heads: int = 4,
    ) -> None:
        super().__init__()
        irreps_in, self.irreps_out = o3.Irreps(irreps_node_input), o3.Irreps(irreps_node_output)
        self.num_heads = num_heads
        self.source = o3.Linear(irreps_in, irreps_in)
        self.target = o3.Linear(irreps_in, irreps_in)
        self.product = channelwise(irreps_in, o3.Irreps(irreps_edge_attr), self.irreps_out)
        self.weights = nn.Sequential(
            nn.Linear(num_edge_scalars, 64), nn.SiLU(), nn.Linear(64, self.product.weight_numel)
        )
        messages = self.product.irreps_out.simplify()
        self.score = o3.Linear(messages, f"{8 * num_heads}x0e")
        self.score_weights = nn.Parameter(torch.randn(num_heads, 8) * 8**-0.5)
        self.value = o3.Linear(messages, self.irreps_out)
        self.project = o3.Linear(self.irreps_out, self.irreps_out)

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
        """``(num_nodes, irreps_node_input.dim)`` -> ``(num_nodes, irreps_node_output.dim)``."""
        ends = self.source(node_input)[edge_src] + self.target(node_input)[edge_dst]
        message = self.product(ends, edge_attr, self.weights(edge_scalars))
        score = nn.functional.leaky_relu(self.score(message), 0.2).unflatten(1, (-1, 8))
        alpha = (score * self.score_weights).sum(dim=2)
        alpha = softmax(alpha, edge_dst, num_nodes=len(node_input))[:, :, None]
        sizes = [mul * ir.dim for mul, ir in self.irreps_out]
        blocks = self.value(message).split(sizes, dim=1)
        heads = [(block.unflatten(1, (self.num_heads, -1)) * alpha).flatten(1) for block in blocks]
        total = scatter(torch.cat(heads, dim=1), edge_dst, dim_size=len(node_input))
        return self.project(total)


def channelwise(irreps1: o3.Irreps, irreps2: o3.Irreps, kinds: o3.Irreps) -> o3.TensorProduct:
    """All paths to the kinds of some irreps, every channel for itself, weights from outside."""
    outs: list[tuple[int, o3.Irrep]] = []
    instructions = []
    for i, (mul, ir1) in enumerate(irreps1):
        for j, (_, ir2) in enumerate(irreps2):
            for ir in ir1 * ir2:
                if ir in kinds:
                    instructions.append((i, j, len(outs), "uvu", True))
                    outs.append((mul, ir))
    irreps_out, place, _ = o3.Irreps(outs).sort()
    instructions = [(i, j, place[k], *rest) for i, j, k, *rest in instructions]
    return o3.TensorProduct(
        irreps1, irreps2, irreps_out, instructions, shared_weights=False, internal_weights=False
    )

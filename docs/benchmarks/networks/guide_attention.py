"""The attention layer that e3nn's guide builds."""

import torch
from e3nn import o3
from e3nn.math import soft_one_hot_linspace, soft_unit_step
from e3nn.nn import FullyConnectedNet
from torch import Tensor, nn
from torch_geometric.utils import scatter

from e3hyena.ops.radius_graph import radius_graph

_BASIS, _WIDTH = 10, 16


class GuideAttention(nn.Module):
    r"""Attention over the edges of a radius graph, as in the guide "Transformer" of e3nn.

    .. math:: y_i = \sum_{j \to i} \sqrt{\alpha_{ij}}\; v_{ij},\qquad
              \alpha_{ij} \propto w(r_{ij}) \exp \langle q_i, k_{ij} \rangle

    with keys and values from fully connected tensor products of :math:`x_j` and the harmonics of
    the edge, whose weights an MLP makes for every edge from its length.

    Parameters
    ----------
    irreps_input, irreps_output, irreps_query, irreps_key, irreps_sh : str
        As in the guide.
    max_radius : float
        Length from which on nodes do not see each other.

    Examples
    --------
    >>> layer = GuideAttention("4x0e", "4x0e + 4x1o", "4x0e", "4x0e", "0e + 1o", max_radius=1.3)
    >>> layer(torch.randn(20, 4), torch.randn(20, 3)).shape
    torch.Size([20, 16])
    """

    def __init__(
        self,
        irreps_input: str,
        irreps_output: str,
        irreps_query: str,
        irreps_key: str,
        irreps_sh: str,
        *,
        max_radius: float,
    ) -> None:
        super().__init__()
        self.irreps_sh = o3.Irreps(irreps_sh)
        self.max_radius = max_radius
        self.query = o3.Linear(irreps_input, irreps_query)
        self.key = _product(irreps_input, irreps_sh, irreps_key)
        self.value = _product(irreps_input, irreps_sh, irreps_output)
        self.key_weights = _radial(self.key.weight_numel)
        self.value_weights = _radial(self.value.weight_numel)
        self.dot = o3.FullyConnectedTensorProduct(irreps_query, irreps_key, "0e")

    def forward(self, f: Tensor, pos: Tensor) -> Tensor:
        """``(num_nodes, irreps_input.dim)`` and ``(num_nodes, 3)`` -> ``(num_nodes, ...)``."""
        source, target = radius_graph(pos.detach(), self.max_radius)
        vector = pos[source] - pos[target]
        length = vector.norm(dim=1)
        basis = _BASIS**0.5 * soft_one_hot_linspace(
            length, 0.0, self.max_radius, _BASIS, basis="smooth_finite", cutoff=True
        )
        harmonics = o3.spherical_harmonics(
            self.irreps_sh, vector, normalize=True, normalization="component"
        )
        k = self.key(f[source], harmonics, self.key_weights(basis))
        v = self.value(f[source], harmonics, self.value_weights(basis))
        cutoff = soft_unit_step(10 * (1 - length / self.max_radius))
        weight = cutoff[:, None] * self.dot(self.query(f)[target], k).exp()
        total = scatter(weight, target, dim_size=len(f))
        alpha = weight / torch.where(total == 0, 1, total)[target]
        root = torch.where(alpha > 0, alpha, 1).sqrt().where(alpha > 0, 0)
        return scatter(root * v, target, dim_size=len(f))


def _product(irreps1: str, irreps2: str, irreps_out: str) -> o3.FullyConnectedTensorProduct:
    return o3.FullyConnectedTensorProduct(irreps1, irreps2, irreps_out, shared_weights=False)


def _radial(num_weights: int) -> FullyConnectedNet:
    return FullyConnectedNet([_BASIS, _WIDTH, num_weights], act=nn.functional.silu)

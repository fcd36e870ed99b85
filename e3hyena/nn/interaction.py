"""Local message passing: radial functions times spherical harmonics, over a radius graph."""

from __future__ import annotations

import torch
from e3nn import o3
from torch import Tensor, nn

from e3hyena.irreps import ChannelIrreps, IrrepsLike, TokenLayout, parse_irreps
from e3hyena.nn.embedding import solid_harmonics
from e3hyena.nn.linear import Linear
from e3hyena.nn.operator import default_hidden
from e3hyena.nn.radial import RadialBasis, init_silu_mlp
from e3hyena.ops.paths import Paths


class Interaction(nn.Module):
    r"""Messages from neighbours, summed at every atom.

    .. math:: y_i = W_o \frac{1}{\sqrt{\bar n}} \sum_{j:\,r_{ij}<r_c}
              \mathrm{CG}_{R(r_{ij})}\big(W x_j \otimes Y(r_{ij})\big)

    with one radial weight per path and channel: ``o3.TensorProduct`` in its "uvu" mode. The
    harmonics are :math:`Y_l(r/\sqrt{r^2+\epsilon^2})`, smooth where atoms coincide.

    Parameters
    ----------
    irreps : o3.Irreps or str
        Irreps of the atoms, in and out.
    cutoff : float
        Radius, in the unit of the positions.
    lmax : int, optional
        Largest degree of the harmonics; by default that of ``irreps``.
    num_basis, radial_width : int
        Size of the radial basis and of the MLP that makes the weights.
    avg_num_neighbors : float
        Divides the sum; about right for organic molecules at 3 to 5 Angstrom.

    Examples
    --------
    >>> layer = Interaction("8x0e + 8x1o", cutoff=2.0)
    >>> edges = torch.tensor([[0, 1], [1, 0]])
    >>> layer(torch.randn(2, 32), torch.randn(2, 3), edges).shape
    torch.Size([2, 32])
    """

    def __init__(
        self,
        irreps: IrrepsLike,
        *,
        cutoff: float,
        lmax: int | None = None,
        num_basis: int = 8,
        radial_width: int = 32,
        avg_num_neighbors: float = 10.0,
    ) -> None:
        super().__init__()
        self.irreps_in = self.irreps_out = parse_irreps(irreps)
        hidden = ChannelIrreps(default_hidden(self.irreps_in))
        self.rows = hidden.per_channel.slices()
        self.lmax = lmax if lmax is not None else max(self.irreps_in.ls, default=0)
        self.cutoff = cutoff
        self.avg_num_neighbors = avg_num_neighbors
        edge = o3.Irreps.spherical_harmonics(self.lmax)
        self.paths = Paths(hidden.per_channel, edge, hidden.per_channel)
        num_weights = self.paths.num_paths * hidden.num_channels
        self.up = Linear(TokenLayout(self.irreps_in), hidden)
        self.basis = RadialBasis(num_basis, cutoff)
        self.radial = nn.Sequential(
            nn.Linear(num_basis, radial_width, bias=False),
            nn.SiLU(),
            nn.Linear(radial_width, num_weights, bias=False),
        )
        self.down = Linear(hidden, TokenLayout(self.irreps_out))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the radial weights anew, unit variance."""
        init_silu_mlp(self.radial)

    def forward(self, x: Tensor, pos: Tensor, edge_index: Tensor) -> Tensor:
        """Features ``(T, dim)``, positions ``(T, 3)``, edges ``(2, E)`` -> ``(T, dim)``."""
        source, target = edge_index
        vectors = pos[source] - pos[target]
        square = vectors.square().sum(dim=-1)
        distance = (square + 1e-6 * self.cutoff**2).sqrt()
        weights = self.radial(self.basis(distance))
        weights = weights.unflatten(-1, (self.paths.num_paths, -1))
        harmonics = torch.cat(solid_harmonics(vectors / distance[:, None], self.lmax), dim=-1)
        features = self.up(x).permute(2, 1, 0)[source]
        messages = self._messages(features, harmonics, weights)
        total = x.new_zeros(len(x), *messages.shape[1:]).index_add(0, target, messages)
        return self.down((total * self.avg_num_neighbors**-0.5).permute(2, 1, 0))

    def _messages(self, x: Tensor, y: Tensor, weights: Tensor) -> Tensor:
        """Contract ``(E, d, C)``, ``(E, L)`` and weights ``(E, P, C)`` to ``(E, d, C)``."""
        coefficients = self.paths.coefficients(x.dtype, x.device)
        rows = self.rows
        operands = x.split([row.stop - row.start for row in rows], dim=1)
        path_weights = weights.unbind(dim=1)
        outputs: list[Tensor | None] = [None] * len(rows)
        for p, (i1, _, i3) in enumerate(self.paths.instructions):
            block = coefficients[p, rows[i1], :, rows[i3]]
            a, _, c = block.shape
            operand = operands[i1] * path_weights[p][:, None]
            matrix = (y @ block.permute(1, 2, 0).reshape(-1, c * a)).view(-1, c, a)
            message = matrix * operand if a == 1 else matrix @ operand
            previous = outputs[i3]
            outputs[i3] = message if previous is None else previous + message
        zeros = [o if o is not None else x.new_zeros(len(x), s.stop - s.start, x.shape[2])
                 for o, s in zip(outputs, rows, strict=True)]  # fmt: skip
        return torch.cat(zeros, dim=1)

    def extra_repr(self) -> str:
        numel = sum(p.numel() for p in self.parameters())
        return f"{self.irreps_in}, cutoff={self.cutoff}, lmax={self.lmax} | {numel} parameters"

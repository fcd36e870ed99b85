"""The transformer of e3nn's guide."""

from typing import Any

import torch
from e3nn import o3
from torch import Tensor, nn
from torch_geometric.utils import scatter

from e3hyena.irreps import IrrepsLike, parse_irreps
from e3hyena.nn.embedding import AtomEmbedding
from e3hyena.nn.operator import HyenaOperator, default_hidden
from e3hyena.nn.precision import to_working
from e3hyena.ops.precision import full_precision
from e3hyena.ops.segments import Segments

_COPIES = 8  # features of the position, per degree


class GuideTransformer(nn.Module):
    r"""`HyenaOperator` called like the ``transformer(f, pos)`` of e3nn's guide.

    .. math:: y = \mathrm{operator}\big(f \oplus \mathrm{embedding}(r - \bar r)\big)

    There is no radius: every node hears every node of its graph.

    Parameters
    ----------
    irreps_input : o3.Irreps or str
        Irreps of the features.
    irreps_output : o3.Irreps or str, optional
        Irreps of the result; ``irreps_input`` by default.
    length : float
        Length over which the embedding of positions varies, in their unit.
    mixer : str
        See :class:`HyenaOperator`.
    **options
        Further arguments of :class:`HyenaOperator`. By default the hidden irreps are all
        kinds of input and output, with equal multiplicities.

    Raises
    ------
    ValueError
        If irreps do not parse; in the call, if shapes do not fit.

    Examples
    --------
    >>> transformer = GuideTransformer("10x0e + 5x1o + 2x2e", "14x0e + 6x1o")
    >>> transformer(torch.randn(20, 35), torch.randn(20, 3)).shape
    torch.Size([20, 32])
    """

    def __init__(
        self,
        irreps_input: IrrepsLike,
        irreps_output: IrrepsLike | None = None,
        *,
        length: float = 2.0,
        mixer: str = "coordinate",
        **options: Any,
    ) -> None:
        super().__init__()
        self.irreps_in = parse_irreps(irreps_input, "irreps_input")
        self.irreps_out = parse_irreps(irreps_output, "irreps_output", self.irreps_in)
        degrees = range(max(1, *self.irreps_in.ls, *self.irreps_out.ls, 0) + 1)
        places = o3.Irreps([(_COPIES, (l, (-1) ** l)) for l in degrees])
        self.embedding = AtomEmbedding(places, length=length)
        options.setdefault("irreps_hidden", default_hidden(self.irreps_in, self.irreps_out))
        self.operator = HyenaOperator(
            self.irreps_in + places, self.irreps_out, mixer=mixer, **options
        )

    def forward(self, f: Tensor, pos: Tensor, batch: Tensor | None = None) -> Tensor:
        """Features ``(num_nodes, irreps_in.dim)`` -> ``(num_nodes, irreps_out.dim)``.

        Positions are ``(num_nodes, 3)``, ``batch`` the graph of every node, sorted; by default all
        nodes are one graph.
        """
        if f.shape[:-1] != pos.shape[:-1] or pos.dim() != 2 or pos.shape[1] != 3:
            raise ValueError(
                f"f has shape {tuple(f.shape)} and pos {tuple(pos.shape)}; wanted "
                f"(num_nodes, {self.irreps_in.dim}) and (num_nodes, 3)"
            )
        segments = Segments.build(len(f), batch, device=f.device)
        with full_precision(f):
            r = to_working(pos, self)
            index = segments.index
            centre = scatter(r, index, dim=0, dim_size=segments.num_graphs, reduce="mean")
            places = self.embedding(torch.zeros_like(index), r - centre[index])
            x = torch.cat([to_working(f, self), places], dim=1)
            return self.operator(x, segments).to(f.dtype)

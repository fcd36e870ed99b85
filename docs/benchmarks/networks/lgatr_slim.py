"""LGATr-slim, a Lorentz-equivariant transformer, for tokens of scalars and vectors in space."""

import torch
from e3nn import o3
from torch import Tensor, nn

from benchmarks.networks.lgatr_short_conv import ConvolvedSlimLinear
from e3hyena._extras import require
from e3hyena.irreps import ChannelIrreps, IrrepsLike, TokenLayout, parse_irreps
from e3hyena.mixers.attention import Attention
from e3hyena.mixers.heads import check_heads
from e3hyena.nn.precision import to_working
from e3hyena.ops.precision import full_precision
from e3hyena.ops.segments import Segments


class SpatialLGATrSlim(nn.Module):
    r"""``LGATrSlim`` of the package ``lgatr``, its blocks as they are, for irreps of e3nn.

    Its tokens are scalars and four-vectors, compared by :math:`\langle a, b\rangle = a_t b_t -
    \vec a\cdot\vec b`. A vector enters as :math:`(0, \vec v)`, a scalar as itself and as
    :math:`(s, \vec 0)`, and every token gets :math:`(1, \vec 0)`:

    .. math:: V_i = \{(0, \vec v_{ic})\}_c \cup \{(s_{ic}, \vec 0)\}_c \cup \{(1, \vec 0)\},\qquad
              S_i = \{s_{ic}\}_c

    What is left of the Lorentz group is O(3). Its blocks gate vectors by inner products of vectors
    and scalars by scalars, so that the time components are where scalars meet vectors; the result
    takes vectors from space components, and scalars from both time components and scalars. There
    are no cross products: the network is equivariant under reflections as well, and, without short
    convolutions, under permutations. O(N^2) time.

    Parameters
    ----------
    irreps_in, irreps_hidden, irreps_out : o3.Irreps or str
        Scalars ``0e`` and vectors ``1o``; the hidden ones are the channels of the blocks.
    num_blocks : int
    short_conv : int
        Kernel size of a short convolution of q, k and v along the order of the tokens, as in
        `HyenaOperator`, and no part of LGATr-slim; 0 for none.
    """

    def __init__(
        self,
        irreps_in: IrrepsLike,
        irreps_hidden: IrrepsLike,
        irreps_out: IrrepsLike,
        num_blocks: int,
        *,
        short_conv: int = 0,
    ) -> None:
        super().__init__()
        self.irreps_in = _parse(irreps_in, "irreps_in", needed=("0e", "1o"))
        self.irreps_hidden = _parse(irreps_hidden, "irreps_hidden", needed=("0e", "1o"))
        self.irreps_out = _parse(irreps_out, "irreps_out")
        self.layout_in, self.layout_out = TokenLayout(self.irreps_in), TokenLayout(self.irreps_out)
        channels = ChannelIrreps(self.irreps_hidden).num_channels
        self.net = require("lgatr", "opponents").LGATrSlim(
            num_blocks=num_blocks,
            in_v_channels=self.irreps_in.num_irreps + 1,
            hidden_v_channels=self.irreps_hidden.count("1o"),
            out_v_channels=self.irreps_out.num_irreps,
            in_s_channels=self.irreps_in.count("0e"),
            hidden_s_channels=self.irreps_hidden.count("0e"),
            out_s_channels=self.irreps_out.count("0e"),
            num_heads=check_heads(None, channels, default=Attention.default_heads),
        )
        if short_conv:
            for block in self.net.blocks:
                qkv = block.attention.linear_in
                block.attention.linear_in = ConvolvedSlimLinear(qkv, short_conv)

    def forward(self, x: Tensor, batch: Tensor | Segments | None = None) -> Tensor:
        """``(T, irreps_in.dim)`` -> ``(T, irreps_out.dim)``; tokens see those of their graph."""
        layout = Segments.build(len(x), batch, device=x.device).exact
        with full_precision(x):
            working = to_working(x, self)
            parts = [self._dense(part[0])[None] for part in layout.gather(working.t()[None])]
            y = layout.scatter(parts, working.new_empty(1, self.irreps_out.dim, len(x)))
            return y[0].t().to(x.dtype)

    def _dense(self, x: Tensor) -> Tensor:
        """Graphs of N tokens, ``(irreps_in.dim, B, N)`` -> ``(irreps_out.dim, B, N)``."""
        graphs = x.shape[1:]
        blocks = self.layout_in.read(x.flatten(1).t())
        scalars, vectors = blocks["0e"], _four_vectors(blocks["0e"], blocks["1o"])
        vectors, scalars = self.net(
            vectors.permute(2, 0, 1).unflatten(0, graphs), scalars[:, 0].t().unflatten(0, graphs)
        )
        scalars, vectors = scalars.flatten(0, 1).t(), vectors.flatten(0, 1).permute(1, 2, 0)
        number = self.irreps_out.count("1o")
        read = {"0e": (scalars + vectors[number:, 0])[:, None], "1o": vectors[:number, 1:]}
        y = self.layout_out.write({ir: read[ir] for ir in self.layout_out.widths})
        return y.t().unflatten(1, graphs)


def _four_vectors(scalars: Tensor, vectors: Tensor) -> Tensor:
    """``(a, 1, T)`` and ``(b, 3, T)`` -> ``(b + a + 1, 4, T)``: time first, a unit of time last."""
    times = torch.cat([scalars, torch.ones_like(scalars[:1])])
    pad = nn.functional.pad
    return torch.cat([pad(vectors, (0, 0, 1, 0)), pad(times, (0, 0, 0, 3))])


def _parse(irreps: IrrepsLike, name: str, needed: tuple[str, ...] = ()) -> o3.Irreps:
    parsed = parse_irreps(irreps, name)
    kinds = {str(ir) for mul, ir in parsed if mul}
    if kinds - {"0e", "1o"} or not kinds.issuperset(needed):
        raise ValueError(
            f"{name}={str(parsed)!r}: LGATr-slim needs scalars and vectors and nothing else; "
            "write for example '16x0e + 16x1o'"
        )
    return parsed

"""L-GATr-slim, a transformer of four-vectors and scalars, with the time axis as a reference."""

from __future__ import annotations

import torch
from e3nn import o3
from torch import Tensor, nn

from e3hyena._extras import require
from e3hyena.irreps import IrrepsLike, TokenLayout, parse_irreps
from e3hyena.ops.segments import Segments


class LGATrSlim(nn.Module):
    r"""``lgatr.LGATrSlim`` over tokens of scalars and vectors.

    A vector :math:`\vec x` enters as the four-vector :math:`(0, \vec x)`. Beside them stands the
    constant :math:`(1, \vec 0)`, which leaves of the Lorentz group what keeps the time axis:
    rotations and reflections of space. Time components of the result are invariants, so a linear
    map adds them to its scalars. Attention is softmax over all tokens of a graph, O(N^2) time;
    symmetric under O(3) and permutations.

    Parameters
    ----------
    irreps_in, irreps_out : o3.Irreps or str
        ``0e`` and ``1o`` only, with scalars among ``irreps_in``.
    irreps_hidden : o3.Irreps or str
        Number of scalar and vector channels between the blocks.
    num_blocks : int
    num_heads : int

    Raises
    ------
    ImportError
        Without the package ``lgatr`` (extra ``opponents``).
    ValueError
        If there are other irreps; in the call, if graphs are of different sizes.

    References
    ----------
    Spinner et al. 2024, Lorentz-equivariant geometric algebra transformers; the package ``lgatr``.

    Examples
    --------
    >>> net = LGATrSlim("2x0e + 2x1o", "1o", "8x0e + 8x1o", num_blocks=2)
    >>> net(torch.randn(12, 8), Segments((6, 6))).shape
    torch.Size([12, 3])
    """

    def __init__(
        self,
        irreps_in: IrrepsLike,
        irreps_out: IrrepsLike,
        irreps_hidden: IrrepsLike,
        *,
        num_blocks: int,
        num_heads: int = 4,
    ) -> None:
        super().__init__()
        counts = [_count(irreps) for irreps in (irreps_in, irreps_out, irreps_hidden)]
        (scalars_in, vectors_in), (scalars_out, vectors_out), (scalars, vectors) = counts
        self.irreps_in, self.irreps_out = parse_irreps(irreps_in), parse_irreps(irreps_out)
        self.tokens_in, self.tokens_out = TokenLayout(self.irreps_in), TokenLayout(self.irreps_out)
        self.scalars_out = scalars_out
        self.net = require("lgatr", "opponents").LGATrSlim(
            num_blocks,
            in_v_channels=vectors_in + 1,
            out_v_channels=vectors_out,
            hidden_v_channels=vectors,
            in_s_channels=scalars_in,
            out_s_channels=scalars_out,
            hidden_s_channels=scalars,
            num_heads=num_heads,
        )
        self.times = nn.Linear(vectors_out, scalars_out, bias=False) if scalars_out else None

    def forward(self, x: Tensor, segments: Segments) -> Tensor:
        """Tokens ``(T, irreps_in.dim)`` of graphs of equal size -> ``(T, irreps_out.dim)``."""
        if len(set(segments.lengths)) > 1:
            raise ValueError(
                f"graphs have {sorted(set(segments.lengths))} tokens; L-GATr-slim takes graphs of "
                "equal size here: call it once for every size"
            )
        blocks = self.tokens_in.read(x)
        scalars = blocks["0e"].squeeze(1).t()
        vectors = nn.functional.pad(blocks["1o"].permute(2, 0, 1), (1, 0))
        time_axis = torch.eye(4, dtype=x.dtype, device=x.device)[:1].expand(len(x), 1, 4)
        vectors = torch.cat([vectors, time_axis], dim=1)
        shape = len(segments.lengths), -1
        four_vectors, y = self.net(vectors.unflatten(0, shape), scalars.unflatten(0, shape))
        four_vectors, y = four_vectors.flatten(0, 1), y.flatten(0, 1)
        result = {"1o": four_vectors[..., 1:].permute(1, 2, 0)}
        if self.times is not None:
            result["0e"] = (y + self.times(four_vectors[..., 0])).t().unsqueeze(1)
        return self.tokens_out.write(result)


def _count(irreps: IrrepsLike) -> tuple[int, int]:
    """Scalars and vectors."""
    parsed = parse_irreps(irreps)
    others = {str(ir) for mul, ir in parsed if mul} - {"0e", "1o"}
    if others:
        raise ValueError(
            f"L-GATr-slim takes scalars and vectors only, got {', '.join(sorted(others))} in "
            f"{parsed}; write for example '32x0e + 32x1o'"
        )
    return parsed.count(o3.Irrep("0e")), parsed.count(o3.Irrep("1o"))

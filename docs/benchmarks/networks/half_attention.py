"""Attention in half precision, which fused kernels are made for."""

import torch
from torch import Tensor

from e3hyena.mixers.attention import Attention
from e3hyena.ops.segments import Segments


class HalfAttention(Attention):
    """`Attention` whose dot products and sums run in bfloat16: an opponent in speed, not accuracy.

    Parameters are those of :class:`~e3hyena.mixers.attention.Attention`.

    Examples
    --------
    >>> from e3hyena.irreps import ChannelIrreps
    >>> mixer = HalfAttention(ChannelIrreps("8x0e + 8x1o"))
    >>> q, k, v = torch.randn(3, 8, 4, 50)
    >>> mixer(q, k, v, Segments((50,))).dtype
    torch.float32
    """

    def forward(self, q: Tensor, k: Tensor, v: Tensor, segments: Segments) -> Tensor:
        """Attend within every graph; dtype of ``v``."""
        q_half, k_half, v_half = (x.to(torch.bfloat16) for x in (q, k, v))
        return super().forward(q_half, k_half, v_half, segments).to(v.dtype)

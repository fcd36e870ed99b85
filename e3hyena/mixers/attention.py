"""Softmax attention over irreps: the baseline, and the better choice for few tokens."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from e3hyena.mixers.heads import HeadsMixer, join_heads, split_heads
from e3hyena.ops.segments import Segments


class Attention(HeadsMixer):
    r"""Irreps attention, every head over its concatenated irreps.

    .. math:: u_i = \sum_j \mathrm{softmax}_j\!\left(q_i\cdot k_j/\sqrt{D}\right) v_j,
              \qquad D = (C/H)\,d

    The dot product runs over all components of a head's channels, so it is invariant. Computed by
    ``torch.nn.functional.scaled_dot_product_attention``: O(N^2) time, O(N) memory; E(3) and
    permutation equivariant. The fused kernel has no double backward.

    Parameters are those of :class:`~e3hyena.mixers.heads.HeadsMixer`.
    """

    default_heads: ClassVar[int] = 4
    cost: ClassVar[str] = "O(N^2) time, O(N) memory"
    purpose: ClassVar[str] = "baseline, few tokens"

    def forward(self, q: Tensor, k: Tensor, v: Tensor, segments: Segments) -> Tensor:
        """Attend within every graph."""
        if not self.hidden.dim:
            return v
        layout = segments.similar
        parts = []
        for group, *qkv in zip(
            layout.groups, layout.gather(q), layout.gather(k), layout.gather(v), strict=True
        ):
            q_heads, k_heads, v_heads = (split_heads(x, self.heads) for x in qkv)
            mask = group.mask(q.device)[:, None, None] if group.padded else None
            attended = torch.nn.functional.scaled_dot_product_attention(
                q_heads, k_heads, v_heads, attn_mask=mask
            )
            parts.append(join_heads(attended, self.hidden.num_channels))
        return layout.scatter(parts, v)

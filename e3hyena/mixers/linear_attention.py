"""Linear attention over irreps: one matrix of moments per graph and head."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from e3hyena.mixers.heads import HeadsMixer
from e3hyena.ops.segments import Segments


class LinearAttention(HeadsMixer):
    r"""Attention without softmax, summed in the other order.

    .. math:: u_i = \frac{1}{N\sqrt{D}} \sum_j (q_i\cdot k_j)\, v_j
              = \frac{1}{N\sqrt{D}} \Big(\sum_j v_j k_j^T\Big) q_i

    O(N) time and memory; E(3) and permutation equivariant; differentiable to any order.

    Parameters are those of :class:`~e3hyena.mixers.heads.HeadsMixer`.
    """

    cost: ClassVar[str] = "O(N)"
    purpose: ClassVar[str] = "baseline"

    def forward(self, q: Tensor, k: Tensor, v: Tensor, segments: Segments) -> Tensor:
        """Attend within every graph."""
        if not self.hidden.dim:
            return v
        layout = segments.similar
        parts = []
        for group, *qkv in zip(
            layout.groups, layout.gather(q), layout.gather(k), layout.gather(v), strict=True
        ):
            c, d, b, n = qkv[0].shape
            width = c // self.heads * d
            q_heads, k_heads, v_heads = (
                x.reshape(self.heads, width, b, n).transpose(1, 2) for x in qkv
            )
            sizes = q.new_tensor(group.lengths)[:, None, None]
            moments = v_heads @ k_heads.transpose(2, 3) / (sizes * width**0.5)
            parts.append((moments @ q_heads).transpose(1, 2).reshape(c, d, b, n))
        return layout.scatter(parts, v)

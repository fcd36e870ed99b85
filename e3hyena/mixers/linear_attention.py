"""Linear attention over irreps: one matrix of moments per graph and head."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from e3hyena.mixers.heads import HeadsMixer
from e3hyena.mixers.windowed import sum_pairs
from e3hyena.ops.segments import Segments
from e3hyena.ops.window import Window


class LinearAttention(HeadsMixer):
    r"""Attention without softmax, summed in the other order.

    .. math:: u_i = \frac{1}{N\sqrt{D}} \sum_j (q_i\cdot k_j)\, v_j
              = \frac{1}{N\sqrt{D}} \Big(\sum_j v_j k_j^T\Big) q_i

    O(N) time and memory; E(3) and permutation equivariant; differentiable to any order. With
    ``range`` the mean is one over the tokens within, weighted by the
    :class:`~e3hyena.mixers.windowed.Falloff` of their distance.

    Parameters are those of :class:`~e3hyena.mixers.heads.HeadsMixer`.
    """

    cost: ClassVar[str] = "O(N)"
    purpose: ClassVar[str] = "baseline"

    def forward(self, q: Tensor, k: Tensor, v: Tensor, segments: Segments) -> Tensor:
        """Attend within every graph."""
        if not self.hidden.dim:
            return v
        if self.falloff is not None:
            return self._within(q, k, v, self.window(segments))
        dense = segments.similar
        parts = []
        for group, *qkv in zip(
            dense.groups, dense.gather(q), dense.gather(k), dense.gather(v), strict=True
        ):
            c, d, b, n = qkv[0].shape
            width = c // self.heads * d
            q_heads, k_heads, v_heads = (
                x.reshape(self.heads, width, b, n).transpose(1, 2) for x in qkv
            )
            sizes = torch.tensor(group.lengths, dtype=q.dtype, device=q.device)[:, None, None]
            moments = v_heads @ k_heads.transpose(2, 3) / (sizes * width**0.5)
            parts.append((moments @ q_heads).transpose(1, 2).reshape(c, d, b, n))
        return dense.scatter(parts, v)

    def _within(self, q: Tensor, k: Tensor, v: Tensor, window: Window) -> Tensor:
        """Means over the pairs of a window."""
        falloff = self.falloff
        assert falloff is not None
        q, k, v = (self.to_heads(x) for x in (q, k, v))
        q = q * q.shape[2] ** -0.5

        def messages(source: Tensor, target: Tensor, square: Tensor) -> Tensor:
            product = q.index_select(0, target) * k.index_select(0, source)
            weight = falloff(square)[:, :, None]
            term = weight * product.sum(dim=2, keepdim=True)
            return torch.cat([term * v.index_select(0, source), weight], dim=2)

        sums, total = sum_pairs(messages, window, len(q)).tensor_split([q.shape[2]], dim=2)
        return self.from_heads(sums / total)

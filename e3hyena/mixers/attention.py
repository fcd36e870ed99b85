"""Softmax attention over irreps: the baseline, and the better choice for few tokens."""

from typing import ClassVar

import torch
from torch import Tensor

from e3hyena.mixers.heads import HeadsMixer, join_heads, split_heads
from e3hyena.mixers.windowed import Falloff, pair_blocks, sum_pairs
from e3hyena.ops.segments import Segments
from e3hyena.ops.window import Window

_SMALLEST = 1e-30  # of what a distance leaves of a term, where terms are compared


class Attention(HeadsMixer):
    r"""Irreps attention, every head over its concatenated irreps.

    .. math:: u_i = \sum_j \mathrm{softmax}_j\!\left(q_i\cdot k_j/\sqrt{D}\right) v_j,
              \qquad D = (C/H)\,d

    The dot product runs over all components of a head's channels, so it is invariant. Computed by
    ``torch.nn.functional.scaled_dot_product_attention``: O(N^2) time, O(N) memory; E(3) and
    permutation equivariant. The fused kernel has no double backward. With ``range`` every term of
    the softmax is multiplied by the :class:`~e3hyena.mixers.windowed.Falloff` of its distance, in
    O(N) time and memory at fixed density.

    Parameters are those of :class:`~e3hyena.mixers.heads.HeadsMixer`.
    """

    default_heads: ClassVar[int] = 4
    cost: ClassVar[str] = "O(N^2) time, O(N) memory"
    purpose: ClassVar[str] = "baseline, few tokens"

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
            q_heads, k_heads, v_heads = (split_heads(x, self.heads) for x in qkv)
            mask = group.mask(q.device)[:, None, None] if group.padded else None
            attended = torch.nn.functional.scaled_dot_product_attention(
                q_heads, k_heads, v_heads, attn_mask=mask
            )
            parts.append(join_heads(attended, self.hidden.num_channels))
        return dense.scatter(parts, v)

    def _within(self, q: Tensor, k: Tensor, v: Tensor, window: Window) -> Tensor:
        """Attend to the pairs of a window."""
        falloff = self.falloff
        assert falloff is not None
        q, k, v = (self.to_heads(x) for x in (q, k, v))
        q = q * q.shape[2] ** -0.5
        largest = _largest_terms(falloff, window, q, k)

        def messages(source: Tensor, target: Tensor, square: Tensor) -> Tensor:
            logits = _logits(q, k, source, target) - largest.index_select(0, target)
            weight = (falloff(square) * logits.exp())[:, :, None]
            return torch.cat([weight * v.index_select(0, source), weight], dim=2)

        sums, total = sum_pairs(messages, window, len(q)).tensor_split([q.shape[2]], dim=2)
        return self.from_heads(sums / total)


def _logits(q: Tensor, k: Tensor, source: Tensor, target: Tensor) -> Tensor:
    """Products of ``(T, H, D)`` queries and keys, ``(P, H)``."""
    return (q.index_select(0, target) * k.index_select(0, source)).sum(dim=2)


@torch.no_grad()
def _largest_terms(falloff: Falloff, window: Window, q: Tensor, k: Tensor) -> Tensor:
    """Logarithm of the largest term that every token sums, ``(T, H)``."""
    largest = q.new_full(q.shape[:2], -torch.inf)
    for source, target, square in pair_blocks(window):
        terms = _logits(q, k, source, target) + falloff(square).clamp(min=_SMALLEST).log()
        largest.scatter_reduce_(0, target[:, None].expand_as(terms), terms, "amax")
    return largest

"""Softmax attention over irreps: the baseline, and the better choice for few tokens."""

from typing import ClassVar

import torch
from torch import Tensor

from e3hyena.mixers.heads import HeadsMixer, Weights, join_heads, split_heads
from e3hyena.mixers.windowed import Falloff, pair_blocks
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

    def attend(self, sizes: Tensor, mask: Tensor | None, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Softmax attention, by torch's kernel."""
        q, k, v = (split_heads(x, self.heads) for x in (q, k, v))
        mask = None if mask is None else mask[:, None, None]
        attended = torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return join_heads(attended, self.hidden.num_channels)

    def weights(self, q: Tensor, k: Tensor, window: Window, falloff: Falloff) -> Weights:
        """Terms of the softmax, about the largest."""
        largest = _largest_terms(falloff, window, q, k)

        def weights(source: Tensor, target: Tensor, square: Tensor) -> tuple[Tensor, Tensor]:
            logits = _logits(q, k, source, target) - largest.index_select(0, target)
            weight = (falloff(square) * logits.exp())[:, :, None]
            return weight, weight

        return weights


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

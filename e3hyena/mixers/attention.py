"""Softmax attention over irreps: the baseline, and the better choice for few tokens."""

from typing import ClassVar

import torch
from torch import Tensor

from e3hyena.mixers.heads import HeadsMixer, join_heads, split_heads

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

    def weights(self, products: Tensor, share: Tensor) -> tuple[Tensor, Tensor]:
        """Terms of the softmax, about the largest."""
        heard = share > 0
        terms = products.detach() + share.detach().clamp(min=_SMALLEST).log()
        largest = torch.where(heard, terms, -torch.inf).amax(dim=3, keepdim=True)
        weight = share * torch.where(heard, products - largest, 0).exp()
        return weight, weight

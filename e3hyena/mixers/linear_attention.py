"""Linear attention over irreps: one matrix of moments per graph and head."""

from typing import ClassVar

from torch import Tensor

from e3hyena.mixers.heads import HeadsMixer
from e3hyena.ops.segments import Segments
from e3hyena.ops.tiles import WIDTH, TiledSegments


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
        """Attend within every graph; in tiles while torch exports."""
        if self.falloff is not None or not isinstance(segments, TiledSegments) or not q.shape[1]:
            return super().forward(q, k, v, segments)
        shape = self.heads, q.shape[0] // self.heads * q.shape[1], -1, WIDTH
        q, k, v = (segments.gather(x).reshape(shape).transpose(1, 2) for x in (q, k, v))
        sizes = segments.sizes.to(q.dtype)[:, None, None]
        moments = segments.sum(v @ k.transpose(2, 3), dim=1) / (sizes * q.shape[2] ** 0.5)
        out = (segments.spread(moments, dim=1) @ q).transpose(1, 2)
        return segments.scatter(out.reshape(self.hidden.num_channels, self.hidden.dim, -1, WIDTH))

    def attend(self, sizes: Tensor, mask: Tensor | None, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Read the matrix of moments."""
        c, d, b, n = q.shape
        width = c // self.heads * d
        q, k, v = (x.reshape(self.heads, width, b, n).transpose(1, 2) for x in (q, k, v))
        moments = v @ k.transpose(2, 3) / sizes[:, None, None] / width**0.5
        return (moments @ q).transpose(1, 2).reshape(c, d, b, n)

    def weights(self, products: Tensor, share: Tensor) -> tuple[Tensor, Tensor]:
        """Products of query and key, and the share of each in the mean."""
        return share * products, share

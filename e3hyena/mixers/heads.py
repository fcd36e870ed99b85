"""Channels grouped into heads."""

from typing import ClassVar

from torch import Tensor

from e3hyena.irreps import ChannelIrreps
from e3hyena.mixers.windowed import Falloff, RangedMixer, from_heads, of_heads, to_heads
from e3hyena.ops.segments import Segments
from e3hyena.ops.window import Window


def check_heads(heads: int | None, num_channels: int, *, default: int) -> int:
    """Return the number of heads, or say which numbers fit the channels."""
    divisors = [n for n in range(1, num_channels + 1) if num_channels % n == 0]
    if heads is None:
        return max(n for n in divisors if n <= default)
    if heads not in divisors:
        raise ValueError(f"heads={heads} does not divide {num_channels} channels; use {divisors}")
    return heads


class HeadsMixer(RangedMixer):
    """Base of the mixers that compare whole heads: `attend` and `weights` are a subclass's."""

    default_heads: ClassVar[int] = 8

    def __init__(
        self,
        hidden: ChannelIrreps,
        *,
        heads: int | None = None,
        tensor_product_gating: bool = False,
        range: float | None = None,
    ) -> None:
        heads = check_heads(heads, hidden.num_channels, default=self.default_heads)
        super().__init__(hidden, heads, range)
        self.companion = "q" if tensor_product_gating else None

    def forward(self, q: Tensor, k: Tensor, v: Tensor, segments: Segments) -> Tensor:
        """Attend within every graph, or to those within the range."""
        if not self.hidden.dim:
            return v
        if self.falloff is not None:
            return self._within(q, k, v, self.window(segments), self.falloff)
        dense = segments.similar
        groups = zip(dense.sizes, dense.masks, dense.together(q, k, v), strict=True)
        return dense.scatter([self.attend(sizes, mask, *qkv) for sizes, mask, qkv in groups], v)

    def attend(self, sizes: Tensor, mask: Tensor | None, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Graphs of similar length, ``(C, d, B, N)``; ``mask`` is ``(B, N)``, if any is padded."""
        raise NotImplementedError

    def weights(self, products: Tensor, share: Tensor) -> tuple[Tensor, Tensor]:
        """Of q k / sqrt(D) and what distance leaves: the factors of the values and of their sum."""
        raise NotImplementedError

    def _within(self, q: Tensor, k: Tensor, v: Tensor, window: Window, falloff: Falloff) -> Tensor:
        q, k, v = (to_heads(x, self.heads) for x in (q, k, v))
        q = q * q.shape[2] ** -0.5

        def heard(target: Tensor, source: Tensor, square: Tensor) -> Tensor:
            products = of_heads(q, target) @ of_heads(k, source).transpose(2, 3)
            factor, share = self.weights(products, falloff(square))
            means = (factor @ of_heads(v, source)) / share.sum(dim=3, keepdim=True)
            return means.transpose(1, 2)

        return from_heads(window.sum(heard), self.hidden)

    def extra_repr(self) -> str:
        return f"heads={self.heads}, tensor_product_gating={self.companion is not None}"


def split_heads(x: Tensor, heads: int) -> Tensor:
    """``(C, d, B, N)`` -> ``(B, H, N, (C/H) d)``, contiguous."""
    c, d, b, n = x.shape
    return x.reshape(heads, c // heads * d, b, n).permute(2, 0, 3, 1).contiguous()


def join_heads(x: Tensor, num_channels: int) -> Tensor:
    """``(B, H, N, (C/H) d)`` -> ``(C, d, B, N)``."""
    b, h, n, width = x.shape
    return x.permute(1, 3, 0, 2).reshape(num_channels, h * width // num_channels, b, n)

"""Channels grouped into heads."""

from typing import ClassVar

from torch import Tensor

from e3hyena.irreps import ChannelIrreps
from e3hyena.mixers.windowed import RangedMixer


def check_heads(heads: int | None, num_channels: int, *, default: int) -> int:
    """Return the number of heads, or say which numbers fit the channels."""
    divisors = [n for n in range(1, num_channels + 1) if num_channels % n == 0]
    if heads is None:
        return max(n for n in divisors if n <= default)
    if heads not in divisors:
        raise ValueError(f"heads={heads} does not divide {num_channels} channels; use {divisors}")
    return heads


class HeadsMixer(RangedMixer):
    """Base of the mixers that compare whole heads.

    Parameters
    ----------
    hidden : ChannelIrreps
        Channels and per-channel irreps.
    heads : int, optional
        Number of heads, a divisor of the channels. Default: the largest up to ``default_heads``.
    tensor_product_gating : bool
        Combine the result with the query by a tensor product, as Hyena does.
    range : float, optional
        Radius beyond which a token hears nobody; None: it hears its whole graph.
    """

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

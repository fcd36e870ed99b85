"""Channels grouped into heads."""

from __future__ import annotations

from torch import Tensor


def check_heads(heads: int | None, num_channels: int, *, default: int) -> int:
    """Return the number of heads, or say which numbers fit the channels.

    Examples
    --------
    >>> check_heads(None, 12, default=8)
    6
    """
    divisors = [n for n in range(1, num_channels + 1) if num_channels % n == 0]
    if heads is None:
        return max(n for n in divisors if n <= default)
    if heads not in divisors:
        raise ValueError(f"heads={heads} does not divide {num_channels} channels; use {divisors}")
    return heads


def split_heads(x: Tensor, heads: int) -> Tensor:
    """``(C, d, B, N)`` -> ``(B, H, N, (C/H) d)``, contiguous."""
    c, d, b, n = x.shape
    return x.reshape(heads, c // heads * d, b, n).permute(2, 0, 3, 1).contiguous()


def join_heads(x: Tensor, num_channels: int) -> Tensor:
    """``(B, H, N, (C/H) d)`` -> ``(C, d, B, N)``."""
    b, h, n, width = x.shape
    return x.permute(1, 3, 0, 2).reshape(num_channels, h * width // num_channels, b, n)

"""Transform lengths, and how a signal of N tokens sits in a transform of P points.

The long convolution is a trilinear form of q (slot 0), k (slot 1) and the output's cotangent
(slot 2). Each slot has one embedding ``E``: N -> P; reading a result back is its adjoint ``E^T``.
q and k are padded with zeros; the output's slot carries the boundary:

============  =====================  ==================================================
boundary      P                      output ``E^T``
============  =====================  ==================================================
``circular``  N if N is fast         all N
``circular``  >= 2N-1 otherwise      first N plus the overhang, wrapped around
``causal``    >= 2N-1                first N
``same``      >= 2N-1-(N-1)//2       N from (N-1)//2 on, as ``scipy.signal.convolve``
============  =====================  ==================================================
"""

from __future__ import annotations

import torch
from torch import Tensor

BOUNDARIES = ("circular", "causal", "same")


def check_boundary(boundary: str) -> str:
    """Return the boundary, or raise a ValueError that lists the legal ones."""
    if boundary not in BOUNDARIES:
        raise ValueError(f"boundary={boundary!r} is unknown; use one of {', '.join(BOUNDARIES)}")
    return boundary


def fast_length(n: int) -> int:
    """Smallest even length of at least n with no prime factor above 5.

    Examples
    --------
    >>> [fast_length(n) for n in (1, 17, 97, 1009, 16383)]
    [2, 18, 100, 1024, 16384]
    """
    best = 2
    while best < n:
        best *= 2
    power5 = 1
    while 2 * power5 < best:
        power35 = power5
        while 2 * power35 < best:
            length = 2 * power35
            while length < n:
                length *= 2
            best = min(best, length)
            power35 *= 3
        power5 *= 5
    return best


def transform_length(num_tokens: int, boundary: str) -> int:
    """Length P of the real transforms for a sequence of ``num_tokens`` tokens.

    Examples
    --------
    >>> transform_length(96, "circular"), transform_length(97, "circular")
    (96, 200)
    """
    n = num_tokens
    if boundary == "circular":
        return n if n == fast_length(n) or n == 1 else fast_length(2 * n - 1)
    if boundary == "causal":
        return fast_length(2 * n - 1)
    return fast_length(2 * n - 1 - (n - 1) // 2)


def to_spectrum(x: Tensor, slot: int, boundary: str, length: int) -> Tensor:
    """``E`` and a real transform: ``(..., N)`` real -> ``(..., P//2 + 1)`` complex."""
    n = x.shape[-1]
    if slot == 2 and boundary == "circular" and length != n:
        x = torch.cat([x, x[..., : n - 1]], dim=-1)
    elif slot == 2 and boundary == "same":
        x = torch.nn.functional.pad(x, ((n - 1) // 2, 0))
    return torch.fft.rfft(x, n=length)


def from_spectrum(spectrum: Tensor, slot: int, boundary: str, length: int, n: int) -> Tensor:
    """Inverse transform and ``E^T``: ``(..., P//2 + 1)`` complex -> ``(..., N)`` real."""
    y = torch.fft.irfft(spectrum, n=length)
    if slot == 2 and boundary == "circular" and length != n:
        head = y[..., :n].clone()
        head[..., : n - 1] += y[..., n : 2 * n - 1]
        return head
    start = (n - 1) // 2 if slot == 2 and boundary == "same" else 0
    return y[..., start : start + n]

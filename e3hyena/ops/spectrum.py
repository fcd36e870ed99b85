"""Transform lengths, and how signals of N tokens sit in transforms of P points.

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

So graphs of different N share a P, each with its own boundary: a *bucket*, transformed at once.
"""

from __future__ import annotations

import functools
from collections import defaultdict
from dataclasses import dataclass

import torch
from torch import Tensor

BOUNDARIES = ("circular", "causal", "same")
_SMALL = 64


def check_boundary(boundary: str) -> str:
    """Return the boundary, or raise a ValueError that lists the legal ones."""
    if boundary not in BOUNDARIES:
        raise ValueError(f"boundary={boundary!r} is unknown; use one of {', '.join(BOUNDARIES)}")
    return boundary


def fast_length(n: int) -> int:
    """Smallest even length of at least n on a short ladder, ``{8, 9, 10, 12, 15} * 2^k``.

    Five rungs per octave, on average 9 % above n: ragged batches fall into few buckets, plans are
    used again, and many factors of two make a point cheaper than the finer 5-smooth lengths do.

    Examples
    --------
    >>> [fast_length(n) for n in (1, 17, 97, 1009, 16383)]
    [2, 18, 120, 1024, 16384]
    """
    return min(_rung(odd, n) for odd in (1, 3, 5, 9, 15))


def _rung(odd: int, n: int) -> int:
    length = 2 * odd
    while length < n:
        length *= 2
    return length


def is_fast(n: int) -> bool:
    """Whether a transform of n points is cheaper than a padded one, of at least 2n-1.

    Measured: up to 64 points where no prime factor is above 13, beyond only where n is even
    without a prime factor above 7.

    Examples
    --------
    >>> [n for n in range(1, 60) if not is_fast(n)]
    [17, 19, 23, 29, 31, 34, 37, 38, 41, 43, 46, 47, 51, 53, 57, 58, 59]
    """
    small = n <= _SMALL
    if n % 2 and not small:
        return False
    for prime in (2, 3, 5, 7, 11, 13) if small else (2, 3, 5, 7):
        while n % prime == 0:
            n //= prime
    return n == 1


def transform_length(num_tokens: int, boundary: str) -> int:
    """Length P of the real transforms for a sequence of ``num_tokens`` tokens.

    Examples
    --------
    >>> transform_length(96, "circular"), transform_length(97, "circular")
    (96, 240)
    """
    n = num_tokens
    if boundary == "circular":
        return n if is_fast(n) else fast_length(2 * n - 1)
    if boundary == "causal":
        return fast_length(2 * n - 1)
    return fast_length(2 * n - 1 - (n - 1) // 2)


@dataclass(frozen=True)
class Bucket:
    """Graphs that share a transform length.

    Attributes
    ----------
    length : int
        P.
    starts, sizes : tuple of int
        First token and number of tokens of every graph.
    """

    length: int
    starts: tuple[int, ...]
    sizes: tuple[int, ...]

    @property
    def uniform(self) -> bool:
        """Whether the graphs are equally long and lie one after the other."""
        n, first = self.sizes[0], self.starts[0]
        return self.sizes == (n,) * len(self.sizes) and self.starts[-1] - first == n * (
            len(self.sizes) - 1
        )


@functools.lru_cache(maxsize=64)
def buckets(lengths: tuple[int, ...], boundary: str) -> list[Bucket]:
    """Graphs laid one after the other, by transform length; empty ones are left out.

    Examples
    --------
    >>> [(b.length, b.sizes) for b in buckets((7, 0, 16, 8, 6), "circular")]
    [(6, (6,)), (7, (7,)), (8, (8,)), (16, (16,))]
    """
    found: dict[int, list[tuple[int, int]]] = defaultdict(list)
    start = 0
    for n in lengths:
        if n:
            found[transform_length(n, boundary)].append((start, n))
        start += n
    return [
        Bucket(length, *(tuple(values) for values in zip(*graphs, strict=True)))
        for length, graphs in sorted(found.items())
    ]


def to_spectrum(x: Tensor, slot: int, boundary: str, bucket: Bucket) -> Tensor:
    """``E`` and a real transform: ``(..., T)`` real -> ``(..., B, P//2 + 1)`` complex."""
    if not bucket.uniform:
        index = _embedding(bucket, slot, boundary, x.device)
        points = torch.where(index >= 0, x[..., index.clamp(min=0)], 0)
        return torch.fft.rfft(points)
    n, count = bucket.sizes[0], len(bucket.sizes)
    x = x.narrow(-1, bucket.starts[0], n * count).unflatten(-1, (count, n))
    if slot == 2 and boundary == "circular" and bucket.length != n:
        x = torch.cat([x, x[..., : n - 1]], dim=-1)
    elif slot == 2 and boundary == "same":
        x = torch.nn.functional.pad(x, ((n - 1) // 2, 0))
    return torch.fft.rfft(x, n=bucket.length)


def from_spectrum(spectrum: Tensor, slot: int, boundary: str, bucket: Bucket, out: Tensor) -> None:
    """Inverse transform and ``E^T``: ``(..., B, P//2 + 1)`` complex into ``(..., T)`` real."""
    y = torch.fft.irfft(spectrum, n=bucket.length)
    if not bucket.uniform:
        tokens, places, wrapped, overhang = _reading(bucket, slot, boundary, y.device)
        y = y.flatten(-2)
        out[..., tokens] = y[..., places]
        if slot == 2 and boundary == "circular":
            out[..., wrapped] += y[..., overhang]
        return
    n, count = bucket.sizes[0], len(bucket.sizes)
    out = out.narrow(-1, bucket.starts[0], n * count).unflatten(-1, (count, n))
    start = (n - 1) // 2 if slot == 2 and boundary == "same" else 0
    out.copy_(y[..., start : start + n])
    if slot == 2 and boundary == "circular" and bucket.length != n:
        out[..., : n - 1] += y[..., n : 2 * n - 1]


@functools.lru_cache(maxsize=64)
def _embedding(bucket: Bucket, slot: int, boundary: str, device: torch.device) -> Tensor:
    """Token at every point, ``(B, P)``; -1 at zeros."""
    with torch.inference_mode(False):
        starts, sizes = (
            torch.tensor(x, device=device)[:, None] for x in (bucket.starts, bucket.sizes)
        )
        place = torch.arange(bucket.length, device=device) - _shift(sizes, slot, boundary)
        last = sizes
        if slot == 2 and boundary == "circular":
            last = torch.where(sizes < bucket.length, 2 * sizes - 1, sizes)
        inside = (place >= 0) & (place < last)
        return torch.where(inside, starts + place.remainder(sizes), -1)


@functools.lru_cache(maxsize=64)
def _reading(
    bucket: Bucket, slot: int, boundary: str, device: torch.device
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Tokens and their points in ``(B * P,)``, then those that the overhang falls on."""
    with torch.inference_mode(False):
        starts, sizes = (torch.tensor(x, device=device) for x in (bucket.starts, bucket.sizes))
        graph = torch.repeat_interleave(torch.arange(len(sizes), device=device), sizes)
        position = torch.arange(len(graph), device=device) - (sizes.cumsum(0) - sizes)[graph]
        tokens = starts[graph] + position
        size = sizes[graph]
        points = graph * bucket.length + position
        wraps = (position < size - 1) & (size < bucket.length)
        places = points + _shift(size, slot, boundary)
        return tokens, places, tokens[wraps], (points + size)[wraps]


def _shift(sizes: Tensor, slot: int, boundary: str) -> Tensor:
    """Point at which the first token stands."""
    return (sizes - 1) // 2 if slot == 2 and boundary == "same" else torch.zeros_like(sizes)

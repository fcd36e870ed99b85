"""How long a transform of N tokens is, and which graphs are transformed together.

A long convolution reads its result at some of the P points of its transforms, by boundary:

============  =====================  ==================================================
boundary      P                      result
============  =====================  ==================================================
``circular``  N if N is fast         all N
``circular``  >= 2N-1 otherwise      first N plus the overhang, wrapped around
``causal``    >= 2N-1                first N
``same``      >= 2N-1-(N-1)//2       N from (N-1)//2 on, as ``scipy.signal.convolve``
============  =====================  ==================================================

Graphs of different N may share a P, each with its own boundary: they make a *transform batch*.
"""

import functools
from collections import defaultdict
from dataclasses import dataclass

BOUNDARIES = ("circular", "causal", "same")
_SMALL = 64


def check_boundary(boundary: str) -> str:
    """Return the boundary, or raise a ValueError that lists the legal ones."""
    if boundary not in BOUNDARIES:
        raise ValueError(f"boundary={boundary!r} is unknown; use one of {', '.join(BOUNDARIES)}")
    return boundary


def fast_length(n: int) -> int:
    """Smallest even length of at least n on a short ladder, ``{8, 9, 10, 12, 15} * 2^k``.

    Five rungs per octave, on average 9 % above n: ragged batches need few lengths, plans are
    used again, and many factors of two make a point cheaper than the finer 5-smooth lengths do.
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
    """
    small = n <= _SMALL
    if n % 2 and not small:
        return False
    for prime in (2, 3, 5, 7, 11, 13) if small else (2, 3, 5, 7):
        while n % prime == 0:
            n //= prime
    return n == 1


def transform_length(num_tokens: int, boundary: str) -> int:
    """Length P of the real transforms for a sequence of ``num_tokens`` tokens."""
    n = num_tokens
    if boundary == "circular":
        return n if is_fast(n) else fast_length(2 * n - 1)
    if boundary == "causal":
        return fast_length(2 * n - 1)
    return fast_length(2 * n - 1 - (n - 1) // 2)


@dataclass(frozen=True)
class TransformBatch:
    """Graphs that share a transform length P: the first token and the number of tokens of each."""

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
def transform_batches(
    lengths: tuple[int, ...], boundary: str, few: bool = False
) -> list[TransformBatch]:
    """Graphs laid one after the other, by transform length; empty ones are left out.

    With ``few``, graphs of different size, up to 512 tokens, share one of three lengths: more
    points, but a batch of molecules is one transform batch.
    """
    found: dict[int, list[tuple[int, int]]] = defaultdict(list)
    few = few and len({n for n in lengths if n}) > 1
    start = 0
    for n in lengths:
        if n:
            shared = next((2 * size for size in (32, 128, 512) if few and n <= size), 0)
            found[shared or transform_length(n, boundary)].append((start, n))
        start += n
    return [
        TransformBatch(length, *(tuple(values) for values in zip(*graphs, strict=True)))
        for length, graphs in sorted(found.items())
    ]

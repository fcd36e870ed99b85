"""Interleaved timing: rivals take turns in one process, medians and spread are reported."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Timing:
    """Milliseconds over the repeats: median, least and most."""

    median: float
    minimum: float
    maximum: float


def interleave(
    candidates: Mapping[str, Callable[[], object]], repeats: int, warmup: int = 4
) -> dict[str, Timing]:
    """Time every candidate once per round, after ``warmup`` uncounted rounds.

    The first rounds fault fresh memory in, which the allocator keeps from then on.

    Examples
    --------
    >>> timings = interleave({"sum": lambda: sum(range(100)), "nothing": lambda: None}, repeats=3)
    >>> sorted(timings)
    ['nothing', 'sum']
    """
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for turn in range(warmup + repeats):
        for name, candidate in candidates.items():
            start = time.perf_counter()
            candidate()
            if turn >= warmup:
                seconds[name].append(1e3 * (time.perf_counter() - start))
    return {
        name: Timing(statistics.median(values), min(values), max(values))
        for name, values in seconds.items()
    }

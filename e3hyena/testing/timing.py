"""Interleaved timing: rivals take turns in one process, medians and spread are reported."""

import statistics
import time
from collections.abc import Callable, Mapping


def interleave(
    candidates: Mapping[str, Callable[[], object]], repeats: int, warmup: int = 4
) -> dict[str, dict[str, float]]:
    """Time every candidate once per round, after ``warmup`` uncounted rounds.

    The first rounds fault fresh memory in, which the allocator keeps from then on.
    """
    spent: dict[str, list[float]] = {name: [] for name in candidates}
    for turn in range(warmup + repeats):
        for name, candidate in candidates.items():
            start = time.perf_counter()
            candidate()
            if turn >= warmup:
                spent[name].append(1e3 * (time.perf_counter() - start))
    return {
        name: {"median": statistics.median(ms), "minimum": min(ms), "maximum": max(ms)}
        for name, ms in spent.items()
    }

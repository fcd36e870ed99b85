"""What an operator gains from memory that stays mapped, and from huge pages."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import os
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import torch

from benchmarks.bench.report import caption, publish
from benchmarks.harness.peak import in_fresh_process
from benchmarks.operators import check_convolution as check
from e3hyena.nn.operator import HyenaOperator

BLOCK = "pages"
HUGE_PAGES = "THP_MEM_ALLOC_ENABLE"  # read by torch when it first allocates
VARIANTS = {  # freed memory kept, huge pages
    "neither": (False, False),
    "freed memory kept": (True, False),
    "huge pages": (False, True),
    "both": (True, True),
}
ENOUGH_SECONDS = 1.0
MOST_PASSES = 9


@dataclass
class Config:
    """What to measure.

    Parameters
    ----------
    irreps : str
        Irreps of the operator.
    lengths : list of int
        Numbers of tokens.
    repeats : int
        Processes of every variant, in turns.
    threads, output, documents
        See :class:`benchmarks.harness.study.TimedConfig`.
    """

    irreps: str = "32x0e+32x1o"
    lengths: list[int] = dataclasses.field(default_factory=lambda: [8192, 65536, 262144, 1048576])
    repeats: int = 3
    threads: int = 2
    output: str | None = None
    documents: list[str] = dataclasses.field(default_factory=list)


def run(config: Config) -> dict[str, Any]:
    """Measure, print a table, write the JSON, return what it holds.

    Raises
    ------
    RuntimeError
        If the operator is wrong; nothing is reported then.
    """
    return publish(BLOCK, config, lambda: _measure(config), render)


def _measure(config: Config) -> dict[str, Any]:
    check(config.irreps)
    runs: dict[str, list[list[float]]] = {variant: [] for variant in VARIANTS}
    for _, (variant, (kept, huge)) in itertools.product(range(config.repeats), VARIANTS.items()):
        with _variable(HUGE_PAGES, "1" if huge else "0"):
            runs[variant].append(
                in_fresh_process(_seconds, config.irreps, config.lengths, kept, config.threads)
            )
    medians = {
        variant: [statistics.median(values) for values in zip(*times, strict=True)]
        for variant, times in runs.items()
    }
    return {"seconds": medians}


def _seconds(irreps: str, lengths: list[int], kept: bool, threads: int) -> list[float]:
    """Median seconds of a forward pass at every length."""
    torch.set_num_threads(threads)
    operator = HyenaOperator(irreps)
    unchanged = contextlib.nullcontext()
    with unchanged if kept else patch("e3hyena.ops.backends.keep_freed_pages"), torch.no_grad():
        return [_median_pass(operator, length) for length in lengths]


def _median_pass(operator: HyenaOperator, length: int) -> float:
    x = torch.randn(length, operator.irreps_in.dim)
    operator(x)
    times: list[float] = []
    while not times or (sum(times) < ENOUGH_SECONDS and len(times) < MOST_PASSES):
        start = time.perf_counter()
        operator(x)
        times.append(time.perf_counter() - start)
    return statistics.median(times)


@contextlib.contextmanager
def _variable(name: str, value: str) -> Iterator[None]:
    """An environment variable for processes that are started meanwhile."""
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def render(report: dict[str, Any]) -> str:
    """The report as a Markdown table."""
    config = report["config"]
    lines = [
        f"Microseconds per token of one operator, {config['irreps']}, forward "
        f"({caption(report).replace('rounds', 'processes')}).",
        "",
        "| tokens | " + " | ".join(report["seconds"]) + " |",
        "|---" * (1 + len(report["seconds"])) + "|",
    ]
    for place, length in enumerate(config["lengths"]):
        costs = (1e6 * times[place] / length for times in report["seconds"].values())
        lines.append(f"| {length:,} | " + " | ".join(f"{cost:.2f}" for cost in costs) + " |")
    return "\n".join(lines)

"""What a point of a real transform costs by its length: how the ladder of lengths was chosen."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import torch

from benchmarks.bench.report import caption, publish
from benchmarks.harness.timing import interleave

BLOCK = "transforms"


@dataclass
class Config:
    """What to measure.

    Parameters
    ----------
    lengths : list of int
        Points of the transforms.
    total : int
        Points of all rows together.
    repeats, threads, output, documents
        See :class:`benchmarks.harness.study.TimedConfig`.
    """

    lengths: list[int] = dataclasses.field(
        default_factory=lambda: [
            *(15, 17, 18, 21, 23, 27, 29, 32, 36, 40, 48, 60, 63, 64),
            *(1000, 1024, 1125, 1152, 1280, 1458, 1536, 1620, 1920, 2048),
            *(8100, 8125, 8191, 8192, 9216, 10240, 12150, 12288, 15360, 16000, 16200, 16384),
        ]
    )
    total: int = 2**18
    repeats: int = 15
    threads: int = 1
    output: str | None = None
    documents: list[str] = dataclasses.field(default_factory=list)


def run(config: Config) -> dict[str, Any]:
    """Measure, print a table, write the JSON, return what it holds.

    Raises
    ------
    RuntimeError
        If transforming there and back changes a signal; nothing is reported then.
    """
    return publish(BLOCK, config, lambda: {"nanoseconds_per_point": _measure(config)}, render)


def _measure(config: Config) -> dict[int, float]:
    rows = {n: torch.randn(max(1, config.total // n), n) for n in config.lengths}
    for n, x in rows.items():
        if not torch.allclose(torch.fft.irfft(torch.fft.rfft(x), n=n), x, atol=1e-4):
            raise RuntimeError(f"transforms of {n} points are wrong; nothing is reported")
    calls = {str(n): (lambda x=x: torch.fft.rfft(x)) for n, x in rows.items()}  # type: ignore[misc]
    timings = interleave(calls, config.repeats, warmup=2)
    return {n: 1e6 * timings[str(n)]["median"] / x.numel() for n, x in rows.items()}


def render(report: dict[str, Any]) -> str:
    """The report as a Markdown table, lengths of one size to a row."""
    costs = {int(n): cost for n, cost in report["nanoseconds_per_point"].items()}
    sizes: dict[int, list[str]] = {}
    for n, cost in sorted(costs.items()):
        sizes.setdefault(len(str(n)), []).append(f"{n}: {cost:.2f}")
    lines = [
        f"Nanoseconds per point of a real transform, float32, many rows ({caption(report)}).",
        "",
        "| length: cost |",
        "|---|",
        *(f"| {', '.join(cells)} |" for cells in sizes.values()),
    ]
    return "\n".join(lines)

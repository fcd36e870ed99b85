"""What a point of a real transform costs by its length: how the ladder of lengths was chosen."""

from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import torch

from benchmarks.harness import TimedConfig, caption, interleave, plain_study, table

LENGTHS = [
    *(15, 17, 18, 21, 23, 27, 29, 32, 36, 40, 48, 60, 63, 64),
    *(1000, 1024, 1125, 1152, 1280, 1458, 1536, 1620, 1920, 2048),
    *(8100, 8125, 8191, 8192, 9216, 10240, 12150, 12288, 15360, 16000, 16200, 16384),
]


@dataclass(kw_only=True)
class TransformsConfig(TimedConfig):
    """What to measure.

    Parameters
    ----------
    lengths : list of int
        Points of the transforms.
    total : int
        Points of all rows together.
    """

    lengths: list[int] = field(default_factory=lambda: list(LENGTHS))
    total: int = 2**18
    repeats: int = 15
    threads: int = 1


def measure(values: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Time all lengths in turns, after a look at the way there and back."""
    rows = {n: torch.randn(max(1, values["total"] // n), n) for n in values["lengths"]}
    for n, x in rows.items():
        if not torch.allclose(torch.fft.irfft(torch.fft.rfft(x), n=n), x, atol=1e-4):
            raise RuntimeError(f"transforms of {n} points are wrong; nothing is reported")
    calls = {str(n): partial(torch.fft.rfft, x) for n, x in rows.items()}
    timings = interleave(calls, values["repeats"], warmup=2)
    costs = {n: 1e6 * timings[str(n)]["median"] / x.numel() for n, x in rows.items()}
    return {"nanoseconds_per_point": costs}


def render(report: dict[str, Any]) -> str:
    costs = sorted((int(n), cost) for n, cost in report["nanoseconds_per_point"].items())
    sizes = groupby(costs, lambda item: len(str(item[0])))
    rows = [[", ".join(f"{n}: {cost:.2f}" for n, cost in size)] for _, size in sizes]
    return (
        f"Nanoseconds per point of a real transform, float32, many rows ({caption(report)}).\n\n"
        + table(["length: cost"], rows)
    )


STUDY = plain_study("transforms", TransformsConfig, measure, render)

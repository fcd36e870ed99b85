"""What an operator gains from memory that stays mapped, and from huge pages."""

import contextlib
import os
import statistics
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch

from benchmarks.harness import (
    TimedConfig,
    caption,
    in_fresh_process,
    interleave,
    plain_study,
    table,
)
from benchmarks.operators import check_convolution
from e3hyena.nn.operator import HyenaOperator

HUGE_PAGES = "THP_MEM_ALLOC_ENABLE"  # read by torch when it first allocates
VARIANTS = {  # freed memory kept, huge pages
    "neither": (False, "0"),
    "freed memory kept": (True, "0"),
    "huge pages": (False, "1"),
    "both": (True, "1"),
}


@dataclass(kw_only=True)
class PagesConfig(TimedConfig):
    """What to measure; repeats are processes of every variant, in turns.

    Parameters
    ----------
    irreps : str
        Irreps of the operator.
    lengths : list of int
        Numbers of tokens.
    """

    irreps: str = "32x0e+32x1o"
    lengths: list[int] = field(default_factory=lambda: [8192, 65536, 262144, 1048576])
    repeats: int = 3


def measure(values: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Median seconds of a forward pass by variant and length."""
    check_convolution(values["irreps"])
    runs: dict[str, list[list[float]]] = {variant: [] for variant in VARIANTS}
    for _ in range(values["repeats"]):
        for variant, (kept, huge) in VARIANTS.items():
            with patch.dict(os.environ, {HUGE_PAGES: huge}):
                runs[variant].append(in_fresh_process(_seconds, values, kept))
    return {
        "seconds": {
            variant: [statistics.median(times) for times in zip(*lists, strict=True)]
            for variant, lists in runs.items()
        }
    }


@torch.no_grad()
def _seconds(values: dict[str, Any], kept: bool) -> list[float]:
    torch.set_num_threads(values["threads"])
    operator = HyenaOperator(values["irreps"])
    unchanged = contextlib.nullcontext()
    with unchanged if kept else patch("e3hyena.ops.backends.keep_freed_pages"):
        return [_median_pass(operator, length) for length in values["lengths"]]


def _median_pass(operator: HyenaOperator, length: int) -> float:
    x = torch.randn(length, operator.irreps_in.dim)
    passes = min(9, max(1, 2**17 // length))  # about a second
    return interleave({"it": partial(operator, x)}, passes, warmup=1)["it"]["median"] / 1e3


def render(report: dict[str, Any]) -> str:
    config = report["config"]
    rows = [
        [f"{length:,}", *(f"{1e6 * s[place] / length:.2f}" for s in report["seconds"].values())]
        for place, length in enumerate(config["lengths"])
    ]
    return (
        f"Microseconds per token of one operator, {config['irreps']}, forward "
        f"({caption(report).replace('rounds', 'processes')}).\n\n"
        + table(["tokens", *report["seconds"]], rows)
    )


STUDY = plain_study("pages", PagesConfig, measure, render)

"""Attention layers of e3nn models before and after the swap: time, peak memory, equivariance."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from e3nn import o3

from benchmarks.harness import (
    TimedConfig,
    added_mebibytes,
    check_names,
    in_fresh_process,
    interleave,
    plain_study,
    table,
)
from benchmarks.operators import backward
from benchmarks.studies.swap.cases import (
    CASES,
    Case,
    Edges,
    OnPoints,
    draw_points,
    radius_for,
    radius_of_all_pairs,
)
from e3hyena.testing import assert_equivariant, train_steps

TITLES = {
    "all_pairs": "{}, all pairs",
    "local": "{}, {:.0f} neighbours",
    "swapped": "**swapped**",
    "swapped_as_long": "**swapped**",
}


@dataclass(kw_only=True)
class SwapConfig(TimedConfig):
    """What to measure.

    Parameters
    ----------
    cases : list of str
        Layers to compare, of `benchmarks.studies.swap.cases.CASES`; all of them by default.
    length : int
        Number of tokens.
    neighbours : int
        Mean number of neighbours of the local attention, and of what the swapped layers read.
    small_length : int
        Number of tokens at which memory per pair is found.
    gibibytes : float
        Memory that attention over all pairs may take; the largest length within is measured.
    """

    cases: list[str] = field(default_factory=lambda: list(CASES))
    length: int = 4096
    neighbours: int = 16
    small_length: int = 128
    gibibytes: float = 2.0
    repeats: int = 3

    def __post_init__(self) -> None:
        check_names("cases", self.cases, CASES)


def measure(values: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Errors, edges, peak memory and time of one case at each of its sizes."""
    name, length = values["cases"], values["length"]
    errors = check(CASES[name])
    all_pairs = _fitting_length(name, values["small_length"], values["gibibytes"])
    local = radius_for(values["neighbours"])
    setups = {
        "all_pairs": (all_pairs, radius_of_all_pairs(all_pairs), False),
        "local": (length, local, False),
        "swapped": (length, local, True),
        "swapped_as_long": (all_pairs, local, True),
    }
    built = {row: _build(name, *setup) for row, setup in setups.items()}
    return {
        "errors": errors,
        "rounds": values["repeats"],
        "length": {row: length for row, (length, _, _) in setups.items()},
        "edges": {row: edges for row, (edges, _) in built.items()},
        "mebibytes": {row: in_fresh_process(_peak, name, *setup) for row, setup in setups.items()},
        "milliseconds": interleave({r: call for r, (_, call) in built.items()}, values["repeats"]),
    }


def check(case: Case, steps: int = 20) -> dict[str, float]:
    """Errors of the swapped layer after some training; refuse to report on a wrong one."""
    torch.manual_seed(0)
    layer = OnPoints(case, radius_for(6), swapped=True)
    train_steps(layer, [o3.Irreps(case.irreps_in).randn(32, -1), draw_points(32)], steps)
    errors = assert_equivariant(layer, translation=True)
    return {"float32": errors.float32, "float64": errors.float64}


def _fitting_length(name: str, small: int, gibibytes: float) -> int:
    """Largest multiple of 32 at which attention over all pairs stays within the memory."""
    used = in_fresh_process(_peak, name, small, radius_of_all_pairs(small), False)
    return max(32, int(small * math.sqrt(2**10 * gibibytes / used)) // 32 * 32)


def _build(name: str, length: int, radius: float, swapped: bool) -> tuple[int, Callable[[], None]]:
    """Number of edges, and one forward and backward pass."""
    torch.manual_seed(0)
    pos = draw_points(length)
    layer = OnPoints(CASES[name], radius, swapped=swapped)
    edges = Edges.build(pos, radius)
    x = o3.Irreps(CASES[name].irreps_in).randn(length, -1)
    return edges.index.shape[1], backward(layer, x, pos, edges)


def _peak(name: str, length: int, radius: float, swapped: bool) -> float:
    """Mebibytes that one pass adds to this process."""
    _build(name, 32, 1.5, swapped)[1]()  # compiles, allocates what is kept
    return added_mebibytes(_build(name, length, radius, swapped)[1])


def render(report: dict[str, Any]) -> str:
    machine, config = report["environment"], report["config"]
    length, cases = config["length"], report["cases"]
    rounds = "/".join(str(case["rounds"]) for case in cases.values())
    rows = [
        [
            title.format(name, case["edges"][row] / case["length"][row]),
            *(f"{case[key][row]:,}" for key in ("length", "edges")),
            f"{case['milliseconds'][row]['median']:,.0f}",
            f"{case['mebibytes'][row]:,.0f}",
        ]
        for name, case in cases.items()
        for row, title in TITLES.items()
    ]
    head = ["layer", f"all pairs at {length:,}", "less than all pairs", "less than neighbours"]
    return (
        f"Forward and backward pass of one layer, float32 (medians of {rounds} interleaved rounds, "
        f"{config['threads']} threads, {machine['cpu']}, torch {machine['torch']}).\n\n"
        + table(["layer", "tokens", "edges", "ms", "MiB"], rows)
        + f"\n\nAt {length:,} tokens attention over all pairs does not fit: its cost there follows "
        "from the row above by the number of pairs. How many times less time and memory the "
        "swapped layer takes than that, which has the same reach, and than attention to the "
        "neighbours, which has not; and its largest relative error under E(3) after 20 training "
        "steps.\n\n"
        + table(
            [*head, "float32", "float64"],
            [[name, *_conclusions(case, length)] for name, case in cases.items()],
        )
    )


def _conclusions(case: dict[str, Any], length: int) -> list[str]:
    growth = length * (length - 1) / case["edges"]["all_pairs"]
    cost = {row: (case["milliseconds"][row]["median"], case["mebibytes"][row]) for row in TITLES}
    all_pairs = [growth * value for value in cost["all_pairs"]]
    less, less_local = (
        [before / after for before, after in zip(costs, cost["swapped"], strict=True)]
        for costs in (all_pairs, cost["local"])
    )
    return [
        f"{all_pairs[0] / 1e3:,.0f} s, {all_pairs[1] / 2**10:,.0f} GiB",
        " and ".join(f"{ratio:,.0f}x" for ratio in less),
        " and ".join(f"{ratio:,.1f}x" for ratio in less_local),
        *(f"{case['errors'][dtype]:.0e}" for dtype in ("float32", "float64")),
    ]


STUDY = plain_study("swap", SwapConfig, measure, render, per="cases")

"""Attention layers of e3nn models before and after the swap: time, peak memory, equivariance."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from e3nn import o3

from benchmarks.bench.report import as_dicts, publish
from benchmarks.bench.swap_cases import (
    CASES,
    Case,
    Edges,
    OnPoints,
    draw_points,
    radius_for,
    radius_of_all_pairs,
)
from benchmarks.harness.peak import added_mebibytes, in_fresh_process
from benchmarks.harness.timing import interleave
from e3hyena.testing import assert_equivariant, train_steps

BLOCK = "swap"


@dataclass
class Config:
    """What to measure.

    Parameters
    ----------
    cases : list of str
        Layers to compare, of :data:`benchmarks.bench.swap_cases.CASES`; all of them by default.
    length : int
        Number of tokens.
    neighbours : int
        Mean number of neighbours of the local attention, and of what the swapped layers read.
    small_length : int
        Number of tokens at which memory per pair is found.
    gibibytes : float
        Memory that attention over all pairs may take; the largest length within is measured.
    repeats, threads, output, documents
        See :class:`benchmarks.harness.study.TimedConfig`.
    """

    cases: list[str] = dataclasses.field(default_factory=lambda: list(CASES))
    length: int = 4096
    neighbours: int = 16
    small_length: int = 128
    gibibytes: float = 2.0
    repeats: int = 3
    threads: int = 2
    output: str | None = None
    documents: list[str] = dataclasses.field(default_factory=list)


def run(config: Config) -> dict[str, Any]:
    """Measure, print a table, write the JSON, return what it holds.

    Raises
    ------
    AssertionError
        If a swapped layer is not equivariant; nothing is reported then.
    ImportError
        If e3tools is not installed.
    ValueError
        If a case is unknown.
    """
    unknown = [name for name in config.cases if name not in CASES]
    if unknown:
        raise ValueError(f"cases {unknown} are unknown; use any of {list(CASES)}")
    return publish(
        BLOCK,
        config,
        lambda: {
            "machine_gibibytes": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30,
            "cases": {name: _measure(name, config) for name in config.cases},
        },
        render,
    )


def _measure(name: str, config: Config) -> dict[str, Any]:
    errors = check(CASES[name])
    all_pairs = _fitting_length(name, config)
    local = radius_for(config.neighbours)
    setups = {
        "all_pairs": (all_pairs, radius_of_all_pairs(all_pairs), False),
        "local": (config.length, local, False),
        "swapped": (config.length, local, True),
        "swapped_as_long": (all_pairs, local, True),
    }
    built = {row: _build(name, *setup) for row, setup in setups.items()}
    result: dict[str, Any] = {
        "errors": errors,
        "rounds": config.repeats,
        "length": {row: length for row, (length, _, _) in setups.items()},
        "edges": {row: edges.index.shape[1] for row, (_, edges) in built.items()},
        "mebibytes": {row: in_fresh_process(_peak, name, *setup) for row, setup in setups.items()},
    }
    calls = {row: _call(layer, edges) for row, (layer, edges) in built.items()}
    return {**result, "milliseconds": as_dicts(interleave(calls, config.repeats))}


def check(case: Case, steps: int = 20) -> dict[str, float]:
    """Errors of the swapped layer after some training; refuse to report on a wrong one."""
    torch.manual_seed(0)
    layer = OnPoints(case, radius_for(6), swapped=True)
    train_steps(layer, [o3.Irreps(case.irreps_in).randn(32, -1), draw_points(32)], steps)
    errors = assert_equivariant(layer, translation=True)
    return {"float32": errors.float32, "float64": errors.float64}


def _fitting_length(name: str, config: Config) -> int:
    """Largest multiple of 32 at which attention over all pairs stays within the memory."""
    small = config.small_length
    used = in_fresh_process(_peak, name, small, radius_of_all_pairs(small), False)
    length = small * math.sqrt(2**10 * config.gibibytes / used)
    return max(32, int(length) // 32 * 32)


def _build(name: str, length: int, radius: float, swapped: bool) -> tuple[OnPoints, Edges]:
    torch.manual_seed(0)
    pos = draw_points(length)
    layer = OnPoints(CASES[name], radius, swapped=swapped)
    layer.register_buffer("pos", pos)
    return layer, Edges.build(pos, radius)


def _call(layer: OnPoints, edges: Edges) -> Callable[[], Any]:
    """One forward and backward pass."""
    pos = layer.get_buffer("pos")
    x = o3.Irreps(layer.irreps_in[0]).randn(len(pos), -1).requires_grad_()

    def call() -> None:
        layer.zero_grad()
        layer(x, pos, edges).sum().backward()

    return call


def _peak(name: str, length: int, radius: float, swapped: bool) -> float:
    """Mebibytes that one pass adds to this process."""
    _call(*_build(name, 32, 1.5, swapped))()  # compiles, allocates what is kept
    return added_mebibytes(_call(*_build(name, length, radius, swapped)))


def render(report: dict[str, Any]) -> str:
    """The report as a Markdown table and what follows from it."""
    machine, threads = report["environment"], report["config"]["threads"]
    rounds = "/".join(str(case["rounds"]) for case in report["cases"].values())
    lines = [
        "Forward and backward pass of one layer, float32 (medians of "
        f"{rounds} interleaved rounds, {threads} threads, {machine['cpu']}, torch "
        f"{machine['torch']}).",
        "",
        "| layer | tokens | edges | ms | MiB |",
        "|---|---|---|---|---|",
    ]
    titles = {
        "all_pairs": "{}, all pairs",
        "local": "{}, {:.0f} neighbours",
        "swapped": "**swapped**",
        "swapped_as_long": "**swapped**",
    }
    for name, case in report["cases"].items():
        for row, title in titles.items():
            length, edges = case["length"][row], case["edges"][row]
            cells = [
                title.format(name, edges / length),
                f"{length:,} | {edges:,}",
                f"{case['milliseconds'][row]['median']:,.0f}",
                f"{case['mebibytes'][row]:,.0f}",
            ]
            lines.append("| " + " | ".join(cells) + " |")
    length = report["config"]["length"]
    lines += [
        "",
        f"At {length:,} tokens attention over all pairs does not fit: its cost there follows from "
        "the row above by the number of pairs. How many times less time and memory the swapped "
        "layer takes than that, which has the same reach, and than attention to the neighbours, "
        "which has not; and its largest relative error under E(3) after 20 training steps.",
        "",
        f"| layer | all pairs at {length:,} | less than all pairs | less than neighbours | float32 "
        "| float64 |",
        "|---|---|---|---|---|---|",
    ]
    for name, case in report["cases"].items():
        lines.append("| " + " | ".join([name, *_conclusions(case, length)]) + " |")
    return "\n".join(lines)


def _conclusions(case: dict[str, Any], length: int) -> list[str]:
    time = {row: timing["median"] for row, timing in case["milliseconds"].items()}
    memory = case["mebibytes"]
    growth = length * (length - 1) / case["edges"]["all_pairs"]
    all_pairs = time["all_pairs"] * growth, memory["all_pairs"] * growth
    swapped = time["swapped"], memory["swapped"]
    ratios = [all_pairs[i] / swapped[i] for i in (0, 1)]
    local = [(time["local"], memory["local"])[i] / swapped[i] for i in (0, 1)]
    return [
        f"{all_pairs[0] / 1e3:,.0f} s, {all_pairs[1] / 2**10:,.0f} GiB",
        " and ".join(f"{ratio:,.0f}x" for ratio in ratios),
        " and ".join(f"{ratio:,.1f}x" for ratio in local),
        *(f"{case['errors'][dtype]:.0e}" for dtype in ("float32", "float64")),
    ]

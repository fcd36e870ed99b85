"""A whole block: how long it takes, and on what."""

from __future__ import annotations

import dataclasses
import gc
import re
import statistics
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.bench.report import as_dicts, caption, publish
from benchmarks.harness.timing import interleave
from benchmarks.operators import check_convolution as check
from e3hyena.nn.block import HyenaBlock

BLOCK = "block"
_PARTS = {
    "transforms and contraction": ("e3hyena::partial", "e3hyena::partial_weight", "aten::_fft"),
    "matrix products": ("aten::mm", "aten::addmm", "aten::bmm", "aten::baddbmm"),
}

# how torch calls an operator of ours that saves something for its gradient
_FORWARD = re.compile(r"GeneratedBackwardFor_(e3hyena)_(\w+)_default$")


@dataclass
class Config:
    """What to measure.

    Parameters
    ----------
    irreps : list of str
        Irreps of the tokens; hidden irreps are the same.
    mixers : list of str
        Mixers timed in turn.
    length : int
        Number of tokens.
    repeats, threads, output, documents
        See :class:`benchmarks.harness.study.TimedConfig`.
    """

    irreps: list[str] = dataclasses.field(
        default_factory=lambda: ["32x0e+32x1o", "32x0e+32x1o+32x2e"]
    )
    mixers: list[str] = dataclasses.field(
        default_factory=lambda: ["query_key", "coordinate", "attention"]
    )
    length: int = 8192
    repeats: int = 5
    threads: int = 2
    output: str | None = None
    documents: list[str] = dataclasses.field(default_factory=list)


def run(config: Config) -> dict[str, Any]:
    """Measure, print a table, write the JSON, return what it holds.

    Raises
    ------
    RuntimeError
        If the long convolution is wrong; nothing is reported then.
    """
    return publish(
        BLOCK,
        config,
        lambda: {"irreps": {irreps: _measure(irreps, config) for irreps in config.irreps}},
        render,
    )


def _measure(irreps: str, config: Config) -> dict[str, Any]:
    check(irreps)
    torch.manual_seed(0)
    calls: dict[str, dict[str, Callable[[], Any]]] = {"forward": {}, "forward_backward": {}}
    for mixer in config.mixers:
        block = HyenaBlock(irreps, irreps_hidden=irreps, mixer=mixer)
        x = torch.randn(config.length, block.irreps_in.dim, requires_grad=True)
        calls["forward"][mixer], calls["forward_backward"][mixer] = _calls(block, x)
    return {
        kind: {
            "timings": as_dicts(interleave(rivals, config.repeats)),
            "shares": {name: _shares(call, config.repeats) for name, call in rivals.items()},
        }
        for kind, rivals in calls.items()
    }


def _calls(block: HyenaBlock, x: torch.Tensor) -> tuple[Callable[[], Any], Callable[[], Any]]:
    def forward() -> None:
        with torch.no_grad():
            block(x)

    def backward() -> None:
        block.zero_grad()
        block(x).sum().backward()

    return forward, backward


def _shares(call: Callable[[], Any], repeats: int) -> dict[str, float]:
    """Fractions of the time by what is done, each operator of torch a part of its own; medians."""
    records = [_parts(call) for _ in range(repeats)]
    names = {name for record in records for name in record}
    parts = {name: statistics.median(r.get(name, 0.0) for r in records) for name in names}
    total = sum(parts.values())
    return {
        part: time / total
        for part, time in sorted(parts.items(), key=lambda item: -item[1])
        if time > 0.01 * total
    }


def _parts(call: Callable[[], Any]) -> dict[str, float]:
    """Microseconds of one call."""
    gc.collect()
    gc.disable()  # collecting the profiler's own objects would count as the operator of the moment
    try:
        with profile(activities=[ProfilerActivity.CPU]) as record:
            call()
    finally:
        gc.enable()
    parts: dict[str, float] = defaultdict(float)
    for event in record.key_averages():
        name = _FORWARD.sub(r"\1::\2", event.key).rstrip("_")
        part = next((p for p, begins in _PARTS.items() if name.startswith(begins)), name)
        parts[part] += event.self_cpu_time_total
    return parts


def render(report: dict[str, Any]) -> str:
    """The report as a Markdown table."""
    lines = [
        f"One block at N = {report['config']['length']}, milliseconds ({caption(report)}), and "
        "where the time goes.",
        "",
        "| irreps | mixer | | ms | " + " | ".join(_PARTS) + " | largest others |",
        "|---|---|---|---|" + "---|" * (len(_PARTS) + 1),
    ]
    for irreps, result in report["irreps"].items():
        for kind, title in (("forward", "forward"), ("forward_backward", "forward + backward")):
            for mixer, shares in result[kind]["shares"].items():
                milliseconds = result[kind]["timings"][mixer]["median"]
                cells = [irreps, f"`{mixer}`", title, f"{milliseconds:.1f}"]
                cells += [f"{100 * shares.get(part, 0.0):.0f} %" for part in _PARTS]
                others = [(part, s) for part, s in shares.items() if part not in _PARTS][:3]
                cells.append(
                    ", ".join(
                        f"{part.removeprefix('aten::')} {100 * s:.0f} %" for part, s in others
                    )
                )
                lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)

"""A whole block: how long it takes, and on what."""

import gc
import re
import statistics
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.harness import TimedConfig, caption, interleave, plain_study, table
from benchmarks.operators import PASSES, check_convolution
from e3hyena.nn.block import HyenaBlock

PARTS = {
    "transforms and contraction": ("e3hyena::partial", "e3hyena::partial_weight", "aten::_fft"),
    "matrix products": ("aten::mm", "aten::addmm", "aten::bmm", "aten::baddbmm"),
}
# How torch calls an operator of ours that saves something for its gradient.
FORWARD = re.compile(r"GeneratedBackwardFor_(e3hyena)_(\w+)_default$")


@dataclass(kw_only=True)
class BlockConfig(TimedConfig):
    """What to measure.

    Parameters
    ----------
    irreps : list of str
        Irreps of the tokens; hidden irreps are the same.
    mixers : list of str
        Mixers timed in turn.
    length : int
        Number of tokens.
    """

    irreps: list[str] = field(default_factory=lambda: ["32x0e+32x1o", "32x0e+32x1o+32x2e"])
    mixers: list[str] = field(default_factory=lambda: ["query_key", "coordinate", "attention"])
    length: int = 8192


def measure(values: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Time all mixers in turns; then profile each."""
    irreps, repeats = values["irreps"], values["repeats"]
    check_convolution(irreps)
    torch.manual_seed(0)
    blocks = {m: HyenaBlock(irreps, irreps_hidden=irreps, mixer=m) for m in values["mixers"]}
    result = {}
    for kind, make in PASSES.items():
        x = torch.randn(values["length"], next(iter(blocks.values())).irreps_in.dim)
        calls = {mixer: make(block, x) for mixer, block in blocks.items()}
        result[kind] = {
            "timings": interleave(calls, repeats),
            "shares": {mixer: _shares(call, repeats) for mixer, call in calls.items()},
        }
    return result


def _shares(call: Callable[[], Any], repeats: int) -> dict[str, float]:
    """Fractions of the time by what is done, each operator of torch a part of its own; medians."""
    records = [_parts(call) for _ in range(repeats)]
    names = {name for record in records for name in record}
    parts = {name: statistics.median(record[name] for record in records) for name in names}
    total = sum(parts.values())
    largest = sorted(parts.items(), key=lambda item: -item[1])
    return {part: time / total for part, time in largest if time > 0.01 * total}


def _parts(call: Callable[[], Any]) -> Counter[str]:
    """Microseconds of one call."""
    gc.collect()
    gc.disable()  # collecting the profiler's own objects would count as the operator of the moment
    try:
        with profile(activities=[ProfilerActivity.CPU]) as record:
            call()
    finally:
        gc.enable()
    parts: Counter[str] = Counter()
    for event in record.key_averages():
        name = FORWARD.sub(r"\1::\2", event.key).rstrip("_")
        part = next((p for p, begins in PARTS.items() if name.startswith(begins)), name)
        parts[part] += event.self_cpu_time_total
    return parts


def render(report: dict[str, Any]) -> str:
    lines = []
    for irreps, result in report["irreps"].items():
        for kind, title in (("forward", "forward"), ("forward_backward", "forward + backward")):
            for mixer, shares in result[kind]["shares"].items():
                ms = result[kind]["timings"][mixer]["median"]
                known = [f"{100 * shares.get(part, 0.0):.0f} %" for part in PARTS]
                others = [(part, share) for part, share in shares.items() if part not in PARTS][:3]
                rest = [f"{p.removeprefix('aten::')} {100 * share:.0f} %" for p, share in others]
                lines.append([irreps, f"`{mixer}`", title, f"{ms:.1f}", *known, ", ".join(rest)])
    return (
        f"One block at N = {report['config']['length']}, milliseconds ({caption(report)}), and "
        "where the time goes.\n\n"
        + table(["irreps", "mixer", "", "ms", *PARTS, "largest others"], lines)
    )


STUDY = plain_study("block", BlockConfig, measure, render, per="irreps")

"""Batches of molecules: different sizes against equal ones, and against attention."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from benchmarks.bench.operator import check
from benchmarks.bench.report import as_dicts, caption, publish
from benchmarks.bench.timing import interleave
from e3hyena.nn.operator import HyenaOperator
from e3hyena.ops.segments import Segments
from e3hyena.ops.transforms import transform_batches

BLOCK = "ragged"


@dataclass
class Config:
    """What to measure.

    Parameters
    ----------
    irreps : list of str
        Irreps of the tokens; hidden irreps are the same.
    mixers : list of str
        Mixers timed in turn.
    graphs : int
        Number of graphs in a batch.
    mean, deviation, least, largest : int
        Sizes are drawn from a normal distribution cut off at both ends; by default those of QM9.
    repeats, threads, output, documents
        See :class:`benchmarks.bench.operator.Config`.
    """

    irreps: list[str] = dataclasses.field(
        default_factory=lambda: ["32x0e+32x1o", "32x0e+32x1o+32x2e"]
    )
    mixers: list[str] = dataclasses.field(
        default_factory=lambda: ["query_key", "coordinate", "attention"]
    )
    graphs: int = 1024
    mean: int = 18
    deviation: int = 3
    least: int = 3
    largest: int = 29
    repeats: int = 7
    threads: int = 2
    output: str | None = None
    documents: list[str] = dataclasses.field(default_factory=list)


def run(config: Config) -> dict[str, Any]:
    """Measure, print a table, write the JSON, return what it holds.

    Raises
    ------
    RuntimeError
        If a graph in the batch differs from the graph alone; nothing is reported then.
    """

    def measure() -> dict[str, Any]:
        lengths = draw_sizes(config)
        points = sum(b.length * len(b.sizes) for b in transform_batches(lengths, "circular"))
        return {
            "transform_points_per_token": points / sum(lengths),
            "buckets": len(transform_batches(lengths, "circular")),
            "irreps": {irreps: _measure(irreps, lengths, config) for irreps in config.irreps},
        }

    return publish(BLOCK, config, measure, render)


def draw_sizes(config: Config) -> tuple[int, ...]:
    """Sizes of the graphs; their mean is exact."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(config.graphs, generator=generator) * config.deviation
    sizes = (config.mean + noise).round().clamp(config.least, config.largest).long()
    missing = config.mean * config.graphs - int(sizes.sum())
    step = 1 if missing > 0 else -1
    for graph in range(abs(missing)):
        sizes[graph % config.graphs] += step
    return tuple(sizes.tolist())


def _measure(irreps: str, lengths: tuple[int, ...], config: Config) -> dict[str, Any]:
    check(irreps)
    torch.manual_seed(0)
    batches = {"equal": (config.mean,) * config.graphs, "ragged": lengths}
    calls: dict[str, dict[str, Callable[[], Any]]] = {"forward": {}, "forward_backward": {}}
    for mixer in config.mixers:
        operator = HyenaOperator(irreps, irreps_hidden=irreps, mixer=mixer)
        _check_graphs(operator, lengths)
        for name, sizes in batches.items():
            x = torch.randn(sum(sizes), operator.irreps_in.dim, requires_grad=True)
            forward, backward = _calls(operator, x, sizes)
            calls["forward"][f"{mixer} {name}"] = forward
            calls["forward_backward"][f"{mixer} {name}"] = backward
    return {kind: as_dicts(interleave(c, config.repeats)) for kind, c in calls.items()}


def _calls(
    operator: HyenaOperator, x: torch.Tensor, sizes: tuple[int, ...]
) -> tuple[Callable[[], Any], Callable[[], Any]]:
    def forward() -> None:
        with torch.no_grad():
            operator(x, Segments(sizes))

    def backward() -> None:
        operator.zero_grad()
        operator(x, Segments(sizes)).sum().backward()

    return forward, backward


@torch.no_grad()
def _check_graphs(operator: HyenaOperator, lengths: tuple[int, ...]) -> None:
    """Refuse to report where the first graphs of a batch differ from the graphs alone."""
    sizes = lengths[:20]
    x = torch.randn(sum(sizes), operator.irreps_in.dim)
    together = operator(x, Segments(sizes))
    alone = torch.cat([operator(part) for part in x.split(sizes)])
    relative = ((together - alone).abs().max() / alone.abs().max()).item()
    if not relative < 1e-5:
        raise RuntimeError(
            f"{operator.mixer_name}: graphs in a batch are off by {relative:.1e}; "
            "nothing is reported"
        )


def render(report: dict[str, Any]) -> str:
    """The report as a Markdown table."""
    config = report["config"]
    lines = [
        f"One operator, {config['graphs']} graphs, {config['graphs'] * config['mean']} tokens, "
        f"milliseconds ({caption(report)}). Different sizes fall into {report['buckets']} "
        f"transform lengths, {report['transform_points_per_token']:.2f} points per token.",
        "",
        f"| irreps | mixer | all of {config['mean']} tokens | {config['least']} to "
        f"{config['largest']} tokens | ratio | forward + backward, equal | different | ratio |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for irreps, result in report["irreps"].items():
        for mixer in config["mixers"]:
            cells = [irreps, f"`{mixer}`"]
            for kind in ("forward", "forward_backward"):
                equal, ragged = (
                    result[kind][f"{mixer} {name}"]["median"] for name in ("equal", "ragged")
                )
                cells += [f"{equal:.1f}", f"{ragged:.1f}", f"{ragged / equal:.2f}"]
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)

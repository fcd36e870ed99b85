"""Batches of molecules: different sizes against equal ones, and against attention."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from benchmarks.harness import TimedConfig, caption, interleave, plain_study, table
from benchmarks.operators import PASSES, check_convolution, check_graphs, pass_of
from e3hyena.nn.operator import HyenaOperator
from e3hyena.ops.segments import Segments
from e3hyena.ops.transforms import transform_batches

FEWER = 8  # of force training a share of the graphs is timed


@dataclass(kw_only=True)
class RaggedConfig(TimedConfig):
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
    device : str
        Where the operators run, cpu or cuda.
    """

    irreps: list[str] = field(default_factory=lambda: ["32x0e+32x1o", "32x0e+32x1o+32x2e"])
    mixers: list[str] = field(default_factory=lambda: ["query_key", "coordinate", "attention"])
    graphs: int = 1024
    mean: int = 18
    deviation: int = 3
    least: int = 3
    largest: int = 29
    repeats: int = 7
    device: str = "cpu"


def draw_sizes(values: dict[str, Any]) -> tuple[int, ...]:
    """Sizes of the graphs; their mean is exact."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(values["graphs"], generator=generator) * values["deviation"]
    sizes = (values["mean"] + noise).round().clamp(values["least"], values["largest"]).long()
    missing = values["mean"] * values["graphs"] - int(sizes.sum())
    for graph in range(abs(missing)):
        sizes[graph % values["graphs"]] += 1 if missing > 0 else -1
    return tuple(sizes.tolist())


def measure(values: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Time all mixers on graphs of equal and of different sizes, in turns."""
    irreps, sizes = values["irreps"], draw_sizes(values)
    check_convolution(irreps, device=values["device"])
    torch.manual_seed(0)
    batches = {"equal": (values["mean"],) * values["graphs"], "ragged": sizes}
    calls: dict[str, dict[str, Any]] = {kind: {} for kind in (*PASSES, "force")}
    for mixer in values["mixers"]:
        device = values["device"]
        operator = HyenaOperator(irreps, irreps_hidden=irreps, mixer=mixer).to(device)
        check_graphs(operator, sizes[:20])
        for name, lengths in batches.items():
            x = torch.randn(sum(lengths), operator.irreps_in.dim, device=device)
            for kind in PASSES:
                graphs = Segments(lengths, device)
                calls[kind][f"{mixer} {name}"] = pass_of(kind, operator, x, graphs)
        few = sizes[: max(1, len(sizes) // FEWER)]
        x = torch.randn(sum(few), operator.irreps_in.dim, device=device)
        calls["force"][mixer] = pass_of("force", operator, x, Segments(few, device))
    return {kind: interleave(rivals, values["repeats"]) for kind, rivals in calls.items()}


def describe(values: dict[str, Any]) -> dict[str, Any]:
    """How transforms of different lengths are put together."""
    sizes = draw_sizes(values)
    lengths = transform_batches(sizes, "circular", few=values["device"] != "cpu")
    return {
        "transform_points_per_token": sum(b.length * len(b.sizes) for b in lengths) / sum(sizes),
        "buckets": len(lengths),
    }


def render(report: dict[str, Any]) -> str:
    """The report as a Markdown table."""
    config = report["config"]
    head = [
        *("irreps", "mixer", f"all of {config['mean']} tokens"),
        *(f"{config['least']} to {config['largest']} tokens", "ratio"),
        *("forward + backward, equal", "different", "ratio"),
    ]
    lines = []
    if timed := all("force" in result for result in report["irreps"].values()):
        head += ["force training, an eighth of them", "over attention"]
    for irreps, result in report["irreps"].items():
        for mixer in config["mixers"]:
            line = [irreps, f"`{mixer}`"]
            for kind in PASSES:
                equal, ragged = (
                    result[kind][f"{mixer} {name}"]["median"] for name in ("equal", "ragged")
                )
                line += [f"{equal:.1f}", f"{ragged:.1f}", f"{ragged / equal:.2f}"]
            if timed:
                force = {name: time["median"] for name, time in result["force"].items()}
                rival = force.get("attention")
                line += [f"{force[mixer]:.1f}", f"{force[mixer] / rival:.2f}" if rival else ""]
            lines.append(line)
    return (
        f"One operator, {config['graphs']} graphs, {config['graphs'] * config['mean']} tokens, "
        f"milliseconds ({caption(report)}). Different sizes fall into {report['buckets']} "
        f"transform lengths, {report['transform_points_per_token']:.2f} points per token.\n\n"
        + table(head, lines)
    )


STUDY = plain_study("ragged", RaggedConfig, measure, render, per="irreps", more=describe)

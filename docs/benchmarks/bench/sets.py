"""Time per token of the mixer of sets: one large graph, many small ones, against attention."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import torch

from benchmarks.bench.report import as_dicts, caption, publish
from benchmarks.harness.timing import interleave
from e3hyena.mixers.coordinate import Coordinate
from e3hyena.nn.operator import HyenaOperator
from e3hyena.ops.segments import Segments
from e3hyena.testing.measure import relative_error

BLOCK = "sets"


@dataclass
class Config:
    """What to measure.

    Parameters
    ----------
    irreps : str
        Irreps of the tokens; hidden irreps are the same.
    tokens : list of int
        Tokens of one graph.
    graphs : list of int
        Numbers of graphs in a batch.
    graph_size : int
        Tokens of each of them.
    rivals_up_to : int
        Largest number of tokens of one graph at which the rivals are timed too.
    repeats, threads, output, documents
        See :class:`benchmarks.harness.study.TimedConfig`.
    """

    irreps: str = "32x0e+32x1o"
    tokens: list[int] = dataclasses.field(
        default_factory=lambda: [1024, 2048, 4096, 8192, 32768, 102400]
    )
    graphs: list[int] = dataclasses.field(default_factory=lambda: [32, 128, 512, 1024, 4096])
    graph_size: int = 18
    rivals_up_to: int = 8192
    repeats: int = 5
    threads: int = 2
    output: str | None = None
    documents: list[str] = dataclasses.field(default_factory=list)


def run(config: Config) -> dict[str, Any]:
    """Measure, print a table, write the JSON, return what it holds.

    Raises
    ------
    RuntimeError
        If a graph in a batch differs from the graph alone; nothing is reported then.
    """
    return publish(BLOCK, config, lambda: _measure(config), render)


def _measure(config: Config) -> dict[str, Any]:
    torch.manual_seed(0)
    operators = {
        name: HyenaOperator(config.irreps, irreps_hidden=config.irreps, mixer=name)
        for name in ("coordinate", "attention", "query_key")
    }
    check(operators["coordinate"], config.graph_size)
    few = {"coordinate": operators["coordinate"]}
    return {
        "tokens": {
            n: _time(operators if n <= config.rivals_up_to else few, (n,), config.repeats)
            for n in config.tokens
        },
        "graphs": {
            n: _time(operators, (config.graph_size,) * n, config.repeats) for n in config.graphs
        },
    }


def _time(
    operators: dict[str, HyenaOperator], lengths: tuple[int, ...], repeats: int
) -> dict[str, Any]:
    """Milliseconds of forward and backward."""
    segments = Segments(lengths)
    x = torch.randn(sum(lengths), next(iter(operators.values())).irreps_in.dim)

    def call(operator: HyenaOperator) -> None:
        operator.zero_grad()
        operator(x.requires_grad_(), segments).sum().backward()

    return as_dicts(
        interleave(
            {name: (lambda o=o: call(o)) for name, o in operators.items()},  # type: ignore[misc]
            repeats,
        )
    )


def check(operator: HyenaOperator, size: int) -> None:
    """Refuse to report on a wrong result."""
    assert isinstance(operator.mixer, Coordinate)
    x = torch.randn(3 * size, operator.irreps_in.dim)
    alone = torch.cat([operator(part) for part in x.split(size)])
    error = relative_error([operator(x, Segments((size,) * 3)).detach()], [alone.detach()])
    if not error < 1e-5:
        raise RuntimeError(f"a graph in a batch differs from the graph alone by {error:.1e}")


def render(report: dict[str, Any]) -> str:
    """The report as two Markdown tables."""
    config = report["config"]
    size = config["graph_size"]
    lines = [
        f"Forward and backward of one operator, `{config['irreps']}`: microseconds per token of "
        f"`coordinate`, and the time of rivals over its time ({caption(report)}).",
    ]
    for title, key, tokens in (
        ("tokens in one graph", "tokens", 1),
        (f"graphs of {size} tokens", "graphs", size),
    ):
        lines += ["", f"| {title} | µs per token | attention | `query_key` |", "|---|---|---|---|"]
        for n, timings in report[key].items():
            own = timings["coordinate"]["median"]
            rivals = [
                f"{timings[name]['median'] / own:.2f}" if name in timings else ""
                for name in ("attention", "query_key")
            ]
            per_token = 1e3 * own / (int(n) * tokens)
            lines.append(f"| {int(n):,} | {per_token:.2f} | {rivals[0]} | {rivals[1]} |")
        costs = [t["coordinate"]["median"] / int(n) for n, t in report[key].items()]
        lines += ["", f"Largest over least time per token: {max(costs) / min(costs):.2f}."]
    return "\n".join(lines)

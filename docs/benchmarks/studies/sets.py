"""The mixer of sets: time per token of one large graph or many small ones, against attention."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from benchmarks.harness import TimedConfig, caption, interleave, plain_study, table
from benchmarks.operators import backward, check_graphs
from e3hyena.nn.operator import HyenaOperator
from e3hyena.ops.segments import Segments

OWN, *RIVALS = ("coordinate", "attention", "query_key")


@dataclass(kw_only=True)
class SetsConfig(TimedConfig):
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
    """

    irreps: str = "32x0e+32x1o"
    tokens: list[int] = field(default_factory=lambda: [1024, 2048, 4096, 8192, 32768, 102400])
    graphs: list[int] = field(default_factory=lambda: [32, 128, 512, 1024, 4096])
    graph_size: int = 18
    rivals_up_to: int = 8192


def measure(values: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Time forward and backward, after a look at graphs in a batch."""
    irreps, size = values["irreps"], values["graph_size"]
    torch.manual_seed(0)
    operators = {
        name: HyenaOperator(irreps, irreps_hidden=irreps, mixer=name) for name in (OWN, *RIVALS)
    }
    check_graphs(operators[OWN], (size,) * 3)

    def timed(names: list[str], sizes: tuple[int, ...]) -> dict[str, Any]:
        x = torch.randn(sum(sizes), operators[OWN].irreps_in.dim)
        calls = {name: backward(operators[name], x, Segments(sizes)) for name in names}
        return interleave(calls, values["repeats"])

    return {
        "tokens": {
            n: timed([OWN, *(RIVALS if n <= values["rivals_up_to"] else [])], (n,))
            for n in values["tokens"]
        },
        "graphs": {n: timed([OWN, *RIVALS], (size,) * n) for n in values["graphs"]},
    }


def render(report: dict[str, Any]) -> str:
    config = report["config"]
    size = config["graph_size"]
    parts = [
        f"Forward and backward of one operator, `{config['irreps']}`: microseconds per token of "
        f"`coordinate`, and the time of rivals over its time ({caption(report)})."
    ]
    for title, key, tokens in (
        ("tokens in one graph", "tokens", 1),
        (f"graphs of {size} tokens", "graphs", size),
    ):
        rows, costs = [], []
        for n, timings in report[key].items():
            own = timings[OWN]["median"]
            costs.append(1e3 * own / (int(n) * tokens))
            ratios = (f"{timings[r]['median'] / own:.2f}" if r in timings else "" for r in RIVALS)
            rows.append([f"{int(n):,}", f"{costs[-1]:.2f}", *ratios])
        parts += [
            table([title, "µs per token", "attention", "`query_key`"], rows),
            f"Largest over least time per token: {max(costs) / min(costs):.2f}.",
        ]
    return "\n\n".join(parts)


STUDY = plain_study("sets", SetsConfig, measure, render)

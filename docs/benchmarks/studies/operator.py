"""The whole operator against attention of the same width, with the same projections."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from benchmarks.harness import TimedConfig, caption, interleave, plain_study, table
from benchmarks.operators import PASSES, check_convolution, crossover, pass_of, peak_memory
from e3hyena.nn.operator import HyenaOperator

OPPONENT = "attention"


@dataclass(kw_only=True)
class OperatorConfig(TimedConfig):
    """What to measure.

    Parameters
    ----------
    irreps : list of str
        Irreps of the tokens; hidden irreps are the same.
    mixers : list of str
        Mixers timed in turn, beside attention.
    length : int
        Number of tokens of the main table.
    crossover_lengths : list of int
        Numbers of tokens at which the crossover is looked for; empty for none.
    memory_lengths : list of int
        Numbers of tokens at which peak memory is measured; empty for none.
    backward : bool
        Also time forward plus backward.
    device : str
        Where the operators run, cpu or cuda.
    """

    irreps: list[str] = field(
        default_factory=lambda: ["32x0e+32x1o", "32x0e+32x1o+32x2e", "16x0e+16x1o+16x2e+16x3o"]
    )
    mixers: list[str] = field(
        default_factory=lambda: ["query_key", "filter", "coordinate", "linear_attention"]
    )
    length: int = 8192
    crossover_lengths: list[int] = field(
        default_factory=lambda: [32, 64, 128, 256, 512, 1024, 2048]
    )
    memory_lengths: list[int] = field(default_factory=lambda: [8192, 16384, 32768])
    backward: bool = True
    device: str = "cpu"


def measure(values: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Time all mixers in turns, at all lengths; then peak memory of each."""
    irreps = values["irreps"]
    check_convolution(irreps, device=values["device"])
    names = [OPPONENT, *(m for m in values["mixers"] if m != OPPONENT)]
    torch.manual_seed(0)
    operators = {name: HyenaOperator(irreps, irreps_hidden=irreps, mixer=name) for name in names}
    for operator in operators.values():
        operator.to(values["device"])

    def timed(kind: str, length: int) -> dict[str, Any]:
        x = torch.randn(length, operators[OPPONENT].irreps_in.dim, device=values["device"])
        calls = {name: pass_of(kind, operator, x) for name, operator in operators.items()}
        return interleave(calls, values["repeats"])

    kinds = ["forward", "forward_backward"] if values["backward"] else ["forward"]
    timings = {kind: timed(kind, values["length"]) for kind in kinds}
    by_length = {length: timed("forward", length) for length in values["crossover_lengths"]}

    def medians(name: str) -> dict[int, float]:
        return {length: timings[name]["median"] for length, timings in by_length.items()}

    memory = {
        name: {
            length: peak_memory(irreps, name, length, device=values["device"])
            for length in values["memory_lengths"]
        }
        for name in (names if values["memory_lengths"] else [])
    }
    return {
        **timings,
        "by_length": by_length,
        "crossover": {name: crossover(medians(name), medians(OPPONENT)) for name in names[1:]},
        "peak_mebibytes": memory,
    }


def render(report: dict[str, Any]) -> str:
    """The report as a Markdown table."""
    head = [
        *("irreps", "mixer", "forward", "forward + backward"),
        *("ahead from N", "MiB at largest N"),
    ]
    lines = []
    for irreps, result in report["irreps"].items():
        for name in result["forward"]:
            crossover = result["crossover"].get(name)
            ahead = "" if name == OPPONENT else "never" if crossover is None else f"{crossover}"
            times = (_time(result.get(kind), name) for kind in PASSES)
            memory = _largest(result["peak_mebibytes"].get(name, {}))
            lines.append([irreps, f"`{name}`", *times, ahead, memory])
    return (
        f"Milliseconds at N = {report['config']['length']} ({caption(report)}); in brackets, how "
        f"many times faster than attention in the same operator.\n\n{table(head, lines)}"
    )


def _time(timings: dict[str, Any] | None, name: str) -> str:
    if timings is None:
        return ""
    ratio = timings[OPPONENT]["median"] / timings[name]["median"]
    return f"{timings[name]['median']:.1f} ({ratio:.1f}x)"


def _largest(memory: dict[str, float]) -> str:
    if not memory:
        return ""
    length = max(memory, key=int)
    return f"{memory[length]:.0f} ({length})"


STUDY = plain_study("operator", OperatorConfig, measure, render, per="irreps")

"""The whole operator against attention of the same width, with the same projections."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import torch

from benchmarks.bench.peak import peak_memory
from benchmarks.bench.report import as_dicts, caption, publish
from benchmarks.bench.timing import Timing, interleave
from e3hyena.irreps import ChannelIrreps
from e3hyena.mixers.query_key import QueryKey
from e3hyena.nn.operator import HyenaOperator
from e3hyena.ops import naive, tensor_product_long_conv

OPPONENT = "attention"
BLOCK = "operator"


@dataclass
class Config:
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
    repeats : int
        Counted rounds; medians are reported.
    threads : int
        Number of threads.
    backward : bool
        Also time forward plus backward.
    output : str or None
        JSON file to write; null for none.
    documents : list of str
        Markdown files whose block ``<!-- operator -->`` is rewritten with the table.
    """

    irreps: list[str] = dataclasses.field(
        default_factory=lambda: ["32x0e+32x1o", "32x0e+32x1o+32x2e", "16x0e+16x1o+16x2e+16x3o"]
    )
    mixers: list[str] = dataclasses.field(
        default_factory=lambda: ["query_key", "filter", "coordinate", "linear_attention"]
    )
    length: int = 8192
    crossover_lengths: list[int] = dataclasses.field(
        default_factory=lambda: [32, 64, 128, 256, 512, 1024, 2048]
    )
    memory_lengths: list[int] = dataclasses.field(default_factory=lambda: [8192, 16384, 32768])
    repeats: int = 5
    threads: int = 2
    backward: bool = True
    output: str | None = None
    documents: list[str] = dataclasses.field(default_factory=list)


def run(config: Config) -> dict[str, Any]:
    """Measure, print a table, write the JSON, return what it holds.

    Raises
    ------
    RuntimeError
        If the long convolution disagrees with its plain-loop reference; nothing is reported then.
    """
    return publish(
        BLOCK,
        config,
        lambda: {"irreps": {irreps: _measure(irreps, config) for irreps in config.irreps}},
        render,
    )


def _measure(irreps: str, config: Config) -> dict[str, Any]:
    check(irreps)
    names = [OPPONENT, *(m for m in config.mixers if m != OPPONENT)]
    torch.manual_seed(0)
    operators = {name: HyenaOperator(irreps, irreps_hidden=irreps, mixer=name) for name in names}
    result: dict[str, Any] = {
        "forward": as_dicts(_time(operators, config.length, config.repeats, backward=False))
    }
    if config.backward:
        timings = _time(operators, config.length, config.repeats, backward=True)
        result["forward_backward"] = as_dicts(timings)
    result["by_length"] = {
        length: as_dicts(_time(operators, length, config.repeats, backward=False))
        for length in config.crossover_lengths
    }
    result["crossover"] = {name: _crossover(result["by_length"], name) for name in names[1:]}
    result["peak_mebibytes"] = {
        name: {length: peak_memory(irreps, name, length) for length in config.memory_lengths}
        for name in (names if config.memory_lengths else [])
    }
    return result


def check(irreps: str, length: int = 96) -> None:
    """Refuse to report on a wrong result."""
    hidden = ChannelIrreps(irreps)
    paths = QueryKey(hidden).paths
    q, k = torch.randn(2, hidden.num_channels, hidden.dim, length)
    weight = torch.randn(paths.num_paths, hidden.num_channels)
    expected = naive.tensor_product_long_conv(q, k, weight, paths)
    error = (tensor_product_long_conv(q, k, weight, paths) - expected).abs().max()
    relative = (error / expected.abs().max()).item()
    if not relative < 1e-5:
        raise RuntimeError(
            f"the long convolution over {irreps} is off by {relative:.1e}; nothing is reported"
        )


def _time(
    operators: dict[str, HyenaOperator], length: int, repeats: int, *, backward: bool
) -> dict[str, Timing]:
    x = torch.randn(length, next(iter(operators.values())).irreps_in.dim)

    def call(operator: HyenaOperator) -> None:
        if not backward:
            with torch.no_grad():
                operator(x)
            return
        operator.zero_grad()
        operator(x.requires_grad_()).sum().backward()

    calls = {name: (lambda o=o: call(o)) for name, o in operators.items()}  # type: ignore[misc]
    return interleave(calls, repeats)


def _crossover(by_length: dict[int, Any], name: str) -> int | None:
    """Least measured length from which on a mixer is never slower than attention."""
    best = None
    for length in sorted(by_length, reverse=True):
        if by_length[length][name]["median"] > by_length[length][OPPONENT]["median"]:
            break
        best = length
    return best


def render(report: dict[str, Any]) -> str:
    """The report as a Markdown table."""
    length = report["config"]["length"]
    lines = [
        f"Milliseconds at N = {length} ({caption(report)}); in brackets, how many times faster "
        "than attention in the same operator.",
        "",
        "| irreps | mixer | forward | forward + backward | ahead from N | MiB at largest N |",
        "|---|---|---|---|---|---|",
    ]
    for irreps, result in report["irreps"].items():
        for name in result["forward"]:
            cells = [irreps, f"`{name}`"]
            for kind in ("forward", "forward_backward"):
                cells.append(_cell(result.get(kind), name))
            crossover = result["crossover"].get(name)
            cells.append(
                "" if name == OPPONENT else "never" if crossover is None else f"{crossover}"
            )
            memory = result["peak_mebibytes"].get(name, {})
            cells.append(_largest(memory))
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(timings: dict[str, Any] | None, name: str) -> str:
    if timings is None:
        return ""
    ratio = timings[OPPONENT]["median"] / timings[name]["median"]
    return f"{timings[name]['median']:.1f} ({ratio:.1f}x)"


def _largest(memory: dict[Any, float]) -> str:
    if not memory:
        return ""
    length = max(memory, key=int)  # a string after a round trip through JSON
    return f"{memory[length]:.0f} ({length})"

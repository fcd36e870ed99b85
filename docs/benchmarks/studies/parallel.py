"""Context parallelism: messages and times of a model, measured here, extrapolated to GPUs."""

from __future__ import annotations

import os
import resource
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn

from benchmarks.harness import (
    Cell,
    Config,
    Done,
    Report,
    Study,
    added_mebibytes,
    finish,
    style,
    table,
)
from e3hyena.mixers.coordinate import Coordinate
from e3hyena.mixers.linear_attention import LinearAttention
from e3hyena.nn.operator import HyenaOperator
from e3hyena.parallel import ContextParallel

REAL = 4  # bytes of a float32
# One GPU of a DGX H100, each direction: NVLink 4 moves 900 GB/s both ways together (NVIDIA H100
# data sheet), its ConnectX-7 400 Gb/s (DGX H100 data sheet). What a collective costs beside its
# bytes is assumed: a start, and as much again for every 20 processes that an all-to-all speaks to.
NVLINK, INFINIBAND, NODE = 450e9, 50e9, 8
START, PEER = 20e-6, 1e-6
# Forward and backward of one operator, 32x0e+32x1o, 2^20 tokens in float32, measured once on one
# H200 (torch 2.11; an earlier state of the kernels): seconds per token.
GPU_SECONDS = {
    "query_key": 57e-3 / 2**20,
    "coordinate": 230e-3 / 2**20,
    "linear_attention": 51e-3 / 2**20,
}
GPUS = [8, 16, 32, 64, 128, 256, 512, 1024]


@dataclass(kw_only=True)
class ParallelConfig(Config):
    """What to measure.

    Parameters
    ----------
    irreps : str
        Irreps of one operator.
    mixers : list of str
        Its mixers.
    processes : list of int
        Numbers of gloo processes of one thread each.
    tokens : int
        Tokens of every process.
    large : int
        Tokens of the structure that one process cannot hold.
    large_mixers : list of str
        With which of the mixers.
    cap : int
        Memory that each process may take for its data (MiB).
    lengths : list of int
        Tokens of the structures that are extrapolated to.
    repeats : int
        Rounds, of which the least time counts.
    """

    irreps: str = "32x0e+32x1o"
    mixers: list[str] = field(
        default_factory=lambda: ["query_key", "filter", "coordinate", "linear_attention"]
    )
    processes: list[int] = field(default_factory=lambda: [1, 2, 3, 4])
    tokens: int = 2**14
    large: int = 2**20
    large_mixers: list[str] = field(default_factory=lambda: ["query_key", "coordinate"])
    cap: int = 2560
    lengths: list[int] = field(default_factory=lambda: [2**20, 2**24])
    repeats: int = 5


def messages(operator: HyenaOperator, tokens: int, world: int) -> list[tuple[str, int]]:
    """Collectives of a forward and backward pass, and how many entries a process gives to each.

    Shares are equal; the first message, how many tokens everybody has, is not counted.
    """
    mixer, share = operator.mixer, tokens / world
    weights = sum(weight.numel() for weight in operator.parameters())
    channels, dim = mixer.hidden.num_channels, mixer.hidden.dim
    if isinstance(mixer, Coordinate):
        rows, features = channels // mixer.heads * dim, sum(mixer.features.sizes)
        gram = features if mixer.sharpening else 0
        sums = mixer.heads * ((rows + gram) * features + 1)
        exchanged = [("all_reduce", sums)] * 2
    elif isinstance(mixer, LinearAttention):
        exchanged = [("all_reduce", mixer.heads * (channels // mixer.heads * dim) ** 2)] * 2
    else:
        there, back = (
            ("all_to_all", round(channels * d * share)) for d in (2 * dim, mixer.context.dim)
        )
        exchanged = [there, back, back, there]
    return [*exchanged, ("all_reduce", weights)]


def on_gpus(operator: HyenaOperator, tokens: int, world: int) -> dict[str, float]:
    """Seconds of a forward and backward pass: computing, moving bytes, starting collectives."""
    cost = {"computing": GPU_SECONDS[operator.mixer_name] * tokens / world, "bytes": 0.0}
    cost["starts"] = 0.0
    for kind, entries in messages(operator, tokens, world):
        size = REAL * entries
        near, far = (min(world, NODE) - 1) / world, max(0, world - NODE) / world
        if kind == "all_to_all":  # both links at once
            cost["bytes"] += max(size * near / NVLINK, size * far / INFINIBAND)
            cost["starts"] += START + PEER * (world - 1)
        else:  # reduce-scatter and all-gather, as trees
            link = NVLINK if world <= NODE else INFINIBAND
            cost["bytes"] += 2 * size * (world - 1) / world / link
            cost["starts"] += 2 * START * (world - 1).bit_length()
    return cost


def in_group(number: int, work: Callable[..., Any], *arguments: Any) -> list[Any]:
    """What ``work(*arguments)`` returns in each of some gloo processes of one thread."""
    with tempfile.TemporaryDirectory() as folder:
        mp.spawn(_begin, (number, folder, work, arguments), nprocs=number)
        return [torch.load(Path(folder, f"{rank}.pt")) for rank in range(number)]


def _begin(rank: int, number: int, folder: str, work: Callable[..., Any], arguments: Any) -> None:
    torch.set_num_threads(1)
    store = f"file://{folder}/store"
    dist.init_process_group("gloo", store, timedelta(minutes=5), rank=rank, world_size=number)
    torch.save(work(*arguments), Path(folder, f"{rank}.pt"))
    dist.barrier()
    dist.destroy_process_group()


def _operator(irreps: str, mixer: str) -> HyenaOperator:
    torch.manual_seed(0)
    return HyenaOperator(irreps, mixer=mixer)


def _pass(model: nn.Module, tokens: int, dim: int) -> float:
    """Seconds of a forward and backward pass of everybody."""
    x = torch.randn(tokens, dim, requires_grad=True)
    dist.barrier()
    start = time.perf_counter()
    model(x).sum().backward()
    dist.barrier()
    return time.perf_counter() - start


def _times(irreps: str, mixers: list[str], tokens: int, repeats: int) -> dict[str, Any]:
    """Least seconds of a pass by mixer, and of collectives: kind, entries given, seconds."""
    passes = {}
    for mixer in mixers:
        operator = _operator(irreps, mixer)
        model, dim = ContextParallel(operator), operator.irreps_in.dim
        passes[mixer] = min(_pass(model, tokens, dim) for _ in range(repeats + 1))
    links, world = [], dist.get_world_size()
    for kind in ("all_to_all", "all_reduce"):
        for size in (2**k for k in range(8, 23, 2)):
            x = torch.ones(size // world * world)
            links.append([kind, len(x), min(_collective(kind, x) for _ in range(repeats + 1))])
    return {"passes": passes, "links": links}


def _collective(kind: str, x: torch.Tensor) -> float:
    dist.barrier()
    start = time.perf_counter()
    if kind == "all_to_all":
        dist.all_to_all_single(torch.empty_like(x), x)
    else:
        dist.all_reduce(x)
    return time.perf_counter() - start


def _capped(irreps: str, mixer: str, tokens: int, cap: int) -> dict[str, float]:
    operator = _operator(irreps, mixer)
    model = ContextParallel(operator)
    _pass(model, 64, operator.irreps_in.dim)
    resource.setrlimit(resource.RLIMIT_DATA, (cap * 2**20, cap * 2**20))
    seconds: list[float] = []
    share = tokens // dist.get_world_size()
    peak = added_mebibytes(lambda: seconds.append(_pass(model, share, operator.irreps_in.dim)))
    return {"seconds": seconds[0], "mebibytes": peak}


def measure_times(values: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Least times of passes and collectives, and how busy the machine was."""
    given = (values[name] for name in ("irreps", "mixers", "tokens", "repeats"))
    found = in_group(values["processes"], _times, *given)[0]
    return {**found, "load": os.getloadavg()[0]}


def measure_large(values: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Peak and time of every process, or why it failed."""
    given = (values[name] for name in ("irreps", "mixer", "large", "cap"))
    try:
        found = in_group(values["processes"], _capped, *given)
    except (mp.ProcessRaisedException, mp.ProcessExitedException) as error:
        lines = [line for line in str(error).splitlines() if line.strip()]
        return {"failed": lines[-1][:160]}
    return {name: max(part[name] for part in found) for name in ("seconds", "mebibytes")}


def cells(config: ParallelConfig) -> list[Cell]:
    given = config.only("irreps", "mixers", "tokens", "repeats")
    groups = [
        Cell(f"processes-{number}", {**given, "processes": number}, stage="times")
        for number in config.processes
    ]
    given = config.only("irreps", "large", "cap")
    large = [
        Cell(f"{mixer}-{number}", {**given, "mixer": mixer, "processes": number}, stage="large")
        for mixer in config.large_mixers
        for number in (1, max(config.processes))
    ]
    return [*groups, *large]


def fit_link(times: list[list[Any]], world: int) -> dict[str, list[float]]:
    """Seconds of a start, and per byte that leaves a process, by kind, from least squares."""
    found = {}
    for kind in ("all_to_all", "all_reduce"):
        each = [(REAL * n * (world - 1) / world, t) for name, n, t in times if name == kind]
        sent = torch.tensor([[1.0, size] for size, _ in each], dtype=torch.float64)
        taken = torch.tensor([t for _, t in each], dtype=torch.float64)
        scale = taken[:, None]  # relative errors: small messages count as much as large ones
        start, byte = torch.linalg.lstsq(sent / scale, taken[:, None] / scale).solution.flatten()
        found[kind] = [max(float(start), 0.0), float(byte)]
    return found


def collect(config: ParallelConfig, done: Done) -> dict[str, Any]:
    """Measured beside modelled times; extrapolation."""
    groups = {cell["config"]["processes"]: cell["result"] for cell in done["times"]}
    links = {n: fit_link(result["links"], n) for n, result in groups.items() if n > 1}
    cores, weak = os.cpu_count() or 1, []
    for number, result in groups.items():
        for mixer, seconds in result["passes"].items():
            expected = groups[1]["passes"][mixer] * max(1.0, number / cores)
            sent = messages(_operator(config.irreps, mixer), number * config.tokens, number)
            for kind, entries in sent if number > 1 else ():
                start, byte = links[number][kind]
                expected += start + byte * REAL * entries * (number - 1) / number
            weak.append(
                {"mixer": mixer, "processes": number, "seconds": seconds, "model": expected}
            )
    operators = {mixer: _operator(config.irreps, mixer) for mixer in GPU_SECONDS}
    far = [
        {"mixer": mixer, "tokens": tokens, "gpus": world, **on_gpus(operator, tokens, world)}
        for mixer, operator in operators.items()
        for tokens in config.lengths
        for world in GPUS
    ]
    return {
        "links": {str(n): fit for n, fit in links.items()},
        "load": max(result["load"] for result in groups.values()),
        "weak": weak,
        "large": [{**cell["config"], **cell["result"]} for cell in done["large"]],
        "far": far,
    }


def render_weak(report: Report) -> str:
    config, numbers = report["config"], report["config"]["processes"]
    lines = []
    for mixer in config["mixers"]:
        found = {w["processes"]: w for w in report["weak"] if w["mixer"] == mixer}
        times = [(found[n]["seconds"], found[n]["model"]) for n in numbers]
        lines.append([f"`{mixer}`", *(f"{1e3 * t:.0f} ({1e3 * model:.0f})" for t, model in times)])
    links = ", ".join(
        f"{n} processes {1e6 * fit['all_to_all'][0]:.0f} µs and "
        f"{1e-9 / fit['all_to_all'][1]:.2f} GB/s" for n, fit in report["links"].items()
    )  # fmt: skip
    return (
        f"Milliseconds of one operator, {config['irreps']}, forward and backward, "
        f"{config['tokens']} tokens in every process; in brackets what the model says of the time "
        f"of one process, two cores and the measured links. Least of {config['repeats']} rounds, "
        f"{report['environment']['cpu']}, shared with other work (load {report['load']:.0f}).\n\n"
        + table(["mixer", *(f"{n} processes" if n > 1 else "one process" for n in numbers)], lines)
        + f"\n\nAll-to-all by gloo, start and rate per process: {links}."
    )


def render_large(report: Report) -> str:
    config = report["config"]
    lines = [
        [
            f"`{row['mixer']}`",
            str(row["processes"]),
            f"fails: {_reason(row['failed'])}"
            if "failed" in row
            else f"{row['mebibytes']:.0f} MiB a process, {row['seconds']:.0f} s",
        ]
        for row in report["large"]
    ]
    return (
        f"{config['large']:,} tokens, {config['irreps']}, forward and backward; no process may "
        f"have more than {config['cap']} MiB of data.\n\n"
        + table(["mixer", "processes", "what happens"], lines)
    )


def _reason(error: str) -> str:
    return "no memory left" if "can't allocate memory" in error else error


def render_far(report: Report) -> str:
    shown = [8, 64, 256, 1024]
    lines = []
    for mixer in GPU_SECONDS:
        for tokens in report["config"]["lengths"]:
            far = [f for f in report["far"] if f["mixer"] == mixer and f["tokens"] == tokens]
            found = {f["gpus"]: f for f in far}
            crossing = [n for n, f in found.items() if f["bytes"] + f["starts"] > f["computing"]]
            last = f"{min(crossing)} GPUs" if crossing else "not up to 1,024"
            lines.append([f"`{mixer}`", f"{tokens:,}", *(_share(found[n]) for n in shown), last])
    head = ["mixer", "tokens", *(f"{n} GPUs" for n in shown), "messages outweigh computing from"]
    return (
        "Milliseconds of one operator, forward and backward, by the model; in brackets how much of "
        "it is computing, bytes on their way, starts of collectives.\n\n" + table(head, lines)
    )


def _share(cost: dict[str, float]) -> str:
    parts = [cost[name] for name in ("computing", "bytes", "starts")]
    shares = " + ".join(f"{100 * part / sum(parts):.0f}" for part in parts)
    return f"{1e3 * sum(parts):.2f} ({shares} %)"


def draw(report: Report, figure: Any) -> None:
    """Terms of the model against the number of GPUs, for the longest structure."""
    tokens = max(report["config"]["lengths"])
    panels = figure.subplots(1, len(GPU_SECONDS), sharey=True)
    figure.set_size_inches(10, 3.4)
    for axes, mixer in zip(panels, GPU_SECONDS, strict=True):
        found = [f for f in report["far"] if (f["mixer"], f["tokens"]) == (mixer, tokens)]
        for place, term in enumerate(("computing", "bytes", "starts")):
            values = [1e3 * f[term] for f in found]
            axes.plot([f["gpus"] for f in found], values, label=term, **style(place))
        axes.set_title(mixer)
        axes.set_xlabel("GPUs")
    panels[0].set_ylabel(f"ms, forward and backward,\n{tokens:,} tokens")
    finish(figure, panels)


STUDY = Study(
    "parallel",
    ParallelConfig,
    cells,
    {"times": measure_times, "large": measure_large},
    {"parallel_weak": render_weak, "parallel_large": render_large, "parallel_far": render_far},
    draw,
    collect,
)

"""Kernels that a pass starts on a GPU, counted without one; with --device cuda also their time."""

from __future__ import annotations

import functools
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchmarks.harness import Config, check_names, plain_study, table
from benchmarks.launches import counting
from benchmarks.studies.ragged import RaggedConfig, draw_sizes
from e3hyena import HyenaNet, HyenaOperator
from e3hyena.mixers import MIXERS
from e3hyena.models import energy_and_forces
from e3hyena.ops.segments import Segments
from e3hyena.training.files import read_json

BUDGETS = Path(__file__).parents[1] / "launch_budgets.json"
LOCAL = "none"
PASSES = ("forward", "forward + backward", "step", "force step")
Call = Callable[[], Any]


@dataclass(kw_only=True)
class LaunchesConfig(Config):
    """What is counted.

    Parameters
    ----------
    mixers : list of str
        Mixers of an operator and of a network; none: a network without.
    irreps : str
        Irreps of the operator and of the network.
    tokens : int
        Tokens of the operator's one graph.
    molecules : int
        Graphs of the operator's ragged batch; the network's holds an eighth of them.
    repeats : int
        Timed rounds, on a GPU.
    device : str
        cpu counts; cuda counts, and times the same passes, called and replayed as a CUDA graph.
    """

    mixers: list[str] = field(default_factory=lambda: [*MIXERS, LOCAL])
    irreps: str = "32x0e + 32x1o"
    tokens: int = 16384
    molecules: int = 1024
    repeats: int = 11
    device: str = "cpu"

    def __post_init__(self) -> None:
        check_names("mixers", self.mixers, [*MIXERS, LOCAL])
        check_names("device", [self.device], ("cpu", "cuda"))


def measure(values: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Of every pass the launches, copies from the host once the batch was read, and times."""
    found: dict[str, Any] = {}
    for name, make in passes(values).items():
        call = make("meta")
        with counting():
            call()  # reads the batch
        with counting() as launches:
            call()
        found[name] = {"launches": launches.total, "copies": launches.copies_from_host.total()}
        if values["device"] == "cuda":
            found[name] |= _timed(make("cuda"), values["repeats"])
    return found


def passes(values: dict[str, Any]) -> dict[str, Callable[[str], Call]]:
    """Makers of the passes of a mixer, by name; they take a device."""
    mixer, irreps = values["mixers"], values["irreps"]
    sizes = draw_sizes({**RaggedConfig().options(), "graphs": values["molecules"]})
    graphs = {"one graph": (values["tokens"],), "molecules": sizes}
    found: dict[str, Callable[[str], Call]] = {}
    for name, lengths in graphs.items() if mixer != LOCAL else ():
        for backward in (False, True):
            operator = functools.partial(_operator, mixer, irreps, lengths, backward)
            found[f"{name}, {PASSES[backward]}"] = operator
    for forces in (False, True):
        few = sizes[: max(1, len(sizes) // 8)]
        found[PASSES[2 + forces]] = functools.partial(_network, mixer, irreps, few, forces)
    return found


def _operator(
    mixer: str, irreps: str, lengths: tuple[int, ...], backward: bool, device: str
) -> Call:
    operator = HyenaOperator(irreps, mixer=mixer).to(device)
    segments = Segments(lengths, device)
    x = torch.randn(sum(lengths), operator.irreps_in.dim, device=device, requires_grad=backward)

    def call() -> None:
        with torch.set_grad_enabled(backward):
            y = operator(x, segments)
        if backward:
            operator.zero_grad()
            torch.autograd.backward([y], [torch.ones_like(y)])

    return call


def _network(mixer: str, irreps: str, lengths: tuple[int, ...], forces: bool, device: str) -> Call:
    """A training step of three layers with a local part, edges known, twelve to an atom."""
    name = None if mixer == LOCAL else mixer
    net: nn.Module = HyenaNet(
        "0e", irreps_hidden=irreps, num_layers=3, cutoff=4.0, mixer=name, ordered=True
    ).to(device)
    optimizer = torch.optim.AdamW(net.parameters(), foreach=True, capturable=device == "cuda")
    segments, atoms = Segments(lengths, device), sum(lengths)
    z = torch.randint(1, 10, (atoms,), device=device)
    pos = torch.randn(atoms, 3, device=device)
    target = torch.arange(atoms, device=device).repeat_interleave(12, output_size=12 * atoms)
    edges = torch.stack([(target + 1).remainder(atoms), target])
    energy, force = torch.randn(len(lengths), 1, device=device), torch.randn_like(pos)

    def call() -> None:
        optimizer.zero_grad(set_to_none=True)
        if forces:
            graphs: Any = segments
            found, gradient = energy_and_forces(
                net, z, pos, graphs, create_graph=True, edge_index=edges
            )
            loss = (found - energy).square().mean() + (gradient - force).square().mean()
        else:
            loss = (net(z, pos, segments, edge_index=edges) - energy).square().mean()
        loss.backward()
        optimizer.step()

    return call


def _timed(call: Call, repeats: int) -> dict[str, float | str]:
    """Milliseconds on a GPU, called and replayed; an error in place of what does not run."""
    found: dict[str, float | str] = {"called": _median(call, repeats)}
    try:
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                call()
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            call()
        found["replayed"] = _median(graph.replay, repeats)
    except RuntimeError as error:
        torch.cuda.synchronize()
        found["replayed"] = str(error).split("\n")[0][:120]
    return found


def _median(call: Call, repeats: int) -> float:
    spent = []
    for turn in range(3 + repeats):
        torch.cuda.synchronize()
        start = time.perf_counter()
        call()
        torch.cuda.synchronize()
        spent += [1e3 * (time.perf_counter() - start)] if turn >= 3 else []
    return statistics.median(spent)


def budgets() -> dict[str, Any]:
    """What is aimed at, and what is held, by pass."""
    found: dict[str, Any] = read_json(BUDGETS)
    return found


def aim(name: str) -> int:
    """The aim for a pass of an operator or of a network."""
    found: int = budgets()["aims"][name.split(", ")[-1]]
    return found


def render(report: dict[str, Any]) -> str:
    """The report as a Markdown table."""
    names = list(dict.fromkeys(name for found in report["mixers"].values() for name in found))
    lines = []
    for name in names:
        line = [name, str(aim(name))]
        for found in report["mixers"].values():
            line.append(_entry(found[name], aim(name)) if name in found else "")
        lines.append(line)
    head = ["", "aim", *(f"`{m}`" if m != LOCAL else "no mixer" for m in report["mixers"])]
    return table(head, lines)


def _entry(found: dict[str, Any], most: int) -> str:
    count = found["launches"]
    text = f"**{count}**" if count <= most else f"{count}"
    text += f", {found['copies']} copies" if found["copies"] else ""
    for kind in ("called", "replayed"):
        if kind in found:
            text += f"; {found[kind]:.2f} ms" if isinstance(found[kind], float) else "; fails"
    return text


STUDY = plain_study("launches", LaunchesConfig, measure, render, per="mixers")

"""A whole ribosome through a local-global network: time and memory against the number of atoms."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.data.mmtf_entry import read_mmtf
from benchmarks.harness import Cell, Config, Done, Study, added_mebibytes, in_fresh_process, table
from e3hyena import HyenaNet

SHOWN = 5_000  # atoms in the picture


@dataclass(kw_only=True)
class RibosomeConfig(Config):
    """One prediction for the 70S ribosome 4V5A, and for the atoms about its centre.

    Parameters
    ----------
    atoms : list of int
        Numbers of atoms, those nearest to the centre; 0 for all.
    mixer : str
        Global mixer.
    irreps_hidden : str
        Hidden irreps.
    num_layers : int
        Depth.
    cutoff : float
        Radius of the local part (angstrom).
    """

    atoms: list[int] = field(default_factory=lambda: [10_000, 30_000, 100_000, 0])
    mixer: str = "coordinate"
    irreps_hidden: str = "16x0e + 16x1o"
    num_layers: int = 4
    cutoff: float = 5.0
    threads: int = 2


def list_cells(config: RibosomeConfig) -> list[Cell]:
    """One prediction each."""
    shared = config.only("mixer", "irreps_hidden", "num_layers", "cutoff", "threads")
    return [Cell(f"atoms-{n}", {"atoms": n, **shared}, cost=n or 3e5) for n in config.atoms]


def measure(values: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Time and peak memory of one prediction; of the whole also a sample of the values."""
    z, pos = near_centre(values["atoms"])
    result = in_fresh_process(predict, values, z, pos)
    y = result.pop("values")
    result["atoms"] = len(z)
    if not values["atoms"]:
        some = torch.randperm(len(z), generator=torch.Generator().manual_seed(0))[:SHOWN]
        places = torch.cat([pos[some], y[some, None]], dim=1)
        result["sample"] = [[round(x, 2) for x in row] for row in places.tolist()]
    return result


def near_centre(number: int) -> tuple[Tensor, Tensor]:
    """Elements and positions, in the order of the entry."""
    graph = read_mmtf("4V5A")
    pos = graph.pos - graph.pos.mean(dim=0)
    kept = pos.norm(dim=1).argsort()[: number or None].sort().values
    return graph.z[kept], pos[kept]


def predict(values: dict[str, Any], z: Tensor, pos: Tensor) -> dict[str, Any]:
    """One prediction of an untrained network, neighbours included."""
    torch.set_num_threads(values["threads"])
    torch.manual_seed(0)
    options = {k: values[k] for k in ("mixer", "irreps_hidden", "num_layers", "cutoff")}
    net = HyenaNet("0e", pool=None, **options)
    found = {}

    @torch.no_grad()
    def call() -> None:
        wall, processor = time.perf_counter(), time.process_time()
        found["values"] = net(z, pos).squeeze(1)
        found["seconds"] = time.perf_counter() - wall
        found["processor_seconds"] = time.process_time() - processor

    with torch.no_grad():
        net(z[:100], pos[:100])
    found["mebibytes"] = added_mebibytes(call)
    return found


def collect(config: RibosomeConfig, done: Done) -> dict[str, Any]:
    """Measurements by number of atoms, and the sample of the whole."""
    cells = [dict(cell["result"]) for cell in done["measure"]]
    samples = [cell.pop("sample") for cell in cells if "sample" in cell]
    return {"cells": cells, "sample": samples[0] if samples else []}


def render(report: dict[str, Any]) -> str:
    """Time per atom and peak memory."""
    config, cells = report["config"], report["cells"]
    first = cells[0]["processor_seconds"] / cells[0]["atoms"]
    lines = [
        [
            f"{cell['atoms']:,}",
            f"{cell['processor_seconds']:.1f}",
            f"{1e6 * cell['processor_seconds'] / cell['atoms']:.0f}",
            f"{cell['processor_seconds'] / cell['atoms'] / first:.2f}x",
            f"{cell['mebibytes'] / 1024:.2f}",
        ]
        for cell in cells
    ]
    head = ["atoms", "processor seconds", "µs per atom", "relative", "GiB at the peak"]
    caption = (
        f"The atoms of 4V5A nearest to its centre, and all of them, through `HyenaNet` "
        f"({config['irreps_hidden']}, {config['num_layers']} layers, cutoff {config['cutoff']} Å, "
        f"`{config['mixer']}`, untrained), neighbour list included; threads: {config['threads']}, "
        f"{report['environment']['cpu']}. µs per atom: of processor time, of all threads."
    )
    plot = "![Ribosome 4V5A coloured by prediction](results/ribosome.png)"
    return "\n\n".join([caption, table(head, lines), plot])


def draw(report: dict[str, Any], figure: Any) -> None:
    """A sample of the atoms, coloured by prediction, those in front last."""
    figure.set_size_inches(7, 6)
    axes = figure.subplots()
    sample = sorted(report["sample"], key=lambda atom: atom[2])
    if sample:
        x, y, _, value = zip(*sample, strict=True)
        limits = torch.tensor(value).quantile(torch.tensor([0.02, 0.98])).tolist()
        look = {"s": 9, "cmap": "viridis", "linewidths": 0}
        dots = axes.scatter(x, y, c=value, vmin=limits[0], vmax=limits[1], **look)
        figure.colorbar(dots, label="prediction of an untrained network")
    axes.set(xlabel="x (Å)", ylabel="y (Å)", aspect="equal")


STUDY = Study("ribosome", RibosomeConfig, list_cells, measure, {"ribosome": render}, draw, collect)

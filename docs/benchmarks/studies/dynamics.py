"""A protein that opens: displacement of every atom 15 frames ahead."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from benchmarks.data.adk import Trajectory, trajectories
from benchmarks.harness.plots import draw_dots
from benchmarks.harness.rows import Row, check_names, known, labels
from benchmarks.harness.study import Cell, Config, Done, Study
from benchmarks.harness.tables import count_seeds, flatten, grid, minutes, parameters, select, table
from benchmarks.harness.training import fit
from e3hyena import HyenaNet
from e3hyena.ops.neighbours import neighbours

ROWS = {
    "local": Row("local network alone (E(3), any order)", None),
    "coordinate": Row("`coordinate` (E(3), any order)", "coordinate"),
    "query_key": Row("`query_key` (E(3), order of the chain)", "query_key"),
    **known("attention"),
}
LAGS = (1, 5)  # frames over which past displacements are given
LENGTH = 15.0  # Angstrom; the unit of positions


@dataclass(kw_only=True)
class DynamicsConfig(Config):
    """Adenylate kinase, trained on one transition and tested on another.

    Parameters
    ----------
    rows : list of str
        Which networks; all of them by default.
    atoms : list of str
        "backbone" and "all".
    seeds : list of int
        Seeds of the weights and of the order of the frames.
    ahead : int
        Frames between input and target.
    irreps : str
        Hidden irreps of every network.
    num_layers : int
        Depth.
    cutoff : float
        Radius of the local part (angstrom).
    steps : int
        Training steps, each on one frame.
    lr : float
        Largest learning rate; cosine schedule.
    """

    rows: list[str] = field(default_factory=lambda: ["local", "coordinate", "query_key"])
    atoms: list[str] = field(default_factory=lambda: ["backbone"])
    seeds: list[int] = field(default_factory=lambda: [0, 1, 2])
    ahead: int = 15
    irreps: str = "16x0e + 16x1o"
    num_layers: int = 3
    cutoff: float = 6.0
    steps: int = 400
    lr: float = 3e-3

    def __post_init__(self) -> None:
        check_names("rows", self.rows, ROWS)
        check_names("atoms", self.atoms, ("backbone", "all"))


def list_cells(config: DynamicsConfig) -> list[Cell]:
    """All trainings; those of one seed come before the next seed."""
    shared = config.only("ahead", "irreps", "num_layers", "cutoff", "steps", "lr")
    return [
        Cell(
            f"{row}-{atoms}-{seed}",
            {"row": row, **ROWS[row].values(), "atoms": atoms, "seed": seed, **shared},
            cost=4 if atoms == "all" else 1,
        )
        for atoms, seed, row in itertools.product(config.atoms, config.seeds, config.rows)
    ]


class Frame(NamedTuple):
    """Where the atoms are, how they moved about their mean, how they will have moved."""

    z: Tensor
    pos: Tensor
    past: Tensor  # (N, lags, 3)
    target: Tensor  # (N, 3)
    edge_index: Tensor


def frames(run: Trajectory, ahead: int, cutoff: float) -> list[Frame]:
    """All frames with a past and a future; the motion of the centroid is left out."""
    x = run.frames - run.frames.mean(dim=1, keepdim=True)
    found = []
    for t in range(max(LAGS), len(x) - ahead):
        past = torch.stack([x[t] - x[t - lag] for lag in LAGS], dim=1)
        edges, _ = neighbours(x[t], cutoff)
        found.append(Frame(run.z, x[t], past, x[t + ahead] - x[t], edges))
    return found


def fit_linear(data: list[Frame]) -> Tensor:
    """The combination of past displacements that is nearest to the target, by least squares."""
    past = torch.cat([frame.past.transpose(1, 2).flatten(0, 1) for frame in data])
    target = torch.cat([frame.target.flatten() for frame in data])
    return torch.linalg.lstsq(past, target[:, None]).solution[:, 0]


class Mover(nn.Module):
    """`HyenaNet` on places and past displacements; adds to the linear prediction."""

    linear: Tensor

    def __init__(self, values: dict[str, Any], linear: Tensor) -> None:
        super().__init__()
        self.register_buffer("linear", linear)
        number = 1 + len(LAGS)
        self.net = HyenaNet(
            "1o",
            irreps_hidden=values["irreps"],
            irreps_features=f"{number}x0e + {number}x1o",
            pool=None,
            ordered=True,
            **{key: values[key] for key in ("mixer", "mixer_options", "num_layers", "cutoff")},
        )

    def forward(self, frame: Frame) -> Tensor:
        """Displacement, ``(N, 3)``."""
        vectors = torch.cat([frame.pos[:, None] / LENGTH, frame.past], dim=1)
        features = torch.cat([vectors.norm(dim=2), vectors.flatten(1)], dim=1)
        moved = self.net(frame.z, frame.pos, edge_index=frame.edge_index, features=features)
        return moved + torch.einsum("nlx,l->nx", frame.past, self.linear)


def measure(values: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Train on the first transition, test on the second."""
    torch.manual_seed(values["seed"])
    first, second = (
        frames(run, values["ahead"], values["cutoff"]) for run in trajectories(values["atoms"])
    )
    linear = fit_linear(first)
    model = Mover(values, linear)
    options = {key: values[key] for key in ("steps", "lr")}
    options |= {"warmup": 0.05, "weight_decay": 1e-2, "validations": 20}
    done = fit(model, _shuffled(first), error, None, folder, **options)
    straight = [torch.einsum("nlx,l->nx", frame.past, linear) - frame.target for frame in second]
    with torch.no_grad():
        return {
            "mse": mean(float(error(model, frame)) for frame in second),
            "linear": mean(float(off.square().sum(dim=1).mean()) for off in straight),
            "last": mean(float(frame.target.square().sum(dim=1).mean()) for frame in second),
            "parameters": done["parameters"],
            "seconds": done["seconds"],
        }


def error(model: nn.Module, frame: Frame) -> Tensor:
    """Mean square distance from the target, square angstrom."""
    off: Tensor = model(frame) - frame.target
    return off.square().sum(dim=1).mean()


def _shuffled(data: list[Frame]) -> Iterator[Frame]:
    while True:
        for place in torch.randperm(len(data)).tolist():
            yield data[place]


def collect(config: DynamicsConfig, done: Done) -> dict[str, Any]:
    """Labels and errors."""
    cells = flatten(done["measure"], "row", "atoms", "seed")
    return {"labels": labels(config.rows, ROWS), "cells": cells}


def _errors(report: dict[str, Any], row: str, atoms: str) -> list[float]:
    return [cell["mse"] for cell in select(report, row=row, atoms=atoms)]


def _baselines(report: dict[str, Any], atoms: str) -> dict[str, list[float]]:
    cells = select(report, atoms=atoms)[:1]
    names = {"last": "last position", "linear": "linear, least squares"}
    return {label: [cell[key] for cell in cells] for key, label in names.items()}


def render(report: dict[str, Any]) -> str:
    """Errors of every network beside the two baselines."""
    config = report["config"]
    kinds = config["atoms"]
    lines = grid(report["labels"], kinds, lambda row, atoms: _errors(report, row, atoms), 3)
    for row, line in zip(report["labels"], lines, strict=True):
        cells = select(report, row=row, atoms=kinds[0])
        line += [parameters(cells), minutes(cells)]
    for label in _baselines(report, kinds[0]):
        values = (_baselines(report, atoms)[label] for atoms in kinds)
        lines.append([label, *(f"{v[0]:.3f}" if v else "–" for v in values), "", ""])
    caption = (
        f"Mean square error (Å²) of the displacement {config['ahead']} frames ahead, adenylate "
        f"kinase from closed to open, trained on one transition and tested on another, mean ± "
        f"standard deviation over {count_seeds(report, 'row', 'atoms')}. {config['irreps']}, "
        f"{config['num_layers']} layers, cutoff {config['cutoff']:g} Å, {config['steps']:,} steps; "
        "minutes: processor time of a training."
    )
    plot = "![Error of the displacement](results/dynamics.png)"
    return "\n\n".join([caption, table(["", *kinds, "parameters", "minutes"], lines), plot])


def draw(report: dict[str, Any], figure: Any) -> None:
    """Errors of every row and of the baselines, one panel for each choice of atoms."""
    kinds = report["config"]["atoms"]
    figure.set_size_inches(3 + 4 * len(kinds), 3)
    for axes, atoms in zip(figure.subplots(1, len(kinds), squeeze=False)[0], kinds, strict=True):
        named = {label: _errors(report, row, atoms) for row, label in report["labels"].items()}
        draw_dots(axes, named | _baselines(report, atoms))
        axes.set_xscale("linear")
        axes.set(title=atoms, xlabel="mean square error (Å²)")


STUDY = Study("dynamics", DynamicsConfig, list_cells, measure, {"dynamics": render}, draw, collect)

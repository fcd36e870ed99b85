"""Trains a network on one task, and tests it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch_geometric.data import Data
from torch_geometric.loader import DataLoader

from benchmarks.harness.training import fit
from benchmarks.studies.chains.measures import TESTS, describe
from benchmarks.studies.chains.tasks import TASKS, Task
from e3hyena.models import HyenaNet, energy_and_forces


def data_folder(folder: Path) -> Path:
    """Where the labels of all cells are."""
    return folder.parents[1] / "data"


class Scale:
    """Labels to the network's scale: less a constant per atom (of its element), over what is left.

    Energies are sums over atoms; charges are those of a far CH2, one carbon and two hydrogens.
    """

    def __init__(self, train: list[Data], pool: str | None) -> None:
        values = torch.stack([graph.y.mean() if pool else graph.y for graph in train])
        self.shared = values.mean(dim=0)
        if pool:
            self.shared = values.sum() / sum(graph.num_nodes for graph in train)
        self.pool = pool
        self.scale = float(torch.cat([graph.y - self.shift(graph) for graph in train]).std())

    def shift(self, graph: Data) -> Tensor:
        """What is added to an output of the network."""
        return self.shared * (graph.num_nodes if self.pool else 1)


def outputs(model: nn.Module, task: Task, batch: Data, *, grad: bool) -> tuple[Tensor, Any]:
    """Energies or charges, and forces, in the network's scale."""
    given = (batch.z, batch.pos, batch.batch)
    features = batch.get("features")
    if task.forces:
        found = energy_and_forces(model, *given, create_graph=grad, features=features)
        return found[0][:, 0], found[1]
    value = model(*given, features=features)[:, 0]
    return (value[batch.far] if "far" in batch else value), None


def train(values: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Train by labels in units of their deviation, keep the averaged state that validates best."""
    torch.manual_seed(values["seed"])
    task = TASKS[values["task"]]
    data = task.load(data_folder(folder))
    network = {"pool": "sum", "cutoff": values["cutoff"], **task.network}
    model = HyenaNet(
        "0e",
        irreps_hidden=values["irreps"],
        num_layers=values["num_layers"],
        mixer=values["mixer"],
        mixer_options=values["mixer_options"],
        ordered=True,
        **network,
    )
    scale = Scale(data["train"], network["pool"])
    forces = torch.cat([graph.force for graph in data["train"]]) if task.forces else None
    share = 0.0 if forces is None else (scale.scale / float(forces.std())) ** 2
    ready = {split: _scaled(part, scale) for split, part in data.items()}

    def loss(model: nn.Module, batch: Data) -> Tensor:
        value, force = outputs(model, task, batch, grad=True)
        missed = value - batch.scaled
        if values["task"] == "lengths":  # the barrier falls as one over the length
            missed = missed * batch.number / 10
        error = missed.square().mean()
        if force is not None:
            error = error + share * (force - batch.scaled_force).square().mean()
        return error

    def validate(model: nn.Module) -> float:
        return float(
            np.mean([float(loss(model, b).detach()) for b in DataLoader(ready["val"], 40)])
        )

    result = fit(
        model,
        _batches(ready["train"], values["batch_size"]),
        loss,
        validate,
        folder,
        steps=values["steps"],
        lr=values["lr"],
        warmup=0.05,
        weight_decay=1e-4,
        validations=4,
        averaging=min(0.99, max(0.0, 1 - 5 / values["steps"])),
    )

    def predict(graphs: list[Data]) -> tuple[np.ndarray, np.ndarray]:
        """In eV (or e), and eV/A."""
        parts = []
        for batch in DataLoader(_scaled(graphs, scale), 40):
            with torch.set_grad_enabled(task.forces):
                parts.append(outputs(model, task, batch, grad=False))
        value = torch.cat([part[0] for part in parts]).double() * scale.scale
        value = value + torch.cat([scale.shift(g).expand_as(g.y) for g in graphs])
        force = [part[1] for part in parts if part[1] is not None]
        return value.numpy(), scale.scale * torch.cat(force).numpy() if force else np.zeros(0)

    return {**TESTS[values["task"]](data["test"], predict), **result}


def _scaled(graphs: list[Data], scale: Scale) -> list[Data]:
    found = []
    for graph in graphs:
        graph = graph.clone()
        graph.scaled = ((graph.y - scale.shift(graph)) / scale.scale).float()
        if graph.get("force") is not None:
            graph.scaled_force = graph.force / scale.scale
        found.append(graph)
    return found


def _batches(graphs: list[Data], size: int) -> Iterator[Data]:
    """Without end, every graph once per round."""
    while True:
        yield from DataLoader(graphs, size, shuffle=True, drop_last=len(graphs) >= size)


def compute_labels(values: dict[str, Any], folder: Path) -> dict[str, Any]:
    """All graphs of a task, kept for the trainings, and what they say."""
    return describe(values["task"], TASKS[values["task"]].load(data_folder(folder)))

"""Trains a network on one task, and tests it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch_geometric.data import Data
from torch_geometric.loader import DataLoader

from benchmarks.data.chains import label, straight, turn, within_groups
from benchmarks.harness.training import fit
from benchmarks.studies.chains.tasks import C17, SCAN, TASKS, Splits, Task, scan
from e3hyena.models import HyenaNet, energy_and_forces


def data_folder(folder: Path) -> Path:
    """Where the labels of all cells are."""
    return folder.parents[1] / "data"


class Scale:
    """Labels to the network's scale: less a constant per atom, over their deviation."""

    def __init__(self, train: list[Data], pool: str | None) -> None:
        values = torch.cat([graph.y for graph in train])
        sizes = torch.tensor([1.0 if pool is None else graph.num_nodes for graph in train])
        self.per_atom = values.sum() / (3 * len(train) if pool is None else sizes.sum())
        self.pool = pool
        shifted = torch.cat([graph.y - self.shift(graph) for graph in train])
        self.scale = float(shifted.std())

    def shift(self, graph: Data) -> Tensor:
        return self.per_atom * (1 if self.pool is None else graph.num_nodes)


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
        return float(np.mean([float(loss(model, b).detach()) for b in DataLoader(ready["val"], 40)]))

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
        averaging=0.99,
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


Predict = Callable[[list[Data]], tuple[np.ndarray, np.ndarray]]


def _rms(values: Any) -> float:
    return float(np.sqrt(np.mean(np.square(values))))


def _column(graphs: list[Data], name: str) -> np.ndarray:
    return np.array([graph[name] for graph in graphs])


def _axial(force: np.ndarray, test: list[Data]) -> float:
    """What differs within groups in the forces along the chain, which a turn leaves as they are."""
    along = force.reshape(len(test), -1, 3)[:, :, 2].T
    group = _column(test, "group")
    return _rms([within_groups(values, group) for values in along])


def _energies(graphs: list[Data]) -> np.ndarray:
    return torch.cat([graph.y for graph in graphs]).numpy()


def _torsion(test: list[Data], predict: Predict) -> dict[str, Any]:
    energy, force = predict(test)
    missed = energy - _energies(test)
    true = torch.cat([graph.force for graph in test]).numpy()
    turned = predict(scan(C17))[0]
    return {
        "within": _rms(within_groups(missed, _column(test, "group"))),
        "energy_mae": float(np.abs(missed).mean()),
        "force_mae": float(np.abs(force - true).mean()),
        "force_within": _axial(force - true, test),
        "scan": (turned - turned[0]).tolist(),
    }


def _lengths(test: list[Data], predict: Predict) -> dict[str, Any]:
    """Errors within groups and of forces by the number of carbons, and barriers."""
    found: dict[str, Any] = {"within": {}, "force_mae": {}, "barrier": {}}
    for number in np.unique(_column(test, "number")).tolist():
        chosen = [graph for graph in test if graph.number == number]
        energy, force = predict(chosen)
        missed = energy - _energies(chosen)
        found["within"][str(number)] = _rms(within_groups(missed, _column(chosen, "group")))
        true = torch.cat([graph.force for graph in chosen]).numpy()
        found["force_mae"][str(number)] = float(np.abs(force - true).mean())
        ends = predict([scan(number, starred=True)[i] for i in (0, -1)])[0]
        found["barrier"][str(number)] = float(ends[1] - ends[0])
    return found


def _pairs(test: list[Data], predict: Predict) -> dict[str, Any]:
    """Error of the interaction of pairs whose closest atoms are beyond the cutoff."""
    missed = predict(test)[0] - _energies(test)
    distance = _column(test, "distance")
    steps = [3, 4, 6, 9, 12, 15]
    near = [_rms(missed[(distance >= a) & (distance < b)]) for a, b in zip(steps, steps[1:])]
    beyond = TASKS["pairs"].network["cutoff"]
    return {"beyond": _rms(missed[distance > beyond]), "by_distance": near, "steps": steps}


def _ends(test: list[Data], predict: Predict) -> dict[str, Any]:
    """Error of the charge of the far CH2 and of the dipole of its charges about its carbon."""
    charges, true = predict(test)[0].reshape(-1, 3), _energies(test).reshape(-1, 3)
    missed = charges - true
    arms = np.stack([(g.pos[-3:] - g.pos[-3]).numpy() for g in test])
    dipole = np.einsum("ga,gax->gx", missed, arms)
    return {
        "charge": _rms(missed.sum(axis=1)),
        "dipole": float(np.sqrt(np.square(dipole).sum(axis=1).mean())),
        "predicted": charges.sum(axis=1).round(5).tolist(),
    }


TESTS = {"torsion": _torsion, "lengths": _lengths, "pairs": _pairs, "ends": _ends}


def compute_labels(values: dict[str, Any], folder: Path) -> dict[str, Any]:
    """All graphs of a task, kept for the trainings, and how much of them is beyond any guess."""
    name = values["task"]
    data: Splits = TASKS[name].load(data_folder(folder))
    mean = torch.cat([graph.y for graph in data["train"]])
    if name == "ends":
        guess = mean.reshape(-1, 3).mean(dim=0).repeat(len(data["test"]))
        true = _energies(data["test"]).reshape(-1, 3).sum(axis=1)
        within = within_groups(true, _column(data["test"], "group"))
        return {
            "mean": _ends(data["test"], lambda _: (guess.numpy(), np.zeros(0))),
            "floor": _rms(within),
            "true": true.round(5).tolist(),
        }
    guess = mean.mean().expand(len(data["test"])).numpy()
    if name == "pairs":
        return {"mean": _pairs(data["test"], lambda _: (guess, np.zeros(0)))}
    numbers = np.unique(_column(data["test"], "number")).tolist()
    floors = {
        str(n): _rms(
            within_groups(
                _energies([g for g in data["test"] if g.number == n]),
                _column([g for g in data["test"] if g.number == n], "group"),
            )
        )
        for n in numbers
    }
    curves = {}
    for number in numbers:
        z, pos = straight(number)
        angles = SCAN if name == "torsion" else (SCAN[0], SCAN[-1])
        energies = [label(z, turn(pos, angle))[0] for angle in angles]
        curves[str(number)] = [energy - energies[0] for energy in energies]
    found = {"floor": floors, "scan": curves}
    if name == "torsion":
        true = torch.cat([graph.force for graph in data["test"]]).numpy()
        found["force_floor"] = _axial(true, data["test"])
    return found

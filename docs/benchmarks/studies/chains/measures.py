"""By what the tasks are judged."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch_geometric.data import Data

from benchmarks.data.chains import label, straight, turn, within_groups
from benchmarks.studies.chains.tasks import C17, SCAN, TASKS, Splits, scan

Predict = Callable[[list[Data]], tuple[np.ndarray, np.ndarray]]


def _rms(values: Any) -> float:
    return float(np.sqrt(np.mean(np.square(values))))


def _column(graphs: list[Data], name: str) -> np.ndarray:
    return np.array([graph[name] for graph in graphs])


def torque(force: np.ndarray, test: list[Data]) -> np.ndarray:
    """That on the second half about the axis of a chain, minus the slope of energy with torsion."""
    pos = torch.stack([graph.pos for graph in test]).numpy()
    force = force.reshape(pos.shape)
    half = (pos.shape[1] + 1) // 2
    turning = pos[:, half:, 0] * force[:, half:, 1] - pos[:, half:, 1] * force[:, half:, 0]
    return np.asarray(turning.sum(axis=1))


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
        "torque": _rms(torque(force - true, test)),
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
    near = [_rms(missed[(distance >= a) & (distance < b)]) for a, b in pairwise(steps)]
    beyond = TASKS["pairs"].settings["cutoff"]
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


def describe(name: str, data: Splits) -> dict[str, Any]:
    """What the labels say: errors of their mean, floors of local networks, true curves."""
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
    if name == "pairs":
        same = mean.mean().expand(len(data["test"])).numpy()
        return {"mean": _pairs(data["test"], lambda _: (same, np.zeros(0)))}
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
        found["torque"] = _rms(torque(true, data["test"]))
    return found

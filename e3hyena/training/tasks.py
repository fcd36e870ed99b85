"""Targets by name, and how their errors are counted."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor

from e3hyena.data.targets import Target
from e3hyena.registry import CATALOGUE


def get_task(name: str, unit: str | None = None) -> Target:
    """Look up a target of any data set by name, and give it a unit (None: its own)."""
    known: dict[str, Target] = {}
    for entry in CATALOGUE.values():
        known = {**entry.targets({}), **known}
    if name not in known:
        raise ValueError(f"task {name!r} is unknown: use one of {', '.join(sorted(known))}")
    return known[name] if unit is None else replace(known[name], unit=unit)


def is_known(task: Target) -> bool:
    """Whether name and unit alone tell what the target is."""
    try:
        return get_task(task.name, task.unit) == task
    except ValueError:
        return False


def recorded_task(record: Mapping[str, Any]) -> Target:
    """The target in ``results.json`` or a model file: its definition, else its name and unit."""
    definition = record.get("target")
    if isinstance(definition, str):
        definition = json.loads(definition)
    if definition:
        return Target.from_dict(definition)
    return get_task(record["task"], record.get("unit"))


def errors(task: Target, predicted: Tensor, label: Tensor) -> dict[str, Tensor]:
    """Error of every molecule, one entry per metric; the first metric chooses the best weights.

    ``"mae"`` for a scalar; for a vector ``"norm_mae"``, the error of its length, and
    ``"vector_error"``, the length of its error.
    """
    if label.shape[-1] == 1:
        return {"mae": (predicted - label).abs().squeeze(-1)}
    return {
        "norm_mae": (predicted.norm(dim=-1) - label.norm(dim=-1)).abs(),
        "vector_error": (predicted - label).norm(dim=-1),
    }


def force_errors(
    found: Sequence[Tensor | None], labels: Sequence[Tensor | None]
) -> dict[str, Tensor]:
    """The same for energies with forces, and stress if any: absolute errors per metric."""
    pairs = zip(("energy_mae", "force_mae", "stress_mae"), found, labels, strict=False)
    errors = {
        name: (one - label).abs().flatten(1).mean(dim=1)
        for name, one, label in pairs
        if one is not None and label is not None
    }
    return {"force_mae": errors.pop("force_mae"), **errors}


def metric_labels(task: Target) -> dict[str, str]:
    """What the metrics are called in tables, with unit; the first chooses the best weights.

    Of several quantities the first is the mean error over the spread of the training labels.
    """
    if task.parts:
        labels = {"score": "mean error / spread"}
        for part in task.parts:
            labels |= {f"{part.name}_{name}": text for name, text in metric_labels(part).items()}
        return labels
    if task.has_forces:
        stress = {"stress_mae": f"stress component, MAE ({task.unit}/A^3)"}
        return {
            "force_mae": f"force component, MAE ({task.unit}/A)",
            "energy_mae": f"energy, MAE ({task.unit})",
            **(stress if task.has_stress else {}),
        }
    if task.dim == 1:
        return {"mae": f"{task.name}, MAE ({task.unit})"}
    return {
        "norm_mae": f"{task.name} length, MAE ({task.unit})",
        "vector_error": f"{task.name} vector, mean length of error ({task.unit})",
    }

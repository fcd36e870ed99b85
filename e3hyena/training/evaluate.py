"""Predictions in the property's unit, and their errors."""

from typing import NamedTuple

import torch
from torch import Tensor

from e3hyena.data.targets import Target
from e3hyena.models import HyenaNet, energy_and_forces, energy_forces_stress
from e3hyena.training.checkpoint import ModelInfo
from e3hyena.training.molecules import EvalLoader, Molecules
from e3hyena.training.parts import labels_of, means, outputs_of, part_errors, present, to_properties
from e3hyena.training.scaling import Scaling
from e3hyena.training.tasks import errors, force_errors


class Panel(NamedTuple):
    """Labels and predictions to be drawn against each other, any shape."""

    title: str
    unit: str
    label: Tensor
    predicted: Tensor


@torch.no_grad()
def predict_parts(
    model: HyenaNet, info: ModelInfo, molecules: Molecules, *, batch_size: int = 64,
    device: str = "cpu",
) -> list[Tensor]:  # fmt: skip
    """Every quantity of the task, ``(num_graphs, dim)`` or ``(num_atoms, dim)``, in its unit."""
    model = model.to(device)
    parts = []
    for batch in EvalLoader(molecules, batch_size):
        part = batch.to(device)
        output = model(part.z, part.pos, part.batch, **part.lattice).cpu()
        parts.append(outputs_of(info.task, output, batch.batch, len(batch.label), model.pool))
    outputs = [torch.cat(values) for values in zip(*parts, strict=True)]
    return to_properties(info.task, info.scaling, outputs, molecules.z, molecules.batch)


def predict_forces(
    model: HyenaNet, info: ModelInfo, molecules: Molecules, *, batch_size: int = 64,
    device: str = "cpu",
) -> tuple[Tensor, Tensor, Tensor | None]:  # fmt: skip
    """Energies, forces on atoms and stress of cells, in ``info.task.unit`` and Angstrom.

    The stress is None where not all structures are periodic in three directions.
    """
    model = model.to(device)
    cells = molecules.pbc is not None and bool(molecules.pbc.all())
    derivatives = energy_forces_stress if cells else energy_and_forces
    parts = [
        derivatives(model, part.z, part.pos, part.batch, **part.lattice)
        for part in (part.to(device) for part in EvalLoader(molecules, batch_size))
    ]
    energy, *rest = (torch.cat(values).cpu() for values in zip(*parts, strict=True))
    energy = info.scaling.to_property(energy, molecules.z, molecules.batch)
    force, *stress = (info.scaling.scale * value.double() for value in rest)
    return energy, force, stress[0] if stress else None


def evaluate(
    model: HyenaNet, info: ModelInfo, test: Molecules, *, device: str = "cpu"
) -> tuple[dict[str, float], list[Panel]]:
    """Mean of every metric over the molecules, and what a parity plot shows."""
    task = info.task
    if task.has_forces:
        answer = predict_forces(model, info, test, device=device)
        given = _derivatives(test)
        names = ("energy", "components of the forces", "components of the stress")
        units = (task.unit, f"{task.unit}/A", f"{task.unit}/A^3")
        panels = [
            Panel(name, unit, label, value)
            for name, unit, label, value in zip(names, units, given, answer, strict=True)
            if label is not None and value is not None
        ]
        return _means(force_errors(answer, given)), panels
    predictions = predict_parts(model, info, test, device=device)
    labels = [label.double() for label in labels_of(task, test.label, test.atom_label)]
    panels = []
    for part, label, predicted in zip(task.each, labels, predictions, strict=True):
        there = present(label)
        panels += _panels(part, label[there], predicted[there])
    return means(task, info.scaling, part_errors(task, None, predictions, labels)), panels


def _panels(task: Target, label: Tensor, predicted: Tensor) -> list[Panel]:
    panels = [Panel(task.name, task.unit, label, predicted)]
    if label.shape[-1] > 1:
        lengths = label.norm(dim=-1), predicted.norm(dim=-1)
        panels = [
            Panel(f"length of the {task.name}", task.unit, *lengths),
            Panel(f"components of the {task.name}", task.unit, label, predicted),
        ]
    return panels


def summarise(task: Target, predicted: Tensor, label: Tensor) -> dict[str, float]:
    """Mean of every metric over the molecules, in the property's unit."""
    return _means(errors(task, predicted.double(), label.double()))


def _means(found: dict[str, Tensor]) -> dict[str, float]:
    return {name: float(error.mean()) for name, error in found.items()}


def guess_errors(
    task: Target, scaling: Scaling, train: Molecules, test: Molecules
) -> dict[str, float]:
    """Metrics of the best guess that knows the training labels only.

    Of energies with forces: the energy that follows from the composition, no force and no stress.
    Of atoms: the mean of their element. Else see `mean_predictor`.
    """
    if not task.has_forces:
        return _guess_parts(task, scaling, train, test)
    energy = scaling.offset(test.z, test.batch, test.num_graphs)
    label, *others = _derivatives(test)
    nothing = (None if value is None else torch.zeros_like(value) for value in others)
    return _means(force_errors((energy, *nothing), (label, *others)))


def _derivatives(test: Molecules) -> list[Tensor | None]:
    """Labels of energy, forces and stress."""
    labels = (test.label, test.force, test.stress)
    return [None if label is None else label.double() for label in labels]


def _guess_parts(
    task: Target, scaling: Scaling, train: Molecules, test: Molecules
) -> dict[str, float]:
    guess: dict[str, Tensor] = {}
    known = labels_of(task, train.label, train.atom_label)
    wanted = labels_of(task, test.label, test.atom_label)
    for part, own, before, label in zip(task.each, scaling.each, known, wanted, strict=True):
        there = present(label)
        if part.per_atom:
            of_element = own.to_atoms(torch.zeros_like(label), test.z)
            found = summarise(part, of_element[there], label[there])
        else:
            found = mean_predictor(part, before[present(before)], label[there])
        for name, value in found.items():
            guess[f"{part.name}_{name}" if task.parts else name] = torch.tensor(
                [value], dtype=torch.float64, device="cpu"
            )
    return means(task, scaling, guess)


def mean_predictor(task: Target, train: Tensor, test: Tensor) -> dict[str, float]:
    """Metrics of the best guess that knows the training labels only, of a property.

    Of a scalar the mean; of a vector the mean length for ``"norm_mae"``, else the mean vector.
    """
    train, test = train.double(), test.double()
    guess = summarise(task, train.mean(dim=0).expand_as(test), test)
    if "norm_mae" in guess:
        lengths = train.norm(dim=-1).mean()
        guess["norm_mae"] = float((test.norm(dim=-1) - lengths).abs().mean())
    return guess

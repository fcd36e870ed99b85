"""Several quantities learned together: their columns, their missing labels, their scaling."""

from collections.abc import Sequence

import torch
from torch import Tensor

from e3hyena.data.targets import Target
from e3hyena.training.scaling import NUM_ELEMENTS, Scaling, fit_scaling, positive
from e3hyena.training.tasks import errors, metric_labels

SCORE = "score"  # the metric that chooses the best weights of several quantities


def labels_of(task: Target, label: Tensor, atom_label: Tensor | None) -> list[Tensor]:
    """Labels of every quantity, (num_graphs, dim) or (num_tokens, dim)."""
    graphs = label.split([part.dim for part in task.each if not part.per_atom], dim=1)
    atoms: Sequence[Tensor] = ()
    if atom_label is not None:
        atoms = atom_label.split([part.dim for part in task.each if part.per_atom], dim=1)
    turns = iter(graphs), iter(atoms)
    return [next(turns[part.per_atom]) for part in task.each]


def outputs_of(
    task: Target, output: Tensor, batch: Tensor, num_graphs: int, pool: str | None
) -> list[Tensor]:
    """The network's output by quantity, pooled where the quantity is a molecule's."""
    columns = list(output.split([part.dim for part in task.each], dim=1))
    if pool is not None:
        return columns
    counts = torch.bincount(batch, minlength=num_graphs).to(output.dtype)
    for number, part in enumerate(task.each):
        if not part.per_atom:
            pooled = output.new_zeros(num_graphs, part.dim).index_add(0, batch, columns[number])
            columns[number] = pooled if part.summed else pooled / counts.unsqueeze(1)
    return columns


def to_properties(
    task: Target, scaling: Scaling, outputs: list[Tensor], z: Tensor, batch: Tensor
) -> list[Tensor]:
    """Outputs of `outputs_of` to quantities in their units, float64."""
    return [
        own.to_atoms(output, z) if part.per_atom else own.to_property(output, z, batch)
        for part, own, output in zip(task.each, scaling.each, outputs, strict=True)
    ]


def to_labels(
    task: Target, scaling: Scaling, labels: list[Tensor], z: Tensor, batch: Tensor
) -> tuple[Tensor, Tensor | None]:
    """Labels in their units to the network's scale: columns of molecules, and of atoms."""
    graphs, atoms = [labels[0].new_zeros(int(batch.max()) + 1, 0).float()], []
    for part, own, label in zip(task.each, scaling.each, labels, strict=True):
        if part.per_atom:
            atoms.append(own.from_atoms(label, z))
        else:
            graphs.append(own.to_output(label, z, batch))
    return torch.cat(graphs, dim=1), torch.cat(atoms, dim=1) if atoms else None


def fit_part(part: Target, label: Tensor, z: Tensor, batch: Tensor, *, pooled_sum: bool) -> Scaling:
    """Scale and shift of one quantity from the labels that are there."""
    there = present(label)
    scalar = part.irreps == "0e"
    if part.per_atom:
        return _fit_atoms(label[there].double(), z[there], scalar)
    kept = there[batch]
    numbers = there.cumsum(0) - 1
    return fit_scaling(
        label[there],
        z[kept],
        numbers[batch[kept]],
        per_atom=part.summed and scalar,
        summed=pooled_sum,
    )


def _fit_atoms(label: Tensor, z: Tensor, scalar: bool) -> Scaling:
    """Mean of every element (of scalars), and the spread about it."""
    shift = torch.zeros(NUM_ELEMENTS, dtype=torch.float64, device="cpu")
    if scalar:
        counts = torch.bincount(z, minlength=NUM_ELEMENTS).clamp(min=1)
        shift = shift.index_add(0, z, label[:, 0]) / counts
        label = label - shift[z].unsqueeze(1)
    scale = positive(label.square().mean().sqrt())
    return Scaling(scale, torch.zeros((), dtype=torch.float64, device="cpu"), shift)


def present(label: Tensor) -> Tensor:
    """Which rows (n,) of labels (n, dim) are whole."""
    return ~label.isnan().any(dim=-1)


def part_errors(
    task: Target, scaling: Scaling | None, outputs: list[Tensor], labels: list[Tensor]
) -> dict[str, Tensor]:
    """Errors in units, NaN where a label is missing.

    Outputs and labels are in the network's scale; without `scaling` in units.
    """
    found: dict[str, Tensor] = {}
    scales = [1.0] * len(task.each) if scaling is None else [float(s.scale) for s in scaling.each]
    for part, scale, output, label in zip(task.each, scales, outputs, labels, strict=True):
        for name, error in errors(part, output, label).items():
            found[f"{part.name}_{name}" if task.parts else name] = error * scale
    return found


def means(task: Target, scaling: Scaling, found: dict[str, Tensor]) -> dict[str, float]:
    """Mean of every metric over what is there; the score of several quantities comes first."""
    mean = {name: float(errors.nanmean()) for name, errors in found.items()}
    if not task.parts:
        return mean
    shares = [
        mean[f"{part.name}_{list(metric_labels(part))[-1]}"] / float(own.scale)
        for part, own in zip(task.each, scaling.each, strict=True)
    ]
    return {SCORE: sum(shares) / len(shares), **mean}

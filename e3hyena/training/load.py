"""Molecules and their scaling, as a run asks for them."""

from collections.abc import Callable

from torch_geometric.data import Data
from torch_geometric.transforms import Compose

from e3hyena.data.targets import Target
from e3hyena.registry import CATALOGUE, ORDERS
from e3hyena.training.config import DataConfig
from e3hyena.training.evaluate import predict_parts
from e3hyena.training.molecules import Molecules
from e3hyena.training.parts import fit_part, labels_of
from e3hyena.training.plan import Plan
from e3hyena.training.scaling import Scaling, fit_scaling


def load_split(
    data: DataConfig,
    task: Target,
    split: str,
    transform: Callable[[Data], Data] | None = None,
) -> Molecules:
    """The molecules of a split in the order of `data`, with labels in the unit of the task."""
    steps = [] if transform is None else [transform]
    if data.order is not None:
        steps.append(ORDERS[data.order]())
    dataset = CATALOGUE[data.source].open(
        data.root, data.options, split=split, transform=Compose(steps) if steps else None
    )
    return Molecules.from_dataset(dataset, task, getattr(data, f"{split}_size"), f"data.{split}")


def scaling_of(plan: Plan, train: Molecules) -> Scaling:
    """Scale and shift of a run, fitted to its training molecules.

    A run that starts from a network of the same quantity keeps its scale, and corrects its shifts
    by what its predictions miss; of several quantities it keeps both.
    """
    pool = plan.model["pool"]
    if plan.task.parts or plan.task.per_atom or train.label.isnan().any():
        if plan.start is not None and plan.start[1].task == plan.task:
            return plan.start[1].scaling
        labels = labels_of(plan.task, train.label, train.atom_label)
        return Scaling.stack(
            [
                fit_part(
                    part,
                    label,
                    train.z,
                    train.batch,
                    pooled_sum=pool == "sum" or (pool is None and part.summed),
                )
                for part, label in zip(plan.task.each, labels, strict=True)
            ]
        )
    label, before = train.label, None
    if plan.start is not None:
        model, info = plan.start
        if (info.task.name, info.task.unit) == (plan.task.name, plan.task.unit):
            before = info.scaling
            label = label - predict_parts(model, info, train)[0]
    fitted = fit_scaling(
        label,
        train.z,
        train.batch,
        per_atom=plan.task.summed and plan.task.irreps == "0e",
        summed=pool == "sum",
        force=train.force,
    )
    if before is None:
        return fitted
    return Scaling(before.scale, before.shift + fitted.shift, before.atom_shift + fitted.atom_shift)

"""Molecules and their scaling, as a configuration asks for them."""

from collections.abc import Callable
from typing import Any

from torch_geometric.data import Data
from torch_geometric.transforms import Compose

from e3hyena.data.targets import Target
from e3hyena.training.config import DataConfig, TrainConfig
from e3hyena.training.molecules import Molecules
from e3hyena.training.scaling import Scaling, fit_scaling
from e3hyena.training.tasks import model_arguments

__all__ = ["load_split", "scaling_of"]

# Properties that are mostly the sum of what their atoms contribute.
PER_ATOM = frozenset("forces alpha zpve U0 U H G cv U0_atom U_atom H_atom G_atom".split())


def load_split(
    data: DataConfig,
    task: Target,
    split: str,
    transform: Callable[[Data], Data] | None = None,
) -> Molecules:
    """The molecules of a split in the order of `data`, with labels in the unit of the task.

    Parameters
    ----------
    data : DataConfig
    task : Target
    split : {"train", "val", "test"}
    transform : callable, optional
        What happens to every molecule before its atoms are ordered.
    """
    from e3hyena.data import ORDERS, QM9, ExtXYZ, MD17Ethanol, QM9Extract

    steps = [] if transform is None else [transform]
    if data.order is not None:
        steps.append(ORDERS[data.order]())
    options: dict[str, Any] = {"split": split, "transform": Compose(steps) if steps else None}
    kinds: dict[str, Any] = {"qm9": QM9, "md17": MD17Ethanol, "extxyz": ExtXYZ}
    if data.source in kinds:
        dataset = kinds[data.source](data.root, **options, **data.options)
    else:
        dataset = QM9Extract(**options)
    return Molecules.from_dataset(dataset, task, getattr(data, f"{split}_size"), f"data.{split}")


def scaling_of(config: TrainConfig, train: Molecules) -> Scaling:
    """Scale and shift of a run, fitted to its training molecules."""
    return fit_scaling(
        train.label,
        train.z,
        train.batch,
        per_atom=config.task in PER_ATOM,
        summed=model_arguments(config)["pool"] == "sum",
        force=train.force,
    )

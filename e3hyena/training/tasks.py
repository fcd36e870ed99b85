"""What a run learns: the target, how it is pooled and scaled, how errors are counted."""

from dataclasses import replace

from torch import Tensor

from e3hyena.data.targets import FORCES, TARGETS, Target
from e3hyena.training.config import TrainConfig

__all__ = ["errors", "force_errors", "get_task", "metric_labels", "model_arguments", "task_of"]

# Properties that grow with the molecule; a dipole is a sum over charges as well.
SUMMED = frozenset("forces dipole alpha zpve U0 U H G cv U0_atom U_atom H_atom G_atom".split())


# Unit of the energies of a source, unless its options say another.
SOURCE_UNITS = {"md17": "kcal/mol", "extxyz": "eV"}


def get_task(name: str, unit: str | None = None) -> Target:
    """Look up a target by name; `unit` is that of the energies of the task ``forces``.

    Raises
    ------
    ValueError
        If the name is unknown.

    Examples
    --------
    >>> get_task("dipole").irreps, get_task("gap").unit
    ('1o', 'eV')
    """
    if name == FORCES.name:
        return FORCES if unit is None else replace(FORCES, unit=unit)
    if name not in TARGETS:
        known = ", ".join(sorted([*TARGETS, FORCES.name]))
        raise ValueError(f"task {name!r} is unknown: use one of {known}")
    return TARGETS[name]


def task_of(config: TrainConfig) -> Target:
    """The target of a run, in the unit of its data.

    Raises
    ------
    ValueError
        If the task is unknown, or the data do not have it.

    Examples
    --------
    >>> task_of(TrainConfig(task="gap")).unit
    'eV'
    >>> task_of(TrainConfig(task="forces"))
    Traceback (most recent call last):
    ...
    ValueError: task 'forces' needs data.source md17 or extxyz, not 'extract'...
    """
    data = config.data
    if (config.task == FORCES.name) != (data.source in SOURCE_UNITS):
        wanted = "md17 or extxyz" if config.task == FORCES.name else "extract or qm9"
        raise ValueError(
            f"task {config.task!r} needs data.source {wanted}, not {data.source!r} "
            "(energies with forces are the task 'forces')"
        )
    if config.task != FORCES.name:
        return get_task(config.task)
    if data.order not in (None, "given"):
        raise ValueError(
            f"data.order = {data.order!r}: forces need an energy that is smooth in the positions, "
            "and the order jumps where atoms swap their places; use null, or given for a chain"
        )
    return get_task(config.task, data.options.get("energy_unit", SOURCE_UNITS[data.source]))


def model_arguments(config: TrainConfig) -> dict[str, object]:
    """Keyword arguments of `e3hyena.HyenaNet` for a run: numbers, strings and null only."""
    model = config.model
    return {
        "irreps_out": task_of(config).irreps,
        "irreps_hidden": model.irreps_hidden,
        "num_layers": model.num_layers,
        "mixer": model.mixer,
        "cutoff": model.cutoff,
        "pool": model.pool or ("sum" if config.task in SUMMED else "mean"),
        "ordered": config.data.order is not None,
        "boundary": model.boundary,
        "short_conv": model.short_conv,
        "mixer_options": dict(model.mixer_options),
    }


def errors(task: Target, predicted: Tensor, label: Tensor) -> dict[str, Tensor]:
    """Error of every molecule, one entry per metric; the first metric chooses the best weights.

    Parameters
    ----------
    task : Target
        What is predicted.
    predicted, label : Tensor of shape (num_graphs, dim)
        In any common unit.

    Returns
    -------
    errors : dict of str to Tensor of shape (num_graphs,)
        ``"mae"`` for a scalar. For a vector ``"norm_mae"``, the error of its length, and
        ``"vector_error"``, the length of its error.

    Examples
    --------
    >>> import torch
    >>> found = errors(get_task("dipole"), torch.tensor([[3.0, 0, 0]]), torch.tensor([[0, 4.0, 0]]))
    >>> {name: float(error) for name, error in found.items()}
    {'norm_mae': 1.0, 'vector_error': 5.0}
    """
    if label.shape[-1] == 1:
        return {"mae": (predicted - label).abs().squeeze(-1)}
    return {
        "norm_mae": (predicted.norm(dim=-1) - label.norm(dim=-1)).abs(),
        "vector_error": (predicted - label).norm(dim=-1),
    }


def force_errors(
    energy: Tensor, force: Tensor, label: Tensor, force_label: Tensor
) -> dict[str, Tensor]:
    """The same for energies with forces: absolute errors, one entry per metric.

    Parameters
    ----------
    energy, label : Tensor of shape (num_graphs, 1)
    force, force_label : Tensor of shape (num_tokens, 3)

    Returns
    -------
    errors : dict of str to Tensor
        ``"force_mae"`` (num_tokens,), the mean over the three components, and ``"energy_mae"``
        (num_graphs,).
    """
    return {
        "force_mae": (force - force_label).abs().mean(dim=-1),
        "energy_mae": (energy - label).abs().squeeze(-1),
    }


def metric_labels(task: Target) -> dict[str, str]:
    """What the metrics are called in tables, with unit; the first chooses the best weights."""
    if task.has_forces:
        return {
            "force_mae": f"force component, MAE ({task.unit}/A)",
            "energy_mae": f"energy, MAE ({task.unit})",
        }
    if task.irreps == "0e":
        return {"mae": f"{task.name}, MAE ({task.unit})"}
    return {
        "norm_mae": f"{task.name} length, MAE ({task.unit})",
        "vector_error": f"{task.name} vector, mean length of error ({task.unit})",
    }

"""What a run learns: the target, how it is pooled and scaled, how errors are counted."""

from torch import Tensor

from e3hyena.data.targets import TARGETS, Target
from e3hyena.training.config import TrainConfig

__all__ = ["errors", "get_task", "metric_labels", "model_arguments"]

# Properties that grow with the molecule; a dipole is a sum over charges as well.
SUMMED = frozenset("dipole alpha zpve U0 U H G cv U0_atom U_atom H_atom G_atom".split())


def get_task(name: str) -> Target:
    """Look up a target by name.

    Raises
    ------
    ValueError
        If the name is unknown.

    Examples
    --------
    >>> get_task("dipole").irreps, get_task("gap").unit
    ('1o', 'eV')
    """
    if name not in TARGETS:
        raise ValueError(f"task {name!r} is unknown: use one of {', '.join(sorted(TARGETS))}")
    return TARGETS[name]


def model_arguments(config: TrainConfig) -> dict[str, object]:
    """Keyword arguments of `e3hyena.HyenaNet` for a run: numbers, strings and null only."""
    model = config.model
    return {
        "irreps_out": get_task(config.task).irreps,
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


def metric_labels(task: Target) -> dict[str, str]:
    """What the metrics of `errors` are called in tables, with unit."""
    if task.irreps == "0e":
        return {"mae": f"{task.name}, MAE ({task.unit})"}
    return {
        "norm_mae": f"{task.name} length, MAE ({task.unit})",
        "vector_error": f"{task.name} vector, mean length of error ({task.unit})",
    }

"""Predictions in the property's unit, and their errors."""

import torch
from torch import Tensor

from e3hyena.data.targets import Target
from e3hyena.models import HyenaNet
from e3hyena.training.checkpoint import ModelInfo
from e3hyena.training.molecules import EvalLoader, Molecules
from e3hyena.training.tasks import errors

__all__ = ["mean_predictor", "predict_molecules", "summarise"]


@torch.no_grad()
def predict_molecules(
    model: HyenaNet,
    info: ModelInfo,
    molecules: Molecules,
    *,
    batch_size: int = 64,
    device: str = "cpu",
) -> Tensor:
    """Predict the property of every molecule.

    Parameters
    ----------
    model, info
        As `load_model` returns them.
    molecules : Molecules
        Its labels are not used.
    batch_size : int
        Molecules per call; the result does not depend on it beyond rounding.
    device : str
        Where to compute.

    Returns
    -------
    predicted : Tensor of shape (num_graphs, dim), float64
        In ``info.task.unit``.
    """
    model = model.to(device)
    output = [
        model(part.z.to(device), part.pos.to(device), part.batch.to(device)).cpu()
        for part in EvalLoader(molecules, batch_size)
    ]
    return info.scaling.to_property(torch.cat(output), molecules.z, molecules.batch)


def summarise(task: Target, predicted: Tensor, label: Tensor) -> dict[str, float]:
    """Mean of every metric over the molecules, in the property's unit."""
    found = errors(task, predicted.double(), label.double())
    return {name: float(error.mean()) for name, error in found.items()}


def mean_predictor(task: Target, train: Tensor, test: Tensor) -> dict[str, float]:
    """Metrics of the best guess that knows the training labels only.

    Parameters
    ----------
    task : Target
    train, test : Tensor of shape (num_graphs, dim)
        Labels.

    Returns
    -------
    metrics : dict of str to float
        For a scalar: guessing the mean. For a vector: ``"norm_mae"`` guesses the mean length,
        ``"vector_error"`` the mean vector.

    Examples
    --------
    >>> from e3hyena.data import TARGETS
    >>> mean_predictor(TARGETS["mu"], torch.tensor([[1.0], [3.0]]), torch.tensor([[4.0]]))
    {'mae': 2.0}
    """
    train, test = train.double(), test.double()
    guess = summarise(task, train.mean(dim=0).expand_as(test), test)
    if "norm_mae" in guess:
        lengths = train.norm(dim=-1).mean()
        guess["norm_mae"] = float((test.norm(dim=-1) - lengths).abs().mean())
    return guess

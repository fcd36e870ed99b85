"""The training loop of studies that train networks of their own."""

import copy
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from e3hyena.training.files import write_json

Batch = TypeVar("Batch")


def fit(
    model: nn.Module,
    batches: Iterator[Batch],
    loss: Callable[[nn.Module, Batch], Tensor],
    validate: Callable[[nn.Module], float] | None,
    folder: Path,
    *,
    steps: int,
    lr: float,
    warmup: float,
    weight_decay: float,
    validations: int,
    averaging: float | None = None,
    unit: float = 1.0,
) -> dict[str, Any]:
    """Train by AdamW and a cosine schedule; the model keeps the state that validates best.

    Parameters
    ----------
    batches : iterator
        One per step.
    validate : callable
        Model to its error on other data; None: the last state is kept.
    folder : Path
        Receives the learning curve, ``curve.json``, and ``weights.pt``.
    lr, warmup : float
        Largest learning rate; fraction of the steps spent warming up.
    validations : int
        How often the model is validated, at least.
    averaging : float, optional
        Part of the running mean of the weights that a step keeps; the mean is validated and kept.
    unit : float
        Gradients are those of the loss over this.

    Returns
    -------
    result : dict
        Error of the validation (val_mse) and step of the state kept (best_step), parameters, and
        processor seconds of training.

    Raises
    ------
    ValueError
        If the loss is no longer finite.
    """
    from e3hyena.training.module import learning_rate_factor

    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=weight_decay)
    average = None
    if averaging is not None:
        average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(averaging))
    tested: nn.Module = model if average is None else average.module
    every = max(1, steps // validations)
    best, best_step, kept = float("inf"), 0, model.state_dict()
    losses: list[Tensor] = []
    curve = []
    start = time.process_time()
    for step in range(1, steps + 1):
        optimizer.param_groups[0]["lr"] = lr * learning_rate_factor("cosine", warmup, step / steps)
        value = loss(model, next(batches))
        if not torch.isfinite(value):
            raise ValueError(f"the loss became {float(value.detach())} at step {step}")
        optimizer.zero_grad()
        (value / unit).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if average is not None:
            average.update_parameters(model)
        losses.append(value.detach())
        if step % every == 0 or step == steps:
            error = validate(tested) if validate else None
            curve.append({"step": step, "train": float(torch.stack(losses).mean()), "val": error})
            losses.clear()
            if error is None or error < best:
                best = best if error is None else error
                best_step, kept = step, copy.deepcopy(tested.state_dict())
    seconds = time.process_time() - start
    model.load_state_dict(kept)
    write_json(folder / "curve.json", curve)
    torch.save(kept, folder / "weights.pt")
    return {
        "val_mse": best,
        "best_step": best_step,
        "parameters": sum(weight.numel() for weight in model.parameters()),
        "seconds": seconds,
    }

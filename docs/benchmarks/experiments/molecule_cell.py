"""One training of the comparison on molecules, and what a training step costs."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import Data

from benchmarks.harness.environment import environment
from benchmarks.harness.peak import added_mebibytes, in_fresh_process
from benchmarks.harness.timing import interleave
from e3hyena.data.orders import OrderTransform
from e3hyena.training.checkpoint import load_model
from e3hyena.training.config import DataConfig, TrainConfig
from e3hyena.training.device import cpu_threads
from e3hyena.training.evaluate import mean_predictor, predict_molecules, summarise
from e3hyena.training.files import write_json
from e3hyena.training.fit import fit
from e3hyena.training.load import load_split, scaling_of
from e3hyena.training.molecules import Batch, Molecules, TrainLoader
from e3hyena.training.plan import resolve
from e3hyena.training.tasks import get_task


def train(values: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Train a network, test it, and test it again with the atoms listed in another order.

    Parameters
    ----------
    values : dict
        For `TrainConfig.from_dict`, and the name of the row.
    folder : Path
        For checkpoints; an interrupted training continues from the last.

    Returns
    -------
    result : dict
        Errors on the test set, those of the mean predictor, mean change of a prediction under
        re-listing (absolute, and relative to the mean length of a prediction), parameters, seconds.
    """
    config = _config(values)
    plan = resolve(config)
    task = plan.task
    parts = {split: _load(config.data, config.task, split) for split in ("train", "val", "test")}
    scaling = scaling_of(plan, parts["train"])
    done = fit(plan, parts["train"], parts["val"], scaling, folder)
    model, info = load_model(done.model)
    predicted = predict_molecules(model, info, parts["test"])
    relisted = _load(config.data, config.task, "test", relisted=True)
    change = (predict_molecules(model, info, relisted) - predicted).norm(dim=-1).mean()
    return {
        "test": summarise(task, predicted, parts["test"].label),
        "mean_predictor": mean_predictor(task, parts["train"].label, parts["test"].label),
        "permutation_error": float(change),
        "relative_permutation_error": float(change / predicted.norm(dim=-1).mean()),
        "parameters": done.parameters,
        "seconds": done.seconds,
    }


class Relisted(OrderTransform):
    """The molecule with its atoms in a random order, drawn from its number in QM9."""

    def order(self, data: Data) -> Tensor:
        """A permutation."""
        generator = torch.Generator().manual_seed(int(data.idx))
        return torch.randperm(data.num_nodes or 0, generator=generator)


def measure(rows: dict[str, dict[str, Any]], repeats: int, path: Path) -> None:
    """Time a training step of every row in turns, then its memory, and write both to `path`.

    Parameters
    ----------
    rows : dict
        For each row, values as for `train`.
    repeats : int
        Counted rounds, each with other molecules; those of a round are the same for all rows.
    path : Path
        The JSON file.
    """
    with cpu_threads(1):
        batches = {row: _batches(values, repeats + 1) for row, values in rows.items()}
        timings = interleave(
            {row: _timed(values, batches[row]) for row, values in rows.items()}, repeats
        )
        memory = {
            row: in_fresh_process(step_memory, values, batches[row][0])
            for row, values in rows.items()
        }
    write_json(
        path,
        {
            "milliseconds": timings,
            "mebibytes": memory,
            "repeats": repeats,
            "environment": {**environment(), "threads": 1},
        },
    )
    print(f"written: {path}")


def step_memory(values: dict[str, Any], batch: Batch) -> float:
    """Mebibytes that a training step adds to a process that has trained on one molecule before."""
    step = training_step(values)
    few = batch.batch == 0
    step(Batch(batch.z[few], batch.pos[few], batch.batch[few], batch.label[:1]))
    return added_mebibytes(lambda: step(batch))


def training_step(values: dict[str, Any]) -> Callable[[Batch], None]:
    """A function that makes one training step of a new network."""
    model = resolve(_config(values)).build_model()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)

    def step(batch: Batch) -> None:
        optimizer.zero_grad()
        output = model(batch.z, batch.pos, batch.batch)
        (output - batch.label).square().sum(dim=-1).mean().backward()
        optimizer.step()

    return step


def _timed(values: dict[str, Any], batches: list[Batch]) -> Callable[[], None]:
    step, turns = training_step(values), itertools.cycle(batches)
    return lambda: step(next(turns))


def _batches(values: dict[str, Any], number: int) -> list[Batch]:
    config = _config(values)
    molecules = _load(config.data, config.task, "train")
    loader = TrainLoader(molecules, config.optim.batch_size, config.seed)
    return list(itertools.islice(loader, number))


def _config(values: dict[str, Any]) -> TrainConfig:
    options = {key: value for key, value in values.items() if key != "row"}
    return TrainConfig.from_dict({**options, "accelerator": "cpu", "threads": 1})


def _load(data: DataConfig, task: str, split: str, *, relisted: bool = False) -> Molecules:
    return _cached(data.order, getattr(data, f"{split}_size"), task, split, relisted)


# A process computes many cells with the same molecules.
@cache
def _cached(order: str | None, size: int, task: str, split: str, relisted: bool) -> Molecules:
    data = DataConfig(**{f"{split}_size": size, "order": order})  # type: ignore[arg-type]
    return load_split(data, get_task(task), split, Relisted() if relisted else None)

"""One training of the comparison on molecules, and what a training step costs."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch_geometric.data import Data

from e3hyena.bench.environment import environment
from e3hyena.bench.memory import added_mebibytes, in_fresh_process
from e3hyena.bench.timing import interleave
from e3hyena.training.checkpoint import load_model
from e3hyena.training.config import DataConfig, TrainConfig
from e3hyena.training.device import cpu_threads
from e3hyena.training.evaluate import mean_predictor, predict_molecules, summarise
from e3hyena.training.files import write_json
from e3hyena.training.fit import build_model, fit
from e3hyena.training.load import load_split, scaling_of
from e3hyena.training.molecules import Batch, Molecules, TrainLoader
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
    task = get_task(config.task)
    parts = {split: _load(config.data, config.task, split) for split in ("train", "val", "test")}
    scaling = scaling_of(config, parts["train"])
    done = fit(config, parts["train"], parts["val"], scaling, folder, title=folder.name)
    model, info = load_model(done.model)
    predicted = predict_molecules(model, info, parts["test"])
    relisted = _load(config.data, config.task, "test", relist)
    change = (predict_molecules(model, info, relisted) - predicted).norm(dim=-1).mean()
    return {
        "test": summarise(task, predicted, parts["test"].label),
        "mean_predictor": mean_predictor(task, parts["train"].label, parts["test"].label),
        "permutation_error": float(change),
        "relative_permutation_error": float(change / predicted.norm(dim=-1).mean()),
        "parameters": done.parameters,
        "seconds": done.seconds,
    }


def relist(data: Data) -> Data:
    """The molecule with its atoms in another order, drawn from its number in QM9."""
    generator = torch.Generator().manual_seed(int(data.idx))
    order = torch.randperm(data.num_nodes, generator=generator)
    moved = data.clone()
    for key, value in data.items():
        if data.is_node_attr(key):
            moved[key] = value[order]
    return moved


def measure(rows: dict[str, dict[str, Any]], repeats: int, path: Path) -> None:
    """Time a training step of every row in turns, then its memory, and write both to `path`."""
    with cpu_threads(1):
        steps = {row: TrainingStep(values) for row, values in rows.items()}
        timings = interleave(steps, repeats)
        result = {
            "milliseconds": {row: vars(timing) for row, timing in timings.items()},
            "mebibytes": {
                row: in_fresh_process(step_memory, values) for row, values in rows.items()
            },
            "repeats": repeats,
            "environment": environment(),
        }
    write_json(path, result)
    print(f"written: {path}")


class TrainingStep:
    """Calling it makes one training step, each time with the next molecules.

    Parameters
    ----------
    values : dict
        As for `train`.
    """

    def __init__(self, values: dict[str, Any]) -> None:
        config = _config(values)
        self.molecules = _load(config.data, config.task, "train")
        loader = TrainLoader(self.molecules, config.optim.batch_size, config.seed)
        self.batches = itertools.chain.from_iterable(itertools.repeat(loader))
        self.model = build_model(config)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-4)

    def __call__(self, batch: Batch | None = None) -> None:
        z, pos, index, label = next(self.batches) if batch is None else batch
        self.optimizer.zero_grad()
        (self.model(z, pos, index) - label).square().sum(dim=-1).mean().backward()
        self.optimizer.step()


def step_memory(values: dict[str, Any]) -> float:
    """Mebibytes that a training step adds to a process that has made a tiny one before."""
    step = TrainingStep(values)
    step(step.molecules.select(torch.arange(2)))
    return added_mebibytes(step)


def _config(values: dict[str, Any]) -> TrainConfig:
    options = {key: value for key, value in values.items() if key != "row"}
    return TrainConfig.from_dict({**options, "accelerator": "cpu", "threads": 1})


def _load(
    data: DataConfig, task: str, split: str, transform: Callable[[Data], Data] | None = None
) -> Molecules:
    size = getattr(data, f"{split}_size")
    return _cached(data.order, size, task, split, transform)


# A process computes many cells with the same molecules.
@lru_cache(maxsize=None)
def _cached(
    order: str | None, size: int, task: str, split: str, transform: Callable[[Data], Data] | None
) -> Molecules:
    data = DataConfig(**{f"{split}_size": size, "order": order})
    return load_split(data, get_task(task), split, transform)

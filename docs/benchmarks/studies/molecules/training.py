"""One training of the comparison on molecules, and what a training step costs."""

import itertools
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import Data

from benchmarks.harness import added_mebibytes, in_fresh_process, interleave
from e3hyena.data.orders import OrderTransform
from e3hyena.training.checkpoint import load_model
from e3hyena.training.config import DataConfig, TrainConfig
from e3hyena.training.evaluate import mean_predictor, predict_parts, summarise
from e3hyena.training.load import load_split, scaling_of
from e3hyena.training.molecules import Batch, Molecules, TrainLoader
from e3hyena.training.plan import resolve
from e3hyena.training.tasks import get_task


def train(values: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Train a network, test it, and test it again with the atoms listed in another order.

    Its changes under re-listing are absolute, and relative to the mean length of a prediction.
    """
    from e3hyena.training.fit import fit  # not needed to show help

    config = _config(values)
    plan = resolve(config)
    train, val, test = (_load(config, split) for split in ("train", "val", "test"))
    done = fit(plan, train, val, scaling_of(plan, train), folder)
    model, info = load_model(done.model)
    (predicted,) = predict_parts(model, info, test)
    relisted = _load(config, "test", relisted=True)
    change = (predict_parts(model, info, relisted)[0] - predicted).norm(dim=-1).mean()
    return {
        "test": summarise(plan.task, predicted, test.label),
        "mean_predictor": mean_predictor(plan.task, train.label, test.label),
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


def time_steps(values: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Time a training step of every row in turns, then its memory.

    Every round has other molecules, the same for all rows.
    """
    rows, repeats = values["rows"], values["repeats"]
    batches = {row: _batches(training, repeats + 1) for row, training in rows.items()}

    def timed(row: str) -> Callable[[], None]:
        step, turns = training_step(rows[row]), itertools.cycle(batches[row])
        return lambda: step(next(turns))

    rivals = {row: timed(row) for row in rows}
    return {
        "milliseconds": interleave(rivals, repeats),
        "mebibytes": {
            row: in_fresh_process(step_memory, training, batches[row][0])
            for row, training in rows.items()
        },
        "repeats": repeats,
    }


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


def _batches(values: dict[str, Any], number: int) -> list[Batch]:
    config = _config(values)
    loader = TrainLoader(_load(config, "train"), config.optim.batch_size, config.seed)
    return list(itertools.islice(loader, number))


def _config(values: dict[str, Any]) -> TrainConfig:
    options = {key: value for key, value in values.items() if key != "row"}
    return TrainConfig.from_dict({**options, "accelerator": "cpu", "threads": 1})


def _load(config: TrainConfig, split: str, *, relisted: bool = False) -> Molecules:
    size = getattr(config.data, f"{split}_size")
    return _cached(config.data.order, size, config.task, split, relisted)


# A process computes many cells with the same molecules.
@cache
def _cached(order: str | None, size: int, task: str, split: str, relisted: bool) -> Molecules:
    data = DataConfig(**{f"{split}_size": size, "order": order})  # type: ignore[arg-type]
    return load_split(data, get_task(task), split, Relisted() if relisted else None)

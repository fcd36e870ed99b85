"""Chains and pairs: what only a network that hears the far end can know."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import Any

from benchmarks.harness import (
    Cell,
    Config,
    Done,
    Row,
    Study,
    check_names,
    flatten,
    known,
    labels,
)
from benchmarks.studies.chains.report import draw, render
from benchmarks.studies.chains.tasks import TASKS
from benchmarks.studies.chains.training import compute_labels, train
from e3hyena.registry import MIXERS

ROWS = {
    "local": Row("messages alone", None),
    **known("coordinate", "attention", "linear_attention"),
    "query_key": Row("`query_key`, atoms in order, end to end", "query_key"),
}


@dataclass(kw_only=True)
class ChainsConfig(Config):
    """The comparison on four tasks that need the far end.

    Parameters
    ----------
    tasks : list of str
        Which tasks; all of them by default.
    rows : list of str
        Which mixers; all of them by default.
    seeds : list of int
        Seeds of the weights and of the order of the graphs.
    steps : list of int
        Training steps, one number for each task.
    irreps : str
        Hidden irreps; without the last ones for pairs and ends.
    num_layers : int
        Depth. A local network reaches as many cutoffs.
    cutoff : float
        Radius of the messages (Angstrom); 4 for pairs.
    batch_size : int
        Graphs per step.
    lr : float
        Largest learning rate of AdamW; cosine schedule. Larger for pairs and ends.
    """

    tasks: list[str] = field(default_factory=lambda: list(TASKS))
    rows: list[str] = field(default_factory=lambda: list(ROWS))
    seeds: list[int] = field(default_factory=lambda: [0, 1])
    steps: list[int] = field(default_factory=lambda: [1800, 1200, 1200, 500])
    irreps: str = "16x0e + 16x1o + 16x2e"
    num_layers: int = 2
    cutoff: float = 3.0
    batch_size: int = 8
    lr: float = 8e-3
    jobs: int = 2

    def __post_init__(self) -> None:
        check_names("rows", self.rows, ROWS)
        check_names("tasks", self.tasks, TASKS)
        if len(self.steps) != len(self.tasks):
            raise ValueError(
                f"steps has {len(self.steps)} numbers; give one for each of {len(self.tasks)} tasks"
            )


def list_cells(config: ChainsConfig) -> list[Cell]:
    """Labels of every task; trainings, those of one seed before the next."""
    network = config.only("irreps", "num_layers", "cutoff", "batch_size", "lr")
    found = [Cell(f"labels-{task}", {"task": task}, stage="label") for task in config.tasks]
    steps = dict(zip(config.tasks, config.steps, strict=True))
    for seed, task, row in itertools.product(config.seeds, config.tasks, config.rows):
        mixer = ROWS[row].mixer
        sets = mixer is not None and not MIXERS[mixer].ordered
        values = {
            "task": task,
            "row": row,
            "mixer": mixer,
            "mixer_options": TASKS[task].options if sets else {},
            "seed": seed,
            "steps": steps[task],
            **network,
            **TASKS[task].settings,
        }
        found.append(Cell(f"{task}-{row}-{seed}", values, stage="train"))
    return found


def collect(config: ChainsConfig, done: Done) -> dict[str, Any]:
    """What the labels say, and what is measured."""
    return {
        "labels": labels(config.rows, ROWS),
        "truth": {cell["config"]["task"]: cell["result"] for cell in done["label"]},
        "cells": flatten(done["train"], "task", "row", "seed"),
    }


STUDY = Study(
    "chains",
    ChainsConfig,
    list_cells,
    {"label": compute_labels, "train": train},
    {f"chains_{task}": show for task, show in render.items()},
    draw,
    collect,
)

"""Every mixer on real molecules: same width, depth, data, steps and schedule for all."""

import itertools
from dataclasses import dataclass, field
from typing import Any

from benchmarks.harness import Cell, Config, Done, Row, Study, check_names, flatten, known, labels
from benchmarks.studies.molecules.report import draw, render, render_short
from benchmarks.studies.molecules.training import time_steps, train

CANONICAL = "canonical"  # stands for the canonical order that the config names
MOMENTS = {"modes": 1, "degree": 0, "sharpening": 0}
ROWS = {
    "local": Row("local network alone", None),
    "query_key": Row("`query_key`, dataset order", "query_key", order="given"),
    "query_key_canonical": Row("`query_key`, canonical order", "query_key", order=CANONICAL),
    "filter": Row("`filter`, dataset order", "filter", order="given"),
    "filter_canonical": Row("`filter`, canonical order", "filter", order=CANONICAL),
    **known("coordinate"),
    "moments": Row("`coordinate`, all frequencies zero", "coordinate", MOMENTS),
    **known("attention", "attention_gated", "linear_attention", "linear_attention_gated"),
}


@dataclass(kw_only=True)
class MoleculesConfig(Config):
    """The comparison on QM9's embedded extract.

    Parameters
    ----------
    rows : list of str
        Which networks; all of them by default.
    targets : list of str
        Properties, as in ``e3hyena train --task``.
    train_sizes : list of int
        Numbers of training molecules.
    epochs : list of int
        Passes over the training molecules, one number for each train size.
    seeds : list of int
        Seeds of the weights and of the order of the molecules.
    canonical_order : str
        Order of the atoms in the rows with a canonical order.
    irreps_hidden : str
        Hidden irreps of every network.
    num_layers : int
        Depth of every network.
    cutoff : float
        Radius of local message passing (angstrom).
    batch_size : int
        Molecules per step.
    lr : float
        Largest learning rate.
    val_size : int
        Validation molecules, for choosing the epoch.
    test_size : int
        Test molecules.
    timing_repeats : int
        Counted rounds of the timing; medians are reported.
    """

    rows: list[str] = field(default_factory=lambda: list(ROWS))
    targets: list[str] = field(default_factory=lambda: ["dipole", "gap"])
    train_sizes: list[int] = field(default_factory=lambda: [1000, 10000])
    epochs: list[int] = field(default_factory=lambda: [15, 4])
    seeds: list[int] = field(default_factory=lambda: [0, 1, 2])
    canonical_order: str = "spectral"
    irreps_hidden: str = "32x0e + 32x1o"
    num_layers: int = 2
    cutoff: float = 2.0
    batch_size: int = 32
    lr: float = 1e-2
    val_size: int = 500
    test_size: int = 2000
    timing_repeats: int = 15
    jobs: int = 2

    def __post_init__(self) -> None:
        check_names("rows", self.rows, ROWS)
        if len(self.epochs) != len(self.train_sizes):
            raise ValueError(
                f"epochs = {self.epochs} and train_sizes = {self.train_sizes}: "
                "give as many numbers of epochs as train sizes"
            )

    def training(self, row: str, target: str, size: int, epochs: int, seed: int) -> dict[str, Any]:
        """What one training is, for `TrainConfig.from_dict`."""
        order = self.canonical_order if ROWS[row].order == CANONICAL else ROWS[row].order
        return {
            "task": target,
            "seed": seed,
            "data": {"train_size": size, **self.only("val_size", "test_size"), "order": order},
            "model": {**ROWS[row].values(), **self.only("irreps_hidden", "num_layers", "cutoff")},
            "optim": {"epochs": epochs, **self.only("batch_size", "lr")},
        }


def list_cells(config: MoleculesConfig) -> list[Cell]:
    """All trainings, those of one seed before the next seed; and the timing of their steps."""
    sizes = list(zip(config.train_sizes, config.epochs, strict=True))
    trainings = [
        Cell(
            f"{row}-{target}-{size}-{seed}",
            {"row": row, **config.training(row, target, size, epochs, seed)},
            cost=size * epochs,
            stage="train",
        )
        for seed, (size, epochs), target, row in itertools.product(
            config.seeds, sizes, config.targets, config.rows
        )
    ]
    last = config.targets[0], *sizes[-1], config.seeds[0]
    steps = {row: config.training(row, *last) for row in config.rows}
    timing = {"rows": steps, "repeats": config.timing_repeats}
    return [*trainings, Cell("-".join(["timing", *config.rows]), timing, stage="timing")]


def collect(config: MoleculesConfig, done: Done) -> dict[str, Any]:
    """Errors of all trainings, and the timing if there is one."""
    timings = [{**cell["result"], "environment": cell["environment"]} for cell in done["timing"]]
    cells = flatten(done["train"], "row", "task", "data", "seed")
    for cell in cells:
        cell["target"], cell["size"] = cell.pop("task"), cell.pop("data")["train_size"]
    timing = timings[0] if timings else None
    return {"labels": labels(config.rows, ROWS), "cells": cells, "timing": timing}


STUDY = Study(
    "molecules",
    MoleculesConfig,
    list_cells,
    {"train": train, "timing": time_steps},
    {"molecules": render, "molecules_short": render_short},
    draw,
    collect,
)

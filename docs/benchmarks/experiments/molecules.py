"""Every mixer on real molecules: same width, depth, data, steps and schedule for all."""

from __future__ import annotations

import dataclasses
import itertools
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from benchmarks.bench.report import check_documents
from benchmarks.experiments.report import publish
from benchmarks.harness.cells import Cell, read_cells, run_cells, stop_after_failures
from benchmarks.harness.rows import Row, check_names

CANONICAL = "canonical"  # stands for the canonical order that the config names
ROWS = {
    "local": Row("local network alone", None),
    "query_key": Row("`query_key`, dataset order", "query_key", order="given"),
    "query_key_canonical": Row("`query_key`, canonical order", "query_key", order=CANONICAL),
    "filter": Row("`filter`, dataset order", "filter", order="given"),
    "filter_canonical": Row("`filter`, canonical order", "filter", order=CANONICAL),
    "coordinate": Row("`coordinate`", "coordinate"),
    "moments": Row(
        "`coordinate`, all frequencies zero",
        "coordinate",
        {"modes": 1, "degree": 0, "sharpening": 0},
    ),
    "attention": Row("`attention`", "attention"),
    "attention_gated": Row(
        "`attention`, tensor-product gating", "attention", {"tensor_product_gating": True}
    ),
    "linear_attention": Row("`linear_attention`", "linear_attention"),
    "linear_attention_gated": Row(
        "`linear_attention`, tensor-product gating",
        "linear_attention",
        {"tensor_product_gating": True},
    ),
}


@dataclass
class Config:
    """The comparison on QM9's embedded extract.

    Parameters
    ----------
    stage : {"all", "train", "timing", "report"}
        train: all trainings that are not done yet. timing: time and memory of a training step;
        nothing else should run meanwhile. report: tables and plot from what is there. all: one
        after the other.
    output : str
        Folder of all trainings. The same folder again continues.
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
    jobs : int
        Trainings side by side, each with one thread.
    timing_repeats : int
        Counted rounds of the timing; medians are reported.
    results : str or None
        Folder of the report, molecules.json and molecules.png; null: the output folder.
    documents : list of str
        Markdown files whose blocks ``molecules`` and ``molecules_short`` are rewritten.
    """

    stage: Literal["all", "train", "timing", "report"] = "all"
    output: str = "runs/molecules"
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
    jobs: int = 2
    timing_repeats: int = 15
    results: str | None = None
    documents: list[str] = field(default_factory=list)

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
            "data": {
                "train_size": size,
                "val_size": self.val_size,
                "test_size": self.test_size,
                "order": order,
            },
            "model": {
                "mixer": ROWS[row].mixer,
                "mixer_options": ROWS[row].options,
                "irreps_hidden": self.irreps_hidden,
                "num_layers": self.num_layers,
                "cutoff": self.cutoff,
            },
            "optim": {"epochs": epochs, "batch_size": self.batch_size, "lr": self.lr},
        }


def run(config: Config) -> dict[str, Any] | None:
    """Train, measure, report: what the stage asks for.

    Returns
    -------
    report : dict or None
        Content of ``molecules.json``; None if the stage makes no report.

    Raises
    ------
    ValueError
        If the output folder holds another experiment.
    RuntimeError
        If trainings failed, after all others are done.
    """
    from benchmarks.experiments import molecule_cell, molecule_report
    from e3hyena.training.files import check_writable

    check_writable(config.output)
    check_documents(config.documents, "molecules", "molecules_short")
    cells = list_cells(config)
    if config.stage in ("all", "train"):
        failures = run_cells(cells, molecule_cell.train, config.output, jobs=config.jobs)
        stop_after_failures(failures, len(cells))
    timing = Path(config.output, "timing.json")
    if config.stage in ("all", "timing"):
        size, epochs = config.train_sizes[-1], config.epochs[-1]
        steps = {
            row: config.training(row, config.targets[0], size, epochs, config.seeds[0])
            for row in config.rows
        }
        molecule_cell.measure(steps, config.timing_repeats, timing)
    if config.stage not in ("all", "report"):
        return None
    done = read_cells(cells, config.output)
    report = molecule_report.collect(
        dataclasses.asdict(config), {row: ROWS[row].label for row in config.rows}, done, timing
    )
    publish(
        config.results or config.output,
        "molecules",
        report,
        {
            "molecules": molecule_report.render(report),
            "molecules_short": molecule_report.render_short(report),
        },
        lambda figure: molecule_report.draw(report, figure),
        config.documents,
    )
    return report


def list_cells(config: Config) -> list[Cell]:
    """All trainings; those of one seed come before the next seed."""
    sizes = list(zip(config.train_sizes, config.epochs, strict=True))
    return [
        Cell(
            f"{row}-{target}-{size}-{seed}",
            {"row": row, **config.training(row, target, size, epochs, seed)},
            cost=size * epochs,
        )
        for seed, (size, epochs), target, row in itertools.product(
            config.seeds, sizes, config.targets, config.rows
        )
    ]

"""Charged particles: where they are 1,000 simulation steps later."""

from __future__ import annotations

import dataclasses
import itertools
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from benchmarks.bench.documents import check_documents
from benchmarks.data.nbody import PROTOCOLS
from benchmarks.experiments.cells import Cell, read_cells, run_cells, stop_after_failures
from benchmarks.experiments.report import publish
from benchmarks.experiments.rows import Row, check_rows

ROWS = {
    "linear": Row("linear dynamics", None),
    "egnn": Row("EGNN", None),
    "lgatr": Row("LGATr-slim", None),
    "query_key": Row("`query_key`, as listed", "query_key"),
    "filter": Row("`filter`, as listed", "filter"),
    "coordinate": Row("`coordinate`", "coordinate"),
    "attention": Row("`attention`", "attention"),
    "linear_attention": Row("`linear_attention`", "linear_attention"),
    "local": Row("messages alone", None),
    "local_query_key": Row("messages and `query_key`, as listed", "query_key"),
    "local_coordinate": Row("messages and `coordinate`", "coordinate"),
    "local_attention": Row("messages and `attention`", "attention"),
    "local_linear_attention": Row("messages and `linear_attention`", "linear_attention"),
}
_LEAST_SQUARES = 100.0  # all errors are far below


@dataclass
class Config:
    """The comparison on charged particles.

    Parameters
    ----------
    stage : {"all", "simulate", "train", "report"}
        simulate: the systems. train: all trainings that are not done yet. report: table and plot
        from what is there. all: one after the other.
    output : str
        Folder of simulations and trainings. The same folder again continues.
    rows : list of str
        Which networks; all of them by default. Those called local exchange messages between all
        particles within `cutoff` as well.
    protocols : list of str
        standard, paper: see `benchmarks.data.nbody.NBody`.
    particles : list of int
        Particles per system; more than five with the standard protocol only.
    fractions : list of float
        Share of the protocol's systems, one for each number of particles.
    seeds : list of int
        Seeds of the weights and of the order of the systems.
    irreps : str
        Hidden irreps of our networks.
    num_layers : int
        Depth of our networks; EGNN has four layers of width 64, as published.
    cutoff : float
        Radius of the messages.
    steps : int
        Training steps, in every row.
    particles_per_step : int
        Particles of all systems of a step, at least one system.
    lr : float
        Largest learning rate of AdamW; cosine schedule.
    egnn_lr : float
        The same for EGNN.
    warmup : float
        Fraction of the steps spent warming up.
    weight_decay : float
        Weight decay of AdamW.
    loss_scale : float
        Trained is the mean distance from prediction to target, quadratic below this: close
        encounters, which nobody predicts, would rule a mean square. Linear dynamics are fitted by
        least squares.
    averaging : float
        Part of the running mean of the weights, which is tested, that a step keeps.
    jobs : int
        Trainings side by side, each with one thread.
    results : str or None
        Folder of the report, nbody.json and nbody.png; null: the output folder.
    documents : list of str
        Markdown files whose block ``nbody`` is rewritten.
    """

    stage: Literal["all", "simulate", "train", "report"] = "all"
    output: str = "runs/nbody"
    rows: list[str] = field(default_factory=lambda: list(ROWS))
    protocols: list[str] = field(default_factory=lambda: ["standard", "paper"])
    particles: list[int] = field(default_factory=lambda: [5, 20, 100])
    fractions: list[float] = field(default_factory=lambda: [1.0, 1.0, 0.1])
    seeds: list[int] = field(default_factory=lambda: [0, 1, 2, 3, 4])
    irreps: str = "32x0e + 32x1o"
    num_layers: int = 3
    cutoff: float = 10.0
    steps: int = 2000
    particles_per_step: int = 500
    lr: float = 1e-2
    egnn_lr: float = 2e-3
    warmup: float = 0.05
    weight_decay: float = 0.1
    loss_scale: float = 0.01
    averaging: float = 0.99
    jobs: int = 2
    results: str | None = None
    documents: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        check_rows(self.rows, ROWS)
        for protocol in self.protocols:
            if protocol not in PROTOCOLS:
                raise ValueError(
                    f"protocols: {protocol!r} is unknown; use some of {', '.join(PROTOCOLS)}"
                )
        if len(self.fractions) != len(self.particles):
            raise ValueError(
                f"fractions = {self.fractions} and particles = {self.particles}: "
                "give one fraction for each number of particles"
            )

    def tasks(self) -> list[tuple[str, int, float]]:
        """Protocol, particles, fraction of everything that is predicted."""
        return [
            (protocol, particles, fraction)
            for protocol in self.protocols
            for particles, fraction in zip(self.particles, self.fractions, strict=True)
            if protocol == "standard" or particles == 5
        ]


def run(config: Config) -> dict[str, Any] | None:
    """Simulate, train, report: what the stage asks for.

    Returns
    -------
    report : dict or None
        Content of ``nbody.json``; None if the stage makes no report.

    Raises
    ------
    ValueError
        If the output folder holds another experiment.
    RuntimeError
        If trainings failed, after all others are done.
    """
    from benchmarks.experiments import nbody_cell, nbody_report
    from e3hyena.training.files import check_writable

    check_documents(config.documents, "nbody")
    cells = list_cells(config)
    output = check_writable(config.output)
    if config.stage != "report":  # once, before trainings side by side need it
        for protocol, particles, fraction in config.tasks():
            values = {"protocol": protocol, "num_particles": particles, "fraction": fraction}
            nbody_cell.load(Path(output, "data"), values, "train")
    if config.stage in ("all", "train"):
        failures = run_cells(cells, nbody_cell.train, output, jobs=config.jobs)
        stop_after_failures(failures, len(cells))
    if config.stage not in ("all", "report"):
        return None
    report = nbody_report.collect(
        dataclasses.asdict(config),
        {row: ROWS[row].label for row in config.rows},
        read_cells(cells, output),
    )
    publish(
        config.results or config.output,
        "nbody",
        report,
        {"nbody": nbody_report.render(report)},
        lambda figure: nbody_report.draw(report, figure),
        config.documents,
    )
    return report


def list_cells(config: Config) -> list[Cell]:
    """All trainings; those of one seed come before the next seed."""
    shared = (
        *("irreps", "num_layers", "steps", "particles_per_step", "warmup"),
        *("weight_decay", "averaging"),
    )
    return [
        Cell(
            f"{protocol}-{particles}-{row}-{seed}",
            {
                "row": row,
                "mixer": ROWS[row].mixer,
                "mixer_options": ROWS[row].options,
                "cutoff": config.cutoff if row.startswith("local") else None,
                "protocol": protocol,
                "num_particles": particles,
                "fraction": fraction,
                "seed": seed,
                "loss_scale": _LEAST_SQUARES if row == "linear" else config.loss_scale,
                "lr": config.egnn_lr if row == "egnn" else config.lr,
                **{name: getattr(config, name) for name in shared},
            },
        )
        for seed, (protocol, particles, fraction), row in itertools.product(
            config.seeds, config.tasks(), config.rows
        )
    ]

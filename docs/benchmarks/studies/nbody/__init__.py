"""Charged particles: where they are 1,000 simulation steps later."""

import itertools
from dataclasses import dataclass, field
from typing import Any

from benchmarks.data.nbody import PROTOCOLS
from benchmarks.harness import Cell, Config, Done, Row, Study, check_names, flatten, known, labels
from benchmarks.studies.nbody.report import PUBLISHED, draw, render
from benchmarks.studies.nbody.training import simulate, train

ROWS = {
    "linear": Row("linear dynamics", None),
    "egnn": Row("EGNN", None),
    "lgatr": Row("LGATr-slim", None),
    "query_key": Row("`query_key`, as listed", "query_key"),
    "filter": Row("`filter`, as listed", "filter"),
    **known("coordinate", "attention", "linear_attention"),
    "local": Row("messages alone", None),
    "local_query_key": Row("messages and `query_key`, as listed", "query_key"),
    "local_coordinate": Row("messages and `coordinate`", "coordinate"),
    "local_attention": Row("messages and `attention`", "attention"),
    "local_linear_attention": Row("messages and `linear_attention`", "linear_attention"),
}
LEAST_SQUARES = 100.0  # all errors are far below


@dataclass(kw_only=True)
class NBodyConfig(Config):
    """The comparison on charged particles.

    Parameters
    ----------
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
    """

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

    def __post_init__(self) -> None:
        check_names("rows", self.rows, ROWS)
        check_names("protocols", self.protocols, PROTOCOLS)
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


def list_cells(config: NBodyConfig) -> list[Cell]:
    """All trainings, those of one seed before the next seed; and the systems that they need."""
    names = ("irreps", "num_layers", "steps", "particles_per_step")
    shared = config.only(*names, "warmup", "weight_decay", "averaging")
    trainings = [
        Cell(
            f"{protocol}-{particles}-{row}-{seed}",
            {
                "row": row,
                **ROWS[row].values(),
                "cutoff": config.cutoff if row.startswith("local") else None,
                "protocol": protocol,
                "num_particles": particles,
                "fraction": fraction,
                "seed": seed,
                "loss_scale": LEAST_SQUARES if row == "linear" else config.loss_scale,
                "lr": config.egnn_lr if row == "egnn" else config.lr,
                **shared,
            },
            stage="train",
        )
        for seed, (protocol, particles, fraction), row in itertools.product(
            config.seeds, config.tasks(), config.rows
        )
    ]
    simulations = [
        Cell(
            f"data-{protocol}-{particles}-{fraction:g}",
            {"protocol": protocol, "num_particles": particles, "fraction": fraction},
            cost=particles**2 * fraction,
            stage="simulate",
        )
        for protocol, particles, fraction in config.tasks()
    ]
    return trainings + simulations


def collect(config: NBodyConfig, done: Done) -> dict[str, Any]:
    """Labels, published errors, and those measured."""
    cells = flatten(done["train"], "row", "protocol", "num_particles", "fraction", "seed")
    return {"labels": labels(config.rows, ROWS), "published": PUBLISHED, "cells": cells}


STUDY = Study(
    "nbody",
    NBodyConfig,
    list_cells,
    {"simulate": simulate, "train": train},
    {"nbody": render},
    draw,
    collect,
)

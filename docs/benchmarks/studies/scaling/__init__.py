"""Time and memory against the number of tokens: one operator of every kind, as far as it goes."""

import itertools
from dataclasses import dataclass, field
from typing import Any

from benchmarks.harness import Cell, Config, Done, Row, Study, check_names, known, labels
from benchmarks.studies.scaling.measuring import PASSES, measure
from benchmarks.studies.scaling.report import draw, render, render_claims, render_short
from e3hyena.irreps import parse_irreps

ROWS = {
    **known("query_key", "filter", "coordinate", "linear_attention", "se3_hyena", "attention"),
    "attention_half": Row("`attention` in bfloat16", "attention_half"),
    **known("cross_product", "cross_product_dense"),
}
VECTORS_ONLY = ("se3_hyena", "cross_product", "cross_product_dense")


@dataclass(kw_only=True)
class ScalingConfig(Config):
    """The comparison of cost.

    Parameters
    ----------
    rows : list of str
        Which operators; those of the paper have scalars and vectors only.
    irreps : list of str
        Irreps of the tokens; hidden irreps are the same.
    passes : list of str
        forward: without gradients. backward: forward, and gradients of weights and input. force:
        the gradient of an energy by the input, and the gradients of its square by the weights.
    lengths : list of int
        Numbers of tokens of the sweep, which every operator follows until it would need more than
        ``memory_limit`` or ``time_limit``.
    together : list of int
        Numbers of tokens at which all operators take turns in one process; these are the ratios.
        For the first irreps only.
    rounds : int
        Counted rounds of these turns; medians are reported.
    memory_limit : float
        GiB that an operator may add.
    time_limit : float
        Seconds that one pass may take.
    device : str
        Where the operators run, cpu or cuda.
    """

    rows: list[str] = field(default_factory=lambda: list(ROWS))
    irreps: list[str] = field(
        default_factory=lambda: ["32x0e+32x1o", "32x0e+32x1o+32x2e", "16x0e+16x1o+16x2e+16x3o"]
    )
    passes: list[str] = field(default_factory=lambda: list(PASSES))
    lengths: list[int] = field(default_factory=lambda: [2**n for n in range(10, 24, 2)])
    together: list[int] = field(default_factory=lambda: [2500, 20000, 30000])
    rounds: int = 3
    memory_limit: float = 20.0
    time_limit: float = 60.0
    device: str = "cpu"
    threads: int = 2

    def __post_init__(self) -> None:
        check_names("rows", self.rows, ROWS)
        check_names("passes", self.passes, PASSES)
        check_names("device", [self.device], ("cpu", "cuda"))
        if self.lengths != sorted(self.lengths):
            raise ValueError(f"lengths={self.lengths} must grow, so that a sweep can stop in time")


def list_cells(config: ScalingConfig) -> list[Cell]:
    """Turns first, then the sweeps, small irreps before large ones."""
    limits = config.only("memory_limit", "time_limit", "threads", "device")
    cells = []
    for length, name in itertools.product(config.together, config.passes):
        lengths = [length // 8, length // 4, length]  # the growth tells who will not get there
        values: dict[str, Any] = {"irreps": config.irreps[0], "pass": name, "lengths": lengths}
        values |= {"mixers": _mixers(config, config.irreps[0]), "rounds": config.rounds, **limits}
        cells.append(Cell(f"together-{length}-{name}", values))
    for irreps, name in itertools.product(config.irreps, config.passes):
        values = {"irreps": irreps, "pass": name, "lengths": config.lengths, "rounds": None}
        for row, mixer in _mixers(config, irreps).items():
            alone = {**values, "mixers": {row: mixer}, **limits}
            cells.append(Cell(f"{irreps.replace(' ', '')}-{name}-{row}", alone))
    return cells


def _mixers(config: ScalingConfig, irreps: str) -> dict[str, str | None]:
    vectors = max(parse_irreps(irreps).ls) < 2
    return {row: ROWS[row].mixer for row in config.rows if vectors or row not in VECTORS_ONLY}


def collect(config: ScalingConfig, done: Done) -> dict[str, Any]:
    """Labels, and what every row reached in every cell."""
    cells = [
        {
            "kind": "together" if cell["config"]["rounds"] else "sweep",
            **{key: cell["config"][key] for key in ("irreps", "pass")},
            "length": cell["config"]["lengths"][-1],
            "rows": cell["result"],
        }
        for cell in done["measure"]
    ]
    return {"labels": labels(config.rows, ROWS), "cells": cells}


STUDY = Study(
    "scaling",
    ScalingConfig,
    list_cells,
    measure,
    {"scaling": render, "scaling_claims": render_claims, "scaling_short": render_short},
    draw,
    collect,
)

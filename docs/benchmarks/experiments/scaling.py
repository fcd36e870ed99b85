"""Time and memory against the number of tokens: one operator of every kind, as far as it goes."""

from __future__ import annotations

import dataclasses
import itertools
from dataclasses import dataclass, field
from typing import Any, Literal

import torch

from benchmarks.bench.report import check_documents
from benchmarks.experiments.report import publish
from benchmarks.harness.cells import Cell, read_cells, run_cells, stop_after_failures
from benchmarks.harness.rows import Row, check_names
from e3hyena.irreps import parse_irreps

ROWS = {
    "query_key": Row("`query_key`", "query_key"),
    "filter": Row("`filter`", "filter"),
    "coordinate": Row("`coordinate`", "coordinate"),
    "linear_attention": Row("`linear_attention`", "linear_attention"),
    "se3_hyena": Row("the paper's operator, `SE3Hyena`", "se3_hyena"),
    "attention": Row("`attention`", "attention"),
    "attention_half": Row("`attention` in bfloat16", "attention_half"),
    "cross_product": Row("the paper's attention, fused", "cross_product_fused"),
    "cross_product_dense": Row("the paper's attention, dense", "cross_product_dense"),
}
VECTORS_ONLY = ("se3_hyena", "cross_product", "cross_product_dense")
PASSES = ("forward", "backward", "force")


@dataclass
class Config:
    """The comparison of cost.

    Parameters
    ----------
    stage : {"all", "measure", "report"}
        measure: everything that is not measured yet. report: tables and plot from what is there.
        all: one after the other.
    output : str
        Folder of all measurements. The same folder again continues.
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
    threads : int
        Number of threads.
    device : {"cpu", "cuda"}
        Where the operators run.
    results : str or None
        Folder of the report, scaling.json and scaling.png; null: the output folder.
    documents : list of str
        Markdown files whose blocks ``scaling``, ``scaling_claims`` and ``scaling_short`` are
        rewritten.
    """

    stage: Literal["all", "measure", "report"] = "all"
    output: str = "runs/scaling"
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
    threads: int = 2
    device: Literal["cpu", "cuda"] = "cpu"
    results: str | None = None
    documents: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        check_names("rows", self.rows, ROWS)
        for name in self.passes:
            if name not in PASSES:
                raise ValueError(f"passes: {name!r} is unknown; use some of {', '.join(PASSES)}")
        if self.lengths != sorted(self.lengths):
            raise ValueError(f"lengths={self.lengths} must grow, so that a sweep can stop in time")
        if self.device == "cuda" and not torch.cuda.is_available():
            raise ValueError("device='cuda', but torch sees no GPU: use cpu, or a CUDA build")


def run(config: Config) -> dict[str, Any] | None:
    """Measure and report: what the stage asks for.

    Returns
    -------
    report : dict or None
        Content of ``scaling.json``; None if the stage makes no report.

    Raises
    ------
    ValueError
        If the output folder holds another experiment.
    RuntimeError
        If measurements failed, after all others are done.
    """
    from benchmarks.experiments import scaling_cell, scaling_report

    check_documents(config.documents, "scaling", "scaling_claims", "scaling_short")
    cells = list_cells(config)
    if config.stage in ("all", "measure"):
        stop_after_failures(run_cells(cells, scaling_cell.measure, config.output), len(cells))
    if config.stage not in ("all", "report"):
        return None
    labels = {row: ROWS[row].label for row in config.rows}
    report = scaling_report.collect(
        dataclasses.asdict(config), labels, read_cells(cells, config.output)
    )
    publish(
        config.results or config.output,
        "scaling",
        report,
        {
            "scaling": scaling_report.render(report),
            "scaling_claims": scaling_report.render_claims(report),
            "scaling_short": scaling_report.render_short(report),
        },
        lambda figure: scaling_report.draw(report, figure),
        config.documents,
    )
    return report


def list_cells(config: Config) -> list[Cell]:
    """Turns first, then the sweeps, small irreps before large ones.

    Examples
    --------
    >>> [cell.name for cell in list_cells(Config(rows=["filter"], passes=["force"]))][:3]
    ['together-2500-force', 'together-20000-force', 'together-30000-force']
    """
    shared = {
        name: getattr(config, name) for name in ("memory_limit", "time_limit", "threads", "device")
    }
    cells = []
    for length, name in itertools.product(config.together, config.passes):
        rows = {row: ROWS[row].mixer for row in _rows(config, config.irreps[0])}
        lengths = [length // 8, length // 4, length]  # the growth tells who will not get there
        values = {"mixers": rows, "irreps": config.irreps[0], "pass": name, "lengths": lengths}
        turns = {**values, "rounds": config.rounds, **shared}
        cells.append(Cell(f"together-{length}-{name}", turns))
    for irreps, name in itertools.product(config.irreps, config.passes):
        for row in _rows(config, irreps):
            values = {"mixers": {row: ROWS[row].mixer}, "irreps": irreps, "pass": name}
            sweep = {**values, "lengths": config.lengths, "rounds": None, **shared}
            cells.append(Cell(f"{irreps.replace(' ', '')}-{name}-{row}", sweep))
    return cells


def _rows(config: Config, irreps: str) -> list[str]:
    vectors = max(parse_irreps(irreps).ls) < 2
    return [row for row in config.rows if vectors or row not in VECTORS_ONLY]

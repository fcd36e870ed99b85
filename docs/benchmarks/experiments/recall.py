"""Associative recall in sequences: the paper's protocol, harder opponents, longer sequences."""

from __future__ import annotations

import dataclasses
import itertools
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from benchmarks.bench.report import check_documents
from benchmarks.experiments.recall_report import TWICE
from benchmarks.experiments.report import publish
from benchmarks.harness.cells import Cell, read_cells, run_cells, stop_after_failures
from benchmarks.harness.rows import Row, check_names
from e3hyena.irreps import parse_irreps

_GATED = {"tensor_product_gating": True}
ROWS = {
    "query_key": Row("`query_key`", "query_key"),
    "filter": Row("`filter`", "filter"),
    "coordinate": Row("`coordinate`", "coordinate"),
    "coordinate_square": Row(
        "`coordinate`, degree 2, K = 16", "coordinate", {"degree": 2, "sharpening": 16}
    ),
    "attention": Row("`attention`", "attention"),
    "attention_gated": Row("`attention`, tensor-product gating", "attention", _GATED),
    "linear_attention": Row("`linear_attention`", "linear_attention"),
    "linear_attention_gated": Row(
        "`linear_attention`, tensor-product gating", "linear_attention", _GATED
    ),
    "se3_hyena": Row("the paper's operator, `SE3Hyena`", "se3_hyena"),
    "cross_product": Row("the paper's attention, fused", "cross_product_fused"),
    "cross_product_dense": Row("the paper's attention, dense", "cross_product_dense"),
    "lgatr": Row("LGATr-slim", "lgatr_slim"),
    "hyena": Row("Hyena, no symmetry, 3x wider", "filter", equivariant=False),
    "transformer": Row("transformer, no symmetry, 3x wider", "attention", equivariant=False),
}
# The dense form of the paper's attention gives what the fused one gives, at many times the cost.
DEFAULT_ROWS = [row for row in ROWS if row != "cross_product_dense"]
PARTS = ("random", "fixed", "twice", "long", "vocabulary", "tensor", "ablation")


class Task(NamedTuple):
    """What is recalled: see `benchmarks.data.recall.Recall`."""

    kind: str
    length: int
    vocabulary: int
    degree: int


@dataclass
class Config:
    """The comparison on associative recall.

    Parameters
    ----------
    stage : {"all", "train", "report"}
        train: all trainings that are not done yet. report: tables and plot from what is there.
        all: one after the other.
    output : str
        Folder of all trainings. The same folder again continues.
    parts : list of str
        random, fixed: the paper's two tables, vocabulary of 4. twice: the longest of `lengths`
        with twice the steps, random, for `ablation_rows`. long: longer sequences. vocabulary:
        larger vocabularies. tensor: l = 2. These three are for `extension_rows` and random.
        ablation: changes of the network, one at a time, for `ablation_rows`.
    rows : list of str
        Which networks in the paper's tables.
    extension_rows : list of str
        Which networks in the other parts.
    lengths : list of int
        Lengths of the paper's tables.
    long_lengths : list of int
        Lengths of the part long, whose networks see all of them in turn, and are tested at each.
    vocabularies : list of int
        Vocabularies of the part vocabulary, in sequences of four tokens per pair, at least 64.
    tensor_lengths : list of int
        Lengths of the part tensor.
    ablation_rows : list of str
        Which networks are changed, or trained for longer.
    ablation_length : int
        Length of the sequences for that.
    ablation_steps : int
        Training steps for that.
    trained_length : int
        Networks of this length (random, vocabulary of 4) are also tested at other lengths.
    tested_lengths : list of int
        These other lengths.
    seeds : list of int
        Seeds of the weights and of the training sequences.
    irreps : str
        Irreps of the tokens between the blocks; 2e is added where tensors are recalled.
    num_blocks : int
        Number of blocks.
    short_conv : int
        Kernel size of the short convolution in every operator but the paper's.
    pool : {"mean", "last"}
        What the answer is read from: the mean of all tokens, as in the paper, or the last token.
    steps : int
        Training steps.
    tokens_per_step : int
        Tokens of all sequences of a step, at least one sequence.
    lr : float
        Largest learning rate of AdamW; cosine schedule.
    lgatr_lr : float
        The same for LGATr-slim.
    warmup : float
        Fraction of the steps spent warming up.
    weight_decay : float
        Weight decay of AdamW.
    jobs : int
        Trainings side by side, each with one thread.
    results : str or None
        Folder of the report, recall.json and recall.png; null: the output folder.
    documents : list of str
        Markdown files whose block ``recall`` is rewritten.
    """

    stage: Literal["all", "train", "report"] = "all"
    output: str = "runs/recall"
    parts: list[str] = field(default_factory=lambda: list(PARTS))
    rows: list[str] = field(default_factory=lambda: list(DEFAULT_ROWS))
    extension_rows: list[str] = field(
        default_factory=lambda: ["query_key", "coordinate_square", "attention", "linear_attention"]
    )
    lengths: list[int] = field(default_factory=lambda: [32, 64, 128, 256])
    long_lengths: list[int] = field(default_factory=lambda: [2**n for n in range(6, 13)])
    vocabularies: list[int] = field(default_factory=lambda: [8, 16, 32, 64])
    tensor_lengths: list[int] = field(default_factory=lambda: [32])
    ablation_rows: list[str] = field(default_factory=lambda: ["query_key", "attention"])
    ablation_length: int = 64
    ablation_steps: int = 1000
    trained_length: int = 128
    tested_lengths: list[int] = field(default_factory=lambda: [32, 64, 256, 512, 1024, 2048])
    seeds: list[int] = field(default_factory=lambda: [0, 1, 2])
    irreps: str = "16x0e + 16x1o"
    num_blocks: int = 3
    short_conv: int = 3
    pool: Literal["mean", "last"] = "mean"
    steps: int = 4000
    tokens_per_step: int = 2048
    lr: float = 1e-2
    lgatr_lr: float = 3e-3
    warmup: float = 0.05
    weight_decay: float = 1e-5
    jobs: int = 2
    results: str | None = None
    documents: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        check_names("rows", [*self.rows, *self.extension_rows, *self.ablation_rows], ROWS)
        for part in self.parts:
            if part not in PARTS:
                raise ValueError(f"parts: {part!r} is unknown; use some of {', '.join(PARTS)}")
        parse_irreps(self.irreps)
        for name in ("steps", "ablation_steps", "tokens_per_step", "num_blocks"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)} must be positive")
        for length in (*self.lengths, *self.long_lengths, *self.tensor_lengths):
            if length % 2:
                raise ValueError(f"length {length} is odd; sequences are pairs of tokens")


def run(config: Config) -> dict[str, Any] | None:
    """Train and report: what the stage asks for.

    Returns
    -------
    report : dict or None
        Content of ``recall.json``; None if the stage makes no report.

    Raises
    ------
    ValueError
        If the output folder holds another experiment.
    RuntimeError
        If trainings failed, after all others are done.
    """
    from benchmarks.experiments import recall_cell, recall_report

    check_documents(config.documents, "recall")
    cells = list_cells(config)
    if config.stage in ("all", "train"):
        failures = run_cells(cells, recall_cell.train, config.output, jobs=config.jobs)
        stop_after_failures(failures, len(cells))
    if config.stage not in ("all", "report"):
        return None
    used = {*config.rows, *config.extension_rows, *config.ablation_rows}
    labels = {row: ROWS[row].label for row in ROWS if row in used}
    report = recall_report.collect(
        dataclasses.asdict(config), labels, read_cells(cells, config.output)
    )
    publish(
        config.results or config.output,
        "recall",
        report,
        {"recall": recall_report.render(report)},
        lambda figure: recall_report.draw(report, figure),
        config.documents,
    )
    return report


def list_tasks(config: Config, part: str) -> list[Task]:
    """What a part recalls.

    Examples
    --------
    >>> [task.length for task in list_tasks(Config(), "vocabulary")]
    [64, 64, 128, 256]
    """
    if part == "ablation":
        return [Task("random", config.ablation_length, 4, 1)]
    if part in ("random", "fixed"):
        return [Task(part, length, 4, 1) for length in config.lengths]
    if part == "long":
        return [Task("random", max(config.long_lengths), 4, 1)]
    if part == "twice":
        return [Task("random", max(config.lengths), 4, 1)]
    if part == "tensor":
        return [Task("random", length, 4, 2) for length in config.tensor_lengths]
    return [Task("random", max(64, 4 * v), v, 1) for v in config.vocabularies]


def list_cells(config: Config) -> list[Cell]:
    """All trainings; those of one seed come before the next seed."""
    cells = {}
    for seed, part in itertools.product(config.seeds, config.parts):
        for task, row in itertools.product(list_tasks(config, part), _rows(config, part)):
            for cell in _parts_of(config, part, _cell(config, task, row, seed)):
                cells[cell.name] = cell  # parts may share cells
    return list(cells.values())


def _rows(config: Config, part: str) -> list[str]:
    if part in ("ablation", "twice"):
        return config.ablation_rows
    return config.rows if part in ("random", "fixed") else config.extension_rows


def list_variants(config: Config) -> dict[str, dict[str, Any]]:
    """Changes of the network or of its training, one at a time.

    Examples
    --------
    >>> list_variants(Config())["two blocks"]
    {'num_blocks': 2}
    """
    fewer = config.num_blocks - 1
    return {
        "as in the tables": {},
        "no short convolution": {"short_conv": 0},
        f"short convolutions of {config.short_conv + 2}": {"short_conv": config.short_conv + 2},
        "read from the last token": {"pool": "last"},
        f"{'two' if fewer == 2 else fewer} blocks": {"num_blocks": fewer},
        "l = 2 as well": {"irreps": _with_tensors(config.irreps)},
        "half the learning rate": {"lr": config.lr / 2},
        "twice the learning rate": {"lr": 2 * config.lr},
    }


def _with_tensors(irreps: str) -> str:
    return f"{irreps} + {irreps.split('x')[0]}x2e"


def _parts_of(config: Config, part: str, cell: Cell) -> list[Cell]:
    """The cell as a part has it: trained for longer, of all lengths, of every variant, or as is."""
    if part == "long":
        lengths = sorted(config.long_lengths)
        values = {**cell.config, "trained": lengths, "tested": lengths, "variant": "long"}
        return [Cell(f"long-{cell.name}", values)]
    if part == "twice":
        values = {**cell.config, "steps": 2 * config.steps, "tested": [], "variant": TWICE}
        return [Cell(f"twice-{cell.name}", values)]
    if part == "ablation":
        short = {**cell.config, "steps": config.ablation_steps, "tested": []}
        return [
            Cell(f"ablation-{place}-{cell.name}", {**short, **changes, "variant": variant})
            for place, (variant, changes) in enumerate(list_variants(config).items())
        ]
    return [cell]


def _cell(config: Config, task: Task, row: str, seed: int) -> Cell:
    irreps = config.irreps if task.degree == 1 else _with_tensors(config.irreps)
    at_trained_length = task == Task("random", config.trained_length, 4, 1)
    shared = (
        *("num_blocks", "short_conv", "pool"),
        *("steps", "tokens_per_step", "warmup", "weight_decay"),
    )
    values = {
        "row": row,
        "mixer": ROWS[row].mixer,
        "mixer_options": ROWS[row].options,
        "equivariant": ROWS[row].equivariant,
        "irreps": irreps,
        "seed": seed,
        "variant": None,
        "trained": [task.length],
        "lr": config.lgatr_lr if row == "lgatr" else config.lr,
        "tested": config.tested_lengths if at_trained_length else [],
        **task._asdict(),
        **{name: getattr(config, name) for name in shared},
    }
    name = f"{task.kind}-{task.length}-{task.vocabulary}-{task.degree}-{row}-{seed}"
    return Cell(name, values)

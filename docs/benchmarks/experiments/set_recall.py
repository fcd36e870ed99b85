"""Recall in a set: how many key-value pairs each mixer can tell apart by content."""

from __future__ import annotations

import dataclasses
import itertools
from dataclasses import dataclass, field
from typing import Any, Literal

from benchmarks.bench.report import check_documents
from benchmarks.experiments.report import publish
from benchmarks.harness.cells import Cell, read_cells, run_cells, stop_after_failures
from benchmarks.harness.rows import Row, check_names

_GATED = {"tensor_product_gating": True}
ROWS = {
    **{
        f"coordinate_{modes}": Row(f"`coordinate`, M = {modes}", "coordinate", {"modes": modes})
        for modes in (4, 16, 64, 128)
    },
    "coordinate_plain": Row("`coordinate`, not sharpened", "coordinate", {"sharpening": 0}),
    "coordinate_square": Row(
        "`coordinate`, degree 2, K = 16", "coordinate", {"degree": 2, "sharpening": 16}
    ),
    "attention": Row("`attention`", "attention"),
    "attention_gated": Row("`attention`, tensor-product gating", "attention", _GATED),
    "linear_attention": Row("`linear_attention`", "linear_attention"),
    "linear_attention_gated": Row(
        "`linear_attention`, tensor-product gating", "linear_attention", _GATED
    ),
    "query_key": Row("`query_key`", "query_key"),
    "filter": Row("`filter`", "filter"),
}


@dataclass
class Config:
    """The comparison on set recall.

    Parameters
    ----------
    stage : {"all", "train", "report"}
        train: all trainings that are not done yet. report: tables and plot from what is there.
        all: one after the other.
    output : str
        Folder of all trainings. The same folder again continues.
    rows : list of str
        Which mixers; all of them by default.
    vocabularies : list of int
        Numbers of different pairs per set. A set has the smallest power of two of tokens, at least
        32, whose memories hold every pair.
    seeds : list of int
        Seeds of the weights and of the sets.
    length_vocabulary : int
        Vocabulary whose networks are also tested on sets of other sizes.
    lengths : list of int
        Tokens per set of these tests.
    irreps : str
        Irreps of the tokens between the blocks.
    num_blocks : int
        Number of `HyenaBlock`.
    steps : int
        Training steps, each on fresh sets.
    tokens_per_step : int
        Tokens of all sets of a step.
    test_tokens : int
        Tokens of all sets of a test, at least one set.
    lr : float
        Largest learning rate of AdamW; cosine schedule.
    warmup : float
        Fraction of the steps spent warming up.
    jobs : int
        Trainings side by side, each with one thread.
    results : str or None
        Folder of the report, recall_set.json and recall_set.png; null: the output folder.
    documents : list of str
        Markdown files whose block ``recall_set`` is rewritten.
    """

    stage: Literal["all", "train", "report"] = "all"
    output: str = "runs/set_recall"
    rows: list[str] = field(default_factory=lambda: list(ROWS))
    vocabularies: list[int] = field(default_factory=lambda: [4, 16, 64, 256])
    seeds: list[int] = field(default_factory=lambda: [0])
    length_vocabulary: int = 16
    lengths: list[int] = field(default_factory=lambda: [2**n for n in range(5, 13)])
    irreps: str = "16x0e + 16x1o"
    num_blocks: int = 2
    steps: int = 400
    tokens_per_step: int = 2048
    test_tokens: int = 65536
    lr: float = 5e-3
    warmup: float = 0.05
    jobs: int = 2
    results: str | None = None
    documents: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        check_names("rows", self.rows, ROWS)


def run(config: Config) -> dict[str, Any] | None:
    """Train and report: what the stage asks for.

    Returns
    -------
    report : dict or None
        Content of ``recall_set.json``; None if the stage makes no report.

    Raises
    ------
    ValueError
        If the output folder holds another experiment.
    RuntimeError
        If trainings failed, after all others are done.
    """
    from benchmarks.experiments import set_recall_cell, set_recall_report

    check_documents(config.documents, "recall_set")
    cells = list_cells(config)
    if config.stage in ("all", "train"):
        failures = run_cells(cells, set_recall_cell.train, config.output, jobs=config.jobs)
        stop_after_failures(failures, len(cells))
    if config.stage not in ("all", "report"):
        return None
    report = set_recall_report.collect(
        dataclasses.asdict(config),
        {row: ROWS[row] for row in config.rows},
        read_cells(cells, config.output),
    )
    publish(
        config.results or config.output,
        "recall_set",
        report,
        {"recall_set": set_recall_report.render(report)},
        lambda figure: set_recall_report.draw(report, figure),
        config.documents,
    )
    return report


def tokens_for(vocabulary: int) -> int:
    """Tokens per set: a power of two, at least 32, with as many memories as pairs.

    Examples
    --------
    >>> [tokens_for(vocabulary) for vocabulary in (4, 16, 64, 256)]
    [32, 32, 128, 512]
    """
    num_tokens = 32
    while 3 * num_tokens // 4 < vocabulary:
        num_tokens *= 2
    return num_tokens


def list_cells(config: Config) -> list[Cell]:
    """All trainings; those of one seed come before the next seed."""
    shared = ("irreps", "num_blocks", "steps", "tokens_per_step", "test_tokens", "lr", "warmup")
    return [
        Cell(
            f"{row}-{vocabulary}-{seed}",
            {
                "row": row,
                "mixer": ROWS[row].mixer,
                "mixer_options": ROWS[row].options,
                "vocabulary": vocabulary,
                "num_tokens": tokens_for(vocabulary),
                "lengths": config.lengths if vocabulary == config.length_vocabulary else [],
                "seed": seed,
                **{name: getattr(config, name) for name in shared},
            },
        )
        for seed, vocabulary, row in itertools.product(
            config.seeds, config.vocabularies, config.rows
        )
    ]

"""Associative recall in sequences: the paper's protocol, harder opponents, longer sequences."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from benchmarks.harness.rows import Row, check_names, known, labels
from benchmarks.harness.study import Cell, Config, Done, Study
from benchmarks.harness.tables import flatten
from benchmarks.studies.recall.report import LONG, PUBLISHED, TWICE, draw, render
from benchmarks.studies.recall.training import train
from e3hyena.irreps import parse_irreps

ROWS = {
    **known("query_key", "filter", "coordinate", "coordinate_square"),
    **known("attention", "attention_gated", "linear_attention", "linear_attention_gated"),
    **known("se3_hyena", "cross_product", "cross_product_dense"),
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
    vocabulary: int = 4
    degree: int = 1


@dataclass(kw_only=True)
class RecallConfig(Config):
    """The comparison on associative recall.

    Parameters
    ----------
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
    pool : str
        What the answer is read from: mean, of all tokens, as in the paper, or last, the last token.
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
    """

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
    pool: str = "mean"
    steps: int = 4000
    tokens_per_step: int = 2048
    lr: float = 1e-2
    lgatr_lr: float = 3e-3
    warmup: float = 0.05
    weight_decay: float = 1e-5
    jobs: int = 2

    def __post_init__(self) -> None:
        check_names("rows", [*self.rows, *self.extension_rows, *self.ablation_rows], ROWS)
        check_names("parts", self.parts, PARTS)
        check_names("pool", [self.pool], ("mean", "last"))
        parse_irreps(self.irreps)
        for name in ("steps", "ablation_steps", "tokens_per_step", "num_blocks"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)} must be positive")
        for length in (*self.lengths, *self.long_lengths, *self.tensor_lengths):
            if length % 2:
                raise ValueError(f"length {length} is odd; sequences are pairs of tokens")


def list_tasks(config: RecallConfig, part: str) -> list[Task]:
    """What a part recalls.

    Examples
    --------
    >>> [task.length for task in list_tasks(RecallConfig(), "vocabulary")]
    [64, 64, 128, 256]
    """
    return {
        "random": [Task("random", length) for length in config.lengths],
        "fixed": [Task("fixed", length) for length in config.lengths],
        "twice": [Task("random", max(config.lengths))],
        "long": [Task("random", max(config.long_lengths))],
        "vocabulary": [Task("random", max(64, 4 * v), v) for v in config.vocabularies],
        "tensor": [Task("random", length, degree=2) for length in config.tensor_lengths],
        "ablation": [Task("random", config.ablation_length)],
    }[part]


def list_cells(config: RecallConfig) -> list[Cell]:
    """All trainings; those of one seed come before the next seed."""
    rows = {
        **dict.fromkeys(("random", "fixed"), config.rows),
        **dict.fromkeys(("twice", "ablation"), config.ablation_rows),
    }
    cells = {}
    for seed, part in itertools.product(config.seeds, config.parts):
        chosen = rows.get(part, config.extension_rows)
        for task, row in itertools.product(list_tasks(config, part), chosen):
            name = f"{task.kind}-{task.length}-{task.vocabulary}-{task.degree}-{row}-{seed}"
            values = _values(config, task, row, seed)
            for prefix, changes in _changes(config, part).items():
                # Parts may share cells.
                cells[prefix + name] = Cell(prefix + name, {**values, **changes}, stage="train")
    return list(cells.values())


def list_variants(config: RecallConfig) -> dict[str, dict[str, Any]]:
    """Changes of the network or of its training, one at a time.

    Examples
    --------
    >>> list_variants(RecallConfig())["two blocks"]
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


def _changes(config: RecallConfig, part: str) -> dict[str, dict[str, Any]]:
    """How a part trains: for longer, on all lengths, in every variant, or as is; by name."""
    if part == "long":
        lengths = sorted(config.long_lengths)
        return {"long-": {"trained": lengths, "tested": lengths, "variant": LONG}}
    if part == "twice":
        return {"twice-": {"steps": 2 * config.steps, "tested": [], "variant": TWICE}}
    if part == "ablation":
        short = {"steps": config.ablation_steps, "tested": []}
        variants = enumerate(list_variants(config).items())
        return {
            f"ablation-{i}-": {**short, **some, "variant": name} for i, (name, some) in variants
        }
    return {"": {}}


def _values(config: RecallConfig, task: Task, row: str, seed: int) -> dict[str, Any]:
    at_trained_length = task == Task("random", config.trained_length)
    shared = ("num_blocks", "short_conv", "pool", "steps", "tokens_per_step")
    return {
        "row": row,
        **ROWS[row].values(),
        "equivariant": ROWS[row].equivariant,
        "irreps": config.irreps if task.degree == 1 else _with_tensors(config.irreps),
        "seed": seed,
        "variant": None,
        "trained": [task.length],
        "lr": config.lgatr_lr if row == "lgatr" else config.lr,
        "tested": config.tested_lengths if at_trained_length else [],
        **task._asdict(),
        **config.only(*shared, "warmup", "weight_decay"),
    }


def collect(config: RecallConfig, done: Done) -> dict[str, Any]:
    """Labels, published errors, and those measured."""
    used = {*config.rows, *config.extension_rows, *config.ablation_rows}
    keys = ("row", "variant", "kind", "length", "vocabulary", "degree", "seed")
    return {
        "labels": labels([row for row in ROWS if row in used], ROWS),
        "published": PUBLISHED,
        "cells": flatten(done["train"], *keys),
    }


STUDY = Study(
    "recall", RecallConfig, list_cells, {"train": train}, {"recall": render}, draw, collect
)

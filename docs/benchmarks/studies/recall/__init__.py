"""Associative recall in sequences: the paper's protocol, harder opponents, longer sequences."""

import itertools
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from benchmarks.harness import Cell, Config, Done, Row, Study, check_names, flatten, known, labels
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
OPTIMIZER = {"warmup": 0.05, "weight_decay": 1e-5}
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
    steps : int
        Training steps.
    tokens_per_step : int
        Tokens of all sequences of a step, at least one sequence.
    lr : float
        Largest learning rate of AdamW; cosine schedule.
    lgatr_lr : float
        The same for LGATr-slim.
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
    steps: int = 4000
    tokens_per_step: int = 2048
    lr: float = 1e-2
    lgatr_lr: float = 3e-3
    jobs: int = 2

    def __post_init__(self) -> None:
        check_names("rows", [*self.rows, *self.extension_rows, *self.ablation_rows], ROWS)
        check_names("parts", self.parts, PARTS)
        parse_irreps(self.irreps)
        for name in ("steps", "ablation_steps", "tokens_per_step", "num_blocks"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)} must be positive")
        for length in (*self.lengths, *self.long_lengths, *self.tensor_lengths):
            if length % 2:
                raise ValueError(f"length {length} is odd; sequences are pairs of tokens")


def list_variants(config: RecallConfig) -> dict[str, dict[str, Any]]:
    """Changes of the network or of its training, one at a time."""
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


Part = tuple[list[Task], list[str], dict[str, dict[str, Any]]]


def list_parts(config: RecallConfig) -> dict[str, Part]:
    """Tasks, rows, and what each training has of its own, by the beginning of its name.

    Examples
    --------
    >>> [task.length for task in list_parts(RecallConfig())["vocabulary"][0]]
    [64, 64, 128, 256]
    """
    all_lengths = sorted(config.long_lengths)
    longer = {"steps": 2 * config.steps, "tested": [], "variant": TWICE}
    varied = {"trained": all_lengths, "tested": all_lengths, "variant": LONG}
    short = {"steps": config.ablation_steps, "tested": []}
    variants = {
        f"ablation-{place}-": {**short, **changes, "variant": variant}
        for place, (variant, changes) in enumerate(list_variants(config).items())
    }

    def tasks(kind: str, lengths: list[int], degree: int = 1) -> list[Task]:
        return [Task(kind, length, degree=degree) for length in lengths]

    larger = [Task("random", max(64, 4 * v), v) for v in config.vocabularies]
    extension, ablation = config.extension_rows, config.ablation_rows
    return {
        "random": (tasks("random", config.lengths), config.rows, {"": {}}),
        "fixed": (tasks("fixed", config.lengths), config.rows, {"": {}}),
        "twice": (tasks("random", [max(config.lengths)]), ablation, {"twice-": longer}),
        "long": (tasks("random", all_lengths[-1:]), extension, {"long-": varied}),
        "vocabulary": (larger, extension, {"": {}}),
        "tensor": (tasks("random", config.tensor_lengths, 2), extension, {"": {}}),
        "ablation": (tasks("random", [config.ablation_length]), ablation, variants),
    }


def list_cells(config: RecallConfig) -> list[Cell]:
    """All trainings; those of one seed come before the next seed."""
    parts = list_parts(config)
    shared = config.only("num_blocks", "short_conv", "steps", "tokens_per_step")
    cells = {}  # parts may share some
    for seed, part in itertools.product(config.seeds, config.parts):
        tasks, rows, trainings = parts[part]
        for task, row, (start, own) in itertools.product(tasks, rows, trainings.items()):
            at_trained_length = task == Task("random", config.trained_length)
            values = {
                "row": row,
                **ROWS[row].values(),
                "equivariant": ROWS[row].equivariant,
                "irreps": config.irreps if task.degree == 1 else _with_tensors(config.irreps),
                "pool": "mean",
                "seed": seed,
                "variant": None,
                "trained": [task.length],
                "lr": config.lgatr_lr if row == "lgatr" else config.lr,
                "tested": config.tested_lengths if at_trained_length else [],
                **task._asdict(),
                **OPTIMIZER,
                **shared,
                **own,
            }
            name = f"{start}{task.kind}-{task.length}-{task.vocabulary}-{task.degree}-{row}-{seed}"
            cells[name] = Cell(name, values, stage="train")
    return list(cells.values())


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

"""Recall in a set: how many key-value pairs each mixer can tell apart by content."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.data.set_recall import IRREPS_IN, IRREPS_OUT, SetRecall, set_recall
from benchmarks.harness.plots import draw_means, finish, plain, style
from benchmarks.harness.rows import Row, check_names, known, labels
from benchmarks.harness.study import Cell, Config, Done, Study
from benchmarks.harness.tables import MISSING, count_seeds, flatten, grid, parameters, select, table
from benchmarks.harness.training import fit
from benchmarks.networks.blocks import build_blocks
from e3hyena.nn.linear import Linear

ROWS = {
    **{
        f"coordinate_{modes}": Row(f"`coordinate`, M = {modes}", "coordinate", {"modes": modes})
        for modes in (4, 16, 64, 128)
    },
    "coordinate_plain": Row("`coordinate`, not sharpened", "coordinate", {"sharpening": 0}),
    **known("coordinate_square", "attention", "attention_gated"),
    **known("linear_attention", "linear_attention_gated", "query_key", "filter"),
}
BROKEN = 0.5  # error from which on a mixer no longer recalls; predicting zero has 1
REFERENCE = 16  # vocabulary at which errors are compared with attention's
TEST_SEED = 10**9  # far from the seeds of trainings
TEST_BATCH = 4096  # tokens of one call


@dataclass(kw_only=True)
class RecallSetConfig(Config):
    """The comparison on set recall.

    Parameters
    ----------
    rows : list of str
        Which mixers; all of them by default.
    vocabularies : list of int
        Numbers of different pairs per set; a set has as many tokens as they need, at least 32.
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
    """

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
    jobs: int = 2

    def __post_init__(self) -> None:
        check_names("rows", self.rows, ROWS)


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


def list_cells(config: RecallSetConfig) -> list[Cell]:
    """All trainings; those of one seed come before the next seed."""
    shared = config.only("irreps", "num_blocks", "steps", "tokens_per_step", "test_tokens", "lr")
    return [
        Cell(
            f"{row}-{vocabulary}-{seed}",
            {
                "row": row,
                **ROWS[row].values(),
                "vocabulary": vocabulary,
                "num_tokens": tokens_for(vocabulary),
                "lengths": config.lengths if vocabulary == config.length_vocabulary else [],
                "seed": seed,
                "warmup": 0.05,
                **shared,
            },
            stage="train",
        )
        for seed, vocabulary, row in itertools.product(
            config.seeds, config.vocabularies, config.rows
        )
    ]


class RecallNet(nn.Module):
    """Linear embedding, Hyena blocks, linear read-out per token."""

    def __init__(
        self, irreps: str, num_blocks: int, mixer: str, mixer_options: dict[str, Any]
    ) -> None:
        super().__init__()
        self.embedding = Linear(IRREPS_IN, irreps)
        self.blocks = build_blocks(irreps, mixer, num_blocks, mixer_options=mixer_options)
        self.readout = Linear(irreps, IRREPS_OUT)

    def forward(self, x: Tensor, batch: Tensor) -> Tensor:
        """``(num_tokens, 7)`` -> ``(num_tokens, 3)``."""
        x = self.embedding(x)
        for block in self.blocks:
            x = block(x, batch)
        return self.readout(x)


def train(values: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Train a network on fresh sets, test it, also by the number of tokens per set."""
    torch.manual_seed(values["seed"])
    model = RecallNet(*(values[k] for k in ("irreps", "num_blocks", "mixer", "mixer_options")))
    vocabulary, num_tokens = values["vocabulary"], values["num_tokens"]
    number = max(1, values["tokens_per_step"] // num_tokens)
    sets = _draw(number, num_tokens, vocabulary, values["seed"])
    options = {name: values[name] for name in ("steps", "lr", "warmup")}
    done = fit(model, sets, error, None, folder, weight_decay=1e-4, validations=50, **options)
    return {
        "error": test(model, vocabulary, num_tokens, values["test_tokens"]),
        "by_length": {
            str(length): test(model, vocabulary, length, values["test_tokens"])
            for length in values["lengths"]
        },
        "parameters": done["parameters"],
        "seconds": done["seconds"],
    }


def _draw(number: int, num_tokens: int, vocabulary: int, seed: int) -> Iterator[SetRecall]:
    generator = torch.Generator().manual_seed(seed)
    while True:
        yield set_recall(number, num_tokens, vocabulary, generator=generator)


def error(model: nn.Module, sets: SetRecall) -> Tensor:
    """Mean square error at the queries, relative to the mean square of their values."""
    asked = sets.is_query
    target = sets.target[asked]
    return (model(sets.x, sets.batch)[asked] - target).square().mean() / target.square().mean()


@torch.no_grad()
def test(model: nn.Module, vocabulary: int, num_tokens: int, test_tokens: int) -> float:
    """`error` on fresh sets, the same for every network."""
    at_once = max(1, TEST_BATCH // num_tokens)
    batches = max(1, test_tokens // (at_once * num_tokens))
    sets = _draw(at_once, num_tokens, vocabulary, TEST_SEED)
    return float(torch.stack([error(model, next(sets)) for _ in range(batches)]).mean())


def collect(config: RecallSetConfig, done: Done) -> dict[str, Any]:
    """Labels, modes of the rows that differ in nothing else, errors."""
    options = {row: ROWS[row].options for row in config.rows}
    return {
        "labels": labels(config.rows, ROWS),
        "modes": {row: some["modes"] for row, some in options.items() if some.keys() == {"modes"}},
        "cells": flatten(done["train"], "row", "vocabulary", "num_tokens", "seed"),
    }


def _errors(report: dict[str, Any], row: str, vocabulary: int) -> list[float]:
    return [cell["error"] for cell in select(report, row=row, vocabulary=vocabulary)]


def render(report: dict[str, Any]) -> str:
    """Caption, table and plot in Markdown, for a page in docs."""
    config = report["config"]
    vocabularies = config["vocabularies"]
    head = [
        *("mixer", *(f"V = {vocabulary}" for vocabulary in vocabularies)),
        *(f"relative to attention, V = {REFERENCE}", "breaks at V", "parameters"),
    ]
    lines = grid(report["labels"], vocabularies, lambda row, v: _errors(report, row, v), 3)
    for row, line in zip(report["labels"], lines, strict=True):
        line += [_relative(report, row), _breaks(report, row), parameters(select(report, row=row))]
    caption = (
        "Mean square error at the queries relative to predicting zero, mean ± standard deviation "
        f"over {count_seeds(report, 'row', 'vocabulary')}. {config['irreps']}, "
        f"{config['num_blocks']} blocks, {config['steps']:,} steps of "
        f"{config['tokens_per_step']:,} tokens. "
        f"A mixer breaks at the first vocabulary with an error above {BROKEN}."
    )
    plot = "![Error against vocabulary, modes and tokens](results/recall_set.png)"
    return "\n\n".join([caption, table(head, lines), plot])


def _relative(report: dict[str, Any], row: str) -> str:
    mine, theirs = (_errors(report, name, REFERENCE) for name in (row, "attention"))
    return f"{mean(mine) / mean(theirs):.2f}x" if mine and theirs else MISSING


def _breaks(report: dict[str, Any], row: str) -> str:
    for vocabulary in sorted(report["config"]["vocabularies"]):
        errors = _errors(report, row, vocabulary)
        if not errors:
            return MISSING
        if mean(errors) > BROKEN:
            return str(vocabulary)
    return f"> {max(report['config']['vocabularies'])}"


def draw(report: dict[str, Any], figure: Any) -> None:
    """Error against vocabulary, against the number of modes, and against the size of the sets."""
    config = report["config"]
    figure.set_size_inches(14.5, 4.6)
    by_vocabulary, by_modes, by_length = panels = figure.subplots(1, 3, sharey=True)
    for place, (row, label) in enumerate(report["labels"].items()):
        look = {**style(place), "linestyle": "-" if row in report["modes"] else "--", "bars": True}
        points = {v: _errors(report, row, v) for v in config["vocabularies"]}
        draw_means(by_vocabulary, points, label=plain(label), **look)
        cells = select(report, row=row, vocabulary=config["length_vocabulary"])
        lengths = {n: [c["by_length"][str(n)] for c in cells] for n in config["lengths"]}
        draw_means(by_length, lengths, **look)
    for vocabulary in config["vocabularies"]:
        points = {m: _errors(report, row, vocabulary) for row, m in report["modes"].items()}
        draw_means(by_modes, points, bars=True, label=f"V = {vocabulary}", marker="o")
    by_vocabulary.set(xlabel="vocabulary V", ylabel="error at queries (predicting zero: 1)")
    by_modes.set(xlabel="modes M of coordinate")
    by_length.set(xlabel=f"tokens per set in the test, V = {config['length_vocabulary']}")
    finish(figure, panels)
    by_vocabulary.yaxis.set_major_formatter("{x:g}")
    by_vocabulary.yaxis.set_minor_formatter("")
    for axes in panels:
        axes.axhline(BROKEN, color="gray", linestyle=":", linewidth=1)
    if report["modes"]:
        by_modes.legend(fontsize="small")


STUDY = Study(
    "recall_set",
    RecallSetConfig,
    list_cells,
    {"train": train},
    {"recall_set": render},
    draw,
    collect,
)

"""The comparison on set recall: its cells, its report, its command."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from benchmarks.data.set_recall import set_recall
from benchmarks.experiments import set_recall_cell, set_recall_report
from benchmarks.experiments.set_recall import ROWS, Config, list_cells
from benchmarks.harness.documents import read_block

from e3hyena.cli import main

from .conftest import as_words


class Answers(torch.nn.Module):
    """Predicts a multiple of the right answer."""

    def __init__(self, sets, factor):
        super().__init__()
        self.answer = factor * sets.target

    def forward(self, x, batch):
        return self.answer


def test_error_is_relative_to_predicting_zero() -> None:
    sets = set_recall(4, 32, 4)
    assert set_recall_cell.error(Answers(sets, 0.0), sets) == 1.0
    assert set_recall_cell.error(Answers(sets, 1.0), sets) == 0.0
    assert set_recall_cell.error(Answers(sets, 0.5), sets) == pytest.approx(0.25)


def test_all_rows_of_a_seed_come_before_the_next_seed() -> None:
    cells = list_cells(Config(seeds=[0, 1]))
    assert len(cells) == len({cell.name for cell in cells}) == 2 * 4 * len(ROWS)
    assert [cell.config["seed"] for cell in cells] == [0] * 4 * len(ROWS) + [1] * 4 * len(ROWS)
    assert {c.config["vocabulary"] for c in cells if c.config["lengths"]} == {16}


@pytest.mark.parametrize("row", ROWS)
def test_every_row_learns(row: str, recall, tmp_path) -> None:
    cell = next(
        c for c in list_cells(dataclasses.replace(recall, rows=[row])) if c.config["lengths"]
    )
    result = set_recall_cell.train(cell.config, tmp_path)
    assert result["by_length"].keys() == {"32", "64"}
    assert result["by_length"]["32"] == result["error"] < 10
    assert len(json.loads((tmp_path / "curve.json").read_text())) == 3


def test_the_seed_decides(recall, tmp_path) -> None:
    config = list_cells(recall)[0].config
    errors = [
        set_recall_cell.train({**config, "seed": seed}, tmp_path)["error"] for seed in (0, 0, 1)
    ]
    assert errors[0] == errors[1] != errors[2]


def test_attention_learns_to_recall(recall, tmp_path) -> None:
    config = dataclasses.replace(recall, rows=["attention"], steps=250, tokens_per_step=512)
    config = dataclasses.replace(config, irreps="8x0e + 8x1o")
    assert set_recall_cell.train(list_cells(config)[0].config, tmp_path)["error"] < 0.5


def made_up_report(config: Config, errors: dict[tuple[str, int], float]) -> dict[str, Any]:
    done = {
        cell.name: {
            "config": cell.config,
            "environment": {"cpu": "abacus"},
            "result": {
                "error": errors[cell.config["row"], cell.config["vocabulary"]],
                "by_length": {str(length): 0.1 for length in cell.config["lengths"]},
                "parameters": 100,
                "seconds": 1.0,
            },
        }
        for cell in list_cells(config)
        if (cell.config["row"], cell.config["vocabulary"]) in errors
    }
    rows = {row: ROWS[row] for row in config.rows}
    return set_recall_report.collect(dataclasses.asdict(config), rows, done)


def test_table(recall) -> None:
    config = dataclasses.replace(recall, rows=["coordinate_4", "attention", "filter"])
    errors = {
        ("coordinate_4", 4): 0.3,
        ("coordinate_4", 16): 0.6,
        ("attention", 4): 0.1,
        ("attention", 16): 0.2,
        ("filter", 4): 0.9,
    }
    lines = set_recall_report.render(made_up_report(config, errors)).splitlines()
    assert "| `coordinate`, M = 4 | 0.300 | 0.600 | 3.00x | 16 | 100 |" in lines
    assert "| `attention` | 0.100 | 0.200 | 1.00x | > 16 | 100 |" in lines
    assert "| `filter` | 0.900 | – | – | 4 | 100 |" in lines


@pytest.mark.slow
def test_command(recall, page, capsys) -> None:
    config = dataclasses.replace(recall, documents=[str(page)])
    assert main(["experiment", "set_recall", *as_words(config)]) == 0
    assert "4/4" in capsys.readouterr().out
    output = Path(config.output)
    report = json.loads((output / "recall_set.json").read_text())
    assert read_block(page, "recall_set") == set_recall_report.render(report)
    assert (output / "recall_set.png").read_bytes().startswith(b"\x89PNG")

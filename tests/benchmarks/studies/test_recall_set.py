"""The comparison on set recall: its cells, its report, a whole run."""

import json
from typing import Any

import pytest
import torch
from benchmarks.data.set_recall import set_recall
from benchmarks.studies import recall_set
from benchmarks.studies.recall_set import ROWS, STUDY, RecallSetConfig, list_cells

from .conftest import made_up

# Two mixers, two vocabularies, three steps.
SMALL: dict[str, Any] = {
    "rows": ["coordinate_4", "attention"],
    "vocabularies": [4, 16],
    "lengths": [32, 64],
    "irreps": "4x0e + 4x1o",
    "num_blocks": 1,
    "steps": 3,
    "tokens_per_step": 64,
    "test_tokens": 256,
}


def small(**options: Any) -> RecallSetConfig:
    return RecallSetConfig(**{**SMALL, **options})


class Answers(torch.nn.Module):
    """Predicts a multiple of the right answer."""

    def __init__(self, sets, factor):
        super().__init__()
        self.answer = factor * sets.target

    def forward(self, x, batch):
        return self.answer


def test_error_is_relative_to_predicting_zero() -> None:
    sets = set_recall(4, 32, 4)
    assert recall_set.error(Answers(sets, 0.0), sets) == 1.0
    assert recall_set.error(Answers(sets, 1.0), sets) == 0.0
    assert recall_set.error(Answers(sets, 0.5), sets) == pytest.approx(0.25)


def test_all_rows_of_a_seed_come_before_the_next_seed() -> None:
    cells = list_cells(RecallSetConfig(seeds=[0, 1]))
    assert len(cells) == len({cell.name for cell in cells}) == 2 * 4 * len(ROWS)
    assert [cell.config["seed"] for cell in cells] == [0] * 4 * len(ROWS) + [1] * 4 * len(ROWS)
    assert {c.config["vocabulary"] for c in cells if c.config["lengths"]} == {16}


@pytest.mark.parametrize(
    "row", [pytest.param(row, marks=[pytest.mark.slow] * (i % 2)) for i, row in enumerate(ROWS)]
)
def test_every_row_learns(row: str, tmp_path) -> None:
    cell = next(c for c in list_cells(small(rows=[row])) if c.config["lengths"])
    result = recall_set.train(cell.config, tmp_path)
    assert result["by_length"].keys() == {"32", "64"}
    assert result["by_length"]["32"] == result["error"] < 10
    assert len(json.loads((tmp_path / "curve.json").read_text())) == 3


def test_the_seed_decides(tmp_path) -> None:
    config = list_cells(small())[0].config
    errors = [recall_set.train({**config, "seed": seed}, tmp_path)["error"] for seed in (0, 0, 1)]
    assert errors[0] == errors[1] != errors[2]


@pytest.mark.slow
def test_attention_learns_to_recall(tmp_path) -> None:
    config = small(rows=["attention"], steps=250, tokens_per_step=512, irreps="8x0e + 8x1o")
    assert recall_set.train(list_cells(config)[0].config, tmp_path)["error"] < 0.5


def test_table() -> None:
    config = small(rows=["coordinate_4", "attention", "filter"])
    errors = {
        ("coordinate_4", 4): 0.3,
        ("coordinate_4", 16): 0.6,
        ("attention", 4): 0.1,
        ("attention", 16): 0.2,
        ("filter", 4): 0.9,
    }

    def invented(values: dict[str, Any]) -> dict[str, Any] | None:
        task = values["row"], values["vocabulary"]
        return {"error": errors[task], "parameters": 100} if task in errors else None

    lines = recall_set.render(made_up(STUDY, config, invented)).splitlines()
    assert "| `coordinate`, M = 4 | 0.300 | 0.600 | 3.00x | 16 | 100 |" in lines
    assert "| `attention` | 0.100 | 0.200 | 1.00x | > 16 | 100 |" in lines
    assert "| `filter` | 0.900 | – | – | 4 | 100 |" in lines


def test_study(run_small: Any) -> None:
    report, page = run_small(STUDY, **SMALL)
    assert report["modes"] == {"coordinate_4": 4}
    assert [cell["num_tokens"] for cell in report["cells"]] == [32] * 4
    assert recall_set.render(report) in page

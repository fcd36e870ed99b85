"""The comparison on molecules: its cells, its report, its command."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from benchmarks.experiments import molecule_cell, molecule_report, molecules
from benchmarks.experiments.molecules import ROWS, Config
from benchmarks.harness.documents import read_block

from e3hyena.cli import main
from e3hyena.data import QM9Extract
from e3hyena.training.config import TrainConfig
from e3hyena.training.plan import resolve

from .conftest import as_words


def train(config: Config, folder: Path, row: str) -> dict[str, Any]:
    folder.mkdir()
    return molecule_cell.train(config.training(row, "dipole", 16, 1, 0), folder)


def test_all_rows_of_a_seed_come_before_the_next_seed() -> None:
    cells = molecules.list_cells(Config())
    assert len(cells) == len({cell.name for cell in cells}) == 132
    seeds = [cell.config["seed"] for cell in cells]
    assert seeds == sorted(seeds)
    assert {cell.config["row"] for cell in cells[:11]} == ROWS.keys()
    budgets = {json.dumps([c.config["optim"], c.config["model"]["irreps_hidden"]]) for c in cells}
    assert len(budgets) == 2, "one per train size"


@pytest.mark.parametrize("row", [row for row in ROWS if row != "moments"])
def test_every_row_builds_its_network(row: str) -> None:
    values = Config(irreps_hidden="8x0e + 8x1o").training(row, "gap", 16, 1, 0)
    model = resolve(TrainConfig.from_dict(values)).build_model()
    assert (model.layers[0].block.operator is None) == (row == "local")


def test_a_cell_measures_error_and_dependence_on_the_order(molecules, tmp_path) -> None:
    result = train(molecules, tmp_path / "a", "query_key")
    again = train(molecules, tmp_path / "b", "query_key")
    assert result["test"] == again["test"]
    assert result["permutation_error"] > 1e-3
    assert 0 < result["relative_permutation_error"] < 1
    canonical = train(molecules, tmp_path / "c", "query_key_canonical")
    assert canonical["permutation_error"] < 1e-4 * result["permutation_error"]
    assert canonical["parameters"] == result["parameters"]


def test_relisted_molecules_are_the_same_molecules() -> None:
    given = QM9Extract("test")
    moved = QM9Extract("test", transform=molecule_cell.Relisted())
    changed = 0
    for i in range(10):
        a, b = given[i], moved[i]
        changed += not torch.equal(a.pos, b.pos)
        assert torch.equal(a.z[b.order_index], b.z) and torch.equal(a.pos[b.order_index], b.pos)
        assert torch.equal(a.dipole, b.dipole)
    assert changed > 5


def test_wrong_options() -> None:
    with pytest.raises(ValueError, match="'atention' is unknown; use some of local"):
        Config(rows=["atention"])
    with pytest.raises(ValueError, match="as many numbers of epochs as train sizes"):
        Config(train_sizes=[10])


def made_up_report(config: Config) -> dict[str, Any]:
    """What a run with two seeds would leave, with errors that are easy to check."""
    config = dataclasses.replace(config, seeds=[0, 1])
    done = {
        cell.name: {
            "config": cell.config,
            "environment": {"cpu": "abacus"},
            "result": {
                "test": {"norm_mae": 9.0, "vector_error": 0.5 + 0.2 * cell.config["seed"]},
                "mean_predictor": {"norm_mae": 9.0, "vector_error": 3.0},
                "permutation_error": 0.02,
                "relative_permutation_error": 0.01,
                "parameters": 1234,
                "seconds": 1.0,
            },
        }
        for cell in molecules.list_cells(config)
        if cell.config["row"] == "local" or cell.config["seed"] == 0
    }
    labels = {row: ROWS[row].label for row in config.rows}
    return molecule_report.collect(dataclasses.asdict(config), labels, done, Path("none.json"))


def test_tables_of_an_experiment_that_was_stopped_early(molecules) -> None:
    report = made_up_report(molecules)
    table = molecule_report.render(report)
    assert "over 1 to 2 seeds" in table and "2 steps of 8 molecules" in table
    local = "| local network alone | 0.6000 ± 0.1414 | 2.0e-02 | 1.0e-02 | 1,234 | – | – |"
    assert local in table.splitlines()
    assert "| `query_key`, canonical order | 0.5000 | 2.0e-02 |" in table
    assert "| mean predictor | 3.0000 |" in table
    assert molecule_report.render_short(report).count("\n") == 2


def test_a_report_needs_trainings(molecules) -> None:
    with pytest.raises(ValueError, match="no finished training to report"):
        molecule_report.collect(dataclasses.asdict(molecules), {}, {}, Path("none.json"))


@pytest.mark.slow
def test_timing_comes_first_if_one_likes(molecules, capsys) -> None:
    words = as_words(dataclasses.replace(molecules, stage="timing", rows=["local"]))
    assert main(["experiment", "molecules", *words]) == 0
    timing = json.loads(Path(molecules.output, "timing.json").read_text())
    assert timing["milliseconds"]["local"]["median"] > 0
    assert timing["mebibytes"]["local"] > 0


@pytest.mark.slow
def test_command(molecules, page, capsys) -> None:
    config = dataclasses.replace(molecules, documents=[str(page)])
    assert main(["experiment", "molecules", *as_words(config)]) == 0
    shown = capsys.readouterr().out
    assert "0 of 2 cells are done" in shown and "2/2" in shown
    output = Path(config.output)
    report = json.loads((output / "molecules.json").read_text())
    assert read_block(page, "molecules") == molecule_report.render(report)
    assert read_block(page, "molecules_short") == molecule_report.render_short(report)
    assert read_block(page, "recall_set") == "old"
    assert (output / "molecules.png").read_bytes().startswith(b"\x89PNG")
    assert report["timing"]["milliseconds"].keys() == report["timing"]["mebibytes"].keys()
    assert "| 1.00x |" in molecule_report.render(report)

    words = as_words(dataclasses.replace(config, stage="train"))
    assert main(["experiment", "molecules", *words]) == 0
    assert "2 of 2 cells are done" in capsys.readouterr().out
    words = as_words(dataclasses.replace(config, lr=0.5))
    assert main(["experiment", "molecules", *words]) == 1
    assert "is of other options (optim)" in capsys.readouterr().err

"""The comparison on molecules: its cells, its report, a whole run."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from benchmarks.studies.molecules import ROWS, STUDY, MoleculesConfig, list_cells, training
from benchmarks.studies.molecules.report import render, render_short

from e3hyena.data import QM9Extract
from e3hyena.training.config import TrainConfig
from e3hyena.training.plan import resolve

from .conftest import made_up

# Two networks, one target, one seed, 16 molecules.
SMALL: dict[str, Any] = {
    "rows": ["local", "query_key_canonical"],
    "targets": ["dipole"],
    "train_sizes": [16],
    "epochs": [1],
    "seeds": [0],
    "irreps_hidden": "4x0e + 4x1o",
    "num_layers": 1,
    "batch_size": 8,
    "val_size": 4,
    "test_size": 8,
    "timing_repeats": 1,
}


def train(folder: Path, row: str) -> dict[str, Any]:
    folder.mkdir()
    values = MoleculesConfig(**SMALL).training(row, "dipole", 16, 1, 0)
    return training.train(values, folder)


def test_all_rows_of_a_seed_come_before_the_next_seed() -> None:
    cells = [cell for cell in list_cells(MoleculesConfig()) if cell.stage == "train"]
    assert len(cells) == len({cell.name for cell in cells}) == 132
    seeds = [cell.config["seed"] for cell in cells]
    assert seeds == sorted(seeds)
    assert {cell.config["row"] for cell in cells[:11]} == ROWS.keys()
    budgets = {json.dumps([c.config["optim"], c.config["model"]["irreps_hidden"]]) for c in cells}
    assert len(budgets) == 2, "one per train size"


@pytest.mark.parametrize("row", [row for row in ROWS if row != "moments"])
def test_every_row_builds_its_network(row: str) -> None:
    values = MoleculesConfig(irreps_hidden="8x0e + 8x1o").training(row, "gap", 16, 1, 0)
    model = resolve(TrainConfig.from_dict(values)).build_model()
    assert (model.layers[0].block.operator is None) == (row == "local")


def test_a_cell_measures_error_and_dependence_on_the_order(tmp_path: Path) -> None:
    result = train(tmp_path / "a", "query_key")
    again = train(tmp_path / "b", "query_key")
    assert result["test"] == again["test"]
    assert result["permutation_error"] > 1e-3
    assert 0 < result["relative_permutation_error"] < 1
    canonical = train(tmp_path / "c", "query_key_canonical")
    assert canonical["permutation_error"] < 1e-4 * result["permutation_error"]
    assert canonical["parameters"] == result["parameters"]


def test_relisted_molecules_are_the_same_molecules() -> None:
    given = QM9Extract("test")
    moved = QM9Extract("test", transform=training.Relisted())
    changed = 0
    for i in range(10):
        a, b = given[i], moved[i]
        changed += not torch.equal(a.pos, b.pos)
        assert torch.equal(a.z[b.order_index], b.z) and torch.equal(a.pos[b.order_index], b.pos)
        assert torch.equal(a.dipole, b.dipole)
    assert changed > 5


def test_wrong_options() -> None:
    with pytest.raises(ValueError, match="'atention' is unknown; use some of local"):
        MoleculesConfig(rows=["atention"])
    with pytest.raises(ValueError, match="as many numbers of epochs as train sizes"):
        MoleculesConfig(train_sizes=[10])


def invented(values: dict[str, Any]) -> dict[str, Any] | None:
    """Of two seeds, with errors that are easy to check."""
    if values["row"] != "local" and values["seed"] > 0:
        return None
    return {
        "test": {"norm_mae": 9.0, "vector_error": 0.5 + 0.2 * values["seed"]},
        "mean_predictor": {"norm_mae": 9.0, "vector_error": 3.0},
        "permutation_error": 0.02,
        "relative_permutation_error": 0.01,
        "parameters": 1234,
    }


def test_tables_of_an_experiment_that_was_stopped_early() -> None:
    report = made_up(STUDY, MoleculesConfig(**{**SMALL, "seeds": [0, 1]}), invented)
    table = render(report)
    assert "over 1 to 2 seeds" in table and "2 steps of 8 molecules" in table
    local = "| local network alone | 0.6000 ± 0.1414 | 2.0e-02 | 1.0e-02 | 1,234 | – | – |"
    assert local in table.splitlines()
    assert "| `query_key`, canonical order | 0.5000 | 2.0e-02 |" in table
    assert "| mean predictor | 3.0000 |" in table
    assert render_short(report).count("\n") == 2


def test_a_report_needs_trainings(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="run the stage train first"):
        STUDY.run(MoleculesConfig(**SMALL, stage="report", output=str(tmp_path)))


@pytest.mark.slow
def test_study(run_small: Any, tmp_path: Path) -> None:
    config = MoleculesConfig(**SMALL, stage="timing", output=str(tmp_path / "molecules"), jobs=0)
    assert STUDY.run(config) is None, "timing comes first if one likes"
    report, page = run_small(STUDY, **SMALL)
    assert page.index(render(report)) < page.index(render_short(report))
    for key in ("milliseconds", "mebibytes"):
        assert report["timing"][key].keys() == {"local", "query_key_canonical"}
    assert report["timing"]["environment"]["threads"] == 1
    assert "| 1.00x |" in page

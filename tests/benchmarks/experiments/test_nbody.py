"""The comparison on charged particles: its cells, its report, its command."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from benchmarks.bench.documents import read_block
from benchmarks.experiments import nbody_cell, nbody_report
from benchmarks.experiments.nbody import ROWS, Config, list_cells
from benchmarks.experiments.nbody_cell import Systems, pairs

from e3hyena.cli import main

from .conftest import as_words


def folder(path: Path) -> Path:
    """As `run_cells` makes it, so that simulations are shared."""
    path = path / "work" / "cell"
    path.mkdir(parents=True, exist_ok=True)
    return path


@pytest.mark.parametrize("row", ROWS)
def test_every_row_trains(row: str, nbody, tmp_path) -> None:
    (cell,) = list_cells(dataclasses.replace(nbody, rows=[row]))
    result = nbody_cell.train(cell.config, folder(tmp_path))
    assert 0 < result["mse"] < 100
    curve = json.loads((folder(tmp_path) / "curve.json").read_text())
    assert len(curve) == 3
    assert result["val_mse"] == min(point["val"] for point in curve)
    model = nbody_cell.build(cell.config)
    model.load_state_dict(torch.load(folder(tmp_path) / "weights.pt"))
    test = nbody_cell.load(tmp_path / "data", cell.config, "test")
    assert nbody_cell.test(model, test, 20) == result["mse"]


def test_the_seed_decides_and_the_paper_has_neutral_particles(nbody, tmp_path) -> None:
    config = dataclasses.replace(nbody, protocols=["paper"], rows=["coordinate"])
    values = list_cells(config)[0].config
    errors = [
        nbody_cell.train({**values, "seed": seed}, folder(tmp_path))["mse"] for seed in (0, 0, 1)
    ]
    assert errors[0] == errors[1] != errors[2]
    charge = nbody_cell.load(tmp_path / "data", values, "train").charge
    assert charge.unique().tolist() == [-1.0, 0.0, 1.0]


def test_error_and_test_in_parts() -> None:
    systems = Systems(*(torch.randn(7, 5, width) for width in (3, 3, 1, 3)))
    net = nbody_cell.build({"row": "linear"})
    expected = (systems.pos + 0.7 * systems.vel - systems.y).square().mean()
    assert nbody_cell.test(net, systems, 15) == pytest.approx(float(expected))
    assert nbody_cell.squared_error(net, systems).mean().detach() == pytest.approx(float(expected))


@pytest.mark.parametrize(("scale", "power"), [(1e-4, 1), (1e4, 2)])
def test_loss_is_a_distance_beyond_its_scale_and_a_square_below(scale: float, power: int) -> None:
    errors = torch.randn(50, 3)
    loss = nbody_cell._loss(errors.square(), scale) * (1 if power == 1 else 2 * scale)
    assert float(loss) == pytest.approx(float((errors.norm(dim=1) ** power).mean()), rel=1e-3)


def test_pairs_stay_within_systems() -> None:
    edges = pairs(3, 4)
    assert edges.shape == (2, 36) and len(edges.T.unique(dim=0)) == 36
    assert torch.equal(edges[0] // 4, edges[1] // 4) and (edges[0] != edges[1]).all()


def test_batches_hold_every_system_once_per_round() -> None:
    systems = Systems(*(torch.arange(7.0).view(7, 1, 1) for _ in range(4)))
    batches = nbody_cell._shuffled(systems, 3)
    seen = torch.cat([next(batches).pos.flatten() for _ in range(2)])
    assert len(seen.unique()) == 6
    assert len(next(nbody_cell._shuffled(systems, 100)).pos) == 7


def test_cells() -> None:
    cells = list_cells(Config())
    assert len(cells) == len({cell.name for cell in cells}) == 5 * 4 * len(ROWS)
    tasks = {(c.config["protocol"], c.config["num_particles"]) for c in cells}
    assert tasks == {("standard", 5), ("standard", 20), ("standard", 100), ("paper", 5)}
    for cell in cells:
        assert (cell.config["cutoff"] is None) == (not cell.config["row"].startswith("local"))


def made_up_report(config: Config) -> dict[str, Any]:
    done = {
        cell.name: {
            "config": cell.config,
            "environment": {"cpu": "abacus", "torch": "0"},
            "result": {
                "mse": 0.01 * (1 + cell.config["seed"]),
                "val_mse": 0.01,
                "best_step": 1,
                "parameters": 1000,
                "seconds": 90.0,
            },
        }
        for cell in list_cells(config)
        if cell.config["row"] != "filter"
    }
    labels = {row: ROWS[row].label for row in config.rows}
    return nbody_report.collect(dataclasses.asdict(config), labels, done)


def test_table() -> None:
    config = Config(rows=["linear", "coordinate", "filter"], seeds=[0, 1])
    lines = nbody_report.render(made_up_report(config)).splitlines()
    entry = "0.01500 ± 0.00707"
    assert f"| `coordinate` | {' | '.join([entry] * 4)} | 1,000 | 1.5 |" in lines
    assert "| `filter`, as listed | – | – | – | – | – | – |" in lines
    assert "| linear dynamics, published | 0.0819 |  |  | 0.0322 |  |  |" in lines
    assert "| SEGNN, published | 0.0043 |  |  |  |  |  |" in lines
    assert "2 seeds" in lines[0]


def test_wrong_options() -> None:
    with pytest.raises(ValueError, match="standard, paper"):
        Config(protocols=["egnn"])
    with pytest.raises(ValueError, match="one fraction"):
        Config(particles=[5])


@pytest.mark.slow
def test_command(nbody, page, capsys) -> None:
    config = dataclasses.replace(nbody, documents=[str(page)])
    assert main(["experiment", "nbody", *as_words(config)]) == 0
    assert "2/2" in capsys.readouterr().out
    output = Path(config.output)
    report = json.loads((output / "nbody.json").read_text())
    assert read_block(page, "nbody") == nbody_report.render(report)
    assert (output / "nbody.png").read_bytes().startswith(b"\x89PNG")

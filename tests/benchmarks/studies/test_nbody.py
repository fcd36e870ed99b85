"""The comparison on charged particles: its cells, its report, its command."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from benchmarks.data import nbody as nbody_data
from benchmarks.studies.nbody import ROWS, STUDY, NBodyConfig, list_cells, training
from benchmarks.studies.nbody.report import render
from benchmarks.studies.nbody.training import Systems, pairs

from e3hyena.training.files import read_json

from .conftest import made_up

# Two networks, a few systems simulated for a moment, three steps.
SMALL: dict[str, Any] = {
    "rows": ["linear", "coordinate"],
    "protocols": ["standard"],
    "particles": [5],
    "fractions": [1.0],
    "seeds": [0],
    "irreps": "4x0e + 4x1o",
    "num_layers": 1,
    "steps": 3,
    "particles_per_step": 20,
}


@pytest.fixture
def nbody(monkeypatch: pytest.MonkeyPatch) -> NBodyConfig:
    """Tiny simulations as well."""
    for name, protocol in list(nbody_data.PROTOCOLS.items()):
        brief = dataclasses.replace(protocol, sizes=(8, 4, 4), start=min(protocol.start, 5))
        monkeypatch.setitem(nbody_data.PROTOCOLS, name, dataclasses.replace(brief, horizon=5))
    return NBodyConfig(**SMALL)


def folder(path: Path) -> Path:
    """As `run_cells` makes it, so that simulations are shared."""
    path = path / "work" / "cell"
    path.mkdir(parents=True, exist_ok=True)
    return path


@pytest.mark.parametrize(
    "row", [pytest.param(r, marks=[pytest.mark.slow] * r.startswith("local_")) for r in ROWS]
)
def test_every_row_trains(row: str, nbody, tmp_path) -> None:
    cell = list_cells(dataclasses.replace(nbody, rows=[row]))[0]
    result = training.train(cell.config, folder(tmp_path))
    assert 0 < result["mse"] < 100
    curve = json.loads((folder(tmp_path) / "curve.json").read_text())
    assert len(curve) == 3
    assert result["val_mse"] == min(point["val"] for point in curve)
    model = training.build(cell.config)
    model.load_state_dict(torch.load(folder(tmp_path) / "weights.pt"))
    test = training.load(tmp_path / "data", cell.config, "test")
    assert training.test(model, test, 20) == result["mse"]


def test_the_seed_decides_and_the_paper_has_neutral_particles(nbody, tmp_path) -> None:
    config = dataclasses.replace(nbody, protocols=["paper"], rows=["coordinate"])
    values = list_cells(config)[0].config
    errors = [
        training.train({**values, "seed": seed}, folder(tmp_path))["mse"] for seed in (0, 0, 1)
    ]
    assert errors[0] == errors[1] != errors[2]
    charge = training.load(tmp_path / "data", values, "train").charge
    assert charge.unique().tolist() == [-1.0, 0.0, 1.0]


def test_error_and_test_in_parts() -> None:
    systems = Systems(*(torch.randn(7, 5, width) for width in (3, 3, 1, 3)))
    net = training.build({"row": "linear"})
    expected = (systems.pos + 0.7 * systems.vel - systems.y).square().mean()
    assert training.test(net, systems, 15) == pytest.approx(float(expected))
    assert training.squared_error(net, systems).mean().detach() == pytest.approx(float(expected))


@pytest.mark.parametrize(("scale", "power"), [(1e-4, 1), (1e4, 2)])
def test_loss_is_a_distance_beyond_its_scale_and_a_square_below(scale: float, power: int) -> None:
    errors = torch.randn(50, 3)
    loss = training._loss(errors.square(), scale) * (1 if power == 1 else 2 * scale)
    assert float(loss) == pytest.approx(float((errors.norm(dim=1) ** power).mean()), rel=1e-3)


def test_pairs_stay_within_systems() -> None:
    edges = pairs(3, 4)
    assert edges.shape == (2, 36) and len(edges.T.unique(dim=0)) == 36
    assert torch.equal(edges[0] // 4, edges[1] // 4) and (edges[0] != edges[1]).all()


def test_batches_hold_every_system_once_per_round() -> None:
    systems = Systems(*(torch.arange(7.0).view(7, 1, 1) for _ in range(4)))
    batches = training._shuffled(systems, 3)
    seen = torch.cat([next(batches).pos.flatten() for _ in range(2)])
    assert len(seen.unique()) == 6
    assert len(next(training._shuffled(systems, 100)).pos) == 7


def test_cells() -> None:
    cells = [cell for cell in list_cells(NBodyConfig()) if cell.stage == "train"]
    assert len(cells) == len({cell.name for cell in cells}) == 5 * 4 * len(ROWS)
    tasks = {(c.config["protocol"], c.config["num_particles"]) for c in cells}
    assert tasks == {("standard", 5), ("standard", 20), ("standard", 100), ("paper", 5)}
    for cell in cells:
        assert (cell.config["cutoff"] is None) == (not cell.config["row"].startswith("local"))


def invented(values: dict[str, Any]) -> dict[str, Any] | None:
    if values["row"] == "filter":
        return None
    error, kept = 0.01 * (1 + values["seed"]), {"val_mse": 0.01, "best_step": 1}
    return {"mse": error, **kept, "parameters": 1000, "seconds": 90.0}


def report_of(config: NBodyConfig) -> dict[str, Any]:
    """With the trainings first, whose results are invented."""
    return made_up(STUDY, config, invented)


def test_table() -> None:
    config = NBodyConfig(rows=["linear", "coordinate", "filter"], seeds=[0, 1])
    lines = render(report_of(config)).splitlines()
    entry = "0.01500 ± 0.00707"
    assert f"| `coordinate` | {' | '.join([entry] * 4)} | 1,000 | 1.5 |" in lines
    assert "| `filter`, as listed | – | – | – | – | – | – |" in lines
    assert "| linear dynamics, published | 0.0819 |  |  | 0.0322 |  |  |" in lines
    assert "| SEGNN, published | 0.0043 |  |  |  |  |  |" in lines
    assert "2 seeds" in lines[0]


def test_wrong_options() -> None:
    with pytest.raises(ValueError, match="standard, paper"):
        NBodyConfig(protocols=["egnn"])
    with pytest.raises(ValueError, match="one fraction"):
        NBodyConfig(particles=[5])


def test_study(nbody: NBodyConfig, run_small: Any) -> None:
    report, page = run_small(STUDY, **SMALL)
    assert {cell["row"]: len(cell) for cell in report["cells"]} == {"linear": 10, "coordinate": 10}
    assert render(report) in page


def test_the_stored_report_is_what_its_cells_make() -> None:
    """So that the keys of the JSON stay what they are."""
    stored = read_json(Path(__file__).parents[3] / "docs" / "results" / "nbody.json")
    config = NBodyConfig(**stored["config"])
    made = report_of(dataclasses.replace(config, rows=list(stored["labels"]), seeds=[0]))
    assert made["config"].keys() - {"threads"} == stored["config"].keys()
    assert made["cells"][0].keys() == stored["cells"][0].keys()
    assert (made["labels"], made["published"]) == (stored["labels"], stored["published"])

import json

import numpy as np
import pytest
import torch
from ase import build
from benchmarks.experiments import ethanol
from torch_geometric.data import Data


@pytest.fixture
def report(tmp_path, monkeypatch, finished_forces):
    """From a small network, on a molecule of ASE's in the place of MD17."""
    atoms = build.molecule("CH3CH2OH")
    frame = Data(z=torch.tensor(atoms.numbers), pos=torch.tensor(atoms.positions).float())
    monkeypatch.setattr(ethanol, "MD17Ethanol", lambda root, split: [frame])
    page = tmp_path / "page.md"
    page.write_text("".join(f"<!-- {n} -->\n<!-- /{n} -->\n" for n in ("ethanol", "ethanol_nve")))
    config = ethanol.Config(
        runs=[str(finished_forces)], frames=1, steps=30, results=str(tmp_path),
        documents=[str(page)],
    )  # fmt: skip
    return ethanol.run(config)


def test_the_report_is_written_and_rendered(report, tmp_path, finished_forces):
    stored = json.loads((tmp_path / "ethanol.json").read_text())
    assert stored == json.loads(json.dumps(report))
    assert (tmp_path / "ethanol.png").read_bytes().startswith(b"\x89PNG")
    page = (tmp_path / "page.md").read_text()
    assert ethanol.render(stored) in page and ethanol.render_nve(stored) in page
    results = json.loads((finished_forces / "results.json").read_text())
    assert f"{results['rows']['model']['test']['force_mae']:.3f}" in page
    assert len(stored["rows"][0]["curve"]) == 8


def test_the_trajectory_is_one_of_the_network(report):
    nve = report["nve"]
    assert nve["finite_difference_error"] < 1e-6
    assert len(nve["time"]) == 31 and nve["time"][-1] == pytest.approx(0.015)
    assert nve["total"][0] == 0 and np.ptp(nve["potential"]) > 20 * np.ptp(nve["total"]) > 0
    assert 20 < nve["temperature"] < 3000

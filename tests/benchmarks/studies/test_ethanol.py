"""Errors of a finished run and a trajectory of its network, on a molecule of ASE's for MD17."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ase import build
from benchmarks.studies import ethanol
from torch_geometric.data import Data


def test_report(
    run_small: Any, monkeypatch: pytest.MonkeyPatch, finished_forces: Path, tmp_path: Path
) -> None:
    atoms = build.molecule("CH3CH2OH")
    frame = Data(z=torch.tensor(atoms.numbers), pos=torch.tensor(atoms.positions).float())
    monkeypatch.setattr(ethanol, "MD17Ethanol", lambda root, split: [frame])
    report, page = run_small(ethanol.STUDY, runs=[str(finished_forces)], frames=1, steps=30)
    assert (tmp_path / "ethanol" / "ethanol.png").read_bytes().startswith(b"\x89PNG")
    results = json.loads((finished_forces / "results.json").read_text())
    assert f"{results['rows']['model']['test']['force_mae']:.3f}" in page
    assert len(report["rows"][0]["curve"]) == 8
    nve = report["nve"]
    assert nve["finite_difference_error"] < 1e-6
    assert len(nve["time"]) == 31 and nve["time"][-1] == pytest.approx(0.015)
    assert nve["total"][0] == 0 and np.ptp(nve["potential"]) > 20 * np.ptp(nve["total"]) > 0
    assert 20 < nve["temperature"] < 3000

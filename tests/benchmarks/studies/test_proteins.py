"""The three studies on biomolecules, on invented ones."""

from typing import Any

import pytest
import torch
from benchmarks.data.adk import Trajectory
from benchmarks.data.proteins import Protein, far_field
from benchmarks.studies import dynamics, protein, ribosome
from torch_geometric.data import Data


def _protein(seed: int, number: int = 30) -> Protein:
    generator = torch.Generator().manual_seed(seed)
    pos = 8 * torch.randn(number, 3, generator=generator)
    residue = torch.arange(number) // 3
    charge = torch.randn(number // 3, generator=generator)[residue]
    made = charge, *far_field(pos, charge)
    return Protein(f"p{seed}", torch.full((number,), 6), pos, residue, *made)


def test_protein(run_small: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        protein, "small_proteins", lambda: ([_protein(0), _protein(1)], [_protein(2)])
    )
    monkeypatch.setattr(protein, "large_proteins", lambda: [_protein(3, 60)])
    small = {"width": 4, "num_layers": 1, "steps": 2, "seconds": 0.05, "seeds": [0]}
    rows = ["local", "egnn", "coordinate_range"]
    report, page = run_small(protein.STUDY, rows=rows, **small)
    assert len(report["cells"]) == 2 * len(rows)
    assert all(cell["test"]["field"]["r2"] < 1 for cell in report["cells"])
    assert "p3, field" in page and "1 of other families with 30 atoms" in page


def test_a_step_takes_proteins_until_it_has_enough_atoms() -> None:
    """As one batch they are what they are alone."""
    graphs = [(_protein(seed, 12), torch.tensor([[0, 1], [1, 0]])) for seed in range(3)]
    batches = protein._shuffled(graphs, 24)
    assert [len(next(batches)) for _ in range(3)] == [2, 2, 2]
    assert len(next(protein._shuffled(graphs, 5))) == 1
    net = protein.FarNet("coordinate", 4, 1, 6.0, {"range": 20.0})
    alone = torch.cat([protein.predict(net, [graph]) for graph in graphs])
    torch.testing.assert_close(protein.predict(net, graphs), alone, rtol=1e-4, atol=1e-6)


def test_dynamics(run_small: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    walk = torch.randn(2, 12, 9, 3, generator=torch.Generator().manual_seed(0)).cumsum(dim=1)
    runs = [Trajectory(torch.full((9,), 6), frames) for frames in walk]
    monkeypatch.setattr(dynamics, "trajectories", lambda _: runs)
    small = {"irreps": "4x0e + 4x1o", "num_layers": 1, "steps": 3, "ahead": 2, "seeds": [0]}
    report, page = run_small(dynamics.STUDY, **small)
    (linear,) = {cell["linear"] for cell in report["cells"]}
    assert linear > 0 and "| last position |" in page


def test_linear_is_the_best_combination() -> None:
    past = torch.randn(20, len(dynamics.LAGS), 3)
    target = 2 * past[:, 0] - past[:, 1]
    frame = dynamics.Frame(torch.ones(20), past[:, 0], past, target, torch.zeros(2, 0))
    torch.testing.assert_close(dynamics.fit_linear([frame]), torch.tensor([2.0, -1.0]))


@pytest.mark.slow
def test_ribosome(run_small: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    pos = 10 * torch.rand(50, 3, generator=torch.Generator().manual_seed(0))
    graph = Data(z=torch.full((50,), 6), pos=pos)
    monkeypatch.setattr(ribosome, "read_mmtf", lambda name: graph)
    small = {"atoms": [20, 0], "num_layers": 1, "irreps_hidden": "4x0e + 4x1o"}
    report, page = run_small(ribosome.STUDY, **small)
    assert [cell["atoms"] for cell in report["cells"]] == [20, 50]
    assert len(report["sample"]) == 50 and "µs per atom" in page

"""The comparison on chains and pairs."""

from typing import Any

import numpy as np
import pytest
import torch
from benchmarks.data import ends, pairs
from benchmarks.studies.chains import ROWS, STUDY, ChainsConfig, list_cells, tasks

SMALL: dict[str, Any] = {
    "rows": ["local", "coordinate"],
    "irreps": "4x0e + 4x1o + 4x2e",
    "num_layers": 1,
    "steps": [2, 2, 2, 2],
    "batch_size": 2,
    "seeds": [0],
}


@pytest.mark.slow
def test_study(run_small: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the weights, a local network is at its floor."""
    pytest.importorskip("tblite")
    for sizes in tasks.SIZES.values():
        for split, size in {"train": 2, "val": 2, "test": 8}.items():
            monkeypatch.setitem(sizes, split, size)
    monkeypatch.setitem(tasks.SIZES["pairs"], "test", 80)  # some at every distance
    for name, lengths in {"TRAINED": (4, 5), "UNSEEN": (6,), "LONGER": (7, 9)}.items():
        monkeypatch.setattr(tasks, name, lengths)
    report, page = run_small(STUDY, **SMALL)
    cells = {(cell["task"], cell["row"]): cell for cell in report["cells"]}
    truth, local = report["truth"], cells["torsion", "local"]
    assert local["within"] == pytest.approx(truth["torsion"]["floor"]["17"], rel=1e-4)
    assert local["torque"] == pytest.approx(truth["torsion"]["torque"], rel=1e-4)
    assert np.ptp(local["scan"]) < 1e-5 < np.ptp(cells["torsion", "coordinate"]["scan"])
    far = cells["ends", "local"]["predicted"]
    assert np.ptp(far) < 1e-5 < np.ptp(cells["ends", "coordinate"]["predicted"])
    assert truth["lengths"]["scan"]["4"][-1] == pytest.approx(2.08, abs=0.006)
    assert f"| floor of any local network | {truth['torsion']['floor']['17']:.4f} |" in page


def test_cells() -> None:
    cells = list_cells(ChainsConfig())
    assert len({cell.name for cell in cells}) == len(cells) == 2 * 4 * len(ROWS) + 4
    found = [cell.config for cell in cells if cell.name.startswith("pairs")]
    options = {config["row"]: config["mixer_options"] for config in found}
    assert options["coordinate"] == {"range": 20.0} and options["query_key"] == {}
    with pytest.raises(ValueError, match="unknown"):
        ChainsConfig(rows=["gravity"])
    with pytest.raises(ValueError, match="one for each of 1 tasks"):
        ChainsConfig(tasks=["ends"])


def test_colours_alternate() -> None:
    """So the ends of a chain have one colour if its number of carbons is odd."""
    assert tasks.colours(3)[:, 0].tolist() == [1, 1, 1, -1, 1, 1, 1]
    starred = tasks.scan(4, starred=True)
    assert torch.equal(starred[0].features.abs(), torch.ones(8, 1))
    assert starred[0].features[0] == -starred[0].features[-1]


def test_ends_differ_where_they_should() -> None:
    z, pos = ends.build(10, ("NO2", "H"))
    plain, chain = ends.build(10, ("H", "H"))
    assert z.tolist() == [7, 8, 8, 1, *[6] * 10, 1, 1] and plain.tolist() == [1, 1, *[6] * 10, 1, 1]
    assert np.allclose(pos[-12:], chain[-12:]) and np.allclose(pos[3], chain[1])
    assert np.linalg.norm(pos[0] - pos[4]) == pytest.approx(1.46)
    between = np.linalg.norm(pos[:, None] - pos[None], axis=-1) + 9 * np.eye(len(pos))
    assert between.min() > 1.0


def test_pairs_are_as_far_apart_as_asked() -> None:
    random = np.random.default_rng(0)
    first, second = random.standard_normal((2, 5, 3))
    move = pairs.apart(first, second, np.array([0, 0, 1.0]), 6.0)
    between = first[:, None] - second - move * np.array([0, 0, 1.0])
    assert np.linalg.norm(between, axis=-1).min() == pytest.approx(6.0)
    if pytest.importorskip("tblite") and pytest.importorskip("rdkit"):
        (pair,) = pairs.draw(1, seed=0)
        assert 3 <= pair.distance <= 15 and len(pair.z) == len(pair.pos)
        assert pairs.draw(1, seed=0)[0].energy == pytest.approx(pair.energy, abs=1e-6)

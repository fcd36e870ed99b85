"""The comparison on cumulenes."""

from typing import Any

import numpy as np
import pytest
from benchmarks.studies.chains import ROWS, STUDY, ChainsConfig, list_cells, render

SMALL: dict[str, Any] = {
    "rows": ["local", "coordinate"],
    "num_carbons": 5,
    "train_size": 4,
    "test_size": 8,
    "irreps": "4x0e + 4x1o + 4x2e",
    "cutoff": 1.5,
    "num_layers": 1,
    "steps": 3,
    "batch_size": 2,
}


def test_study(run_small: Any) -> None:
    pytest.importorskip("tblite")
    report, page = run_small(STUDY, **SMALL)
    assert render(report) in page
    local, coordinate = report["cells"]
    truth = report["truth"]
    assert local["row"], coordinate["row"] == ("local", "coordinate")
    assert local["within"] == pytest.approx(truth["floor"], rel=1e-5)
    assert coordinate["within"] != pytest.approx(truth["floor"], rel=1e-5)
    assert truth["scan"][-1] == pytest.approx(-1.51, abs=0.006)
    assert np.ptp(local["scan"]) < 1e-5 and len(coordinate["scan"]) == len(truth["scan"])
    assert f"| floor of any local network | {truth['floor']:.4f} |" in page


def test_cells() -> None:
    cells = list_cells(ChainsConfig(seeds=[0, 1]))
    assert len({cell.name for cell in cells}) == len(cells) == 2 * len(ROWS) + 1
    with pytest.raises(ValueError, match="unknown"):
        ChainsConfig(rows=["gravity"])

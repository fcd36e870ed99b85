"""The comparison with other packages; theirs run where an interpreter has them."""

from typing import Any

import pytest
from benchmarks.studies.peers import ROWS, STUDY, PeersConfig, list_cells

from tests.benchmarks.studies.conftest import made_up


def test_cells_and_table() -> None:
    def result(values: dict[str, Any]) -> dict[str, Any] | None:
        if values["row"] == "painn":
            return None
        found = {"energy_mae": 1.0, "force_mae": 2.0, "parameters": 7, "steps": 10, "lr": 1e-3}
        more = {"within": 0.5} if values["task"] == "chains" else {}
        return {**found, **more, "milliseconds": 3.0, "versions": {"torch": "0"}}

    config = PeersConfig(python="/somewhere/python")
    cells = list_cells(config)
    assert len({cell.name for cell in cells}) == len(cells) == 3 * len(ROWS)
    report = made_up(STUDY, config, result)
    assert "somewhere" not in str(report)
    text = STUDY.render(report)["peers"]
    assert "| NequIP | 0.5000 | 1.0000 | 2.0000 | 20 Å | 7 | 0.001 | 10 | 3 |" in text
    assert text.count("|---") == 9 + 8 + 7 and "PaiNN" not in text
    with pytest.raises(ValueError, match="unknown"):
        PeersConfig(rows=["gravity"])
    with pytest.raises(ValueError, match="one for each of 1 tasks"):
        PeersConfig(tasks=["chains"])


@pytest.mark.slow
def test_study(run_small: Any) -> None:
    """A local network stands at its floor, however short its training."""
    short = {"seconds": [0.3], "trial": 0.3, "tasks": ["chains"]}
    report, page = run_small(STUDY, rows=["local"], **short)
    (cell,) = report["cells"]
    assert cell["within"] == pytest.approx(0.1274, abs=2e-4) and cell["steps"] > 0
    assert "messages alone" in page
    with pytest.raises(RuntimeError, match="1 of 1 cells failed"):
        run_small(STUDY, rows=["nequip"], **short, python="/bin/false")

"""The experiment sees which symmetry holds and which does not."""

import json
from pathlib import Path

import pytest
from benchmarks.experiments.symmetry import Config, run


def test_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page, short = tmp_path / "page.md", tmp_path / "short.md"
    page.write_text("<!-- symmetry -->\n<!-- /symmetry -->\n")
    short.write_text("<!-- symmetry_short -->\n<!-- /symmetry_short -->\n")
    report = run(
        Config(
            mixers=["query_key", "coordinate"],
            orders=["none", "residue", "distance"],
            molecules=3,
            canonical_molecules=4,
            output=str(tmp_path / "report.json"),
            documents=[str(page)],
            summaries=[str(short)],
        )
    )
    assert json.loads((tmp_path / "report.json").read_text())["errors"] == report["errors"]
    for mixer, orders in report["errors"].items():
        for order, operations in orders.items():
            for name, error in operations.items():
                broken = (mixer, order, name) == ("query_key", "none", "permutation")
                assert (error["float64"] > 1e-3) is broken, (mixer, order, name, error)
                assert (error["float32"] > 1e-3) is broken
    relisted = report["relisted"]
    assert relisted["none"]["listing"]["invariants"]["changed"] == 4
    for kind in ("listing", "frame"):
        assert relisted["distance"][kind]["invariants"]["unchanged_share"] == 1.0
    assert "| `query_key` | none |" in page.read_text()
    assert "| `coordinate` |" in short.read_text()
    assert "re-listed" in capsys.readouterr().out

"""What is smooth along the path and what jumps."""

import json
from pathlib import Path

import pytest
from benchmarks.experiments.path import Config, run

pytest.importorskip("matplotlib")


@pytest.mark.parametrize("cutoff", [None, 3.0])
def test_coordinate_is_smooth_and_index_mixers_jump(
    cutoff: float | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.md"
    page.write_text("<!-- path -->\n<!-- /path -->\n")
    config = Config(
        cutoff=cutoff,
        points=61,
        output=str(tmp_path / "report.json"),
        plot=str(tmp_path / "path.png"),
        documents=[str(page)],
    )
    curves = run(config)["curves"]
    smooth = curves.pop("coordinate")
    assert smooth["finite_difference_error"] < 1e-6  # forces are those of the energy
    assert smooth["energy_jump"] < 1e-7 and smooth["force_jump"] < 1e-6
    assert len(smooth["energy"]) == len(smooth["force"]) == 61
    assert curves.keys() == {"query_key, spectral", "query_key, distance"}
    assert max(curve["energy_jump"] for curve in curves.values()) > 0.1
    assert json.loads((tmp_path / "report.json").read_text())["config"]["points"] == 61
    assert (tmp_path / "path.png").read_bytes().startswith(b"\x89PNG")
    assert "| coordinate |" in page.read_text() and "coordinate" in capsys.readouterr().out

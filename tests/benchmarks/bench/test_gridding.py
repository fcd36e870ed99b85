"""Moments on a grid are the moments, and the benchmark refuses wrong ones."""

import json
from pathlib import Path

import pytest
import torch
from benchmarks.bench import gridding
from benchmarks.bench.gridding import Config, direct_moments, gridded_moments, run


@pytest.mark.parametrize("modes", [1, 2, 7, 64])
@pytest.mark.parametrize("n", [0, 1, 50])
def test_both_are_the_sum(modes: int, n: int) -> None:
    z = torch.randn(2, 3, n, dtype=torch.float64)
    b = 5 * torch.randn(2, n, dtype=torch.float64)
    order = torch.arange(modes, dtype=torch.float64)
    expected = torch.einsum("hdn,hnm->hdm", z + 0j, torch.exp(-1j * b[:, :, None] * order))
    scale = expected.abs().max() if n else 1.0
    assert (direct_moments(z, b, modes) - expected).abs().max() <= 1e-12 * scale
    assert (gridded_moments(z, b, modes) - expected).abs().max() <= 1e-5 * scale


def test_report(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("<!-- gridding -->\n<!-- /gridding -->\n")
    output = tmp_path / "report.json"
    run(Config(tokens=[64], modes=[4, 8], repeats=1, output=str(output), documents=[str(page)]))
    assert json.loads(output.read_text())["tokens"]["64"].keys() == {"4", "8"}
    assert "| 64 |" in page.read_text()


def test_refuses_a_wrong_result(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gridding, "gridded_moments", lambda *a: 1.001 * direct_moments(*a))
    with pytest.raises(RuntimeError, match="off by"):
        gridding.check(torch.randn(1, 2, 30), torch.randn(1, 30), 8)

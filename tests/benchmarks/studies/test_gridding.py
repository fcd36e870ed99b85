"""Moments on a grid are the moments, and the benchmark refuses wrong ones."""

from typing import Any

import pytest
import torch
from benchmarks.studies import gridding
from benchmarks.studies.gridding import direct_moments, gridded_moments


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


def test_report(run_small: Any) -> None:
    report, page = run_small(gridding.STUDY, tokens=[64], modes=[4, 8], repeats=1)
    assert report["tokens"]["64"].keys() == {"4", "8"}
    assert "| 64 |" in page


def test_refuses_a_wrong_result(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gridding, "gridded_moments", lambda *a: 1.001 * direct_moments(*a))
    with pytest.raises(RuntimeError, match="off by"):
        gridding.check(torch.randn(1, 2, 30), torch.randn(1, 30), 8)

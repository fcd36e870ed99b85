"""What is smooth along the path and what jumps."""

from typing import Any

import pytest
from benchmarks.studies import path


@pytest.mark.parametrize("cutoff", [None, pytest.param(3.0, marks=pytest.mark.slow)])
def test_coordinate_is_smooth_and_index_mixers_jump(cutoff: float | None, run_small: Any) -> None:
    report, page = run_small(path.STUDY, cutoff=cutoff, points=41)
    curves = report["curves"]
    smooth = curves.pop("coordinate")
    assert smooth["finite_difference_error"] < 1e-6  # forces are those of the energy
    assert smooth["energy_jump"] < 1e-7 and smooth["force_jump"] < 1e-6
    assert len(smooth["energy"]) == len(smooth["force"]) == 41
    assert curves.keys() == {"query_key, spectral", "query_key, distance"}
    assert max(curve["energy_jump"] for curve in curves.values()) > 0.05
    assert "| coordinate |" in page

"""The study measures what it says, and refuses a wrong result."""

from typing import Any

import pytest
from benchmarks import operators
from benchmarks.studies import operator

SMALL = {
    "irreps": ["4x0e+4x1o"],
    "mixers": ["query_key"],
    "length": 64,
    "crossover_lengths": [16, 32],
    "memory_lengths": [],
    "repeats": 2,
}


def test_report(run_small: Any, capsys: pytest.CaptureFixture[str]) -> None:
    report, page = run_small(operator.STUDY, **SMALL)
    assert report["irreps"].keys() == {"4x0e+4x1o"}
    timings = report["irreps"]["4x0e+4x1o"]["forward"]
    assert timings.keys() == {"attention", "query_key"}
    assert all(0 < t["minimum"] <= t["median"] <= t["maximum"] for t in timings.values())
    assert "| 4x0e+4x1o | `query_key` |" in page
    assert "attention" in capsys.readouterr().out


def test_refuses_a_wrong_result(run_small: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    right = operators.tensor_product_long_conv
    monkeypatch.setattr(operators, "tensor_product_long_conv", lambda *a: right(*a) * 1.0001)
    with pytest.raises(RuntimeError, match="nothing is reported"):
        operators.check_convolution("4x0e+4x1o")
    with pytest.raises(RuntimeError, match="1 of 1 cells failed"):
        run_small(operator.STUDY, **SMALL)

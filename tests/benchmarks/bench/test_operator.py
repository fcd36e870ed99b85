"""The benchmark measures what it says, and refuses a wrong result."""

import json
from pathlib import Path

import pytest
from benchmarks.bench import operator
from benchmarks.bench.operator import Config, run


def test_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "page.md"
    page.write_text("<!-- operator -->\n<!-- /operator -->\n")
    config = Config(
        irreps=["4x0e+4x1o"],
        mixers=["query_key"],
        length=64,
        crossover_lengths=[16, 32],
        memory_lengths=[],
        repeats=2,
        threads=1,
        output=str(tmp_path / "report.json"),
        documents=[str(page)],
    )
    report = run(config)
    assert json.loads((tmp_path / "report.json").read_text())["irreps"].keys() == {"4x0e+4x1o"}
    timings = report["irreps"]["4x0e+4x1o"]["forward"]
    assert timings.keys() == {"attention", "query_key"}
    assert all(0 < t["minimum"] <= t["median"] <= t["maximum"] for t in timings.values())
    assert "| 4x0e+4x1o | `query_key` |" in page.read_text()
    assert "attention" in capsys.readouterr().out


def test_refuses_a_wrong_result(monkeypatch: pytest.MonkeyPatch) -> None:
    right = operator.tensor_product_long_conv
    monkeypatch.setattr(operator, "tensor_product_long_conv", lambda *a: right(*a) * 1.0001)
    with pytest.raises(RuntimeError, match="nothing is reported"):
        operator.check("4x0e+4x1o")

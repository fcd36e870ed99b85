"""The benchmark of sets measures what it says, and refuses a wrong result."""

import json
from pathlib import Path

import pytest
from benchmarks.bench.sets import Config, check, run

from e3hyena import HyenaOperator


def test_report(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("<!-- sets -->\n<!-- /sets -->\n")
    output = tmp_path / "report.json"
    config = Config(
        irreps="4x0e+4x1o",
        tokens=[8, 32],
        graphs=[2, 3],
        rivals_up_to=8,
        repeats=1,
        threads=1,
        output=str(output),
        documents=[str(page)],
    )
    run(config)
    report = json.loads(output.read_text())
    assert report["tokens"]["8"].keys() == {"coordinate", "attention", "query_key"}
    assert report["tokens"]["32"].keys() == {"coordinate"}
    assert report["graphs"].keys() == {"2", "3"}
    assert "| 32 |" in page.read_text()


def test_refuses_a_wrong_result(monkeypatch: pytest.MonkeyPatch) -> None:
    operator = HyenaOperator("4x0e+4x1o", mixer="coordinate")
    check(operator, 5)
    right = operator.mixer.forward
    monkeypatch.setattr(operator.mixer, "forward", lambda *a: right(*a) * len(a[3].lengths))
    with pytest.raises(RuntimeError, match="differs from the graph alone"):
        check(operator, 5)

"""The study of sets measures what it says, and refuses a wrong result."""

from typing import Any

import pytest
from benchmarks.operators import check_graphs
from benchmarks.studies import sets

from e3hyena import HyenaOperator

SMALL = {"irreps": "4x0e+4x1o", "tokens": [8, 32], "graphs": [2, 3], "rivals_up_to": 8}


def test_report(run_small: Any) -> None:
    report, page = run_small(sets.STUDY, **SMALL, repeats=1)
    assert report["tokens"]["8"].keys() == {"coordinate", "attention", "query_key"}
    assert report["tokens"]["32"].keys() == {"coordinate"}
    assert report["graphs"].keys() == {"2", "3"}
    assert "| 32 |" in page


def test_refuses_a_wrong_result(monkeypatch: pytest.MonkeyPatch) -> None:
    operator = HyenaOperator("4x0e+4x1o", mixer="coordinate")
    check_graphs(operator, (5, 5, 5))
    right = operator.mixer.forward
    monkeypatch.setattr(operator.mixer, "forward", lambda *a: right(*a) * len(a[3].lengths))
    with pytest.raises(RuntimeError, match="coordinate: graphs in a batch are off"):
        check_graphs(operator, (5, 5, 5))

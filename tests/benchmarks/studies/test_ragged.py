"""Ragged batches: sizes with the mean they should have, a report, wrong results refused."""

from typing import Any

import pytest
import torch
from benchmarks.operators import check_graphs
from benchmarks.studies import ragged
from benchmarks.studies.ragged import RaggedConfig, draw_sizes

from e3hyena import HyenaOperator
from e3hyena.ops.segments import Segments


def test_report(run_small: Any) -> None:
    options = {"irreps": ["4x0e+4x1o"], "graphs": 8, "mean": 6, "largest": 12, "repeats": 2}
    report, page = run_small(ragged.STUDY, **options, mixers=["query_key"])
    timings = report["irreps"]["4x0e+4x1o"]["forward_backward"]
    assert timings.keys() == {"query_key equal", "query_key ragged"}
    assert report["irreps"]["4x0e+4x1o"]["force"].keys() == {"query_key"}
    assert "| 4x0e+4x1o | `query_key` |" in page


def test_sizes_have_the_mean_they_should() -> None:
    config = RaggedConfig()
    sizes = draw_sizes(config.options())
    assert sum(sizes) == config.mean * config.graphs == 18432
    assert len(set(sizes)) > 10


def test_refuses_graphs_that_depend_on_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    operator = HyenaOperator("4x0e+4x1o", mixer="coordinate")
    check_graphs(operator, (4, 5))
    right = operator.forward
    monkeypatch.setattr(
        operator,
        "forward",
        lambda x, segments=None: right(x, Segments((len(x),)) if segments else None),
    )
    with pytest.raises(RuntimeError, match="graphs in a batch are off"):
        check_graphs(operator, (4, 5))
    assert torch.is_grad_enabled()

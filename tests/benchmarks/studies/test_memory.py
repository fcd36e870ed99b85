"""Peak memory is measured, and grows linearly with the number of tokens."""

from typing import Any

import pytest
from benchmarks.operators import peak_memory
from benchmarks.studies import memory
from benchmarks.studies.memory import peak_of_convolution, predicted_peak, saved_ratio

from e3hyena.ops.backends import native


@pytest.mark.slow
@pytest.mark.parametrize("mixer", ["query_key", "coordinate"])
def test_linear_in_tokens(mixer: str) -> None:
    small, large = (peak_memory("8x0e+8x1o", mixer, n) for n in (65536, 262144))
    assert small > 5
    assert 2 < large / small < 6


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["eager", "native"])
@pytest.mark.parametrize("length", [65536, 65537])
@pytest.mark.parametrize("irreps", ["32x0e+32x1o", "16x0e+16x1o+16x2e+16x3o"])
def test_peak_is_what_the_formula_says(irreps: str, length: int, backend: str) -> None:
    if backend == "native" and not native.available():
        pytest.skip("no C compiler")
    measured = peak_of_convolution(irreps, length, backend, threads=2)
    assert measured == pytest.approx(predicted_peak(irreps, length, backend, 2), rel=0.2)


def test_only_the_operands_are_kept() -> None:
    assert 1 <= saved_ratio("4x0e+4x1o") <= 1.1


@pytest.mark.parametrize(("length", "shown"), [(0, False), (64, True)])
def test_report(run_small: Any, monkeypatch: pytest.MonkeyPatch, length: int, shown: bool) -> None:
    monkeypatch.setattr(memory, "in_fresh_process", lambda measure, *setup: measure(*setup))
    monkeypatch.setattr(memory, "peak_memory", lambda *setup, backward: 2048.0)
    options = {"irreps": ["4x0e+4x1o"], "lengths": [300], "operator_length": length}
    report, page = run_small(memory.STUDY, **options)
    assert "| 4x0e+4x1o | 300 | `eager` |" in page
    assert report["saved_over_operands"].keys() == {"4x0e+4x1o"}
    assert ("forward and backward: 2.0 GiB." in page) is shown

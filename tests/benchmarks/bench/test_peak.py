"""Peak memory is measured, and grows linearly with the number of tokens."""

import pytest
from benchmarks.bench.memory import predicted_peak, saved_ratio
from benchmarks.bench.peak import peak_of_convolution
from benchmarks.operators import peak_memory

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

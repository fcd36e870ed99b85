"""Peak memory is measured, and grows linearly with the number of tokens."""

import pytest

from e3hyena.bench.memory import peak_memory


@pytest.mark.slow
@pytest.mark.parametrize("mixer", ["query_key", "coordinate"])
def test_linear_in_tokens(mixer: str) -> None:
    small, large = (peak_memory("8x0e+8x1o", mixer, n) for n in (65536, 262144))
    assert small > 5
    assert 2 < large / small < 6

import pytest
import torch

from e3hyena import HyenaOperator
from e3hyena.ops.backends import use_backend
from e3hyena.ops.padded import PaddedSegments
from e3hyena.ops.segments import Segments


@pytest.mark.parametrize("mixer", ["coordinate", "attention", "linear_attention"])
@pytest.mark.parametrize("backend", ["eager", "native"])
def test_an_operator_gives_the_same(mixer, backend):
    operator = HyenaOperator("4x0e + 4x1o", mixer=mixer).double()
    lengths = (3, 7, 1, 5)
    segments = Segments(lengths)
    x = torch.randn(16, 16, dtype=torch.float64)
    with use_backend(backend):
        found = operator(x, PaddedSegments(segments.index, 4, longest=9))
        torch.testing.assert_close(found, operator(x, segments), rtol=1e-12, atol=1e-12)


def test_mixers_of_order_are_refused():
    operator = HyenaOperator("4x0e + 4x1o", mixer="query_key")
    with pytest.raises(ValueError, match="take mixer 'coordinate'"):
        operator(torch.randn(3, 16), PaddedSegments(torch.tensor([0, 0, 1]), 2, 2))

"""The short convolution, against loops."""

import pytest
import torch
from torch import Tensor

from e3hyena.irreps import ChannelIrreps
from e3hyena.nn import HyenaOperator, ShortConv
from e3hyena.ops.segments import Segments
from e3hyena.testing import assert_batch_independent, assert_equivariant

LENGTHS = (5, 0, 1, 2, 7)
EQUAL = ((6,) * 3, (1, 1), (0, 0), (2,))


def loops(
    x: Tensor, weight: Tensor, dims: list[int], lengths: tuple[int, ...], circular: bool
) -> Tensor:
    y, start = x.clone(), 0
    for length in lengths:
        for i in range(length):
            for shift in range(1, len(weight) + 1):
                source = (i - shift) % length if circular else i - shift
                if source < 0:
                    continue
                row = 0
                for copy, dim in enumerate(dims):
                    rows = slice(row, row + dim)
                    tap = weight[shift - 1, :, copy, None]
                    y[:, rows, start + i] += tap * x[:, rows, start + source]
                    row += dim
        start += length
    return y


@pytest.mark.parametrize("lengths", [LENGTHS, *EQUAL], ids=str)
@pytest.mark.parametrize("boundary", ["circular", "causal", "same"])
@pytest.mark.parametrize("kernel_size", [2, 4])
def test_equals_loops(boundary: str, kernel_size: int, lengths: tuple[int, ...]) -> None:
    channels = ChannelIrreps("4x0e + 2x1o")
    layer = ShortConv(channels, kernel_size, boundary).double()
    x = torch.randn(2, 5, sum(lengths), dtype=torch.float64, requires_grad=True)
    found = layer(x, Segments(lengths))
    expected = loops(x, layer.weight, [1, 1, 3], lengths, boundary == "circular")
    torch.testing.assert_close(found, expected, rtol=1e-13, atol=1e-13)
    cotangent = torch.randn_like(found)
    inputs = [x, layer.weight]
    gradients = torch.autograd.grad(found, inputs, cotangent)
    wanted = torch.autograd.grad(expected, inputs, cotangent, materialize_grads=True)
    for gradient, reference in zip(gradients, wanted, strict=True):
        torch.testing.assert_close(gradient, reference, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("mixer", ["query_key", "filter", "coordinate"])
def test_in_an_operator(mixer: str) -> None:
    operator = HyenaOperator("4x0e + 4x1o", mixer=mixer, short_conv=3)
    assert operator.short_conv.circular == (mixer == "query_key")
    assert_equivariant(operator, seeds=2)
    assert_batch_independent(operator, sizes=(7, 1, 0, 5), seeds=1)


@pytest.mark.parametrize("size", [1, -3])
def test_too_short(size: int) -> None:
    with pytest.raises(ValueError, match=f"short_conv={size}; give a kernel size of at least 2"):
        HyenaOperator("4x0e", short_conv=size)

"""The norm of rows, on every back-end, against loops over tokens."""

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from e3hyena.ops.norm import norm

pytestmark = pytest.mark.usefixtures("backend")
WEIGHT = torch.tensor([0.5, 0.1, 0.2, 0.0])
SCALE = torch.tensor([1.0, -2.0, 0.3, 4.0])


def naive(x, weight, scale):
    """Token by token."""
    tokens = [scale * t / ((weight * t * t).sum() + 1e-5).sqrt() for t in x.unbind(1)]
    return torch.stack(tokens, dim=1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("tokens", [1, 5, 1030])
def test_equals_loops(tokens, dtype):
    weight, scale = WEIGHT.to(dtype), SCALE.to(dtype).requires_grad_()
    whole = torch.randn(8, tokens, dtype=dtype)
    for x in (whole[::2], whole[:4].t().contiguous().t()):
        leaves = x.clone().requires_grad_(), scale
        y, expected = norm(x, weight, scale, 1e-5), naive(leaves[0], weight, scale)
        assert y.dtype == dtype
        torch.testing.assert_close(y, expected)
        cotangent = torch.randn_like(expected)
        wanted = torch.autograd.grad(expected, leaves, cotangent)
        mine = torch.autograd.grad(norm(leaves[0], weight, scale, 1e-5), leaves, cotangent)
        tolerance = {"rtol": 1e-4, "atol": 1e-4} if dtype == torch.float32 else {}
        torch.testing.assert_close(mine, wanted, **tolerance)


def test_twice_differentiable_also_at_zero():
    x = torch.randn(4, 3, dtype=torch.float64)
    x[:, 0] = 0
    leaves = x.requires_grad_(), SCALE.double().requires_grad_()

    def function(x, scale):
        return norm(x, WEIGHT.double(), scale, 1e-1)

    assert gradcheck(function, leaves)
    assert gradgradcheck(function, leaves)

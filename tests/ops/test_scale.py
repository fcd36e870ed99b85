"""One factor per irrep copy, on every back-end, against the factors spread out."""

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from e3hyena.irreps import ChannelIrreps
from e3hyena.ops.scale import scale_irreps

pytestmark = pytest.mark.usefixtures("backend")
CHANNELS = ChannelIrreps("4x0e + 2x1o + 2x2e")
GAIN = 1.5


def spread(x, factors):
    return GAIN * x * CHANNELS.expand(factors, dim=1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("tokens", [1, 5, 1030])
def test_every_component_of_a_copy_gets_its_factor(tokens, dtype):
    whole = torch.randn(2, 2 * CHANNELS.dim, tokens, dtype=dtype)
    factors = torch.randn(2, 4, 1, dtype=dtype).expand(-1, -1, tokens)  # of any strides
    for x in (whole[:, ::2], whole.transpose(0, 1)[: 2 * CHANNELS.dim : 2].transpose(0, 1)):
        leaves = x.clone().requires_grad_(), factors.clone().requires_grad_()
        expected = spread(*leaves)
        y = scale_irreps(x, factors, CHANNELS, GAIN)
        torch.testing.assert_close(y, expected)
        cotangent = torch.randn_like(expected)
        wanted = torch.autograd.grad(expected, leaves, cotangent)
        mine = torch.autograd.grad(scale_irreps(*leaves, CHANNELS, GAIN), leaves, cotangent)
        torch.testing.assert_close(mine, wanted)


def test_gradients_of_both_orders():
    x = torch.randn(2, CHANNELS.dim, 3, dtype=torch.float64, requires_grad=True)
    factors = torch.randn(2, 4, 3, dtype=torch.float64, requires_grad=True)
    for leaves in ((x, factors), (x.detach(), factors), (x, factors.detach())):

        def function(x, factors):
            return scale_irreps(x, factors, CHANNELS, GAIN)

        assert gradcheck(function, leaves, fast_mode=True)
        assert gradgradcheck(function, leaves, fast_mode=True)

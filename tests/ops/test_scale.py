"""One factor per irrep copy, against the factors spread out."""

import torch
from torch.autograd import gradcheck, gradgradcheck

from e3hyena.irreps import ChannelIrreps
from e3hyena.ops.scale import scale_irreps

CHANNELS = ChannelIrreps("4x0e + 2x1o + 2x2e")


def test_every_component_of_a_copy_gets_its_factor() -> None:
    x, factors = torch.randn(2, CHANNELS.dim, 5), torch.randn(2, 4, 5)
    expected = x * CHANNELS.expand(factors, dim=1)
    assert torch.equal(scale_irreps(x, factors, CHANNELS), expected)


def test_gradients_of_both_orders() -> None:
    x = torch.randn(2, CHANNELS.dim, 3, dtype=torch.float64, requires_grad=True)
    factors = torch.randn(2, 4, 3, dtype=torch.float64, requires_grad=True)
    for leaves in ((x, factors), (x.detach(), factors), (x, factors.detach())):

        def function(x: torch.Tensor, factors: torch.Tensor) -> torch.Tensor:
            return scale_irreps(x, factors, CHANNELS)

        assert gradcheck(function, leaves, fast_mode=True)
        assert gradgradcheck(function, leaves, fast_mode=True)

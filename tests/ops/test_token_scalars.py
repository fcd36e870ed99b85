"""Invariants as one operator, on every back-end, against loops over channels."""

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from e3hyena.irreps import ChannelIrreps
from e3hyena.ops.token_scalars import token_scalars

pytestmark = pytest.mark.usefixtures("backend")

IRREPS = ["4x0e + 4x1o", "3x0e", "2x1o", "2x0e + 4x1o + 2x2e", "2x1e + 2x0o", "1x0e + 1x1o"]


def naive(x, channels, with_angles=True):
    """Channel by channel: scalars as they are, norms, products with the next channel."""
    rows = []
    for c in range(len(x)):
        own, start = [], 0
        following = x[(c + 1) % len(x)]
        products = []
        for _, ir in channels.per_channel:
            part, other = (y[start : start + ir.dim] for y in (x[c], following))
            start += ir.dim
            if str(ir) == "0e":
                own.append(part[0])
                continue
            square, next_square = part.square().mean(dim=0), other.square().mean(dim=0)
            own.append(square / (1 + square).sqrt())
            products.append((part * other).mean(dim=0) / (1 + square + next_square).sqrt())
        rows += own + products * with_angles
    return torch.stack(rows)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("tokens", [1, 5, 67])
@pytest.mark.parametrize("irreps", IRREPS)
@pytest.mark.parametrize("with_angles", [True, False])
def test_equals_loops(with_angles, irreps, tokens, dtype):
    torch.manual_seed(0)
    channels = ChannelIrreps(irreps)
    x = torch.randn(channels.num_channels, channels.dim, tokens, dtype=dtype).requires_grad_()
    exact = x.detach().double().requires_grad_()
    y = token_scalars(x, channels, with_angles=with_angles)
    expected = naive(exact, channels, with_angles)
    tolerance = 1e-5 if dtype == torch.float32 else 1e-12
    assert y.dtype == dtype
    assert (y - expected).abs().max() <= tolerance * expected.abs().max()
    weights = torch.linspace(-1, 1, expected.numel(), dtype=torch.float64).view(expected.shape)
    (mine,) = torch.autograd.grad((y * weights.to(dtype)).sum(), x)
    (theirs,) = torch.autograd.grad((expected * weights).sum(), exact)
    assert (mine - theirs).abs().max() <= 10 * tolerance * theirs.abs().max()


@pytest.mark.parametrize("irreps", IRREPS)
@pytest.mark.parametrize("with_angles", [True, False])
def test_twice_differentiable_also_at_zero(with_angles, irreps):
    channels = ChannelIrreps(irreps)
    x = torch.randn(channels.num_channels, channels.dim, 2, dtype=torch.float64)
    x[..., 0] = 0
    x.requires_grad_()

    def function(x):
        return token_scalars(x, channels, with_angles=with_angles)

    assert gradcheck(function, [x])
    assert gradgradcheck(function, [x])

"""The norm: one factor per token, a learned scale per irrep copy."""

import torch

from e3hyena.irreps import ChannelIrreps
from e3hyena.nn import RMSNorm, TokenNorm
from e3hyena.testing import assert_batch_independent, assert_equivariant, perturb_parameters

IRREPS = "4x0e + 2x0o + 2x1o + 6x2e"


def test_formula() -> None:
    channels = ChannelIrreps("3x0e + 3x1o")
    norm = RMSNorm(channels)
    scale = torch.rand(3, 2)
    norm.load_state_dict({"scale": scale})
    x = torch.randn(3, 4, 5)
    for t in range(5):
        mean = (x[:, :1, t].square().mean() + x[:, 1:, t].square().mean()) / 2
        expected = x[..., t] / (mean + 1e-5).sqrt()
        expected = expected * torch.cat([scale[:, :1], scale[:, 1:].expand(3, 3)], dim=1)
        torch.testing.assert_close(norm(x)[..., t], expected)


def test_unit_mean_square_whatever_the_scale() -> None:
    norm = TokenNorm(IRREPS)
    irreps = norm.layout.irreps
    for scale in (1e-1, 1.0, 1e6):
        y = norm(scale * irreps.randn(50, -1))
        kinds = [y[:, part].square().mean(dim=1) for part in irreps.slices()]
        torch.testing.assert_close(sum(kinds) / 4, torch.ones(50), rtol=2e-2, atol=0)


def test_ratio_of_kinds_survives() -> None:
    x = torch.tensor([[3.0, 0.0, 4.0, 0.0]])
    y = TokenNorm("0e + 1o")(x)
    torch.testing.assert_close(y[0, 2] / y[0, 0], torch.tensor(4 / 3))


def test_equivariant() -> None:
    norm = perturb_parameters(TokenNorm(IRREPS))
    norm.irreps_in = norm.irreps_out = norm.layout.irreps
    assert_equivariant(norm)
    assert_batch_independent(lambda x, batch: TokenNorm(IRREPS).to(x.dtype)(x), IRREPS)


def test_any_order_of_irreps() -> None:
    x = torch.randn(5, 8)
    y = TokenNorm("1o + 2x0e + 1o")(x)
    order = [3, 4, 0, 1, 2, 5, 6, 7]
    torch.testing.assert_close(y[:, order], TokenNorm("2x0e + 2x1o")(x[:, order]))


def test_finite_at_zero() -> None:
    x = torch.zeros(3, TokenNorm(IRREPS).layout.dim, dtype=torch.float64, requires_grad=True)
    y = TokenNorm(IRREPS).double()(x)
    (grad,) = torch.autograd.grad(y.sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(grad.square().sum(), x)
    assert not y.any() and grad.isfinite().all() and second.isfinite().all()


def test_empty() -> None:
    assert TokenNorm("")(torch.zeros(4, 0)).shape == (4, 0)

"""The radial basis: values, scale, and smoothness at both ends."""

import math

import pytest
import torch
from torch import nn

from e3hyena.nn.radial import RadialBasis, init_silu_mlp


def formula(r, n, cutoff):
    x = r / cutoff
    if x >= 1:
        return 0.0
    bessel = math.sin(n * math.pi * x) / x if x else n * math.pi
    return bessel * (1 - 28 * x**6 + 48 * x**7 - 21 * x**8)


@pytest.mark.parametrize("cutoff", [1.0, 5.0])
def test_values(cutoff):
    distance = torch.cat([torch.linspace(0, 1.3, 60), torch.tensor([1e-9, 0.0999, 0.1001])])
    distance = cutoff * distance.double()
    expected = [[formula(r, n, cutoff) for n in range(1, 13)] for r in distance.tolist()]
    expected = torch.tensor(expected, dtype=torch.float64)
    values = RadialBasis(12, cutoff)(distance)
    scale = values.abs().max() / expected.abs().max()
    assert 0.5 < scale < 2
    torch.testing.assert_close(values, scale * expected, rtol=0, atol=1e-13 * values.abs().max())


def test_float32_error():
    distance = 5 * torch.linspace(0, 1.1, 1001)
    exact = RadialBasis(16, 5.0)(distance.double())
    values = RadialBasis(16, 5.0)(distance)
    assert values.dtype == torch.float32
    error = (values - exact).abs().max() / exact.abs().max()
    assert error < 1e-5


def test_unit_mean_square_in_a_ball():
    x = (torch.arange(20_000, dtype=torch.float64) + 0.5) / 20_000
    square = (3 * x**2 * RadialBasis(8, 1.0)(x).T ** 2).mean(dim=1)
    torch.testing.assert_close(square, torch.ones_like(square), rtol=0, atol=0.11)
    assert abs(square.mean() - 1) < 0.02


@pytest.mark.parametrize("order", [1, 2])
def test_derivatives_at_zero_and_at_the_cutoff(order):
    """Odd derivatives vanish at zero, the first two at the cutoff; all are continuous there."""
    basis = RadialBasis(5, 2.0)
    r = torch.tensor([0.0, 1e-30, 2 - 1e-7, 2.0, 2 + 1e-7, 1e30], dtype=torch.float64)
    r.requires_grad_()
    for n in range(5):
        derivative = basis(r)[:, n]
        for _ in range(order):
            (derivative,) = torch.autograd.grad(derivative.sum(), r, create_graph=True)
        if order == 1:
            assert derivative[:2].abs().max() < 1e-20
        else:  # sin(a r) / r = a - a^3 r^2 / 6 + ...
            a = (n + 1) * math.pi / 2
            expected = -(a**2) / 3 * basis(r.detach())[0, n]
            torch.testing.assert_close(derivative[:2], expected.expand(2))
        assert derivative[2:].abs().max() < 1e-4 * (n + 1)
        assert (derivative[3:] == 0).all()


def test_gradient_in_float32_near_zero():
    r = torch.tensor([0.0, 1e-40, 1e-30, 1e-12, 1e-6], requires_grad=True)
    (gradient,) = torch.autograd.grad(RadialBasis(8, 5.0)(r).sum(), r, create_graph=True)
    assert gradient.abs().max() < 1e-3
    (second,) = torch.autograd.grad(gradient.sum(), r)
    torch.testing.assert_close(second, second[:1].expand(5))
    assert second[0] != 0


def test_gradcheck():
    r = torch.tensor([0.0, 0.05, 0.19, 0.21, 1.0, 1.9, 2.5], dtype=torch.float64)
    r.requires_grad_()
    inside = r[1:]  # a difference quotient at zero would need a negative distance
    assert torch.autograd.gradcheck(RadialBasis(4, 2.0), inside)
    assert torch.autograd.gradgradcheck(RadialBasis(4, 2.0), inside)


def test_shapes_and_no_state():
    basis = RadialBasis(6, 3.0)
    assert basis(torch.rand(2, 5)).shape == (2, 5, 6)
    assert basis(torch.rand(0)).shape == (0, 6)
    assert not basis.state_dict()


@pytest.mark.parametrize(
    ("num_basis", "cutoff"), [(0, 1.0), (8, 0.0), (8, -1.0), (8, math.nan), (8, math.inf)]
)
def test_arguments(num_basis, cutoff):
    with pytest.raises(ValueError, match="must be"):
        RadialBasis(num_basis, cutoff)


def test_init_silu_mlp_keeps_the_variance():
    mlp = nn.Sequential(
        nn.Linear(64, 256), nn.SiLU(), nn.Linear(256, 256), nn.SiLU(), nn.Linear(256, 256)
    )
    init_silu_mlp(mlp)
    with torch.no_grad():
        variance = mlp(torch.randn(500, 64)).square().mean().item()
    assert 0.7 < variance < 1.4

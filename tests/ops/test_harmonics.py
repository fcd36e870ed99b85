"""Solid harmonics: powers of the length times spherical harmonics."""

import torch
from e3nn import o3

from e3hyena.ops.harmonics import solid_harmonics


def test_against_spherical_harmonics() -> None:
    r = torch.randn(20, 3, dtype=torch.float64)
    degrees = [0, 1, 2, 3, 4]
    parts = solid_harmonics(r, degrees).split([2 * l + 1 for l in degrees], dim=1)
    for l, y in zip(degrees, parts, strict=True):
        unit = o3.spherical_harmonics(l, r, normalize=True, normalization="component")
        expected = r.norm(dim=1, keepdim=True) ** l * unit
        torch.testing.assert_close(y, expected, rtol=1e-11, atol=1e-11)


def test_gradient_at_the_origin() -> None:
    r = torch.zeros(1, 3, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(solid_harmonics(r, [1, 2]).sum(), r)
    torch.testing.assert_close(gradient, torch.full((1, 3), 3**0.5, dtype=torch.float64))

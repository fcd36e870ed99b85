"""Products of two and three linear images of a token."""

import pytest
import torch
from e3nn import o3

from e3hyena.nn.products import Products
from e3hyena.testing import assert_equivariant, perturb_parameters

SCALARS_AND_VECTORS = {o3.Irrep("0e"), o3.Irrep("1o")}


@pytest.mark.parametrize("irreps_out", ["0o", "2x1e", "0e + 2e + 0o", "3o + 2o", "0x4e + 1e"])
@pytest.mark.parametrize("irreps_in", ["8x0e + 8x1o", "1o + 4x0e + 0x3e + 3x1o + 2x0o"])
def test_equivariant(irreps_in: str, irreps_out: str) -> None:
    products = Products(irreps_in, irreps_out)
    for module in (products, perturb_parameters(products)):
        assert_equivariant(module, seeds=2)


@pytest.mark.parametrize(
    "irreps_in",
    ["8x0e + 8x1o", "8x0e", "8x1e", pytest.param("8x0o + 8x0e", marks=pytest.mark.slow)],
)
def test_reached(irreps_in: str) -> None:
    products = Products(irreps_in, "0e + 0o + 1e + 1o + 2e + 2o + 3o + 3e + 4e")
    y = products(products.irreps_in.randn(20, -1))
    reached = products.reached({ir for _, ir in products.irreps_in})
    for (_, ir), part in zip(products.irreps_out, products.irreps_out.slices(), strict=True):
        assert (y[:, part].abs().max() > 1e-3) == (ir in reached)
    if irreps_in == "8x0e + 8x1o":
        assert {str(ir) for ir in reached} == {"0e", "0o", "1e", "1o", "2e", "2o", "3o"}
        assert products.reached({o3.Irrep("0e")}) == {o3.Irrep("0e")}


def test_volume() -> None:
    """A pseudoscalar of three vectors is a multiple of the volume that they span."""
    products = Products("3x1o", "0o").double()
    frame = torch.eye(3, dtype=torch.float64)
    frames = torch.stack([frame, frame[[1, 0, 2]], torch.ones_like(frame), 2 * frame])
    y = products(frames.flatten(1)).detach()
    assert y[0].abs() > 1e-3
    expected = y[0] * torch.tensor([[1.0], [-1], [0], [8]], dtype=torch.float64)
    torch.testing.assert_close(y, expected)


def test_unit_variance() -> None:
    products = Products("32x0e + 32x1o", "64x1e + 64x2e")
    y = products(products.irreps_in.randn(500, -1))
    assert all(0.5 < y[:, part].square().mean() < 2 for part in products.irreps_out.slices())

"""The read-out: token contributions, and charges times moments of the positions."""

import pytest
import torch
from e3nn import o3

from e3hyena.nn.readout import MomentReadout
from e3hyena.testing import assert_equivariant, perturb_parameters


@pytest.mark.parametrize("irreps_out", ["0e", "1o", "0e + 2e", "1e + 2x1o + 0o + 2x2e", "3o"])
def test_equivariant(irreps_out: str) -> None:
    readout = perturb_parameters(MomentReadout("4x0e + 4x1o + 4x1e + 2x2e + 2x0o", irreps_out))
    assert_equivariant(readout, [readout.irreps_in, "1o"], irreps_out, seeds=3)


@pytest.mark.parametrize(
    ("irreps_out", "number"), [("0e", 0), ("1o", 1), ("1e", 0), ("0e + 2e", 1), ("3x1o + 2x2e", 5)]
)
def test_number_of_moments(irreps_out: str, number: int) -> None:
    readout = MomentReadout("4x0e", irreps_out)
    assert readout.num_moments == number
    assert readout(torch.randn(3, 4), torch.randn(3, 3)).shape == (3, o3.Irreps(irreps_out).dim)


def test_formula() -> None:
    readout = MomentReadout("4x0e + 2x1o", "1o + 0e + 2e").double()
    x, r = torch.randn(5, 10, dtype=torch.float64), torch.randn(5, 3, dtype=torch.float64)
    direct, charges = readout.mlp(readout.norm(x)).split([9, 2], dim=-1)
    quadrupole = o3.spherical_harmonics(2, r, normalize=False, normalization="component")
    expected = direct.clone()
    expected[:, :3] += charges[:, :1] * 3**0.5 * r
    expected[:, 4:] += charges[:, 1:] * quadrupole
    torch.testing.assert_close(readout(x, r), expected, rtol=1e-12, atol=1e-12)


def test_smooth_at_the_centroid() -> None:
    readout = MomentReadout("2x0e", "1o + 2e").double()
    x = torch.randn(3, 2, dtype=torch.float64)
    r = torch.zeros(3, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda r: readout(x, r), r)
    assert torch.autograd.gradgradcheck(lambda r: readout(x, r), r)


def test_no_output() -> None:
    assert MomentReadout("2x0e", "")(torch.randn(3, 2), torch.randn(3, 3)).shape == (3, 0)

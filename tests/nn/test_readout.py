"""The read-out: token contributions, and moments of neutral charges about the centroid."""

import pytest
import torch
from e3nn import o3
from torch import Tensor

from e3hyena.nn.readout import MomentReadout, centred
from e3hyena.ops.segments import Segments
from e3hyena.testing import assert_equivariant, perturb_parameters

TWO = Segments((2, 3))


@pytest.mark.parametrize("irreps_out", ["0e", "1o", "0e + 2e", "1e + 2x1o + 0o + 2x2e", "3o"])
@pytest.mark.parametrize("moments", ["", "1o + 2e + 3o"])
def test_equivariant(irreps_out: str, moments: str) -> None:
    readout = MomentReadout("4x0e + 4x1o + 4x1e + 2x2e + 2x0o + 3o", irreps_out, moments)
    assert_equivariant(
        perturb_parameters(readout),
        [readout.irreps_in, "cartesian_points"],
        irreps_out,
        kwargs={"segments": Segments((10, 14))},
        translation=True,
        seeds=3,
    )


@pytest.mark.parametrize(
    ("irreps_out", "moments", "number"),
    [
        ("0e", "1o", 0),
        ("1o", "1o", 1),
        ("1o", "", 0),
        ("1e", "1o", 0),
        ("0e + 2e", "1o", 0),
        ("0e + 2e", "1o + 2e", 1),
        ("3x1o + 2x2e", "1o + 2e", 5),
        ("1o + 0x3o", "7x1o + 0x0o", 1),
    ],
)
def test_number_of_moments(irreps_out: str, moments: str, number: int) -> None:
    readout = MomentReadout("4x0e", irreps_out, moments)
    assert readout.num_moments == number
    y = readout(torch.randn(5, 4), torch.randn(5, 3), TWO)
    assert y.shape == (5, o3.Irreps(irreps_out).dim)


def test_formula() -> None:
    readout = MomentReadout("4x0e + 2x1o + 2e", "1o + 0e + 2e", "1o + 2e").double()
    x, pos = torch.randn(5, 15, dtype=torch.float64), torch.randn(5, 3, dtype=torch.float64)
    direct, charges = readout.mlp(readout.norm(x)).split([9, 2], dim=-1)
    expected = direct.clone()
    for graph in (slice(0, 2), slice(2, 5)):
        r = pos[graph] - pos[graph].mean(dim=0)
        q = charges[graph] - charges[graph].mean(dim=0)
        quadrupole = o3.spherical_harmonics(2, r, normalize=False, normalization="component")
        expected[graph, :3] += q[:, :1] * 3**0.5 * r
        expected[graph, 4:] += q[:, 1:] * quadrupole
    torch.testing.assert_close(readout(x, pos, TWO), expected, rtol=1e-12, atol=1e-12)


def test_scalars_see_no_positions() -> None:
    readout = perturb_parameters(MomentReadout("4x0e + 2x1o", "0e + 1o", "1o"))
    x = torch.randn(5, 10)
    one, other = (readout(x, torch.randn(5, 3), TWO) for _ in range(2))
    assert torch.equal(one[:, 0], other[:, 0])
    assert not torch.allclose(one[:, 1:], other[:, 1:])


def test_starts_small() -> None:
    readout = MomentReadout("32x0e + 32x1o", "4x0e + 4x1o", "1o")
    pos = torch.zeros(50, 3)
    y = readout(o3.Irreps("32x0e + 32x1o").randn(50, -1), pos, Segments((50,)))
    assert 0.01 < y.square().mean().sqrt() < 0.1


def test_smooth_at_the_centroid() -> None:
    readout = MomentReadout("2x0e", "1o + 2e", "1o + 2e").double()
    x = torch.randn(5, 2, dtype=torch.float64)
    pos = torch.zeros(5, 3, dtype=torch.float64, requires_grad=True)

    def moments(pos: Tensor) -> Tensor:
        return readout(x, pos, TWO)

    assert torch.autograd.gradcheck(moments, pos)
    assert torch.autograd.gradgradcheck(moments, pos)


def test_centred_far_from_the_origin() -> None:
    """Digits are lost where the coordinates lost them, and nowhere else."""
    near = torch.randn(200, 3)
    far = near + torch.tensor([1e6, -3e5, 10.0])
    segments = Segments((80, 120))
    expected = centred((far.double() - far[0].double()), segments)
    torch.testing.assert_close(centred(far, segments).double(), expected, rtol=0, atol=1e-5)
    x = torch.randn(200, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: centred(x, segments), x, fast_mode=True)


def test_no_output() -> None:
    readout = MomentReadout("2x0e", "", "1o")
    assert readout(torch.randn(5, 2), torch.randn(5, 3), TWO).shape == (5, 0)


@pytest.mark.parametrize("moments", ["0e", "1e", "1o + 2o"])
def test_kinds_without_moment(moments: str) -> None:
    with pytest.raises(ValueError, match=r"moments='.*' holds .*; positions have moments of the"):
        MomentReadout("2x0e", "1o", moments)

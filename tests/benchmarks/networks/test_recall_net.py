"""The network around every mixer of associative recall."""

import pytest
import torch
from benchmarks.networks.recall_net import RecallNet, component_scale, position_code

from e3hyena.testing import NETWORK_TOLERANCE, assert_equivariant


class AsSequences(torch.nn.Module):
    """Two sequences from tokens one after the other, for checks."""

    def __init__(self, net: RecallNet) -> None:
        super().__init__()
        self.net = net
        self.irreps_in, self.irreps_out = net.irreps_in, net.irreps_out

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.net(x.unflatten(0, (2, -1)))


@pytest.mark.parametrize(
    "mixer", ["query_key", "attention", "cross_product_fused", "se3_hyena", "lgatr_slim"]
)
@pytest.mark.parametrize("pool", ["mean", "last"])
def test_equivariant(mixer: str, pool: str) -> None:
    net = RecallNet("1x1o", "4x0e + 4x1o", 2, mixer, short_conv=3, pool=pool, scale=1.5)
    assert_equivariant(AsSequences(net), seeds=2, tolerance=NETWORK_TOLERANCE)


def test_tensors() -> None:
    net = RecallNet("1x2e", "4x0e + 4x1o + 4x2e", 1, "query_key", short_conv=3)
    assert net(torch.randn(3, 9, 5)).shape == (3, 5)
    assert_equivariant(AsSequences(net), seeds=2, tolerance=NETWORK_TOLERANCE)


def test_without_symmetry_it_is_three_times_as_wide() -> None:
    net = RecallNet("1x1o", "4x0e + 4x1o", 1, "attention", equivariant=False)
    assert str(net.blocks[0].irreps_in) == "24x0e"
    assert net(torch.randn(2, 5, 3)).shape == (2, 3)
    with pytest.raises(AssertionError, match="not equivariant"):
        assert_equivariant(AsSequences(net), "1x1o", "1x1o", seeds=1)


def test_scale_in_and_out() -> None:
    torch.manual_seed(1)
    net = RecallNet("1x1o", "4x0e + 4x1o", 1, "query_key")
    torch.manual_seed(1)
    scaled = RecallNet("1x1o", "4x0e + 4x1o", 1, "query_key", scale=3.0)
    x = torch.randn(2, 9, 3)
    assert torch.allclose(scaled(3 * x), 3 * net(x), atol=1e-5)
    assert component_scale(16, 5) ** 2 == pytest.approx((256 + 16 + 1) / 15)


def test_position_code_counts_from_the_end() -> None:
    assert torch.equal(position_code(40)[-10:], position_code(10))
    distances = torch.cdist(position_code(200), position_code(200)) + 9 * torch.eye(200)
    assert distances.min() > 0.1


def test_every_token_reaches_the_answer() -> None:
    for pool in ("mean", "last"):
        net = RecallNet("1x1o", "4x0e + 4x1o", 1, "query_key", pool=pool)
        x = torch.randn(1, 7, 3, requires_grad=True)
        (gradient,) = torch.autograd.grad(net(x).sum(), x)
        assert (gradient[0].norm(dim=1) > 0).all()
    with pytest.raises(ValueError, match="'mean' or 'last'"):
        RecallNet("1x1o", "4x0e", 1, "query_key", pool="max")

"""LGATr-slim in space: its symmetry, what its time components carry, its package missing."""

import copy
import sys

import pytest
import torch
from benchmarks.networks.blocks import build_blocks
from benchmarks.networks.lgatr_slim import SpatialLGATrSlim, _four_vectors
from benchmarks.networks.recall_net import RecallNet

from e3hyena.testing import (
    NETWORK_TOLERANCE,
    assert_batch_independent,
    assert_equivariant,
    assert_permutation_equivariant,
    perturb_parameters,
    train_steps,
)


def build(irreps_out: str = "3x0e + 2x1o") -> SpatialLGATrSlim:
    net = SpatialLGATrSlim("2x1o + 3x0e", "8x0e + 8x1o", irreps_out, num_blocks=2)
    return perturb_parameters(net, scale=0.3)  # attention starts ten times smaller


@pytest.mark.parametrize("irreps_out", ["3x0e + 2x1o", "1o", "2x0e"])
def test_symmetry(irreps_out: str) -> None:
    options = {"kwargs": {"batch": torch.arange(12) // 5}, "tolerance": NETWORK_TOLERANCE}
    if "1o" in irreps_out:
        assert_equivariant(build(irreps_out), seeds=2, **options)
    assert_permutation_equivariant(build(irreps_out), seeds=2, **options)
    assert_batch_independent(build(irreps_out), seeds=1)


def test_short_convolutions_see_the_order_and_keep_the_other_symmetries() -> None:
    net = SpatialLGATrSlim("3x0e + 2x1o", "8x0e + 8x1o", "3x0e + 2x1o", 2, short_conv=3)
    options = {"kwargs": {"batch": torch.arange(12) // 5}, "tolerance": NETWORK_TOLERANCE}
    assert_equivariant(net, seeds=2, **options)
    assert_batch_independent(net, seeds=1)
    with pytest.raises(AssertionError, match="depends on the order of tokens"):
        assert_permutation_equivariant(net, seeds=1, **options)


def test_four_vectors() -> None:
    scalars, vectors = torch.randn(2, 1, 5), torch.randn(1, 3, 5)
    made = _four_vectors(scalars, vectors)
    assert torch.equal(made[0], torch.cat([torch.zeros(1, 5), vectors[0]]))
    assert torch.equal(made[1:3, :1], scalars) and torch.equal(made[3, 0], torch.ones(5))
    assert not made[1:, 1:].any()


def derivative(net: torch.nn.Module, x: torch.Tensor, what: slice, by: slice) -> torch.Tensor:
    """Of a part of the result by a part of a token: the first token's own."""
    jacobian = torch.autograd.functional.jacobian(net, x)
    return jacobian[0, what, 0, by]


def test_scalars_and_vectors_reach_each_other() -> None:
    """In a graph of one token, where attention weights are one, as anywhere else."""
    net, x = build(), torch.randn(1, 9)
    vectors_in, scalars_in, scalars_out, vectors_out = slice(6), slice(6, 9), slice(3), slice(3, 9)
    assert derivative(net, x, vectors_out, scalars_in).abs().max() > 1e-3
    assert derivative(net, x, scalars_out, vectors_in).abs().max() > 1e-3


@pytest.mark.parametrize("columns", [slice(2, 5), slice(5, 6)], ids=["scalars", "unit"])
def test_time_components_matter(columns: slice) -> None:
    """Vectors are two, then scalars along time, then its unit."""
    net = build("1o")
    without = copy.deepcopy(net)
    with torch.no_grad():
        without.net.linear_in.weight_v[:, columns] = 0
    x = torch.randn(4, 9)
    assert (net(x) - without(x)).abs().max() > 1e-2


def test_gradients_are_finite_at_zero() -> None:
    net, x = build(), torch.zeros(6, 9, requires_grad=True)
    net(x).square().sum().backward()
    assert x.grad.isfinite().all() and x.grad.abs().max() > 0
    assert all(weight.grad.isfinite().all() for weight in net.parameters())


def test_learns() -> None:
    losses = train_steps(build("1o"), [torch.randn(24, 9)], steps=30)
    assert losses[-1] < 0.7 * losses[0]


def test_dtype_in_is_dtype_out() -> None:
    assert build()(torch.randn(4, 9, dtype=torch.bfloat16)).dtype == torch.bfloat16
    assert build().double()(torch.randn(4, 9, dtype=torch.float64)).dtype == torch.float64


def test_body_of_recall_has_the_width_and_depth_of_the_others() -> None:
    net = RecallNet("1x1o", "8x0e + 8x1o", 3, "lgatr_slim", short_conv=3)
    (body,) = net.blocks
    assert isinstance(body, SpatialLGATrSlim) and len(body.net.blocks) == 3
    assert body.net.linear_in.weight_v.shape[0] == 8
    assert body.net.linear_in.linear_s.out_features == 8
    assert body.net.blocks[0].attention.num_heads == 4
    names = {name for name, _ in net.named_parameters() if "blocks" not in name}
    others = RecallNet("1x1o", "8x0e + 8x1o", 3, "attention", short_conv=3)
    assert names == {name for name, _ in others.named_parameters() if "blocks" not in name}


@pytest.mark.parametrize(
    "irreps", [("1o", "4x0e + 4x1o"), ("0e + 1o", "4x0e + 4x1o + 4x2e"), ("0e + 1o", "8x0e")]
)
def test_other_irreps(irreps: tuple[str, str]) -> None:
    with pytest.raises(ValueError, match="scalars and vectors and nothing else"):
        SpatialLGATrSlim(*irreps, "1o", 1)


def test_missing_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lgatr", None)
    with pytest.raises(ImportError, match=r"'lgatr'.*pip install 'e3hyena\[opponents\]'"):
        build_blocks("4x0e + 4x1o", "lgatr_slim", 1)

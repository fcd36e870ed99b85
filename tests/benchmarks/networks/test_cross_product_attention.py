"""The paper's attention: as plain loops, dense and fused the same, gradients too."""

import math

import pytest
import torch
from benchmarks.networks import cross_product_attention
from benchmarks.networks.blocks import build_block
from benchmarks.networks.cross_product_attention import (
    CrossProductAttention,
    dense_attention,
    fused_attention,
)

from e3hyena.irreps import ChannelIrreps
from e3hyena.ops.segments import Segments
from e3hyena.testing import (
    NETWORK_TOLERANCE,
    assert_batch_independent,
    assert_equivariant,
    assert_permutation_equivariant,
)


def vectors(*shape: int) -> list[torch.Tensor]:
    return [torch.randn(*shape, 3, dtype=torch.float64, requires_grad=True) for _ in range(3)]


def by_loops(q, k, v):
    """One head, ``(N, 3)``, as paper-facts write it."""
    n = len(q)
    rows = []
    for i in range(n):
        cross = [torch.linalg.cross(q[i], k[j]) for j in range(n)]
        weight = torch.stack([c.norm() / math.sqrt(n) for c in cross]).softmax(dim=0)
        parts = [torch.linalg.cross(weight[j] * cross[j], v[j]) for j in range(n)]
        rows.append(torch.stack(parts).sum(dim=0) / n)
    return torch.stack(rows)


@pytest.mark.parametrize("attend", [dense_attention, fused_attention])
def test_against_loops(attend) -> None:
    q, k, v = vectors(7)
    assert torch.allclose(attend(q, k, v), by_loops(q, k, v), atol=1e-10)


def test_the_identity_behind_the_fused_form() -> None:
    q, k, v = vectors(10)
    product = torch.linalg.cross(torch.linalg.cross(q, k), v)
    inner = k * (q * v).sum(-1, keepdim=True) - q * (k * v).sum(-1, keepdim=True)
    assert torch.allclose(product, inner, atol=1e-12)


@pytest.mark.parametrize("at_once", [2**20, 60])
def test_fused_is_dense_with_gradients(at_once: int, monkeypatch) -> None:
    monkeypatch.setattr(cross_product_attention, "_PAIRS_AT_ONCE", at_once)
    qkv = vectors(2, 4, 30)
    results = [attend(*qkv) for attend in (dense_attention, fused_attention)]
    assert torch.allclose(*results, atol=1e-10)
    probe = torch.randn_like(results[0])
    grads = [torch.autograd.grad((result * probe).sum(), qkv) for result in results]
    for dense, fused in zip(*grads, strict=True):
        assert dense.abs().max() > 0.01
        assert torch.allclose(dense, fused, atol=1e-8)


@pytest.mark.parametrize("attend", [dense_attention, fused_attention])
def test_gradients_are_finite_where_vectors_vanish_or_are_parallel(attend) -> None:
    q = torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0]], requires_grad=True)
    (gradient,) = torch.autograd.grad(attend(q, 2 * q, q + 1).sum(), q)
    assert gradient.isfinite().all()


@pytest.mark.parametrize("fused", [True, False])
def test_mixers_agree(fused: bool) -> None:
    hidden = ChannelIrreps("8x0e + 4x1o")
    q, k, v = torch.randn(3, 4, 5, 12)
    segments = Segments((5, 7))
    mixed = CrossProductAttention(hidden, fused=fused)(q, k, v, segments)
    alone = CrossProductAttention(hidden)(q[..., :5], k[..., :5], v[..., :5], Segments((5,)))
    assert torch.allclose(mixed[..., :5], alone, atol=1e-5)
    scalars = [x[:, :2, :5].flatten(0, 1).T for x in (q, k, v)]
    expected = (scalars[0] @ scalars[1].T / 8**0.5).softmax(dim=-1) @ scalars[2]
    assert torch.allclose(mixed[:, :2, :5].flatten(0, 1).T, expected, atol=1e-5)


@pytest.mark.parametrize("mixer", ["cross_product_fused", "cross_product_dense"])
def test_symmetry(mixer: str) -> None:
    block = build_block("4x0e + 4x1o", mixer)
    batch = torch.arange(12) // 5
    options = {"kwargs": {"batch": batch}, "tolerance": NETWORK_TOLERANCE, "seeds": 2}
    assert_equivariant(block, **options)
    assert_permutation_equivariant(block, **options)
    assert_batch_independent(block, seeds=1)


def test_other_irreps() -> None:
    with pytest.raises(ValueError, match="scalars and vectors only"):
        CrossProductAttention(ChannelIrreps("4x0e + 4x2e"))

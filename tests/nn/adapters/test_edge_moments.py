"""Moments of the neighbourhood are what the formula says, and smooth where edges fade out."""

import pytest
import torch
from e3nn import o3

from e3hyena.nn.adapters import EdgeMoments
from e3hyena.testing import assert_equivariant

SH = o3.Irreps("0e + 1o + 2e")
TARGET = torch.tensor([0, 0, 2, 1, 2, 2])


def test_is_the_formula() -> None:
    moments = EdgeMoments(SH, 5, channels=3, avg_num_neighbors=4.0).double()
    harmonics, scalars = torch.randn(6, 9).double(), torch.rand(6, 5).double()
    weights = moments.weight.reshape(5, 3, 3)  # scalars, kinds, channels
    expected = torch.zeros(4, 27).double()
    for edge, node in enumerate(TARGET.tolist()):
        start = 0
        for kind, (part, (_, ir)) in enumerate(zip(SH.slices(), SH, strict=True)):
            for channel in range(3):
                factor = scalars[edge] @ weights[:, kind, channel] / 2
                expected[node, start : start + ir.dim] += factor * harmonics[edge, part]
                start += ir.dim
    actual = moments(harmonics, scalars, TARGET, 4)
    torch.testing.assert_close(actual, expected, rtol=1e-12, atol=1e-12)
    assert moments.irreps_out == o3.Irreps("3x0e + 3x1o + 3x2e")


def test_equivariant() -> None:
    moments = EdgeMoments(SH, 5)
    scalars = torch.rand(6, 5)
    assert_equivariant(
        lambda y: moments.to(y.dtype)(y, scalars.to(y.dtype), TARGET, 3),
        SH,
        moments.irreps_out,
        num_tokens=6,
    )


def test_unit_variance() -> None:
    moments = EdgeMoments("0e + 1o", 10, channels=64, avg_num_neighbors=20.0)
    target = torch.arange(4000) // 20
    y = moments(torch.randn(4000, 4), torch.randn(4000, 10), target, 200)
    assert 0.8 < y.square().mean() < 1.25


def test_faded_edges_do_not_count() -> None:
    moments = EdgeMoments(SH, 5)
    harmonics, scalars = torch.randn(6, 9), torch.rand(6, 5)
    scalars[1] = 0
    keep = torch.tensor([0, 2, 3, 4, 5])
    fewer = moments(harmonics[keep], scalars[keep], TARGET[keep], 3)
    torch.testing.assert_close(moments(harmonics, scalars, TARGET, 3), fewer)


def test_no_edges_and_dtype() -> None:
    moments = EdgeMoments(SH, 5)
    none = torch.zeros(0, 9), torch.zeros(0, 5), torch.zeros(0, dtype=torch.long)
    assert torch.equal(moments(*none, 2), torch.zeros(2, 72))
    half = moments(torch.randn(6, 9).bfloat16(), torch.rand(6, 5).bfloat16(), TARGET, 3)
    assert half.dtype == torch.bfloat16


def test_wrong_use() -> None:
    with pytest.raises(ValueError, match="irreps_edge is empty"):
        EdgeMoments("", 5)
    with pytest.raises(ValueError, match="channels=0"):
        EdgeMoments(SH, 5, channels=0)
    with pytest.raises(ValueError, match=r"wanted \[\(6, 9\), \(6, 5\), \(6,\)\]"):
        EdgeMoments(SH, 5)(torch.randn(6, 9), torch.rand(6, 4), TARGET, 3)

"""LGATr-slim for particles: its symmetry, what it depends on, that it learns."""

import pytest
import torch
from benchmarks.networks.lgatr_particles import LGATrParticles
from benchmarks.studies.nbody.training import pairs

from e3hyena.ops.segments import Segments
from e3hyena.testing import (
    NETWORK_TOLERANCE,
    assert_batch_independent,
    assert_equivariant,
    assert_permutation_equivariant,
    train_steps,
)

POINTS = "cartesian_points"
INPUTS = [POINTS, "1o", "0e"]


class WithBatch(torch.nn.Module):
    """Called as the checks call."""

    def __init__(self) -> None:
        super().__init__()
        self.net = LGATrParticles("8x0e + 8x1o", 2)

    def forward(self, pos, vel, charge, batch=None):
        return self.net(pos, vel, charge, None, Segments.build(len(pos), batch))


def test_symmetry() -> None:
    options = {"kwargs": {"batch": torch.arange(12) // 5}, "tolerance": NETWORK_TOLERANCE}
    assert_equivariant(WithBatch(), INPUTS, POINTS, translation=True, seeds=2, **options)
    assert_permutation_equivariant(WithBatch(), INPUTS, seeds=2, **options)
    assert_batch_independent(WithBatch(), INPUTS, seeds=1)


@pytest.mark.parametrize("what", [0, 1, 2], ids=["position", "velocity", "charge"])
def test_another_particle_matters(what: int) -> None:
    net, inputs = WithBatch(), [torch.randn(3, 3), torch.randn(3, 3), torch.ones(3, 1)]
    before = net(*inputs)[0]
    inputs[what] = inputs[what] * torch.tensor([[1.0], [1.0], [-1.0]])
    assert (net(*inputs)[0] - before).abs().max() > 1e-5


def test_gradients_are_finite_at_rest_in_one_place() -> None:
    net, still = WithBatch(), torch.zeros(4, 3, requires_grad=True)
    net(still, still, torch.ones(4, 1)).sum().backward()
    assert still.grad.isfinite().all()
    assert all(p.grad.isfinite().all() for p in net.parameters() if p.grad is not None)


def test_learns() -> None:
    inputs = [torch.randn(10, 3), torch.randn(10, 3), torch.ones(10, 1)]
    edges, segments = pairs(2, 5), Segments((5, 5))
    losses = train_steps(LGATrParticles("8x0e + 8x1o", 2), [*inputs, edges, segments], steps=30)
    assert losses[-1] < 0.7 * losses[0]

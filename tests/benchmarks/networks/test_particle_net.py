"""The network of charged particles: its symmetries, and what moves along."""

from typing import Any

import pytest
import torch
from benchmarks.networks.particle_net import ParticleNet
from benchmarks.studies.nbody.training import pairs

from e3hyena.ops.segments import Segments
from e3hyena.testing import NETWORK_TOLERANCE, assert_equivariant, assert_permutation_equivariant


@pytest.mark.parametrize(
    "options",
    [
        {"mixer": "coordinate", "cutoff": None},
        {"mixer": "attention", "cutoff": 5.0},
        {"mixer": "query_key", "cutoff": None},
        {"mixer": None, "cutoff": 5.0},
    ],
)
def test_symmetry(options: dict[str, Any]) -> None:
    net = ParticleNet("4x0e + 4x1o", 2, **options)

    class OneSystem(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = net

        def forward(self, pos, vel, charge):
            edges, segments = pairs(1, len(pos)), Segments((len(pos),))
            return self.net(pos, vel, charge.sign(), edges, segments)

    points = "cartesian_points"
    inputs = [points, "1o", "0e"]
    checks = {"num_tokens": 6, "seeds": 2, "tolerance": NETWORK_TOLERANCE}
    assert_equivariant(OneSystem(), inputs, points, translation=True, **checks)
    if options["mixer"] != "query_key":
        assert_permutation_equivariant(OneSystem(), inputs, **checks)


def test_who_moves_along_sees_the_same() -> None:
    net = ParticleNet("4x0e + 4x1o", 2, mixer="attention", cutoff=5.0).double()
    pos, vel = torch.randn(2, 6, 3, dtype=torch.float64)
    charge = torch.randn(6, 1, dtype=torch.float64).sign()
    edges, segments = pairs(2, 3), Segments((3, 3))
    boost = torch.randn(2, 1, 3, dtype=torch.float64).expand(2, 3, 3).reshape(6, 3)
    moved = net(pos, vel + boost, charge, edges, segments)
    assert torch.allclose(moved, net(pos, vel, charge, edges, segments) + boost)


def test_later_layers_see_moved_particles() -> None:
    net = ParticleNet("4x0e + 4x1o", 2, mixer=None, cutoff=5.0)
    pos, vel, charge = torch.randn(3, 3), torch.randn(3, 3), torch.ones(3, 1)
    seen = []
    for layer in net.layers:
        layer.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[1]))
    net(pos, vel, charge, pairs(1, 3), Segments((3,)))
    assert torch.equal(seen[0], pos)
    assert (seen[1] - pos).norm(dim=1).min() > 1e-3

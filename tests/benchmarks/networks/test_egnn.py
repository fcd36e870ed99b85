"""EGNN against plain loops, its symmetry, uniform motion."""

import torch
from benchmarks.networks.egnn import EGNN, EGNNLayer
from benchmarks.networks.linear_dynamics import LinearDynamics
from benchmarks.studies.nbody.training import pairs

from e3hyena.testing import NETWORK_TOLERANCE, assert_equivariant, assert_permutation_equivariant

POINTS = "cartesian_points"


def enlarged(model: EGNN) -> EGNN:
    """A network whose shifts are not as tiny as they start."""
    for layer in model.layers:
        torch.nn.init.normal_(layer.shift_mlp[-1].weight, std=0.1)
    return model


def test_layer_against_loops() -> None:
    n, width = 4, 8
    layer = EGNNLayer(width)
    torch.nn.init.normal_(layer.shift_mlp[-1].weight)
    h, x, vel = torch.randn(n, width), torch.randn(n, 3), torch.randn(n, 3)
    edges = pairs(1, n)
    attributes = torch.randn(edges.shape[1], 2)
    features, positions = layer(h, x, vel, edges, attributes)
    for i in range(n):
        total, shift = torch.zeros(width), torch.zeros(3)
        for place, (source, target) in enumerate(edges.T.tolist()):
            if target == i:
                apart = x[i] - x[source]
                inputs = torch.cat([h[i], h[source], (apart @ apart)[None], attributes[place]])
                message = layer.message_mlp(inputs)
                total = total + message
                shift = shift + apart * layer.shift_mlp(message) / (n - 1)
        expected = x[i] + shift + layer.velocity_mlp(h[i]) * vel[i]
        assert torch.allclose(positions[i], expected, atol=1e-5)
        updated = h[i] + layer.node_mlp(torch.cat([h[i], total]))
        assert torch.allclose(features[i], updated, atol=1e-5)


def test_symmetry() -> None:
    model = enlarged(EGNN(16, 2))
    edges = pairs(1, 6)

    class OnPairs(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, pos, vel, charge):
            return self.model(pos, vel, charge, edges)

    inputs = [POINTS, "1o", "0e"]
    options = {"num_tokens": 6, "seeds": 2, "tolerance": NETWORK_TOLERANCE}
    assert_equivariant(OnPairs(), inputs, POINTS, translation=True, **options)
    assert_permutation_equivariant(OnPairs(), inputs, **options)


def test_charges_matter() -> None:
    model = enlarged(EGNN())
    pos, vel = torch.randn(2, 3), torch.randn(2, 3)
    like, opposite = torch.ones(2, 1), torch.tensor([[1.0], [-1.0]])
    a, b = (model(pos, vel, charge, pairs(1, 2)) for charge in (like, opposite))
    assert (a - b).abs().max() > 1e-4


def test_uniform_motion() -> None:
    pos, vel = torch.randn(4, 3), torch.randn(4, 3)
    model = LinearDynamics()
    assert torch.allclose(model(pos, vel), pos + 0.7 * vel)
    assert sum(weight.numel() for weight in model.parameters()) == 1

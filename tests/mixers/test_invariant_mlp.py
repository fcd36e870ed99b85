"""The small network against plain layers."""

import pytest
import torch

from e3hyena.mixers.invariant_mlp import InvariantMLP


@pytest.mark.parametrize(("num_in", "num_out"), [(1, 1), (6, 4), (96, 16)])
def test_formula(num_in, num_out):
    mlp = InvariantMLP(num_in, num_out).double()
    with torch.no_grad():
        for bias in mlp.biases:
            bias.normal_()
    s = torch.randn(num_in, 5, dtype=torch.float64)
    first, second = mlp.weights
    hidden = 1.5 * num_in**-0.5 * first @ s + mlp.biases[0][:, None]
    hidden = hidden / (1 + torch.exp(-hidden))
    expected = 1.5 * (2 * num_out) ** -0.5 * second @ hidden + mlp.biases[1][:, None]
    assert torch.allclose(mlp(s), expected, rtol=1e-13)


def test_width_of_the_result():
    torch.manual_seed(0)
    spread = InvariantMLP(96, 16)(torch.randn(96, 4000)).std()
    assert 0.5 < spread < 2

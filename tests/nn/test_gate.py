"""The gate: invariants decide how much of every irrep passes."""

import torch
from e3nn import o3
from torch import Tensor, nn

from e3hyena.irreps import ChannelIrreps
from e3hyena.nn import Gate
from e3hyena.nn.gate import _SECOND_MOMENT
from e3hyena.testing import assert_equivariant, perturb_parameters


class Tokens(nn.Module):
    """A layer in channel layout, called with e3nn's."""

    def __init__(self, channels: ChannelIrreps, layer: nn.Module) -> None:
        super().__init__()
        self.irreps_in = self.irreps_out = channels.irreps
        self.channels, self.layer = channels, layer

    def forward(self, x: Tensor) -> Tensor:
        return self.channels.to_tokens(self.layer(self.channels.to_channels(x)))


def test_formula() -> None:
    """One token, written out: scalars as they are, everything else by its smooth square norm."""
    channels = ChannelIrreps("2x0e + 2x0o + 2x1o")
    gate = perturb_parameters(Gate(channels), scale=1.0)
    x = torch.randn(2, 5, 1)
    rows = {str(ir): part for (_, ir), part in zip(channels.per_channel, [0, 1, 2], strict=True)}
    order = list(rows)
    widths = [o3.Irrep(ir).dim for ir in order]
    features, blocks = [], []
    for c in range(2):
        for ir, block in zip(order, x[c, :, 0].split(widths), strict=True):
            square = block.square().mean()
            features.append(block[0] if ir == "0e" else square / (1 + square).sqrt())
            blocks.append(block)
    logits = gate.weight @ torch.stack(features) / 6**0.5 + gate.bias
    parts = [1.8462 * logits[i].sigmoid() * block for i, block in enumerate(blocks)]
    torch.testing.assert_close(gate(x).flatten(), torch.cat(parts))


def test_second_moment() -> None:
    x = torch.linspace(-12, 12, 100_001, dtype=torch.float64)
    density = torch.exp(-(x**2) / 2) / (2 * torch.pi) ** 0.5
    moment = torch.trapezoid(x.sigmoid() ** 2 * density, x)
    assert abs(_SECOND_MOMENT - moment.item() ** -0.5) < 1e-4


def test_keeps_variance() -> None:
    channels = ChannelIrreps("32x0e + 32x1o + 32x2e")
    x = torch.randn(32, 9, 400)
    y = Gate(channels)(x)
    assert all(0.7 < part.square().mean() < 1.4 for part in channels.split(y).values())


def test_equivariant() -> None:
    channels = ChannelIrreps("4x0e + 4x0o + 8x1o + 4x1e + 4x2e")
    assert_equivariant(Tokens(channels, perturb_parameters(Gate(channels))))


def test_smooth_at_zero() -> None:
    channels = ChannelIrreps("2x0e + 2x0o + 2x1o")
    gate = perturb_parameters(Gate(channels)).double()
    x = torch.zeros(2, 5, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(gate, x)
    assert torch.autograd.gradgradcheck(gate, x)


def test_empty() -> None:
    assert Gate(ChannelIrreps(""))(torch.zeros(1, 0, 4)).shape == (1, 0, 4)

"""The short convolution for LGATr-slim is the one of our operators."""

import torch
from benchmarks.networks.lgatr_short_conv import ConvolvedSlimLinear, short_convolution
from lgatr.layers.slim_layers import SlimLinear

from e3hyena.irreps import ChannelIrreps
from e3hyena.nn.short_conv import ShortConv
from e3hyena.ops.segments import Segments


def test_is_ours() -> None:
    ours = ShortConv(ChannelIrreps("4x0e"), 3, "causal")
    x = torch.randn(2, 7, 4)
    expected = ours(x.permute(2, 0, 1).reshape(4, 1, 14), Segments((7, 7)))
    convolved = short_convolution(x, ours.weight.detach()[:, :, 0])
    assert torch.allclose(convolved, expected[:, 0].T.unflatten(0, (2, 7)), atol=1e-6)


def test_fewer_tokens_than_taps() -> None:
    x = torch.randn(2, 1, 4)
    assert torch.equal(short_convolution(x, torch.randn(2, 4)), x)


def test_components_share_taps() -> None:
    linear = SlimLinear(2, 6, 3, 5)
    layer = ConvolvedSlimLinear(linear, 3)
    vectors, scalars = torch.randn(2, 7, 4, 2), torch.randn(2, 7, 3)
    straight_v, straight_s = linear(vectors, scalars)
    convolved_v, convolved_s = layer(vectors, scalars)
    for component in range(4):
        expected = short_convolution(straight_v[..., component, :], layer.weight_v)
        assert torch.allclose(convolved_v[..., component, :], expected)
    assert torch.equal(convolved_s, short_convolution(straight_s, layer.weight_s))

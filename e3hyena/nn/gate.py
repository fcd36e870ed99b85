"""Equivariant gate: invariants decide how much of every irrep passes."""

import torch
from torch import Tensor, nn

from e3hyena.irreps import ChannelIrreps
from e3hyena.ops.scale import scale_irreps
from e3hyena.ops.token_scalars import token_scalars

# <sigmoid(x)^2>^(-1/2) for unit normal x: keeps the second moment, as e3nn's activations do
_SECOND_MOMENT = 1.8462


class Gate(nn.Module):
    r"""Multiply every irrep copy of every channel by a sigmoid of the token's invariants.

    .. math:: y_{cr} = \nu\,\sigma\big(W s(x) + b\big)_{cr}\; x_{cr}

    :math:`s` are the scalars and smooth norms of all channels
    (:func:`e3hyena.ops.invariants.invariants`), :math:`\nu` keeps unit variance. On a scalar it
    is a learned SiLU.

    Parameters
    ----------
    channels : ChannelIrreps
        What is gated, in channel layout ``(C, d, T)``.

    Examples
    --------
    >>> channels = ChannelIrreps("8x0e + 8x1o")
    >>> Gate(channels)(torch.randn(8, 4, 5)).shape
    torch.Size([8, 4, 5])
    """

    def __init__(self, channels: ChannelIrreps) -> None:
        super().__init__()
        self.channels = channels
        width = channels.num_channels * len(channels.per_channel)
        self.weight = nn.Parameter(torch.empty(width, width))
        self.bias = nn.Parameter(torch.empty(width))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw unit-normal weights, zero biases."""
        nn.init.normal_(self.weight)
        nn.init.zeros_(self.bias)

    def forward(self, x: Tensor) -> Tensor:
        """``(C, d, T)`` -> ``(C, d, T)``."""
        if not self.channels.dim:
            return x
        features = token_scalars(x, self.channels, with_angles=False)
        logits = torch.addmm(self.bias[:, None], self.weight, features, alpha=len(features) ** -0.5)
        gates = logits.sigmoid().unflatten(0, (x.shape[0], -1))
        return scale_irreps(x, gates, self.channels, _SECOND_MOMENT)

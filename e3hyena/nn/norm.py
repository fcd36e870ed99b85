"""Equivariant root-mean-square norm."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from e3hyena.irreps import ChannelIrreps
from e3hyena.nn.scale import scale_irreps


class RMSNorm(nn.Module):
    r"""Divide a token by the root mean square of its components, then scale every irrep.

    .. math:: y_{cr} = g_{cr}\, x_{cr} \Big/
              \sqrt{\tfrac{1}{K}\sum_{\kappa}\overline{x_\kappa^2} + \varepsilon}

    :math:`\kappa` runs over the K kinds of irreps, the bar over channels and components. One factor
    for all kinds keeps their ratio, so the length of a vector relative to the scalars survives.

    Parameters
    ----------
    channels : ChannelIrreps
        What is normalised, in channel layout ``(C, d, T)``.
    eps : float
        Added to the mean square.

    Examples
    --------
    >>> norm = RMSNorm(ChannelIrreps("8x0e + 8x1o"))
    >>> round(norm(7 * torch.randn(8, 4, 1000)).square().mean().item(), 1)
    1.0
    """

    def __init__(self, channels: ChannelIrreps, eps: float = 1e-5) -> None:
        super().__init__()
        self.channels = channels
        self.eps = eps
        self.scale = nn.Parameter(torch.ones(channels.num_channels, len(channels.per_channel)))

    def forward(self, x: Tensor) -> Tensor:
        """``(C, d, T)`` -> ``(C, d, T)``."""
        if not self.channels.dim:
            return x
        squares = [part.square().mean(dim=(0, 1)) for part in self.channels.split(x).values()]
        factor = torch.rsqrt(torch.stack(squares).mean(dim=0) + self.eps)
        return scale_irreps(x, factor * self.scale[..., None], self.channels)

    def extra_repr(self) -> str:
        return f"{self.channels.irreps}"

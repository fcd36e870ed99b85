"""Short depthwise convolution along the order of the tokens."""

import torch
from torch import Tensor, nn

from e3hyena.irreps import ChannelIrreps
from e3hyena.ops.segments import Segments


class ShortConv(nn.Module):
    r"""Convolve every irrep copy of every channel with a few taps.

    .. math:: y_i = x_i + \sum_{s=1}^{K-1} w_s\, x_{i-s}

    within a graph: ``circular`` wraps around, otherwise tokens before the first count as zero.

    Parameters
    ----------
    channels : ChannelIrreps
        What is convolved, in channel layout ``(C, d, T)``.
    kernel_size : int
        K, at least 2.
    boundary : str
        Boundary of the mixer.
    """

    def __init__(self, channels: ChannelIrreps, kernel_size: int, boundary: str) -> None:
        super().__init__()
        if kernel_size < 2:
            raise ValueError(f"short_conv={kernel_size}; give a kernel size of at least 2, or 0")
        self.channels = channels
        self.kernel_size = kernel_size
        self.circular = boundary == "circular"
        shape = kernel_size - 1, channels.num_channels, len(channels.per_channel)
        self.weight = nn.Parameter(torch.empty(shape))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the taps anew."""
        nn.init.normal_(self.weight, std=self.kernel_size**-0.5)

    def forward(self, x: Tensor, segments: Segments) -> Tensor:
        """``(C, d, T)`` -> ``(C, d, T)``."""
        taps = self.channels.expand(self.weight, dim=2)
        y = x
        for shift, tap in enumerate(taps, start=1):
            y = torch.addcmul(y, tap[..., None], self._shift(x, shift, segments))
        return y

    def _shift(self, x: Tensor, shift: int, segments: Segments) -> Tensor:
        """Every token's value moved on by ``shift`` places within its graph."""
        if len(set(segments.lengths)) == 1:  # no indices: several times faster
            graphs = x.unflatten(-1, (len(segments.lengths), segments.lengths[0]))
            if self.circular:
                return graphs.roll(shift, dims=-1).flatten(-2)
            return nn.functional.pad(graphs, (shift, 0))[..., : graphs.shape[-1]].flatten(-2)
        position = segments.position
        start = torch.arange(x.shape[-1], device=x.device) - position
        source = position - shift
        shifted = x[..., start + source.remainder(segments.sizes[segments.index])]
        return shifted if self.circular else torch.where(source >= 0, shifted, 0)

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, circular={self.circular}"

"""The short convolution of our operators, for LGATr-slim."""

from typing import Any

import torch
from torch import Tensor, nn


class ConvolvedSlimLinear(nn.Module):
    r"""A ``SlimLinear``, then the short convolution that `e3hyena.nn.short_conv.ShortConv` is.

    .. math:: y_i = x_i + \sum_{s=1}^{K-1} w_s\, x_{i-s}

    along the order of the tokens, nothing before the first; the four components of a vector share
    their taps, so it stays one.

    Parameters
    ----------
    linear : SlimLinear
        With vectors and scalars.
    kernel_size : int
        K.
    """

    def __init__(self, linear: Any, kernel_size: int) -> None:
        super().__init__()
        self.linear: nn.Module = linear
        taps = [
            torch.randn(kernel_size - 1, channels) * kernel_size**-0.5
            for channels in (len(linear.weight_v), linear.linear_s.out_features)
        ]
        self.weight_v, self.weight_s = map(nn.Parameter, taps)

    def forward(self, vectors: Tensor, scalars: Tensor) -> tuple[Tensor, Tensor]:
        """Vectors ``(..., N, 4, channels)`` and scalars ``(..., N, channels)`` -> the same."""
        vectors, scalars = self.linear(vectors, scalars)
        convolved = short_convolution(vectors.flatten(-2), self.weight_v.repeat(1, 4))
        return convolved.view_as(vectors), short_convolution(scalars, self.weight_s)


def short_convolution(x: Tensor, taps: Tensor) -> Tensor:
    """``(..., N, C)`` with taps ``(K - 1, C)`` -> ``(..., N, C)``."""
    y = x
    for shift, tap in enumerate(taps, start=1):
        y = y + tap * nn.functional.pad(x, (0, 0, shift, 0))[..., : x.shape[-2], :]
    return y

"""The features of a mixer's kernel, with their frequencies."""

import math

import torch
from torch import Tensor, nn

from e3hyena.irreps import ChannelIrreps
from e3hyena.ops.features import features, pairs


class KernelFeatures(nn.Module):
    r"""Fourier modes of a coordinate, and tensor powers of irreps, per head.

    See :func:`e3hyena.ops.features.features`. Products of two tokens' features are
    :math:`\sum_m\cos\omega_m(a-b)`, :math:`x\cdot y` and :math:`\sum_c (x_c\cdot y_c)^2`:
    invariant, smooth, and finite sums of products. `sizes` are the numbers of features: constant,
    cosines, sines, and one entry per tensor power.
    """

    def __init__(
        self,
        hidden: ChannelIrreps,
        heads: int,
        modes: int,
        max_frequency: float = 2.0,
        degree: int = 1,
    ) -> None:
        super().__init__()
        if modes < 1:
            raise ValueError(f"modes={modes}; at least one, the constant, is needed")
        if degree not in (0, 1, 2):
            raise ValueError(f"degree={degree}; use 0, 1 or 2, the largest tensor power")
        if not max_frequency > 0:
            raise ValueError(
                f"max_frequency={max_frequency} must be positive; modes=1 leaves the constant only"
            )
        self.heads, self.modes, self.degree = heads, modes, degree
        self.max_frequency = max_frequency
        channels, d = hidden.num_channels // heads, hidden.dim
        powers = [channels * d, channels * len(pairs(d))]
        self.sizes = [1, modes - 1, modes - 1, *powers[:degree]]
        self.frequencies = nn.Parameter(torch.empty(heads, modes - 1))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Space the frequencies geometrically."""
        exponents = torch.linspace(-2, math.log2(self.max_frequency), max(self.modes - 1, 1))
        with torch.no_grad():
            self.frequencies.copy_((2.0**exponents)[: self.modes - 1])

    def forward(self, coordinate: Tensor, x: Tensor) -> Tensor:
        """``(H, B, N)`` and ``(C, d, B, N)`` -> ``(H, B, F, N)``, F the sum of ``sizes``."""
        return features(coordinate, x, self.frequencies, self.degree)

    def extra_repr(self) -> str:
        return f"heads={self.heads}, modes={self.modes}, degree={self.degree}"

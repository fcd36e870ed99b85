"""Features of tokens whose products make a kernel: Fourier modes and tensor powers."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from e3hyena.irreps import ChannelIrreps


class KernelFeatures(nn.Module):
    r"""Fourier modes of a coordinate, and tensor powers of irreps, per head.

    .. math:: \varphi(a, x) = \tfrac{1}{\sqrt M}\big(1,\, \cos\omega_m a,\, \sin\omega_m a\big)
              \;\oplus\; \tfrac{1}{\sqrt D}\, x \;\oplus\;
              \tfrac{1}{\sqrt D}\bigoplus_c \frac{x_c \otimes x_c}{\sqrt{d + |x_c|^2}}

    Products of two tokens' features are :math:`\sum_m\cos\omega_m(a-b)`, :math:`x\cdot y` and
    :math:`\sum_c (x_c\cdot y_c)^2`: invariant, smooth, and finite sums of products.

    Parameters
    ----------
    hidden : ChannelIrreps
        Channels and per-channel irreps; a head owns C/H channels with D components together.
    heads : int
        H.
    modes : int
        M, the constant among them.
    max_frequency : float
        Largest initial frequency; the others are spaced geometrically below, down to 1/4.
    degree : int
        Largest tensor power: 0, 1 or 2.

    Attributes
    ----------
    sizes : list of int
        Features of every part: constant, cosines, sines, and one entry per tensor power.

    Examples
    --------
    >>> features = KernelFeatures(ChannelIrreps("8x0e + 8x1o"), heads=4, modes=3, degree=1)
    >>> coordinate, x = torch.randn(4, 2, 9), torch.randn(8, 4, 2, 9)
    >>> features(coordinate, x).shape, features.sizes
    (torch.Size([4, 2, 13, 9]), [1, 2, 2, 8])
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
        self.pairs = [(i, j) for i in range(d) for j in range(i, d)]
        powers = [channels * d, channels * len(self.pairs)]
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
        angle = self.frequencies[:, None, :, None] * coordinate[:, :, None]
        parts = [torch.ones_like(coordinate[:, :, None]), angle.cos(), angle.sin()]
        scales = [self.modes**-0.5] * (2 * self.modes - 1)
        if self.degree:
            parts.append(self._flat(x))
        if self.degree == 2:
            parts.append(self._square(x))
        for size in self.sizes[3:]:
            scales += [self.sizes[3] ** -0.5] * size
        return torch.cat(parts, dim=2) * x.new_tensor(scales)[:, None]

    def _square(self, x: Tensor) -> Tensor:
        """Symmetric square of every channel, an orthonormal basis of it."""
        first, second = zip(*self.pairs, strict=True)
        scale = x.new_tensor([1.0 if i == j else 2**0.5 for i, j in self.pairs])
        norm = (x.shape[1] + x.square().sum(dim=1, keepdim=True)).rsqrt()
        square = (x * norm)[:, list(first)] * x[:, list(second)]
        return self._flat(square * scale[:, None, None])

    def _flat(self, x: Tensor) -> Tensor:
        """``(C, d, B, N)`` -> ``(H, B, (C/H) d, N)``."""
        return x.reshape(self.heads, -1, *x.shape[2:]).transpose(1, 2)

    def extra_repr(self) -> str:
        return f"heads={self.heads}, modes={self.modes}, degree={self.degree}"

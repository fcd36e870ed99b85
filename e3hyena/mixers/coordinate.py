"""Hyena's filter on learned invariant coordinates: a long convolution for sets."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from e3hyena.irreps import ChannelIrreps
from e3hyena.mixers.base import Mixer
from e3hyena.mixers.heads import check_heads
from e3hyena.mixers.invariants import invariants
from e3hyena.ops.paths import Paths
from e3hyena.ops.segments import Segments
from e3hyena.ops.tensor_product import tensor_product


class Coordinate(Mixer):
    r"""Long convolution between learned invariant coordinates instead of indices.

    Every head has a query coordinate :math:`a_i` and a key coordinate :math:`b_j`, small MLPs of
    the token's own invariants, and

    .. math::
        z_j &= \tfrac{1}{\sqrt2}\big(v_j + \mathrm{CG}(k_j \otimes v_j)\big) \\
        u_i &= \frac{1}{N\sqrt2}\sum_j
               \big(h(a_i - b_j) + g\, q_i\cdot k_j / \sqrt{D}\big)\, z_j,\qquad
        h(t) = \sum_{m} \mathrm{Re}\, h_m e^{i\omega_m t}.

    Coordinates are invariants of one token and cannot see the angle between two; the dot product
    over the D components of a head can. Since :math:`e^{i\omega(a-b)} = e^{i\omega a}
    e^{-i\omega b}`, the sum over j is a set of 2M + D moments per graph: O(N M) time, no order, no
    padding of the function, smooth in the features. Exactly equivariant under E(3) and
    permutations; h and g are per irrep copy and channel.

    Parameters
    ----------
    hidden : ChannelIrreps
        Channels and per-channel irreps.
    heads : int, optional
        Number of coordinates, a divisor of the channels. Default: the largest up to 8.
    modes : int
        M, number of frequencies per head, the first of them zero.
    max_frequency : float
        Largest initial frequency; the others are spaced geometrically below. Coordinates have
        about unit spread at initialisation.
    """

    companion = "q"

    def __init__(
        self,
        hidden: ChannelIrreps,
        *,
        heads: int | None = None,
        modes: int = 16,
        max_frequency: float = 8.0,
    ) -> None:
        super().__init__(hidden)
        if modes < 1:
            raise ValueError(f"modes={modes}; the filter needs at least one mode")
        self.heads = check_heads(heads, hidden.num_channels, default=8)
        self.modes = modes
        self.max_frequency = max_frequency
        num_channels, width = hidden.num_channels, len(hidden.per_channel)
        self.paths = Paths(hidden.per_channel, hidden.per_channel, hidden.per_channel)
        self.weight = nn.Parameter(torch.empty(self.paths.num_paths, num_channels))
        self.frequencies = nn.Parameter(torch.empty(self.heads, modes))
        self.filter = nn.Parameter(torch.empty(2, num_channels, width, modes))
        self.dot_gain = nn.Parameter(torch.empty(num_channels, width))
        hidden_width = 2 * self.heads
        self.query_mlp, self.key_mlp = (
            nn.Sequential(
                nn.Linear(max(num_channels * width, 1), hidden_width),
                nn.SiLU(),
                nn.Linear(hidden_width, self.heads),
            )
            for _ in range(2)
        )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all parameters anew; the filter starts smooth, its modes falling off as 1/m."""
        nn.init.normal_(self.weight)
        nn.init.ones_(self.dot_gain)
        nn.init.normal_(self.filter)
        with torch.no_grad():
            decay = 1 / torch.arange(1, self.modes + 1)
            self.filter.mul_(decay / decay.norm())
            self.frequencies.zero_()
            if self.modes > 1:
                exponents = torch.linspace(-2, math.log2(self.max_frequency), self.modes - 1)
                self.frequencies[:, 1:] = 2.0**exponents
            for mlp in (self.query_mlp, self.key_mlp):
                for layer in mlp:
                    if isinstance(layer, nn.Linear):
                        nn.init.normal_(layer.weight, std=1.5 * layer.in_features**-0.5)
                        nn.init.zeros_(layer.bias)

    def forward(self, q: Tensor, k: Tensor, v: Tensor, segments: Segments) -> Tensor:
        """Convolve within every graph."""
        if not self.hidden.dim:
            return v
        z = (v + tensor_product(k, v, self.weight, self.paths)) * 2**-0.5
        a = self._coordinate(self.query_mlp, q)
        b = self._coordinate(self.key_mlp, k)
        layout = segments.similar
        parts = []
        operands = zip(*(layout.gather(x) for x in (z, q, k, a, b)), strict=True)
        for group, (z_part, q_part, k_part, a_part, b_part) in zip(
            layout.groups, operands, strict=True
        ):
            sizes = z.new_tensor(group.lengths)[:, None, None]
            parts.append(self._convolve(z_part, q_part, k_part, a_part, b_part, sizes))
        return layout.scatter(parts, v)

    def _coordinate(self, mlp: nn.Module, x: Tensor) -> Tensor:
        """``(C, d, T)`` -> ``(1, H, T)``."""
        features = invariants(x, self.hidden).flatten(0, 1)
        return mlp(features.T).T.unsqueeze(0)

    def _convolve(
        self, z: Tensor, q: Tensor, k: Tensor, a: Tensor, b: Tensor, sizes: Tensor
    ) -> Tensor:
        """Moments, filter, read-out; ``(C, d, B, N)`` but ``a``, ``b``: ``(1, H, B, N)``."""
        moments = self._heads(z) @ self._features(b, k).transpose(2, 3)
        u = self._apply_filter(moments * (sizes * 2**0.5).reciprocal()) @ self._features(a, q)
        return u.transpose(1, 2).reshape(z.shape)

    def _heads(self, x: Tensor) -> Tensor:
        """``(C, d, B, N)`` -> ``(H, B, D, N)`` with ``D = (C/H) d``."""
        return x.reshape(self.heads, -1, *x.shape[2:]).transpose(1, 2)

    def _features(self, coordinate: Tensor, x: Tensor) -> Tensor:
        """Cosines, sines and components, ``(H, B, 2M + D, N)``; products of two make the kernel."""
        components = self._heads(x)
        scale = components.shape[2] ** -0.25
        return torch.cat([self._phases(coordinate), components * scale], dim=2)

    def _phases(self, coordinate: Tensor) -> Tensor:
        """``(1, H, B, N)`` -> cosines, then sines, ``(H, B, 2M, N)``."""
        angles = self.frequencies[:, None, :, None] * coordinate[0][:, :, None]
        return torch.cat([angles.cos(), angles.sin()], dim=2)

    def _apply_filter(self, moments: Tensor) -> Tensor:
        """Multiply the spectrum by the filter of every irrep copy, ``(H, B, D, 2M + D)``."""
        heads, _, rows, _ = moments.shape
        taps = self.hidden.expand(self.filter, dim=2)
        real, imaginary = taps.reshape(2, heads, 1, rows, self.modes)
        gain = self.hidden.expand(self.dot_gain, dim=1).reshape(heads, 1, rows, 1)
        cosine, sine, dot = moments.split([self.modes, self.modes, rows], dim=-1)
        return torch.cat(
            [real * cosine + imaginary * sine, real * sine - imaginary * cosine, gain * dot], dim=-1
        )

    def extra_repr(self) -> str:
        return f"heads={self.heads}, modes={self.modes}, {self.paths}"

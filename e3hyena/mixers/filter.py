"""Hyena proper: an implicit filter over the index, with tensor-product gating."""

from typing import ClassVar

import torch
from e3nn import o3
from torch import Tensor, nn

from e3hyena.irreps import ChannelIrreps
from e3hyena.mixers.base import Mixer
from e3hyena.ops.paths import Paths
from e3hyena.ops.segments import Segments
from e3hyena.ops.tensor_product import tensor_product
from e3hyena.ops.transforms import check_boundary, fast_length


class Filter(Mixer):
    r"""Long convolution with a learned filter per irrep copy and channel.

    .. math:: z_j = \mathrm{CG}(k_j \otimes v_j),\qquad u_i = \sum_j h_{i-j}\, z_j,\qquad
              h_t = \mathrm{MLP}(\phi(t))\, e^{-\alpha |t|}

    The filter is a function of the lag, so no length is too long for it, and it decays, so that
    the result does not depend on the length either. ``causal`` sees lags t >= 0, ``same`` both
    directions, ``circular`` the shorter way around. Shift equivariant; O(N log N).

    Parameters
    ----------
    hidden : ChannelIrreps
        Channels and per-channel irreps.
    boundary : {"same", "causal", "circular"}
        Which lags a token sees.
    width : int
        Hidden width of the filter's MLP.
    """

    companion = "q"
    ordered: ClassVar[bool] = True
    cost: ClassVar[str] = "O(N log N)"
    purpose: ClassVar[str] = "chains, trajectories; shift equivariant"

    def __init__(self, hidden: ChannelIrreps, *, boundary: str = "same", width: int = 32) -> None:
        super().__init__(hidden)
        self.boundary = check_boundary(boundary)
        if width < 1:
            raise ValueError(f"width={width} of the filter's MLP; at least 1")
        self.width = width
        num_channels, copies = hidden.num_channels, len(hidden.per_channel)
        self.paths = Paths(hidden.per_channel, hidden.per_channel, hidden.per_channel)
        self.weight = nn.Parameter(torch.empty(self.paths.num_paths, num_channels))
        self.mlp = nn.Sequential(
            nn.Linear(2 * _NUM_SCALES, width),
            nn.SiLU(),
            nn.Linear(width, max(num_channels * copies, 1)),
        )
        self.log_decay = nn.Parameter(torch.empty(num_channels, 1))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all parameters anew; decay lengths span 4 to 512 tokens over the channels."""
        nn.init.normal_(self.weight)
        for layer in self.mlp:
            if isinstance(layer, nn.Linear):
                nn.init.normal_(layer.weight, std=layer.in_features**-0.5)
                nn.init.normal_(layer.bias, std=0.5)
        with torch.no_grad():
            lengths = torch.logspace(2, 9, self.hidden.num_channels, base=2.0)
            self.log_decay.copy_(-lengths.log()[:, None])

    def impulse_response(self, lags: Tensor) -> Tensor:
        """The filter at integer lags ``(L,)``, as ``(C, num_copies, L)``, unit energy."""
        decay = self.log_decay.exp()
        time = lags.to(decay.dtype)
        taps = self.mlp(_positional_features(time)).T
        taps = taps.unflatten(0, (len(decay), -1))
        sides = 1 if self.boundary == "causal" else 2
        envelope = torch.exp(-decay[..., None] * time.abs()) * (2 * decay / sides)[..., None].sqrt()
        return taps * envelope

    def reached(self, given: set[o3.Irrep]) -> set[o3.Irrep]:
        """What the product of key and value leads to."""
        return self.paths.reached(given, given)

    def forward(self, q: Tensor, k: Tensor, v: Tensor, segments: Segments) -> Tensor:
        """Convolve within every graph."""
        if not self.hidden.dim:
            return v
        z = tensor_product(k, v, self.weight, self.paths)
        dense = segments.exact if self.boundary == "circular" else segments.similar
        parts = [self._convolve(part) for part in dense.gather(z)]
        return dense.scatter(parts, v)

    def _convolve(self, z: Tensor) -> Tensor:
        """``(C, d, B, N)`` -> the same shape."""
        n = z.shape[-1]
        length = n if self.boundary == "circular" else fast_length(2 * n - 1)
        places = torch.arange(length, device=z.device)
        lags = torch.where(places <= length // 2, places, places - length)
        if self.boundary == "causal":
            lags = torch.where(places < n, places, 0)
        taps = self.impulse_response(lags)
        if self.boundary == "causal":
            taps = torch.where(places < n, taps, 0)
        spectrum = self.hidden.expand(torch.fft.rfft(taps.to(z.dtype)), dim=1)
        u = torch.fft.irfft(torch.fft.rfft(z, n=length) * spectrum[:, :, None], n=length)
        return u[..., :n]

    def extra_repr(self) -> str:
        return f"boundary={self.boundary!r}, {self.paths}"


_NUM_SCALES = 8


def _positional_features(time: Tensor) -> Tensor:
    """Bounded features of the lag on octaves from 1 to 4^7 tokens: odd and even, ``(L, 16)``."""
    scales = 4.0 ** torch.arange(_NUM_SCALES, dtype=time.dtype, device=time.device)
    ratio = time[:, None] / scales
    return torch.cat([torch.tanh(ratio), 1 / (1 + ratio.square())], dim=1)

"""Mixers of finite range: what falls off with distance."""

import math
from typing import ClassVar

import torch
from torch import Tensor, nn

from e3hyena.irreps import ChannelIrreps
from e3hyena.mixers.base import Mixer
from e3hyena.ops.segments import Segments
from e3hyena.ops.window import Window, take


class Falloff(nn.Module):
    r"""How a mixer's influence falls off with distance, per head.

    .. math:: f_h(r) = \big(1 - r^2/R^2\big)^3\, e^{\,1-\sqrt{1+r^2/\lambda_h^2}}

    and zero beyond R, where f, its slope and its curvature vanish. The lengths :math:`\lambda_h`
    are learned; they start between R/8 and R. f is a smooth function of the positions, also where
    two tokens coincide.
    """

    def __init__(self, radius: float, heads: int) -> None:
        super().__init__()
        if not (radius > 0 and math.isfinite(radius)):
            raise ValueError(f"range={radius} must be a positive, finite length")
        self.radius, self.heads = float(radius), heads
        self.log_length = nn.Parameter(torch.empty(heads))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Space the lengths geometrically."""
        with torch.no_grad():
            exponents = torch.linspace(-3, 0, self.heads)
            self.log_length.copy_(exponents * math.log(2) + math.log(self.radius))

    def forward(self, square: Tensor) -> Tensor:
        """Squared distances ``(n, t, s)`` -> ``(n, H, t, s)``."""
        envelope = (1 - square / self.radius**2).clamp(min=0) ** 3
        scaled = square[:, None] * (-2 * self.log_length).exp()[:, None, None]
        return envelope[:, None] * (1 - (1 + scaled).sqrt()).exp()

    def extra_repr(self) -> str:
        return f"range={self.radius}, heads={self.heads}"


class RangedMixer(Mixer):
    """Base of the mixers of sets, which may have a range.

    Such a mixer hears ``segments.window``, which a network that knows the positions sets; the
    features alone do not say who is near.
    """

    ranged: ClassVar[bool] = True
    falloff: Falloff | None

    def __init__(self, hidden: ChannelIrreps, heads: int, range: float | None) -> None:
        super().__init__(hidden)
        self.heads = heads
        self.falloff = None if range is None else Falloff(range, heads)

    def window(self, segments: Segments) -> Window:
        """Who is within the range, or a word on who says so."""
        assert self.falloff is not None
        window = segments.window
        if window is None or window.radius != self.falloff.radius:
            raise ValueError(
                f"{type(self).__name__} has range={self.falloff.radius} and needs to know which "
                "tokens are that near; HyenaNet says so (mixer_options={'range': ...}), elsewhere "
                "pass batch=segments.within(Window(pos, range, segments)), see e3hyena.ops.window"
            )
        return window


def to_heads(x: Tensor, heads: int) -> Tensor:
    """``(C, d, T)`` -> ``(T, H, (C/H) d)``."""
    return x.reshape(heads, -1, x.shape[-1]).permute(2, 0, 1).contiguous()


def from_heads(x: Tensor, hidden: ChannelIrreps) -> Tensor:
    """``(T, H, (C/H) d)`` -> ``(C, d, T)``."""
    return x.permute(1, 2, 0).reshape(hidden.num_channels, hidden.dim, len(x))


def of_heads(x: Tensor, tokens: Tensor) -> Tensor:
    """``(T, H, ...)`` and ``(n, t)`` -> ``(n, H, t, ...)``."""
    return take(x, tokens).transpose(1, 2)

"""Mixers of finite range: what falls off with distance, and sums over the tokens within."""

import functools
import math
from collections.abc import Callable, Iterator
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from e3hyena.irreps import ChannelIrreps
from e3hyena.mixers.base import Mixer
from e3hyena.ops.segments import Segments
from e3hyena.ops.window import Window

BLOCK = 2**17  # pairs that are in memory at once


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
        """Squared distances ``(P,)`` -> ``(P, H)``."""
        envelope = (1 - square / self.radius**2).clamp(min=0) ** 3
        decay = (1 - (1 + square[:, None] * (-2 * self.log_length).exp()).sqrt()).exp()
        return envelope[:, None] * decay

    def extra_repr(self) -> str:
        return f"range={self.radius}, heads={self.heads}"


class RangedMixer(Mixer):
    """Base of the mixers of sets, which may have a range.

    Such a mixer hears the pairs of ``segments.window``, which a network that knows the positions
    sets; the features alone do not say who is near.
    """

    ranged: ClassVar[bool] = True
    falloff: Falloff | None

    def __init__(self, hidden: ChannelIrreps, heads: int, range: float | None) -> None:
        super().__init__(hidden)
        self.heads = heads
        self.falloff = None if range is None else Falloff(range, heads)

    def window(self, segments: Segments) -> Window:
        """The pairs within the range, or a word on where they come from."""
        assert self.falloff is not None
        window = segments.window
        if window is None or window.radius != self.falloff.radius:
            raise ValueError(
                f"{type(self).__name__} has range={self.falloff.radius} and needs to know which "
                "tokens are that near; HyenaNet says so (mixer_options={'range': ...}), elsewhere "
                "pass batch=segments.within(Window(pos, range, segments)), see e3hyena.ops.window"
            )
        return window

    def to_heads(self, x: Tensor) -> Tensor:
        """``(C, d, T)`` -> ``(T, H, (C/H) d)``."""
        return x.reshape(self.heads, -1, x.shape[-1]).permute(2, 0, 1).contiguous()

    def from_heads(self, x: Tensor) -> Tensor:
        """``(T, H, (C/H) d)`` -> ``(C, d, T)``."""
        return x.permute(1, 2, 0).reshape(self.hidden.num_channels, self.hidden.dim, len(x))


def pair_blocks(window: Window) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Sources, targets and squared distances, a block of pairs at a time."""
    pairs = (window.source, window.target, window.square)
    yield from zip(*(each.split(BLOCK) for each in pairs), strict=True)


def sum_pairs(
    messages: Callable[[Tensor, Tensor, Tensor], Tensor], window: Window, num_tokens: int
) -> Tensor:
    """Sum ``messages(source, target, square)``, ``(P, ...)``, over the pairs of every target.

    Where there are several blocks of pairs, what makes their messages is computed again in the
    backward pass: memory holds the pairs, not what they say.
    """

    def block(source: Tensor, target: Tensor, square: Tensor) -> Tensor:
        each = messages(source, target, square)
        return each.new_zeros(num_tokens, *each.shape[1:]).index_add(0, target, each)

    blocks = list(pair_blocks(window))
    if len(blocks) == 1:
        return block(*blocks[0])
    parts = (
        checkpoint(block, *each, use_reentrant=False, preserve_rng_state=False) for each in blocks
    )
    return functools.reduce(torch.add, parts)

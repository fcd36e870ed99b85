"""The network of associative recall, the same around every mixer."""

import math
from typing import Any

import torch
from e3nn import o3
from torch import Tensor, nn

from benchmarks.networks.blocks import build_blocks
from e3hyena.irreps import ChannelIrreps
from e3hyena.nn.feed_forward import FeedForward
from e3hyena.ops.segments import Segments

CODE_WIDTH = 16
POOLS = ("mean", "last")


class RecallNet(nn.Module):
    """An MLP of position code and token, blocks, one vector from all tokens, an MLP.

    Parameters
    ----------
    irreps_token : str
        Irreps of a token and of the answer, ``"1x1o"`` or ``"1x2e"``.
    irreps : str
        Irreps between the blocks.
    num_blocks : int
    mixer : str
        See `build_blocks`.
    mixer_options : dict
    short_conv : int
    pool : {"mean", "last"}
        What the answer is read from: the mean of all tokens, as in the paper, or the last token.
    equivariant : bool
        False hands components over as so many scalars, to a network of scalars three times as wide
        as `irreps` has copies: Hyena or a transformer without symmetry.
    scale : float
        Root mean square of the components of a token, taken out of the input and put back into the
        answer.
    """

    def __init__(
        self,
        irreps_token: str,
        irreps: str,
        num_blocks: int,
        mixer: str,
        mixer_options: dict[str, Any] | None = None,
        *,
        short_conv: int = 0,
        pool: str = "mean",
        equivariant: bool = True,
        scale: float = 1.0,
    ) -> None:
        super().__init__()
        if pool not in POOLS:
            raise ValueError(f"pool={pool!r} is unknown; use 'mean' or 'last'")
        if not equivariant:
            irreps_token = f"{o3.Irreps(irreps_token).dim}x0e"
            irreps = f"{3 * o3.Irreps(irreps).num_irreps}x0e"
        self.irreps_in = self.irreps_out = o3.Irreps(irreps_token)
        self.pool = pool
        self.scale = scale
        # Gated, so that the code of the last token can set it apart before tokens are mixed.
        self.embedding = FeedForward(
            f"{CODE_WIDTH}x0e + {irreps_token}", irreps, ChannelIrreps(irreps)
        )
        self.blocks = build_blocks(
            irreps, mixer, num_blocks, short_conv=short_conv, mixer_options=mixer_options
        )
        self.readout = FeedForward(irreps, irreps_token, ChannelIrreps(irreps))

    def forward(self, x: Tensor) -> Tensor:
        """Sequences ``(B, N, 2l + 1)`` -> answers ``(B, 2l + 1)``."""
        number, num_tokens, _ = x.shape
        code = position_code(num_tokens).to(x).expand(number, -1, -1)
        tokens = self.embedding(torch.cat([code, x / self.scale], dim=-1).flatten(0, 1))
        segments = Segments((num_tokens,) * number, x.device)
        for block in self.blocks:
            tokens = block(tokens, segments)
        tokens = tokens.unflatten(0, (number, num_tokens))
        pooled = tokens.mean(dim=1) if self.pool == "mean" else tokens[:, -1]
        return self.scale * self.readout(pooled)


def position_code(num_tokens: int) -> Tensor:
    """Sines and cosines of the position, ``(num_tokens, CODE_WIDTH)``.

    Counted from the last token, so that the token that asks looks the same at every length.
    """
    place = torch.arange(num_tokens - 1, -1, -1, dtype=torch.float32)
    rates = torch.exp(-math.log(1e4) * torch.arange(0, CODE_WIDTH, 2) / CODE_WIDTH)
    angles = place[:, None] * rates
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)


def component_scale(vocabulary: int, width: int) -> float:
    """Root mean square of a component of vectors with magnitudes uniform in [1, vocabulary]."""
    return math.sqrt((vocabulary**2 + vocabulary + 1) / 3 / width)

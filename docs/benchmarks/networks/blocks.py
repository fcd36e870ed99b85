"""Blocks whose operator is an opponent's: everything around it stays the same."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from torch import nn

from benchmarks.networks.cross_product_attention import CrossProductAttention
from benchmarks.networks.half_attention import HalfAttention
from benchmarks.networks.lgatr_slim import SpatialLGATrSlim
from e3hyena.irreps import ChannelIrreps
from e3hyena.mixers.base import Mixer
from e3hyena.models.se3_hyena import SE3Hyena
from e3hyena.nn.block import HyenaBlock

OPPONENTS: dict[str, Callable[[ChannelIrreps], Mixer]] = {
    "cross_product_fused": partial(CrossProductAttention, fused=True),
    "cross_product_dense": partial(CrossProductAttention, fused=False),
    "attention_half": HalfAttention,
}


def build_blocks(
    irreps: str,
    mixer: str,
    number: int,
    *,
    short_conv: int = 0,
    mixer_options: Mapping[str, Any] | None = None,
) -> nn.ModuleList:
    """Modules of ``(tokens, batch)`` to be called one after the other."""
    if mixer == "lgatr_slim":
        net = SpatialLGATrSlim(irreps, irreps, irreps, number, short_conv=short_conv)
        return nn.ModuleList([net])
    return nn.ModuleList(
        build_block(irreps, mixer, short_conv=short_conv, mixer_options=mixer_options)
        for _ in range(number)
    )


def build_block(
    irreps: str, mixer: str, *, short_conv: int = 0, mixer_options: Mapping[str, Any] | None = None
) -> HyenaBlock:
    """A `HyenaBlock` with one of the library's mixers or an opponent's."""
    if mixer in OPPONENTS:
        block = HyenaBlock(irreps, mixer="attention", short_conv=short_conv)
        assert block.operator is not None
        hidden = ChannelIrreps(block.operator.irreps_hidden)
        block.operator.mixer = OPPONENTS[mixer](hidden)
        block.operator.mixer_name = mixer
    elif mixer == "se3_hyena":
        block = HyenaBlock(irreps, mixer="attention")
        assert block.operator is not None
        hidden_irreps = block.operator.irreps_hidden
        block.add_module("operator", SE3Hyena(irreps, irreps_hidden=hidden_irreps))
    else:
        block = HyenaBlock(irreps, mixer=mixer, short_conv=short_conv, mixer_options=mixer_options)
    return block

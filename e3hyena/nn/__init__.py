"""Layers; features outside are e3nn's ``(num_tokens, irreps.dim)``."""

from e3hyena.nn.block import HyenaBlock
from e3hyena.nn.feed_forward import FeedForward, TensorProductMLP
from e3hyena.nn.gate import Gate
from e3hyena.nn.interaction import Interaction
from e3hyena.nn.linear import Linear
from e3hyena.nn.local_global import LocalGlobalBlock
from e3hyena.nn.norm import RMSNorm, TokenNorm
from e3hyena.nn.operator import HyenaOperator
from e3hyena.nn.short_conv import ShortConv

__all__ = [
    "FeedForward", "Gate", "HyenaBlock", "HyenaOperator", "Interaction", "Linear",
    "LocalGlobalBlock", "RMSNorm", "ShortConv", "TensorProductMLP", "TokenNorm",
]  # fmt: skip

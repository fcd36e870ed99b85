"""Pure functions on channel-layout tensors ``(..., C, d, N)``; no parameters."""

from e3hyena.ops import naive
from e3hyena.ops.paths import Paths
from e3hyena.ops.tensor_product import tensor_product, tensor_product_long_conv

__all__ = ["Paths", "naive", "tensor_product", "tensor_product_long_conv"]

"""Global context for equivariant networks at sub-quadratic cost."""

from e3hyena.models.hyena_net import HyenaNet
from e3hyena.models.se3_hyena import SE3Hyena
from e3hyena.nn.block import HyenaBlock
from e3hyena.nn.operator import HyenaOperator

__version__ = "0.1.0"
__all__ = ["HyenaBlock", "HyenaNet", "HyenaOperator", "SE3Hyena", "__version__"]

"""Global context for equivariant networks at sub-quadratic cost."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from e3hyena.models.hyena_net import HyenaNet
    from e3hyena.models.se3_hyena import SE3Hyena
    from e3hyena.nn.block import HyenaBlock
    from e3hyena.nn.local_global import LocalGlobalBlock
    from e3hyena.nn.operator import HyenaOperator
    from e3hyena.training.ensemble import load_pretrained

__version__ = "0.1.0"
__all__ = [
    "HyenaBlock", "HyenaNet", "HyenaOperator", "LocalGlobalBlock", "SE3Hyena", "__version__",
    "load_pretrained",
]  # fmt: skip

# Imported when first asked for, so that the command line answers without loading torch.
_HOMES = {
    "HyenaBlock": "e3hyena.nn.block",
    "HyenaNet": "e3hyena.models.hyena_net",
    "HyenaOperator": "e3hyena.nn.operator",
    "LocalGlobalBlock": "e3hyena.nn.local_global",
    "SE3Hyena": "e3hyena.models.se3_hyena",
    "load_pretrained": "e3hyena.training.ensemble",
}
_FLOORS = {
    "ase", "data", "irreps", "mixers", "models", "nn", "ops", "parallel", "registry", "testing",
    "training",
}  # fmt: skip


def __getattr__(name: str) -> object:
    if name in _FLOORS:
        return import_module(f"e3hyena.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module 'e3hyena' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_FLOORS})

"""Factors on rows of features in plain torch, and their gradients, which torch differentiates."""

from collections.abc import Sequence

import torch
from torch import Tensor


def scale(x: Tensor, factors: Tensor, widths: Sequence[int], gain: float) -> Tensor:
    """See :func:`e3hyena.ops.scale.scale_irreps`."""
    pairs = zip(x.split(list(widths), dim=1), factors.unbind(1), strict=True)
    return torch.cat([part * (gain * factor)[:, None] for part, factor in pairs], dim=1)


def scale_backward(
    grad: Tensor, x: Tensor, factors: Tensor, widths: Sequence[int], gain: float
) -> tuple[Tensor, Tensor]:
    """Gradients by ``x`` and ``factors``."""
    pairs = zip(x.split(list(widths), dim=1), grad.split(list(widths), dim=1), strict=True)
    by_factors = torch.stack([(a * b).sum(dim=1) for a, b in pairs], dim=1)
    return scale(grad, factors, widths, gain), gain * by_factors


def norm(x: Tensor, weight: Tensor, scale: Tensor, eps: float) -> Tensor:
    """See :func:`e3hyena.ops.norm.norm`."""
    return x * (weight @ x.square() + eps).rsqrt() * scale[:, None]


def norm_backward(
    grad: Tensor, x: Tensor, weight: Tensor, scale: Tensor, eps: float
) -> tuple[Tensor, Tensor]:
    """Gradients by ``x`` and ``scale``."""
    factor = (weight @ x.square() + eps).rsqrt()
    product = grad * x
    by_factor = (scale @ product) * factor.pow(3)
    by_x = grad * factor * scale[:, None] - x * by_factor * weight[:, None]
    return by_x, product @ factor


def norm_tangent(
    to_x: Tensor, to_scale: Tensor, grad: Tensor, x: Tensor, weight: Tensor, scale: Tensor,
    eps: float,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """Gradients of ``norm_backward``, along a direction, by ``grad``, ``x`` and ``scale``."""
    factor = (weight @ x.square() + eps).rsqrt()
    cube, product, scaled = factor.pow(3), grad * x, scale[:, None] * x
    change, along = scale @ product, (weight @ (x * to_x)) * cube
    rest = (scale @ (to_x * grad) + to_scale @ product) * cube
    rest = rest - 3 * along * change * factor.square()
    by_grad = factor * (to_x * scale[:, None] + to_scale[:, None] * x) - along * scaled
    by_x = grad * (factor * to_scale[:, None] - along * scale[:, None])
    by_x = by_x - weight[:, None] * (change * cube * to_x + rest * x)
    return by_grad, by_x, (to_x * grad) @ factor - product @ along

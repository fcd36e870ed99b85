"""Invariants of tokens in plain torch, and their gradient, which torch differentiates."""

import torch
from torch import Tensor

from e3hyena.irreps import ChannelIrreps
from e3hyena.ops.invariants import angles, invariants


def scalars(x: Tensor, channels: ChannelIrreps, with_angles: bool) -> Tensor:
    """``(C, d, T)`` -> ``(C, n, T)``; see :func:`e3hyena.ops.token_scalars.token_scalars`."""
    if not with_angles:
        return invariants(x, channels)
    return torch.cat([invariants(x, channels), angles(x, channels)], dim=1)


def scalars_backward(grad: Tensor, x: Tensor, channels: ChannelIrreps, with_angles: bool) -> Tensor:
    """Gradient by x."""
    copies_of_all = list(channels.copies.values())
    by_all, by_angles = grad.tensor_split([sum(copies_of_all)], dim=1)
    by_invariants = by_all.split(copies_of_all, dim=1) if copies_of_all else ()
    parts, used = [], 0
    for (ir, block), by_invariant in zip(channels.split(x).items(), by_invariants, strict=True):
        if ir == "0e":
            parts.append(by_invariant)
            continue
        width, copies = channels.widths[ir], channels.copies[ir]
        by_angle = by_angles[:, used : used + copies]
        used += copies
        vectors = block.unflatten(1, (copies, width))
        square = vectors.square().mean(dim=2)
        by_square = by_invariant * (1 + square / 2) * (1 + square).pow(-1.5)
        if not with_angles:
            parts.append((2 / width * by_square[:, :, None] * vectors).flatten(1, 2))
            continue
        after = vectors.roll(-1, dims=0)
        product = (vectors * after).mean(dim=2)
        size = 1 + square + square.roll(-1, dims=0)
        by_size = by_angle * product * size.pow(-1.5) / -2
        by_square = by_square + by_size + by_size.roll(1, dims=0)
        by_product = (by_angle * size.rsqrt())[:, :, None]
        before = (by_product * vectors).roll(1, dims=0)
        total = 2 * by_square[:, :, None] * vectors + by_product * after + before
        parts.append((total / width).flatten(1, 2))
    return torch.cat(parts, dim=1) if parts else torch.zeros_like(x)


def scalars_tangent(
    direction: Tensor, grad: Tensor, x: Tensor, channels: ChannelIrreps, with_angles: bool
) -> tuple[Tensor, Tensor]:
    """Derivatives of both where x moves in a direction."""

    def both(x: Tensor) -> tuple[Tensor, Tensor]:
        return scalars(x, channels, with_angles), scalars_backward(grad, x, channels, with_angles)

    change, change_of_gradient = torch.func.jvp(both, (x,), (direction,))[1]
    return change, change_of_gradient

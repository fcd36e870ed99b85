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
    """Derivatives of both where x moves in a direction, by the product rule."""
    copies_of_all = list(channels.copies.values())
    by_all, by_angles = grad.tensor_split([sum(copies_of_all)], dim=1)
    by_invariants = by_all.split(copies_of_all, dim=1) if copies_of_all else ()
    moved: dict[str, list[Tensor]] = {"scalars": [], "angles": [], "gradient": []}
    blocks, directions, used = channels.split(x), channels.split(direction), 0
    for (ir, block), by_invariant in zip(blocks.items(), by_invariants, strict=True):
        along = directions[ir]
        if ir == "0e":
            moved["scalars"].append(along)
            moved["gradient"].append(torch.zeros_like(block))
            continue
        width, copies = channels.widths[ir], channels.copies[ir]
        v, d_v = (y.unflatten(1, (copies, width)) for y in (block, along))
        s, d_s = v.square().mean(dim=2), 2 * (v * d_v).mean(dim=2)
        slope = (1 + s / 2) * (1 + s).pow(-1.5)
        moved["scalars"].append(d_s * slope)
        e = by_invariant * slope
        d_e = by_invariant * d_s * (0.5 * (1 + s).pow(-1.5) - 1.5 * slope / (1 + s))
        total = torch.zeros_like(v)
        if with_angles:
            by_angle = by_angles[:, used : used + copies]
            used += copies
            after, d_after = v.roll(-1, dims=0), d_v.roll(-1, dims=0)
            p, d_p = (v * after).mean(dim=2), (v * d_after + d_v * after).mean(dim=2)
            size, d_size = 1 + s + s.roll(-1, dims=0), d_s + d_s.roll(-1, dims=0)
            moved["angles"].append(d_p * size.rsqrt() - 0.5 * p * d_size * size.pow(-1.5))
            e_a = -0.5 * by_angle * p * size.pow(-1.5)
            d_e_a = -0.5 * by_angle * size.pow(-1.5) * (d_p - 1.5 * p * d_size / size)
            e, d_e = e + e_a + e_a.roll(1, dims=0), d_e + d_e_a + d_e_a.roll(1, dims=0)
            g = (by_angle * size.rsqrt())[:, :, None]
            d_g = (-0.5 * by_angle * d_size * size.pow(-1.5))[:, :, None]
            total = d_g * after + g * d_after + (d_g * v + g * d_v).roll(1, dims=0)
        total = total + 2 * (d_e[:, :, None] * v + e[:, :, None] * d_v)
        moved["gradient"].append((total / width).flatten(1, 2))
    if not moved["gradient"]:
        return torch.zeros_like(grad), torch.zeros_like(x)
    change = torch.cat(moved["scalars"] + moved["angles"], dim=1)
    return change, torch.cat(moved["gradient"], dim=1)

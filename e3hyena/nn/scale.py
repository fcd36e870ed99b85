"""One factor per irrep copy, channel and token."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from e3hyena.irreps import ChannelIrreps


def scale_irreps(x: Tensor, factors: Tensor, channels: ChannelIrreps) -> Tensor:
    """Multiply every irrep copy by its factor, ``(C, d, T)`` by ``(C, copies, T)``.

    The factors are never spread over components, which would cost as much memory as ``x``.

    Examples
    --------
    >>> channels = ChannelIrreps("4x0e + 4x1o")
    >>> scale_irreps(torch.ones(4, 4, 1), torch.tensor([[[5.0], [7.0]]] * 4), channels)[0, :, 0]
    tensor([5., 7., 7., 7.])
    """
    widths = [w for ir, n in channels.copies.items() for w in [channels.widths[ir]] * n]
    scaled: Tensor = scale(x, factors, widths)
    return scaled


@torch.library.custom_op("e3hyena::scale", mutates_args=())
def scale(x: Tensor, factors: Tensor, widths: Sequence[int]) -> Tensor:
    """Row blocks of given widths times one factor each."""
    out = torch.empty_like(x)
    start = 0
    for i, width in enumerate(widths):
        rows = slice(start, start + width)
        torch.mul(x[:, rows], factors[:, i : i + 1], out=out[:, rows])
        start += width
    return out


@scale.register_fake
def _(x: Tensor, factors: Tensor, widths: Sequence[int]) -> Tensor:
    return torch.empty_like(x)


def _save(ctx: Any, inputs: Any, output: Any) -> None:
    x, factors, ctx.widths = inputs
    ctx.save_for_backward(x, factors)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
    x, factors = ctx.saved_tensors
    by_x = by_factors = None
    if ctx.needs_input_grad[0]:
        by_x = scale(grad, factors, ctx.widths)
    if ctx.needs_input_grad[1]:
        widths = list(ctx.widths)
        pairs = zip(x.split(widths, dim=1), grad.split(widths, dim=1), strict=True)
        by_factors = torch.stack([(a * b).sum(dim=1) for a, b in pairs], dim=1)
    return by_x, by_factors, None


scale.register_autograd(_backward, setup_context=_save)

"""One factor per irrep copy, channel and token."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from e3hyena.irreps import ChannelIrreps
from e3hyena.ops.backends import select
from e3hyena.ops.backends.eager import rows


def scale_irreps(x: Tensor, factors: Tensor, channels: ChannelIrreps, gain: float = 1.0) -> Tensor:
    """Multiply every irrep copy by its factor, ``(C, d, T)`` by ``(C, copies, T)``, and by a gain.

    The factors are never spread over components, which would cost as much memory as ``x``.

    Examples
    --------
    >>> channels = ChannelIrreps("4x0e + 4x1o")
    >>> scale_irreps(torch.ones(4, 4, 1), torch.tensor([[[5.0], [7.0]]] * 4), channels)[0, :, 0]
    tensor([5., 7., 7., 7.])
    """
    widths = [w for ir, n in channels.copies.items() for w in [channels.widths[ir]] * n]
    scaled: Tensor = _scale(x, factors, widths, gain)
    return scaled


@torch.library.custom_op("e3hyena::scale", mutates_args=())
def _scale(x: Tensor, factors: Tensor, widths: Sequence[int], gain: float) -> Tensor:
    out: Tensor = select(x).scale(x, factors, widths, gain)
    return out


@torch.library.custom_op("e3hyena::scale_backward", mutates_args=())
def _scale_backward(
    grad: Tensor, x: Tensor, factors: Tensor, widths: Sequence[int], gain: float
) -> tuple[Tensor, Tensor]:
    out: tuple[Tensor, Tensor] = select(x).scale_backward(grad, x, factors, widths, gain)
    return out


@_scale.register_fake
def _(x: Tensor, factors: Tensor, widths: Sequence[int], gain: float) -> Tensor:
    return x.new_empty(x.shape)


@_scale_backward.register_fake
def _(
    grad: Tensor, x: Tensor, factors: Tensor, widths: Sequence[int], gain: float
) -> tuple[Tensor, Tensor]:
    return x.new_empty(x.shape), factors.new_empty(factors.shape)


def _save(ctx: Any, inputs: Any, output: Any) -> None:
    x, factors, ctx.widths, ctx.gain = inputs
    ctx.save_for_backward(x, factors)


def _gradient(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None, None]:
    x, factors = ctx.saved_tensors
    backward = rows.scale_backward if torch.is_grad_enabled() else _scale_backward
    return *backward(grad, x, factors, ctx.widths, ctx.gain), None, None


_scale.register_autograd(_gradient, setup_context=_save)

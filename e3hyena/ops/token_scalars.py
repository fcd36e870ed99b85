"""All invariants of a token as one opaque operator: what small networks of a token read."""

from __future__ import annotations

import functools

import torch
from torch import Tensor

from e3hyena.irreps import ChannelIrreps
from e3hyena.ops.backends import select
from e3hyena.ops.backends.eager import scalars


def token_scalars(x: Tensor, channels: ChannelIrreps, *, with_angles: bool = True) -> Tensor:
    """Invariants of every irrep copy, then inner products of neighbouring channels.

    See :func:`e3hyena.ops.invariants.invariants` and :func:`e3hyena.ops.invariants.angles`.

    Parameters
    ----------
    x : Tensor
        ``(C, d, T)``.
    channels : ChannelIrreps
        What the channels hold.
    with_angles : bool
        Whether the inner products are wanted.

    Returns
    -------
    Tensor
        ``(C * n, T)``, n the copies in a channel plus, with angles, those not even scalars.

    Examples
    --------
    >>> token_scalars(torch.randn(4, 4, 9), ChannelIrreps("4x0e + 4x1o")).shape
    torch.Size([12, 9])
    """
    out: Tensor = _scalars(x, str(channels.irreps), with_angles)
    return out.flatten(0, 1)


@functools.cache
def _channels(irreps: str, num_channels: int) -> ChannelIrreps:
    return ChannelIrreps(irreps, num_channels)


@torch.library.custom_op("e3hyena::scalars", mutates_args=())
def _scalars(x: Tensor, irreps: str, with_angles: bool) -> Tensor:
    out: Tensor = select(x).scalars(x, _channels(irreps, len(x)), with_angles)
    return out


@torch.library.custom_op("e3hyena::scalars_backward", mutates_args=())
def _scalars_backward(grad: Tensor, x: Tensor, irreps: str, with_angles: bool) -> Tensor:
    out: Tensor = select(x).scalars_backward(grad, x, _channels(irreps, len(x)), with_angles)
    return out


@_scalars.register_fake
def _(x: Tensor, irreps: str, with_angles: bool) -> Tensor:
    copies = _channels(irreps, len(x)).copies
    count = sum(n * (1 + (with_angles and ir != "0e")) for ir, n in copies.items())
    return x.new_empty(len(x), count, x.shape[2])


@_scalars_backward.register_fake
def _(grad: Tensor, x: Tensor, irreps: str, with_angles: bool) -> Tensor:
    return x.new_empty(x.shape)


def _save(ctx, inputs, output) -> None:  # type: ignore[no-untyped-def]
    x, ctx.irreps, ctx.with_angles = inputs
    ctx.save_for_backward(x)


def _gradient(ctx, grad):  # type: ignore[no-untyped-def]
    (x,) = ctx.saved_tensors
    if torch.is_grad_enabled():
        channels = _channels(ctx.irreps, len(x))
        by_x = scalars.scalars_backward(grad, x, channels, ctx.with_angles)
    else:
        by_x = _scalars_backward(grad, x, ctx.irreps, ctx.with_angles)
    return by_x, None, None


_scalars.register_autograd(_gradient, setup_context=_save)

"""All invariants of a token as one opaque operator: what small networks of a token read."""

from __future__ import annotations

import functools

from torch import Tensor

from e3hyena.irreps import ChannelIrreps
from e3hyena.ops.backends import select
from e3hyena.ops.backends.eager import scalars
from e3hyena.ops.opaque import opaque, paired
from e3hyena.ops.precision import full_precision


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
    >>> import torch
    >>> token_scalars(torch.randn(4, 4, 9), ChannelIrreps("4x0e + 4x1o")).shape
    torch.Size([12, 9])
    """
    out: Tensor = _scalars(x, str(channels.irreps), with_angles)
    return out.flatten(0, 1)


@functools.cache
def _channels(irreps: str, num_channels: int) -> ChannelIrreps:
    return ChannelIrreps(irreps, num_channels)


def _shape(x: Tensor, irreps: str, with_angles: bool) -> Tensor:
    copies = _channels(irreps, len(x)).copies
    count = sum(n * (1 + (with_angles and ir != "0e")) for ir, n in copies.items())
    return x.new_empty(len(x), count, x.shape[2])


def _formula(grad: Tensor, x: Tensor, irreps: str, with_angles: bool) -> Tensor:
    return scalars.scalars_backward(grad, x, _channels(irreps, len(x)), with_angles)


@opaque(fake=lambda grad, x, *_: x.new_empty(x.shape))
def _scalars_backward(grad: Tensor, x: Tensor, irreps: str, with_angles: bool) -> Tensor:
    with full_precision(x):
        return select(x).scalars_backward(grad, x, _channels(irreps, len(x)), with_angles)


@opaque(fake=_shape, gradient=paired(_scalars_backward, _formula, (0,)))
def _scalars(x: Tensor, irreps: str, with_angles: bool) -> Tensor:
    with full_precision(x):
        return select(x).scalars(x, _channels(irreps, len(x)), with_angles)

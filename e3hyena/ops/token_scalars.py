"""All invariants of a token as one opaque operator: what small networks of a token read."""

import functools
from typing import Any

import torch
from torch import Tensor

from e3hyena.irreps import ChannelIrreps
from e3hyena.ops.backends import select
from e3hyena.ops.backends.eager import scalars
from e3hyena.ops.opaque import opaque, paired
from e3hyena.ops.precision import full_precision


def token_scalars(x: Tensor, channels: ChannelIrreps, *, with_angles: bool = True) -> Tensor:
    """Invariants of every irrep copy, then inner products of neighbouring channels.

    See :func:`e3hyena.ops.invariants.invariants` and :func:`e3hyena.ops.invariants.angles`.
    """
    out: Tensor = _scalars(x, channels.text, with_angles)
    return out.flatten(0, 1)


@functools.cache
def _channels(irreps: str, num_channels: int) -> ChannelIrreps:
    return ChannelIrreps(irreps, num_channels)


def _shape(x: Tensor, irreps: str, with_angles: bool) -> Tensor:
    copies = _channels(irreps, len(x)).copies
    count = sum(n * (1 + (with_angles and ir != "0e")) for ir, n in copies.items())
    return x.new_empty(len(x), count, x.shape[2])


def _tangent_formula(
    direction: Tensor, grad: Tensor, x: Tensor, irreps: str, with_angles: bool
) -> tuple[Tensor, ...]:
    channels = _channels(irreps, len(x))
    pull: Any = torch.func.vjp(
        lambda grad, x: scalars.scalars_backward(grad, x, channels, with_angles), grad, x
    )[1]
    found: tuple[Tensor, ...] = pull(direction)
    return found


@opaque(fake=lambda direction, grad, x, *_: (grad.new_empty(grad.shape), x.new_empty(x.shape)))
def _scalars_tangent(
    direction: Tensor, grad: Tensor, x: Tensor, irreps: str, with_angles: bool
) -> tuple[Tensor, Tensor]:
    channels = _channels(irreps, len(x))
    with full_precision(x):
        first, second = select(x).scalars_tangent(direction, grad, x, channels, with_angles)
        return first, second


@opaque(
    fake=lambda grad, x, *_: x.new_empty(x.shape),
    gradient=paired(_scalars_tangent, (0, 1), _tangent_formula),
)
def _scalars_backward(grad: Tensor, x: Tensor, irreps: str, with_angles: bool) -> Tensor:
    with full_precision(x):
        return select(x).scalars_backward(grad, x, _channels(irreps, len(x)), with_angles)


@opaque(fake=_shape, gradient=paired(_scalars_backward, (0,)))
def _scalars(x: Tensor, irreps: str, with_angles: bool) -> Tensor:
    with full_precision(x):
        return select(x).scalars(x, _channels(irreps, len(x)), with_angles)

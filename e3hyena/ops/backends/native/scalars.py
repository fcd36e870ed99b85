"""Invariants of tokens in C: one pass over the features, and one for the gradient."""

import torch
from torch import Tensor

from e3hyena.irreps import ChannelIrreps
from e3hyena.ops.backends.native.build import call, rows
from e3hyena.ops.backends.native.c_files import c_file

_SOURCE = c_file("scalars.c", BLOCK=512)


def scalars(x: Tensor, channels: ChannelIrreps, with_angles: bool) -> Tensor:
    """See :meth:`e3hyena.ops.backends.base.Backend.scalars`."""
    widths, copies, angles = _widths(channels, with_angles)
    out = x.new_empty(len(x), copies + angles, x.shape[2])
    call(_SOURCE, "scalars", *rows(x), widths, copies, angles, out, len(x), x.shape[2])
    return out


def scalars_backward(grad: Tensor, x: Tensor, channels: ChannelIrreps, with_angles: bool) -> Tensor:
    """See :meth:`e3hyena.ops.backends.base.Backend.scalars_backward`."""
    out = x.new_empty(x.shape)
    operands = grad.contiguous(), *rows(x), *_widths(channels, with_angles)
    call(_SOURCE, "scalars_back", *operands, out, len(x), x.shape[2])
    return out


def scalars_tangent(
    direction: Tensor, grad: Tensor, x: Tensor, channels: ChannelIrreps, with_angles: bool
) -> tuple[Tensor, Tensor]:
    """See :meth:`e3hyena.ops.backends.base.Backend.scalars_tangent`."""
    change, out = x.new_empty(grad.shape), x.new_empty(x.shape)
    operands = grad.contiguous(), *rows(x), *rows(direction), *_widths(channels, with_angles)
    call(_SOURCE, "scalars_tangent", *operands, change, out, len(x), x.shape[2])
    return change, out


def _widths(channels: ChannelIrreps, with_angles: bool) -> tuple[Tensor, int, int]:
    """Components of every copy, 0 for an even scalar; numbers of copies and of angles."""
    widths = [0 if str(ir) == "0e" else ir.dim for _, ir in channels.per_channel]
    angles = sum(width > 0 for width in widths) if with_angles else 0
    return torch.tensor(widths), len(widths), angles

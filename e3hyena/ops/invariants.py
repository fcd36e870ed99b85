"""Invariants of a token, channel by channel."""

import torch
from torch import Tensor

from e3hyena.irreps import ChannelIrreps


def invariants(x: Tensor, channels: ChannelIrreps) -> Tensor:
    r"""One invariant per irrep copy: the scalar itself, or a smooth function of the norm.

    .. math:: s = \overline{x^2},\qquad s / \sqrt{1 + s},

    with :math:`\overline{x^2}` the mean over components: quadratic near zero, linear far out, so
    that gradients of any order are finite at zero vectors.
    """
    parts = []
    for ir, block in channels.split(x).items():
        if ir == "0e":
            parts.append(block)
        else:
            square = block.unflatten(1, (-1, channels.widths[ir])).square().mean(dim=2)
            parts.append(square / (1 + square).sqrt())
    return torch.cat(parts, dim=1) if parts else x


def angles(x: Tensor, channels: ChannelIrreps) -> Tensor:
    r"""Inner products of neighbouring channels: how the vectors of one token lie to each other.

    .. math:: p / \sqrt{1 + s_c + s_{c+1}},\qquad p = \overline{x_c\, x_{c+1}},\quad
              s_c = \overline{x_c^2}

    for every irrep copy that is not an even scalar, the last channel meeting the first.
    """
    parts = [x[:, :0]]
    for ir, block in channels.split(x).items():
        if ir != "0e":
            vectors = block.unflatten(1, (-1, channels.widths[ir]))
            square = vectors.square().mean(dim=2)
            product = (vectors * vectors.roll(-1, dims=0)).mean(dim=2)
            parts.append(product / (1 + square + square.roll(-1, dims=0)).sqrt())
    return torch.cat(parts, dim=1)

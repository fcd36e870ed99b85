"""The convolution of :class:`~e3hyena.mixers.coordinate.Coordinate` over the pairs of a window."""

import torch
from torch import Tensor

from e3hyena.mixers.windowed import Falloff, sum_pairs
from e3hyena.ops.features import features
from e3hyena.ops.window import Window


def window_conv(
    a: Tensor, b: Tensor, weight: Tensor, q: Tensor, k: Tensor, z: Tensor,
    frequencies: Tensor, taps: Tensor, falloff: Falloff, window: Window,
) -> Tensor:  # fmt: skip
    r"""Weighted mean of values, times a kernel, over the window of every token.

    .. math:: u_i = \sum_j f(r_{ij})\, w_j\, \big(\varphi(a_i,q_i)\, h\, \varphi(b_j,k_j)\big)\, z_j
              \Big/ \sum_j f(r_{ij})\, w_j

    ``a, b, weight`` are ``(H, T)``, ``q, k, z`` and the result ``(C, d, T)``, ``frequencies``
    ``(H, M - 1)``; ``taps``, ``(2 M - 1 + degree, C, d)``, as for :func:`~e3hyena.ops.set_conv`.
    """
    heads, modes = len(frequencies), frequencies.shape[1] + 1
    filter_taps, gains = _heads(taps, heads).split([2 * modes - 1, len(taps) - 2 * modes + 1])
    filter_taps = filter_taps / modes
    q_powers, k_powers = (
        features(c[:, None], x[:, :, None], frequencies, len(gains))[:, 0, 2 * modes - 1 :]
        for c, x in ((a, q), (b, k))
    )
    sizes = [z.shape[0] // heads * z.shape[1]] if len(gains) else []
    if len(gains) == 2:
        sizes.append(q_powers.shape[1] - sizes[0])
    q_powers, k_powers = (x.permute(2, 0, 1).contiguous() for x in (q_powers, k_powers))
    values = z.reshape(heads, -1, z.shape[2]).permute(2, 0, 1).contiguous()
    a, b, weight = (x.t().contiguous() for x in (a, b, weight))

    def messages(source: Tensor, target: Tensor, square: Tensor) -> Tensor:
        lag = a.index_select(0, target) - b.index_select(0, source)
        angle = lag[:, :, None] * frequencies
        waves = torch.cat([torch.ones_like(lag)[:, :, None], angle.cos(), -angle.sin()], dim=2)
        kernel = torch.einsum("phm,mhd->phd", waves, filter_taps)
        product = q_powers.index_select(0, target) * k_powers.index_select(0, source)
        parts = product.split(sizes, dim=2) if sizes else ()
        for gain, part in zip(gains, parts, strict=True):
            kernel = kernel + gain * part.sum(dim=2, keepdim=True)
        share = (falloff(square) * weight.index_select(0, source))[:, :, None]
        return torch.cat([share * kernel * values.index_select(0, source), share], dim=2)

    sums, total = sum_pairs(messages, window, len(values)).tensor_split([values.shape[2]], dim=2)
    return (sums / total).permute(1, 2, 0).reshape(z.shape)


def _heads(taps: Tensor, heads: int) -> Tensor:
    """``(n, C, d)`` -> ``(n, H, (C/H) d)``."""
    return taps.reshape(len(taps), heads, taps.shape[1] // heads * taps.shape[2])

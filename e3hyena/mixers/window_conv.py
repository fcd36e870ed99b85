"""The convolution of :class:`~e3hyena.mixers.coordinate.Coordinate` within a range."""

import torch
from torch import Tensor

from e3hyena.mixers.windowed import Falloff, of_heads, to_heads
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
    heads, waves = frequencies.shape
    degree = len(taps) - 2 * waves - 1
    taps = to_heads(taps.permute(1, 2, 0), heads).transpose(0, 1)[:, None]
    const, real, imaginary, gain = taps.split([1, waves, waves, degree], dim=2)
    values = to_heads(z, heads)
    queries, keys = (
        features(c[:, None], x[:, :, None], frequencies, degree)[:, 0].permute(2, 0, 1)
        for c, x in ((a, q), (b, k))
    )
    powers = [values.shape[2], queries.shape[2] - 2 * waves - 1 - values.shape[2]][:degree]
    (q_waves, *q_powers), (k_waves, *k_powers) = (
        x.split([2 * waves + 1, *powers], dim=2) for x in (queries, keys)
    )
    weight = weight.t()[:, :, None]

    def heard(target: Tensor, source: Tensor, square: Tensor) -> Tensor:
        share = falloff(square) * of_heads(weight, source).transpose(2, 3)
        value = of_heads(values, source)
        made = of_heads(k_waves, source)[..., None] * value[..., None, :]
        sums = (share @ made.flatten(3)).unflatten(3, made.shape[3:])
        mean, cosine, sine = sums.split([1, waves, waves], dim=3)
        filtered = [
            const * mean,
            real * cosine + imaginary * sine,
            real * sine - imaginary * cosine,
        ]
        out = (of_heads(q_waves, target)[..., None] * torch.cat(filtered, dim=3)).sum(dim=3)
        for power, (one, other) in enumerate(zip(q_powers, k_powers, strict=True)):
            kernel = of_heads(one, target) @ of_heads(other, source).transpose(2, 3)
            out = out + gain[:, :, power] * ((share * kernel) @ value)
        return (out / share.sum(dim=3, keepdim=True)).transpose(1, 2)

    return window.sum(heard).permute(1, 2, 0).reshape(z.shape)

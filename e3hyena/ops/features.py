"""Features of tokens whose products make a kernel: Fourier modes and tensor powers."""

import functools

import torch
from torch import Tensor

from e3hyena.ops.exporting import outside


def features(coordinate: Tensor, x: Tensor, frequencies: Tensor, degree: int) -> Tensor:
    r"""Fourier modes of a coordinate, and tensor powers of irreps, per head.

    .. math:: \varphi(a, x) = \tfrac{1}{\sqrt M}\big(1,\, \cos\omega_m a,\, \sin\omega_m a\big)
              \;\oplus\; \tfrac{1}{\sqrt D}\, x \;\oplus\;
              \tfrac{1}{\sqrt D}\bigoplus_c \frac{x_c \otimes x_c}{\sqrt{d + |x_c|^2}}

    Of ``coordinate`` ``(H, B, N)``, ``x`` ``(C, d, B, N)``, ``frequencies`` ``(H, M - 1)`` and the
    largest tensor power, ``degree``: ``(H, B, F, N)``. A head owns D = d C/H rows.
    """
    heads, modes = frequencies.shape[0], frequencies.shape[1] + 1
    angle = frequencies[:, None, :, None] * coordinate[:, :, None]
    parts = [torch.ones_like(coordinate[:, :, None]), angle.cos(), angle.sin()]
    if degree:
        parts.append(by_head(x, heads))
    if degree == 2:
        parts.append(by_head(_square(x), heads))
    counts = tuple(part.shape[2] for part in parts)
    scales = _scales(counts, modes, len(x) // heads * x.shape[1], x.dtype, x.device)
    return torch.cat(parts, dim=2) * scales


@functools.lru_cache(maxsize=64)
def _scales(
    counts: tuple[int, ...], modes: int, rows: int, dtype: torch.dtype, device: torch.device
) -> Tensor:
    """Factors of the features, ``(F, 1)``, copied to the device once."""
    factors = [modes**-0.5] * 3 + [rows**-0.5] * 2
    values = [f for f, count in zip(factors, counts, strict=False) for _ in range(count)]
    with outside():
        return torch.tensor(values, dtype=dtype, device="cpu").to(device)[:, None]


def by_head(x: Tensor, heads: int) -> Tensor:
    """``(C, d, B, N)`` -> ``(H, B, (C/H) d, N)``."""
    rows = len(x) // heads * x.shape[1]
    return x.reshape(heads, rows, *x.shape[2:]).transpose(1, 2)


def _square(x: Tensor) -> Tensor:
    """Symmetric square of every channel, an orthonormal basis of it."""
    d = x.shape[1]
    first, second = zip(*pairs(d), strict=True)
    scale = torch.tensor(
        [1.0 if i == j else 2**0.5 for i, j in pairs(d)], dtype=x.dtype, device=x.device
    )
    norm = (d + x.square().sum(dim=1, keepdim=True)).rsqrt()
    return (x * norm)[:, list(first)] * x[:, list(second)] * scale[:, None, None]


def pairs(d: int) -> list[tuple[int, int]]:
    """Components of a symmetric square."""
    return [(i, j) for i in range(d) for j in range(i, d)]

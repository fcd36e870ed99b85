"""Solid harmonics: spherical harmonics as polynomials, smooth at the origin."""

import functools

import torch
from e3nn import o3
from torch import Tensor

from e3hyena.ops.exporting import outside


def solid_harmonics(vectors: Tensor, degrees: list[int]) -> Tensor:
    r"""Real solid harmonics :math:`|r|^l Y_l(r/|r|)`, one degree after the other.

    .. math:: Y_{l+1} = c_l\,\mathrm{CG}\big(Y_l \otimes r\big)

    Of ``(T, 3)``: ``(T, sum(2l+1))``, component normalised on the unit sphere, in e3nn's basis. Two
    matrix products per degree, which any tracer can follow.
    """
    found = [vectors.new_ones(vectors.shape[0], 1), vectors * 3**0.5]
    for l in range(1, max(degrees, default=0)):
        product = (found[l][:, :, None] * vectors[:, None]).flatten(1)
        found.append(product @ _raising(l, vectors.dtype, str(vectors.device)))
    return torch.cat([found[l] for l in degrees] or [vectors[:, :0]], dim=1)


@functools.lru_cache(maxsize=64)
def _raising(l: int, dtype: torch.dtype, device: str) -> Tensor:
    """From products of degree l and vectors to degree l + 1, ``((2l+1) 3, 2l+3)``."""
    with outside(), torch.device("cpu"):
        matrix = o3.wigner_3j(l, 1, l + 1, dtype=torch.float64).flatten(0, 1)
        r = torch.tensor([0.6, -0.48, 0.64], dtype=torch.float64)
        low, high = (o3.spherical_harmonics(n, r, False, "component") for n in (l, l + 1))
        product = (low[:, None] * r).flatten() @ matrix
        return (matrix * (product @ high) / product.square().sum()).to(device, dtype)


def weighted_harmonics(
    weights: Tensor, harmonics: list[Tensor], entries: list[tuple[int, int, bool]]
) -> Tensor:
    """Weights times the harmonic of their degree, in the order of some irreps.

    Entries are (multiplicity, degree, whether it takes part); of ``(T, W)`` weights, one per copy
    that takes part, and harmonics ``(T, 2l+1)`` by degree: ``(T, sum(mul * (2l+1)))``.

    Examples
    --------
    >>> harmonics = [torch.ones(5, 1), torch.ones(5, 3)]
    >>> weighted_harmonics(torch.ones(5, 2), harmonics, [(2, 1, True), (4, 0, False)]).shape
    torch.Size([5, 10])
    """
    columns, used = [weights.new_zeros(weights.shape[0], 0)], 0
    for mul, degree, takes_part in entries:
        if not takes_part:
            columns.append(weights.new_zeros(weights.shape[0], mul * (2 * degree + 1)))
            continue
        w = weights[:, used : used + mul]
        columns.append((w[:, :, None] * harmonics[degree][:, None]).flatten(1))
        used += mul
    return torch.cat(columns, dim=-1)

"""Solid harmonics: spherical harmonics as polynomials, smooth at the origin."""

import torch
from e3nn import o3
from torch import Tensor


@torch.compiler.disable  # e3nn's code for them cannot be traced
def solid_harmonics(vectors: Tensor, degrees: list[int]) -> Tensor:
    r"""Real solid harmonics :math:`|r|^l Y_l(r/|r|)`, one degree after the other.

    Of ``(T, 3)``: ``(T, sum(2l+1))``, component normalised on the unit sphere.
    """
    return o3.spherical_harmonics(degrees, vectors, normalize=False, normalization="component")


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
    columns, used = [weights.new_zeros(len(weights), 0)], 0
    for mul, degree, takes_part in entries:
        if not takes_part:
            columns.append(weights.new_zeros(len(weights), mul * (2 * degree + 1)))
            continue
        w = weights[:, used : used + mul]
        columns.append((w[:, :, None] * harmonics[degree][:, None]).flatten(1))
        used += mul
    return torch.cat(columns, dim=-1)

"""Solid harmonics: spherical harmonics as polynomials, smooth at the origin."""

from __future__ import annotations

import torch
from e3nn import o3
from torch import Tensor


@torch.compiler.disable  # e3nn's code for them cannot be traced
def solid_harmonics(vectors: Tensor, degrees: list[int]) -> Tensor:
    r"""Real solid harmonics :math:`|r|^l Y_l(r/|r|)`, one degree after the other.

    Parameters
    ----------
    vectors : Tensor
        Shape ``(T, 3)``.
    degrees : list of int
        The degrees l.

    Returns
    -------
    Tensor
        Shape ``(T, sum(2l+1))``, component normalised on the unit sphere.

    Examples
    --------
    >>> solid_harmonics(torch.tensor([[0.0, 0.0, 2.0]]), [0, 1])
    tensor([[1.0000, 0.0000, 0.0000, 3.4641]])
    """
    return o3.spherical_harmonics(degrees, vectors, normalize=False, normalization="component")

"""Tensor-product long convolution: every pair of tokens meets, at FFT cost."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from e3hyena.ops._trilinear import apply_paths
from e3hyena.ops.paths import Paths
from e3hyena.ops.transforms import check_boundary


def tensor_product_long_conv(
    q: Tensor, k: Tensor, weight: Tensor, paths: Paths, *, boundary: str = "circular"
) -> Tensor:
    r"""Convolve two signals of irreps through every path of a tensor product.

    .. math:: u_{i} = \sum_j \mathrm{CG}_w(q_j \otimes k_{i-j})

    in O(N log N): one real transform per component of q, k and u.

    Parameters
    ----------
    q, k : Tensor
        Shapes ``(..., C, d1, N)`` and ``(..., C, d2, N)``, time contiguous for speed.
    weight : Tensor
        Shape ``(num_paths, C)``.
    paths : Paths
        The per-channel paths.
    boundary : {"circular", "causal", "same"}
        Which pairs fall on output i: ``i-j`` modulo N; ``i-j >= 0`` only; or the full convolution
        read from ``(N-1)//2`` on, as ``scipy.signal.convolve(mode="same")``.

    Returns
    -------
    Tensor
        Shape ``(..., C, d_out, N)``, dtype of ``q``; computed in at least float32. No
        normalisation by N.

    Raises
    ------
    ValueError
        If a shape does not fit the paths or the boundary is unknown.

    References
    ----------
    Moskalev et al., SE(3)-Hyena Operator for Scalable Equivariant Learning, 2024 (the paths
    ``1o x 1o -> 1e`` and ``0e x 0e -> 0e``, circular).

    Examples
    --------
    >>> import torch
    >>> paths = Paths("0e + 1o", "0e + 1o", "0e + 1o + 1e")
    >>> q, k = torch.randn(16, 4, 100), torch.randn(16, 4, 100)
    >>> u = tensor_product_long_conv(q, k, torch.ones(5, 16), paths, boundary="causal")
    >>> u.shape
    torch.Size([16, 7, 100])
    """
    return apply_paths(q, k, weight, paths, check_boundary(boundary))


def ragged_long_conv(
    q: Tensor, k: Tensor, weight: Tensor, paths: Paths, *, boundary: str, lengths: Sequence[int]
) -> Tensor:
    """Convolve graphs that lie one after the other along the last axis, each by itself.

    Parameters
    ----------
    q, k, weight, paths, boundary
        As in :func:`tensor_product_long_conv`, without leading dimensions.
    lengths : sequence of int
        N of every graph; zero is legal.

    Raises
    ------
    ValueError
        Also if ``lengths`` do not add up to the last axis.

    Examples
    --------
    >>> import torch
    >>> paths = Paths("0e", "0e", "0e")
    >>> one, weight = torch.ones(1, 1, 5), torch.ones(1, 1)
    >>> ragged_long_conv(one, one, weight, paths, boundary="circular", lengths=[2, 3])
    tensor([[[2., 2., 3., 3., 3.]]])
    """
    if q.dim() > 3 or k.dim() > 3 or sum(lengths) != q.shape[-1]:
        raise ValueError(
            f"lengths add up to {sum(lengths)} and q has shape {tuple(q.shape)}; they must add up "
            "to the last axis of q and k, (C, d, N) without leading dimensions"
        )
    return apply_paths(q, k, weight, paths, check_boundary(boundary), lengths)

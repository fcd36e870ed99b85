"""Token-wise tensor product of channel-layout tensors."""

from __future__ import annotations

from torch import Tensor

from e3hyena.ops._trilinear import TOKENWISE, apply_paths
from e3hyena.ops.paths import Paths


def tensor_product(x1: Tensor, x2: Tensor, weight: Tensor, paths: Paths) -> Tensor:
    r"""Tensor product of two signals, channel by channel and token by token.

    .. math:: y_{ci} = \sum_p w_p\,\alpha_p \sum_{ab} C^{(p)}_{abc}\, x_{ai}\, x'_{bi}

    Parameters
    ----------
    x1, x2 : Tensor
        Shapes ``(..., C, d1, N)`` and ``(..., C, d2, N)``; leading dimensions broadcast.
    weight : Tensor
        Shape ``(num_paths, C)``.
    paths : Paths
        The per-channel paths.

    Returns
    -------
    Tensor
        Shape ``(..., C, d_out, N)``, dtype of ``x1``; computed in at least float32.

    Raises
    ------
    ValueError
        If a shape does not fit the paths.

    Examples
    --------
    >>> import torch
    >>> paths = Paths("1o", "1o", "0e + 1e")
    >>> x1, x2 = torch.randn(2, 8, 3, 5), torch.randn(8, 3, 5)
    >>> tensor_product(x1, x2, torch.randn(paths.num_paths, 8), paths).shape
    torch.Size([2, 8, 4, 5])
    """
    return apply_paths(x1, x2, weight, paths, TOKENWISE)

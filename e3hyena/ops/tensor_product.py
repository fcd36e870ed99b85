"""Tensor products of two signals of irreps: token by token, and as a long convolution."""

from collections.abc import Sequence

import torch
from torch import Tensor

from e3hyena.ops._trilinear import TOKENWISE, partial
from e3hyena.ops.paths import Paths
from e3hyena.ops.transforms import check_boundary


def tensor_product(x1: Tensor, x2: Tensor, weight: Tensor, paths: Paths) -> Tensor:
    r"""Tensor product of two signals, channel by channel and token by token.

    .. math:: y_{ci} = \sum_p w_p\,\alpha_p \sum_{ab} C^{(p)}_{abc}\, x_{ai}\, x'_{bi}

    Parameters
    ----------
    x1, x2 : Tensor
        Shapes ``(..., C, d1, N)`` and ``(..., C, d2, N)``; leading dimensions broadcast.
    weight, paths : Tensor, Paths
        The per-channel paths, and a weight for each and every channel, ``(num_paths, C)``.

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
    >>> paths = Paths("1o", "1o", "0e + 1e")
    >>> x1, x2 = torch.randn(2, 8, 3, 5), torch.randn(8, 3, 5)
    >>> tensor_product(x1, x2, torch.randn(paths.num_paths, 8), paths).shape
    torch.Size([2, 8, 4, 5])
    """
    return _apply_paths(x1, x2, weight, paths, TOKENWISE)


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
    weight, paths : Tensor, Paths
        The per-channel paths, and a weight for each and every channel, ``(num_paths, C)``.
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
    >>> paths = Paths("0e + 1o", "0e + 1o", "0e + 1o + 1e")
    >>> q, k = torch.randn(16, 4, 100), torch.randn(16, 4, 100)
    >>> u = tensor_product_long_conv(q, k, torch.ones(5, 16), paths, boundary="causal")
    >>> u.shape
    torch.Size([16, 7, 100])
    """
    return _apply_paths(q, k, weight, paths, check_boundary(boundary))


def ragged_long_conv(
    q: Tensor, k: Tensor, weight: Tensor, paths: Paths, *, boundary: str, lengths: Sequence[int]
) -> Tensor:
    """Convolve graphs that lie one after the other along the last axis, each by itself."""
    if q.dim() > 3 or k.dim() > 3 or sum(lengths) != q.shape[-1]:
        raise ValueError(
            f"lengths add up to {sum(lengths)} and q has shape {tuple(q.shape)}; they must add up "
            "to the last axis of q and k, (C, d, N) without leading dimensions"
        )
    return _apply_paths(q, k, weight, paths, check_boundary(boundary), lengths)


def _apply_paths(
    x1: Tensor, x2: Tensor, weight: Tensor, paths: Paths, boundary: str,
    lengths: Sequence[int] | None = None,
) -> Tensor:  # fmt: skip
    """Check shapes, bring everything to ``(C, d, T)``, apply the form, bring it back."""
    _check_operands(x1, x2, weight, paths)
    dtype, n = x1.dtype, x1.shape[-1]
    working = torch.promote_types(torch.promote_types(dtype, x2.dtype), torch.float32)
    lead = torch.broadcast_shapes(x1.shape[:-3], x2.shape[:-3])
    if lengths is None:  # unused token by token
        lengths = [] if boundary == TOKENWISE else [n] * lead.numel()
    y = partial(
        2, _inner(x1.to(working), lead), _inner(x2.to(working), lead), weight.to(working),
        paths.key, boundary, list(lengths),
    ).to(dtype)  # fmt: skip
    if not lead:
        return y
    return y.unflatten(-1, (lead.numel(), n)).permute(2, 0, 1, 3).reshape(*lead, *y.shape[:2], n)


def _inner(x: Tensor, lead: torch.Size) -> Tensor:
    """``(..., C, d, N)`` -> ``(C, d, B * N)``."""
    if not lead:
        return x
    batch = lead.numel()
    x = x.expand(*lead, *x.shape[-3:]).reshape(batch, *x.shape[-3:])
    return x.permute(1, 2, 0, 3).flatten(2)


def _check_operands(x1: Tensor, x2: Tensor, weight: Tensor, paths: Paths) -> None:
    """Raise a ValueError or TypeError that names the operand whose shape or dtype does not fit."""
    d1, d2, _ = paths.dims
    for name, x in (("first operand", x1), ("second operand", x2), ("weight", weight)):
        if not x.is_floating_point():
            raise TypeError(f"the {name} is {x.dtype}; convert it to a floating type")
    for name, x, d in (("first", x1, d1), ("second", x2, d2)):
        if x.dim() < 3 or x.shape[-2] != d:
            raise ValueError(
                f"the {name} operand has shape {tuple(x.shape)}; {paths} wants "
                f"(..., C, {d}, N), channels and components before time"
            )
    if x1.shape[-1] != x2.shape[-1] or x1.shape[-3] != x2.shape[-3]:
        raise ValueError(
            f"operands {tuple(x1.shape)} and {tuple(x2.shape)} differ in channels or length; "
            "both must be (..., C, d, N) with the same C and N"
        )
    for a, b in zip(reversed(x1.shape[:-3]), reversed(x2.shape[:-3]), strict=False):
        if a != b and 1 not in (a, b):
            raise ValueError(
                f"operands {tuple(x1.shape)} and {tuple(x2.shape)}: the leading dimensions "
                f"{tuple(x1.shape[:-3])} and {tuple(x2.shape[:-3])} do not broadcast"
            )
    if weight.shape != (paths.num_paths, x1.shape[-3]):
        raise ValueError(
            f"weight has shape {tuple(weight.shape)}; {paths} on {x1.shape[-3]} channels wants "
            f"(num_paths, C) = ({paths.num_paths}, {x1.shape[-3]})"
        )
